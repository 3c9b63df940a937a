"""A worked check of estimators: p(x | z) = N(2.5 z + 0.5, 0.1²), p(z) = N(0, 1), x = 0.

There log p(0) = −1.85600 and the posterior of z is N(−0.19968, 0.03997²).
"""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from skvae.evidence.importance import summarise
from skvae.model import VAE
from skvae.training.objectives import ELBO, IWAE

MakeVAE = Callable[..., VAE]

LOG_P = -1.85600
N_REPEATS = 20_000


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def zeros(n_rows: int) -> Tensor:
    return torch.zeros(n_rows, 1, dtype=torch.float64)


@pytest.fixture
def make_vae(linear_gaussian: MakeVAE) -> MakeVAE:
    def make(**encoder: float) -> VAE:
        return linear_gaussian([[2.5]], [0.5], [0.1], **encoder)

    return make


@torch.no_grad()
def estimates(vae: VAE, *, from_prior: bool = False) -> Tensor:
    """Return independent values of p̂(0) from 100 random draws each."""
    x, noise = zeros(N_REPEATS), normal(100, N_REPEATS, 1)
    proposal = vae.prior() if from_prior else vae.encode(x)
    draw = vae.draw_from(proposal, x, noise)
    return summarise(draw.log_w).log_density.exp()


def deviation_and_its_error(values: Tensor) -> tuple[float, float]:
    squares = (values - values.mean()).square()
    deviation = squares.mean().sqrt()
    error = squares.std() / (2 * deviation * len(values) ** 0.5)
    return deviation.item(), error.item()


def test_posterior_is_the_stated_one(make_vae: MakeVAE) -> None:
    q = make_vae().encode(zeros(1))
    assert q.mean.item() == pytest.approx(-0.19968, abs=5e-6)
    assert q.tril.item() == pytest.approx(0.03997, abs=5e-6)


def test_exact_posterior_gives_the_density_without_error(make_vae: MakeVAE) -> None:
    values = estimates(make_vae())
    assert values.log().mean().item() == pytest.approx(LOG_P, abs=5e-6)
    assert values.std().item() < 1e-9


@pytest.mark.parametrize(
    ("encoder", "stated", "digit"),
    [
        ({"from_prior": True}, 0.0645, 1e-4),
        ({"inflation": 1.2}, 0.0035, 1e-4),
        ({"inflation": 2.0}, 0.0112, 1e-4),
        ({"shift": 0.03997}, 0.0205, 1e-4),
    ],
    ids=["prior", "1.2 sd", "2 sd", "one sd aside"],
)
def test_deviation_of_an_estimate_from_a_hundred_draws(
    encoder: dict[str, float], stated: float, digit: float, make_vae: MakeVAE
) -> None:
    """Within half of the last stated digit and five standard errors of the sd.

    Of 20,000 repeats an sd has a standard error of about 1 %.
    """
    from_prior = bool(encoder.pop("from_prior", False))
    values = estimates(make_vae(**encoder), from_prior=from_prior)
    deviation, error = deviation_and_its_error(values)
    assert error < 0.05 * stated
    assert deviation == pytest.approx(stated, abs=digit / 2 + 5 * error)


@pytest.mark.parametrize(
    "encoder", [{"inflation": 1.2}, {"inflation": 2.0}, {"shift": 0.03997}], ids=str
)
def test_estimates_are_unbiased(encoder: dict[str, float], make_vae: MakeVAE) -> None:
    values = estimates(make_vae(**encoder))
    error = values.std() / len(values) ** 0.5
    assert (values.mean() - math.exp(LOG_P)).abs() < 5 * error


def test_bounds_are_ordered_in_expectation(make_vae: MakeVAE) -> None:
    """ELBO = IWAE₁ ≤ IWAE₂ ≤ IWAE₈ ≤ IWAE₆₄ ≤ log p, by more than 4 standard errors."""
    vae, n = make_vae(inflation=1.5, shift=0.03), N_REPEATS
    bounds: list[tuple[float, float]] = []
    with torch.no_grad():
        for seed, n_draws in enumerate((1, 2, 8, 64)):
            draw = vae.draw(zeros(n), normal(n_draws, n, 1, seed=seed))
            bound = IWAE().bound(draw, 0.0)
            bounds.append((bound.mean().item(), bound.std().item() / n**0.5))
        elbo = ELBO().bound(vae.draw(zeros(n), normal(1, n, 1, seed=9)), 0.0)
    bounds.append((LOG_P, 0.0))
    for (lower, error), (upper, other) in pairwise(bounds):
        assert upper - lower > 4 * math.hypot(error, other)
    difference = elbo.mean().item() - bounds[0][0]
    assert abs(difference) < 4 * math.hypot(elbo.std().item() / n**0.5, bounds[0][1])


def test_bound_does_not_put_the_divergence_outside_the_mean(
    make_vae: MakeVAE,
) -> None:
    """log E_q p(x | z) − KL overstates log p, here by ½ (1 − log 2) = 0.153 nat."""
    vae, n = make_vae(), 100_000
    with torch.no_grad():
        draw = vae.draw(zeros(1).expand(1, 1), normal(n, 1, 1))
        wrong = draw.log_p_x.logsumexp(0) - math.log(n) - draw.kl
        bound = IWAE().bound(draw, 0.0)
    assert (wrong - LOG_P).item() == pytest.approx(0.153, abs=0.005)
    assert bound.item() == pytest.approx(LOG_P, abs=1e-5)
