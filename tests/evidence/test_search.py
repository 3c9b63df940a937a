"""The parts of the search for a row's posterior, against naive twins."""

import numpy as np
import pytest
import torch
from torch import Tensor

from skvae.evidence.search import _chosen_by_weight, _moments, _temperature


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def effective_size(log_w: Tensor) -> Tensor:
    return 1 / log_w.softmax(0).square().sum(0)


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e4])
def test_temperature_leaves_the_effective_size_asked_for(spread: float) -> None:
    log_w = spread * normal(512, 6)
    beta = _temperature(log_w, 24.0)
    size = effective_size(beta * log_w)
    whole = effective_size(log_w) >= 24
    torch.testing.assert_close(size[~whole], torch.full_like(size, 24)[~whole])
    torch.testing.assert_close(beta[whole], torch.ones_like(beta)[whole])
    assert whole.all() == (spread == 1.0)


def test_moments_are_weighted_and_their_correlations_shrunk() -> None:
    z, log_w = normal(200, 3, 2), normal(200, 3, seed=1)
    z[..., 1] += z[..., 0]
    found = _moments(z, log_w)
    for row in range(3):
        weight = log_w[:, row].softmax(0).numpy()
        mean = weight @ z[:, row].numpy()
        cov = np.cov(z[:, row].numpy().T, aweights=weight, ddof=0)
        keep = 1 - 2 / (2 + 1 / np.square(weight).sum())
        expected = np.where(np.eye(2), cov, keep * cov)
        np.testing.assert_allclose(found.mean[row], mean)
        np.testing.assert_allclose(found.tril[row] @ found.tril[row].T, expected)


def test_draws_are_chosen_in_proportion_to_their_weights() -> None:
    z = torch.arange(5, dtype=torch.float64)[:, None, None].expand(-1, 2, 1)
    weight = torch.tensor(
        [[0.5, 0.0], [0.0, 0.25], [0.25, 0.0], [0.25, 0.25], [0, 0.5]]
    )
    chosen = _chosen_by_weight(z, weight.double().log(), 4)
    assert chosen[..., 0].tolist() == [[0, 0, 2, 3], [1, 3, 4, 4]]
