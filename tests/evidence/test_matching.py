"""Gaussians moved until they match a posterior."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from skvae.evidence.matching import Gaussians, match_gaussians

N_ROWS, L, K = 6, 4, 32
# Log of the integral of each target.
LOG_NORMALISER = torch.linspace(-300, 40, N_ROWS, dtype=torch.float64)

LogDensity = Callable[[Tensor], tuple[Tensor, Tensor]]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def target(condition: float) -> MultivariateNormal:
    """Return Gaussians of random directions, whose variances differ that much."""
    variance = torch.logspace(
        -0.5 * math.log10(condition), 0.5 * math.log10(condition), L
    ).double()
    direction = torch.linalg.qr(normal(N_ROWS, L, L, seed=1)).Q
    covariance = direction @ torch.diag(variance) @ direction.mT
    return MultivariateNormal(normal(N_ROWS, L, seed=2), covariance)


def log_density_of(twin: MultivariateNormal) -> LogDensity:
    def log_density(z: Tensor) -> tuple[Tensor, Tensor]:
        gradient = -torch.einsum("bij,kbj->kbi", twin.precision_matrix, z - twin.mean)
        return twin.log_prob(z) + LOG_NORMALISER[: z.shape[1]], gradient

    return log_density


def start(twin: MultivariateNormal, distance: float = 0.0) -> Gaussians:
    """Return unit Gaussians, `distance` of the target's standard deviations aside."""
    aside = twin.scale_tril @ torch.full((L, 1), distance / L**0.5).double()
    tril = torch.eye(L, dtype=torch.float64).expand(N_ROWS, L, L)
    return Gaussians(
        twin.mean + aside.squeeze(-1), tril, torch.full((N_ROWS,), -math.inf).double()
    )


def match(
    log_density: LogDensity, gaussians: Gaussians, pull: float, n_steps: int
) -> Gaussians:
    for step in range(n_steps):
        noise = normal(K, len(gaussians.mean), L, seed=10 + step)
        gaussians = match_gaussians(log_density, gaussians, noise, pull)
    return gaussians


def assert_matched(ours: Gaussians, twin: MultivariateNormal, tolerance: float) -> None:
    """Compare in units in which the target is N(0, I)."""
    whiten = torch.linalg.inv(twin.scale_tril)
    mean = whiten @ (ours.mean - twin.mean)[..., None]
    factor = whiten @ ours.tril
    eye = torch.eye(L, dtype=torch.float64).expand(N_ROWS, L, L)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=tolerance)
    torch.testing.assert_close(factor @ factor.mT, eye, rtol=0, atol=tolerance)


@pytest.mark.parametrize("condition", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("distance", [0.0, 50.0])
def test_gaussian_is_matched_in_a_few_steps(distance: float, condition: float) -> None:
    twin = target(condition)
    result = match(log_density_of(twin), start(twin, distance), 1e6, n_steps=4)
    assert_matched(result, twin, 1e-3)


def test_small_pull_is_slower_but_arrives() -> None:
    twin = target(10.0)
    slow, fast = (
        match(log_density_of(twin), start(twin, 5.0), pull, n_steps=3)
        for pull in (0.3, 30.0)
    )
    distance = [
        (twin.precision_matrix @ (one.mean - twin.mean)[..., None]).norm().item()
        for one in (slow, fast)
    ]
    assert distance[0] > 3 * distance[1]
    arrived = match(log_density_of(twin), start(twin, 5.0), 0.3, n_steps=60)
    assert_matched(arrived, twin, 0.05)


def test_matched_gaussian_stays() -> None:
    twin = target(100.0)
    gaussians = Gaussians(twin.mean, twin.scale_tril, LOG_NORMALISER)
    moved = match(log_density_of(twin), gaussians, 3.0, n_steps=2)
    assert_matched(moved, twin, 1e-6)


def test_mass_of_a_matched_target_is_its_integral() -> None:
    twin = target(100.0)
    result = match(log_density_of(twin), start(twin, 5.0), 1e6, n_steps=6)
    torch.testing.assert_close(result.log_mass, LOG_NORMALISER, rtol=0, atol=1e-2)


def test_mass_before_a_match_is_an_estimate_of_the_integral() -> None:
    """The mean over 400 rows of 32 draws each agrees within 4 standard errors."""
    n = 400

    def log_density(z: Tensor) -> tuple[Tensor, Tensor]:  # 7 times N(0.5, 1)
        value = -0.5 * (z - 0.5).square().sum(-1) - 0.5 * L * math.log(2 * math.pi)
        return value + math.log(7), 0.5 - z

    tril = 1.3 * torch.eye(L, dtype=torch.float64).expand(n, L, L)
    gaussians = Gaussians(torch.zeros(n, L).double(), tril, torch.zeros(n).double())
    noise = normal(K, n, L)
    mass = match_gaussians(log_density, gaussians, noise, 1.0).log_mass.exp()
    assert abs(mass.mean().item() - 7) < 4 * mass.std().item() / n**0.5
    assert mass.std() < 4


def test_draws_are_made_from_the_present_gaussian() -> None:
    twin, seen = target(10.0), []

    def spy(z: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(z)
        return log_density_of(twin)(z)

    gaussians, noise = start(twin, 1.0), normal(K, N_ROWS, L)
    match_gaussians(spy, gaussians, noise, 1.0)
    (z,) = seen
    torch.testing.assert_close(z, gaussians.mean + noise)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e75, -1e150])
@pytest.mark.parametrize("n_bad", [1, K])
def test_row_without_a_usable_gradient_rests_and_disturbs_no_other(
    n_bad: int, value: float
) -> None:
    twin, bad = target(10.0), 2

    def broken(z: Tensor) -> tuple[Tensor, Tensor]:
        log_p, gradient = log_density_of(twin)(z)
        gradient[:n_bad, bad, 1] = value
        return log_p, gradient

    gaussians, noise = start(twin, 2.0), normal(K, N_ROWS, L)
    result = match_gaussians(broken, gaussians, noise, 3.0)
    plain = match_gaussians(log_density_of(twin), gaussians, noise, 3.0)
    torch.testing.assert_close(result.mean[bad], gaussians.mean[bad], rtol=0, atol=0)
    torch.testing.assert_close(result.tril[bad], gaussians.tril[bad], rtol=0, atol=0)
    others = torch.arange(N_ROWS) != bad
    for name, values in vars(result).items():
        torch.testing.assert_close(values[others], getattr(plain, name)[others])
    assert (plain.mean[bad] - gaussians.mean[bad]).abs().max() > 0.1


def test_rows_do_not_touch_each_other() -> None:
    twin, noise = target(100.0), normal(K, N_ROWS, L)
    together = match_gaussians(log_density_of(twin), start(twin, 3.0), noise, 3.0)
    for row in range(N_ROWS):
        one = MultivariateNormal(
            twin.mean[row : row + 1], scale_tril=twin.scale_tril[row : row + 1]
        )
        begin = Gaussians(*(v[row : row + 1] for v in vars(start(twin, 3.0)).values()))
        alone = match_gaussians(
            log_density_of(one), begin, noise[:, row : row + 1], 3.0
        )
        torch.testing.assert_close(alone.mean[0], together.mean[row])
        torch.testing.assert_close(alone.tril[0], together.tril[row])


def test_score_of_any_target_is_matched_at_the_fixed_point() -> None:
    """For a target that is not Gaussian: E ∇ log p = 0 over the fitted Gaussian."""

    def log_density(z: Tensor) -> tuple[Tensor, Tensor]:  # Σ −log cosh(z − 1)
        return -torch.log(torch.cosh(z - 1)).sum(-1), -torch.tanh(z - 1)

    gaussians = Gaussians(
        normal(N_ROWS, L, seed=4),
        torch.eye(L, dtype=torch.float64).expand(N_ROWS, L, L),
        torch.zeros(N_ROWS).double(),
    )
    for _ in range(60):
        noise = normal(4096, N_ROWS, L, seed=5)
        gaussians = match_gaussians(log_density, gaussians, noise, 3.0)
    z = gaussians.mean + torch.einsum(
        "bij,kbj->kbi", gaussians.tril, normal(4096, N_ROWS, L, seed=5)
    )
    assert log_density(z)[1].mean(0).abs().max() < 0.05
    torch.testing.assert_close(
        gaussians.mean, torch.ones_like(gaussians.mean), rtol=0, atol=0.1
    )
    assert (gaussians.tril.diagonal(dim1=1, dim2=2) > 1).all()
