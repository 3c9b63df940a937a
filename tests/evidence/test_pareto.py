"""The tail shape of importance weights."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import genpareto
from torch import Tensor

from skvae.evidence.pareto import pareto_k, pareto_k_limit


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.7])
def test_shape_of_generalised_pareto_weights_is_recovered(k: float) -> None:
    weights = genpareto.rvs(c=k, size=(4000, 200), random_state=0)
    estimate = pareto_k(torch.from_numpy(np.log(weights)))
    assert estimate.mean().item() == pytest.approx(k, abs=0.15)


def test_shape_of_infinite_mean_weights_is_above_the_limit() -> None:
    weights = genpareto.rvs(c=1.5, size=(4000, 100), random_state=0)
    assert (pareto_k(torch.from_numpy(np.log(weights))) > 0.7).all()


def test_heavier_tails_have_larger_shapes() -> None:
    """Weights of a proposal that is too narrow, by a factor a, have k = 1 − a²."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, 50, dtype=torch.float64, generator=generator)
    estimates = []
    for ratio in (1.2, 0.9, 0.7, 0.5):
        z = ratio * noise
        log_w = -0.5 * z.square() + 0.5 * noise.square()
        estimates.append(pareto_k(log_w).mean().item())
    assert estimates == sorted(estimates)
    assert estimates[0] < 0.2
    assert estimates[-1] > 0.5


@pytest.mark.parametrize(
    ("n_samples", "limit"),
    [(10, 0.0), (100, 0.5), (1000, 2 / 3), (2154, 0.7), (10**4, 0.7), (10**6, 0.7)],
)
def test_limit_grows_with_the_samples_to_seven_tenths(
    n_samples: int, limit: float
) -> None:
    result = pareto_k_limit(torch.tensor([n_samples]))
    assert result.item() == pytest.approx(limit, abs=1e-4)


def test_limit_of_few_samples_is_a_number() -> None:
    limit = pareto_k_limit(torch.tensor([1, 2, 3, 25]))
    assert limit.isfinite().all()
    assert (limit.diff() >= 0).all()


def test_equal_weights_have_the_lightest_tail() -> None:
    assert (pareto_k(torch.zeros(100, 3).double()) == -math.inf).all()


@pytest.mark.parametrize(("n_samples", "is_nan"), [(24, True), (25, False)])
def test_too_few_weights_have_no_shape(n_samples: int, is_nan: bool) -> None:
    log_w = torch.linspace(-1, 1, n_samples, dtype=torch.float64)[:, None]
    assert math.isnan(pareto_k(log_w).item()) == is_nan


@pytest.mark.parametrize("constant", [-1e6, -30.0, 1e6])
def test_constant_does_not_change_the_shape(constant: float) -> None:
    generator = torch.Generator().manual_seed(0)
    log_w = torch.randn(500, 20, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(
        pareto_k(log_w + constant), pareto_k(log_w), rtol=1e-6, atol=1e-6
    )


def test_order_of_the_weights_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    log_w = torch.randn(500, 4, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(pareto_k(log_w.flip(0)), pareto_k(log_w))


def test_rows_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    log_w = torch.randn(500, 4, dtype=torch.float64, generator=generator)
    log_w[:, 1] = 0
    torch.testing.assert_close(pareto_k(log_w)[2:3], pareto_k(log_w[:, 2:3]))


@pytest.mark.parametrize("spread", [50.0, 1000.0, 1e6])
def test_weights_of_all_sizes_have_a_shape_above_the_limit(spread: float) -> None:
    """As for far rows, whose log weights differ by thousands of nats."""
    generator = torch.Generator().manual_seed(0)
    log_w: Tensor = spread * torch.randn(
        256, 20, dtype=torch.float64, generator=generator
    )
    assert (pareto_k(log_w) > 0.7).all()


@pytest.mark.parametrize("n_samples", [2, 24, 64])
def test_equal_weights_have_no_tail(n_samples: int) -> None:
    assert (pareto_k(torch.full((n_samples, 3), -2.0)) == -torch.inf).all()


def test_one_weight_has_no_shape() -> None:
    assert pareto_k(torch.zeros(1, 3)).isnan().all()
