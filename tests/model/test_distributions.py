"""Latent distributions against their twins in torch.distributions."""

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from skvae.model.distributions import (
    CholeskyGaussian,
    DiagonalGaussian,
    DiagonalGaussianMixture,
    LatentDistribution,
    StandardNormal,
)

K, B, C, L = 6, 5, 4, 3


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def tril() -> Tensor:
    return normal(B, L, L, seed=2).tril(-1) + torch.diag_embed(
        normal(B, L, seed=3).exp()
    )


def pair(name: str) -> tuple[LatentDistribution, torch.distributions.Distribution]:
    mean, scale = normal(B, L, seed=1), normal(B, L, seed=2).exp()
    if name == "standard":
        zero = torch.zeros(L, dtype=torch.float64)
        return StandardNormal(zero), Independent(Normal(zero, zero + 1), 1)
    if name == "diagonal":
        return DiagonalGaussian(mean, scale), Independent(Normal(mean, scale), 1)
    return (
        CholeskyGaussian(mean, tril()),
        MultivariateNormal(mean, scale_tril=tril()),
    )


gaussians = pytest.mark.parametrize("name", ["standard", "diagonal", "cholesky"])
encoders = pytest.mark.parametrize("name", ["diagonal", "cholesky"])


@gaussians
def test_log_prob_equals_the_twin(name: str) -> None:
    ours, twin = pair(name)
    z = 2 * normal(K, B, L, seed=4)
    torch.testing.assert_close(ours.log_prob(z), twin.log_prob(z))


@encoders
def test_entropy_equals_the_twin(name: str) -> None:
    ours, twin = pair(name)
    torch.testing.assert_close(ours.entropy(), twin.entropy())


@encoders
def test_divergence_from_the_standard_normal_equals_the_twin(name: str) -> None:
    q, twin = pair(name)
    p = StandardNormal(torch.zeros(L, dtype=torch.float64))
    standard = MultivariateNormal(
        torch.zeros(L, dtype=torch.float64), torch.eye(L, dtype=torch.float64)
    )
    if name == "diagonal":
        twin = MultivariateNormal(twin.mean, scale_tril=twin.stddev.diag_embed())
    torch.testing.assert_close(p.kl_from(q), kl_divergence(twin, standard))


@encoders
def test_divergence_is_positive_and_zero_only_at_equality(name: str) -> None:
    p = StandardNormal(torch.zeros(L, dtype=torch.float64))
    assert (p.kl_from(pair(name)[0]) > 0).all()
    zero = torch.zeros(B, L, dtype=torch.float64)
    equal = (
        DiagonalGaussian(zero, zero + 1)
        if name == "diagonal"
        else CholeskyGaussian(zero, (zero + 1).diag_embed())
    )
    torch.testing.assert_close(p.kl_from(equal), zero[:, 0])


def test_divergence_without_closed_form_is_none() -> None:
    mixture = DiagonalGaussianMixture(
        normal(C).log_softmax(0), normal(C, L), normal(C, L).exp()
    )
    assert mixture.kl_from(pair("diagonal")[0]) is None


@encoders
def test_second_moment_is_that_of_the_samples(name: str) -> None:
    q, _ = pair(name)
    z, _ = q.rsample(normal(50_000, B, q.noise_dim, seed=5))
    error = z.square().std(0) / len(z) ** 0.5
    assert ((z.square().mean(0) - q.second_moment()).abs() < 5 * error).all()


def test_gaussian_with_diagonal_factor_is_the_diagonal_gaussian() -> None:
    mean, scale, noise = normal(B, L), normal(B, L, seed=1).exp(), normal(K, B, L)
    full = CholeskyGaussian(mean, scale.diag_embed())
    diagonal = DiagonalGaussian(mean, scale)
    for ours, theirs in zip(full.rsample(noise), diagonal.rsample(noise), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(full.entropy(), diagonal.entropy())
    torch.testing.assert_close(full.second_moment(), diagonal.second_moment())


def test_cholesky_samples_have_the_covariance() -> None:
    q, twin = pair("cholesky")
    z, _ = q.rsample(normal(100_000, B, L, seed=6))
    for row in range(B):
        sample = torch.cov(z[:, row].T)
        expected = twin.covariance_matrix[row]
        # Standard error of a covariance of Gaussians.
        variance = expected.diagonal()
        error = ((expected.square() + variance[:, None] * variance) / len(z)).sqrt()
        assert ((sample - expected).abs() < 5 * error).all()


def mixture() -> tuple[DiagonalGaussianMixture, MixtureSameFamily]:
    log_weight = normal(C, seed=7).log_softmax(0)
    means, scale = 2 * normal(C, L, seed=8), (0.5 * normal(C, L, seed=9)).exp()
    return (
        DiagonalGaussianMixture(log_weight, means, scale),
        MixtureSameFamily(
            Categorical(logits=log_weight), Independent(Normal(means, scale), 1)
        ),
    )


def test_mixture_log_prob_and_mean_equal_the_twin() -> None:
    ours, twin = mixture()
    z = 3 * normal(K, B, L, seed=10)
    torch.testing.assert_close(ours.log_prob(z), twin.log_prob(z))
    torch.testing.assert_close(ours.mean, twin.mean)


def test_mixture_modes_are_drawn_by_their_weights() -> None:
    """Chi-square statistic of four modes; false-alarm rate 1e-4."""
    log_weight = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()
    means = torch.arange(4, dtype=torch.float64)[:, None] * 100
    p = DiagonalGaussianMixture(log_weight, means, torch.ones_like(means))
    n_draws = 20_000
    z, _ = p.rsample(normal(n_draws, 1, p.noise_dim))
    count = torch.bincount((z[:, 0, 0] / 100).round().long(), minlength=4)
    expected = n_draws * log_weight.exp()
    assert ((count - expected).square() / expected).sum() < 21.1


def test_mixture_log_prob_is_accurate_for_narrow_far_modes_in_float32() -> None:
    means = torch.tensor([[5.0], [-5.0]])
    scale = torch.full((2, 1), 0.02)
    log_weight = torch.tensor([0.5, 0.5]).log()
    z = 5 + 0.02 * torch.linspace(-3, 3, 13)[:, None, None]
    single = DiagonalGaussianMixture(log_weight, means, scale).log_prob(z)
    exact = DiagonalGaussianMixture(
        log_weight.double(), means.double(), scale.double()
    ).log_prob(z.double())
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=0.02)
