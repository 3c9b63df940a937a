"""The EM algorithm that starts a mixture prior."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from skvae.model.distributions import DiagonalGaussianMixture
from skvae.model.priors.mixture import expectation_maximisation


def blobs(n_rows: int = 1200, n_blobs: int = 4) -> Tensor:
    rng = np.random.default_rng(0)
    centre = np.array([[0, 0], [8, 0], [0, 8], [9, 9]])[:n_blobs]
    scale = np.array([[1, 0.5], [0.3, 1.5], [1, 1], [0.7, 0.7]])[:n_blobs]
    label = np.minimum(rng.geometric(0.4, n_rows) - 1, n_blobs - 1)
    return torch.from_numpy(centre[label] + scale[label] * rng.normal(size=(n_rows, 2)))


def mean_log_likelihood(
    z: Tensor, weight: Tensor, means: Tensor, scale: Tensor
) -> float:
    mixture = DiagonalGaussianMixture(weight.log(), means, scale)
    return float(mixture.log_prob(z[None]).mean())


def fit(z: Tensor, n_modes: int, **options: int) -> tuple[Tensor, Tensor, Tensor]:
    ones = torch.ones(len(z), dtype=z.dtype)
    return expectation_maximisation(z, ones, n_modes, **options)


@pytest.mark.parametrize("n_modes", [2, 4, 8])
def test_steps_raise_the_likelihood(n_modes: int) -> None:
    z = blobs()
    scores = [mean_log_likelihood(z, *fit(z, n_modes, n_iterations=n)) for n in (1, 40)]
    assert scores[1] > scores[0] + 1e-3


def test_likelihood_is_that_of_scikit_learn_on_separate_blobs() -> None:
    z = blobs()
    reference = GaussianMixture(
        4, covariance_type="diag", n_init=5, random_state=0
    ).fit(z.numpy())
    ours = mean_log_likelihood(z, *fit(z, 4))
    assert ours == pytest.approx(reference.score(z.numpy()), abs=0.05)


def test_weights_sum_to_one_and_scales_are_positive() -> None:
    weight, means, scale = fit(blobs(), 8)
    assert weight.sum() == pytest.approx(1)
    assert (weight > 0).all()
    assert (scale > 0).all()
    assert means.shape == scale.shape == (8, 2)


def test_one_mode_has_the_moments_of_the_points() -> None:
    z = blobs()
    weight, means, scale = fit(z, 1)
    torch.testing.assert_close(weight, torch.ones(1).double())
    torch.testing.assert_close(means[0], z.mean(0))
    assert ((scale[0] / z.std(0) - 1).abs() < 0.03).all()


def test_weights_are_repeated_points() -> None:
    z = blobs(300)
    weight = torch.arange(300, dtype=torch.float64) % 3 + 1
    weighted = expectation_maximisation(z, weight, 4)
    repeated = fit(z.repeat_interleave(weight.long(), 0), 4)
    for ours, theirs in zip(weighted, repeated, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def test_scale_of_the_weights_does_not_matter() -> None:
    z = blobs(300)
    one = expectation_maximisation(z, torch.ones(300).double(), 4)
    other = expectation_maximisation(z, torch.full((300,), 1e-3).double(), 4)
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("n_modes", [1, 5, 30])
def test_repeated_and_too_few_points_give_finite_modes(n_modes: int) -> None:
    for z in (torch.zeros(20, 2), blobs(3), blobs(5).repeat(4, 1)):
        for value in fit(z.double(), n_modes):
            assert value.isfinite().all()
