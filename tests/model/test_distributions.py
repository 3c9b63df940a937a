"""Latent distributions against their twins in torch.distributions and scipy."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import kstest, multivariate_normal, norm
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    kl_divergence,
)

from skvae.model.distributions import (
    CholeskyGaussian,
    CholeskyGaussianMixture,
    DiagonalGaussian,
    DiagonalGaussianMixture,
    LatentDistribution,
    MixtureOfDistributions,
    SharedDistribution,
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


# Mixtures of one row, and of any distributions

WIDTHS, SHARES = (1.0, 1.7), (0.8, 0.2)
SOME = torch.tensor([3, 0])


def row_mixture(n_modes: int = C) -> CholeskyGaussianMixture:
    factor = normal(B, n_modes, L, L, seed=12).tril(-1) + torch.diag_embed(
        normal(B, n_modes, L, seed=13).exp()
    )
    return CholeskyGaussianMixture(
        normal(B, n_modes, seed=14).log_softmax(1),
        2 * normal(B, n_modes, L, seed=15),
        factor,
        torch.tensor(WIDTHS, dtype=torch.float64),
        torch.tensor(SHARES, dtype=torch.float64),
    )


def scipy_log_prob(q: CholeskyGaussianMixture, z: Tensor) -> np.ndarray:
    """Sum over rows, modes and widths, one scipy distribution each."""
    result = np.empty(z.shape[:2])
    for row in range(z.shape[1]):
        terms = []
        for mode in range(q.tril.shape[1]):
            mean, factor = q._means[row, mode].numpy(), q.tril[row, mode].numpy()
            for width, share in zip(WIDTHS, SHARES, strict=True):
                normal_of = multivariate_normal(mean, width**2 * factor @ factor.T)
                log_weight = q.log_weight[row, mode].item() + np.log(share)
                terms.append(log_weight + normal_of.logpdf(z[:, row].numpy()))
        result[:, row] = logsumexp(terms, axis=0)
    return result


def any_mixture() -> MixtureOfDistributions:
    """Parts whose noise has three sizes, two of them shared by all rows."""
    parts = (pair("cholesky")[0], mixture()[0], pair("standard")[0], row_mixture())
    log_weight = torch.tensor([0.4, 0.1, 0.2, 0.3], dtype=torch.float64).log()
    return MixtureOfDistributions(log_weight, parts)


def distributions() -> dict[str, LatentDistribution]:
    return {
        "standard": pair("standard")[0],
        "diagonal": pair("diagonal")[0],
        "shared diagonal": DiagonalGaussian(normal(L), normal(L, seed=1).exp()),
        "cholesky": pair("cholesky")[0],
        "mixture": mixture()[0],
        "row mixture": row_mixture(),
        "row mixture of one": row_mixture(1),
        "any mixture": any_mixture(),
    }


every_distribution = pytest.mark.parametrize("name", distributions())


@pytest.mark.parametrize("n_modes", [1, C])
def test_row_mixture_log_prob_equals_scipy(n_modes: int) -> None:
    q, z = row_mixture(n_modes), 3 * normal(K, B, L, seed=16)
    np.testing.assert_allclose(q.log_prob(z).numpy(), scipy_log_prob(q, z), rtol=1e-10)


def test_mixture_of_distributions_log_prob_equals_scipy() -> None:
    q, z = any_mixture(), 2 * normal(K, B, L, seed=17)
    terms = [
        pair("cholesky")[1].log_prob(z).numpy(),
        mixture()[1].log_prob(z).numpy(),
        pair("standard")[1].log_prob(z).numpy(),
        scipy_log_prob(row_mixture(), z),
    ]
    expected = logsumexp(terms, axis=0, b=np.array([0.4, 0.1, 0.2, 0.3])[:, None, None])
    np.testing.assert_allclose(q.log_prob(z).numpy(), expected, rtol=1e-10)


@every_distribution
def test_log_density_of_a_draw_is_the_log_prob_there(name: str) -> None:
    q = distributions()[name]
    z, log_q = q.rsample(normal(200, B, q.noise_dim, seed=18))
    assert z.shape == (200, B, L)
    torch.testing.assert_close(log_q, q.log_prob(z))


@every_distribution
def test_selected_rows_are_those_of_the_whole(name: str) -> None:
    whole = distributions()[name]
    some, noise = whole.select(SOME), normal(50, B, whole.noise_dim, seed=19)
    assert some.noise_dim == whole.noise_dim
    for ours, theirs in zip(
        some.rsample(noise[:, SOME]), whole.rsample(noise), strict=True
    ):
        torch.testing.assert_close(ours, theirs[:, SOME])
    z = 2 * normal(K, B, L, seed=20)
    torch.testing.assert_close(some.log_prob(z[:, SOME]), whole.log_prob(z)[:, SOME])
    torch.testing.assert_close(some.mean.expand(2, L), whole.mean.expand(B, L)[SOME])


@every_distribution
def test_mean_is_that_of_the_samples(name: str) -> None:
    """Fifteen means within 4.5 standard errors; false-alarm rate 1e-4."""
    q = distributions()[name]
    z, _ = q.rsample(normal(40_000, B, q.noise_dim, seed=21))
    error = z.std(0) / len(z) ** 0.5
    assert ((z.mean(0) - q.mean).abs() < 4.5 * error).all()


@every_distribution
def test_samples_follow_the_density(name: str) -> None:
    """Their mean of cos(a · z) is the integral of the density times that.

    The integral by importance sampling from broad t distributions. Five rows and
    three a; false-alarm rate 1e-4.
    """
    q = distributions()[name]
    z, _ = q.rsample(normal(100_000, B, q.noise_dim, seed=22))
    broad = Independent(StudentT(4.0, z.median(0).values, z.std(0)), 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = broad.sample((100_000,))
    weight = (q.log_prob(y) - broad.log_prob(y)).exp()
    for factor in (0.0, 0.5, 1.5):
        slope = factor / z.std(0)
        drawn = ((z - z.mean(0)) * slope).sum(-1).cos()
        weighed = weight * ((y - z.mean(0)) * slope).sum(-1).cos()
        error = ((drawn.var(0) + weighed.var(0)) / len(z)).sqrt()
        assert (error < 0.02).all()
        assert ((drawn.mean(0) - weighed.mean(0)).abs() < 4.5 * error).all()


@pytest.mark.parametrize("name", ["row mixture", "row mixture of one"])
def test_projection_of_the_row_mixture_has_its_distribution(name: str) -> None:
    """Kolmogorov-Smirnov of the sum of latents in every row, false alarms 1e-4."""
    q = distributions()[name]
    z, _ = q.rsample(normal(5000, B, q.noise_dim, seed=23))
    for row in range(B):
        means = q._means[row].sum(-1).numpy()
        scales = q.tril[row].sum(-2).norm(dim=-1).numpy()
        weights = q.log_weight[row].exp().numpy()

        def cdf(
            t: np.ndarray,
            means: np.ndarray = means,
            scales: np.ndarray = scales,
            weights: np.ndarray = weights,
        ) -> np.ndarray:
            return sum(
                share
                * weights
                @ norm.cdf((t - means[:, None]) / (width * scales[:, None]))
                for width, share in zip(WIDTHS, SHARES, strict=True)
            )

        assert kstest(z[:, row].sum(-1).numpy(), cdf).pvalue > 1e-4


def test_mixture_of_distributions_in_one_latent_integrates_to_one() -> None:
    grid = torch.linspace(-30, 30, 6001, dtype=torch.float64)
    one = torch.ones(2, 1, dtype=torch.float64)
    parts = (
        DiagonalGaussian(torch.tensor([[-3.0], [4.0]]).double(), 0.2 * one),
        StandardNormal(one[0]),
    )
    q = MixtureOfDistributions(
        torch.tensor([0.9, 0.1], dtype=torch.float64).log(), parts
    )
    density = q.log_prob(grid[:, None, None].expand(-1, 2, 1)).exp()
    assert density.shape == (6001, 2)
    total = torch.trapezoid(density, grid, dim=0)
    torch.testing.assert_close(total, torch.ones(2).double(), rtol=1e-9, atol=0)
    peak = q.log_prob(torch.tensor([[[-3.0], [4.0]]]).double()).exp()
    assert (peak > 0.9 * 0.39 / 0.2).all()


def test_parts_are_drawn_by_their_weights() -> None:
    """Share of the narrow part within 4 standard errors of 0.05."""
    zero = torch.zeros(1, 1, dtype=torch.float64)
    parts = (StandardNormal(zero[0]), DiagonalGaussian(zero + 100, zero + 0.1))
    q = MixtureOfDistributions(
        torch.tensor([0.95, 0.05], dtype=torch.float64).log(), parts
    )
    z, _ = q.rsample(normal(20_000, 1, q.noise_dim, seed=24))
    assert abs((z > 50).double().mean().item() - 0.05) < 4 * (0.05 * 0.95 / 2e4) ** 0.5


def test_shared_distribution_is_the_same_for_each_row() -> None:
    one = DiagonalGaussian(normal(L, seed=1), normal(L, seed=2).exp())
    shared, z = SharedDistribution(one, B), normal(K, B, L)
    assert torch.equal(shared.log_prob(z), one.log_prob(z))
    for ours, theirs in zip(shared.rsample(z), one.rsample(z), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(shared.mean, one.mean.repeat(B, 1))
    assert shared.select(torch.tensor([0, 2])).mean.shape == (2, L)
    location = normal(L, seed=3).requires_grad_()
    moving = SharedDistribution(DiagonalGaussian(location, location.exp()), B)
    assert moving.log_prob(z).requires_grad
    assert not moving.detached().log_prob(z).requires_grad
