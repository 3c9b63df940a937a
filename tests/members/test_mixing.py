"""Weights of mixtures, and their log-densities."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from skvae.members.mixing import log_joint, log_mixture, mixing_weights

Array = np.ndarray


def test_mixture_is_the_sum_of_its_parts() -> None:
    log_density = np.array([[-1.0, -2.0, -3.0], [-np.inf, -1.0, 0.0]])
    weights = np.array([0.25, 0.75, 0.0])
    joint = log_joint(log_density, weights)
    assert_allclose(np.exp(joint), weights * np.exp(log_density))
    expected = np.log((weights * np.exp(log_density)).sum(1))
    assert_allclose(log_mixture(log_density, weights), expected)
    assert log_mixture(np.full((1, 2), -np.inf), np.array([0.5, 0.5])) == -np.inf


@pytest.mark.parametrize("spread", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("n_members", [2, 7])
def test_weights_are_the_maximum_that_a_general_optimiser_finds(
    spread: float, n_members: int
) -> None:
    rng = np.random.default_rng(0)
    rows = 5 * rng.normal(size=(300, 1))
    log_density = rows + spread * rng.normal(size=(300, n_members))
    weight = rng.uniform(0.5, 2, 300)

    def value(logits: Array) -> float:
        log_weights = logits - np.logaddexp.reduce(logits)
        mixed = np.logaddexp.reduce(log_density + log_weights, axis=1)
        return float(np.average(mixed, weights=weight))

    found = mixing_weights(log_density, weight)
    rival = minimize(lambda x: -value(x), np.zeros(n_members), tol=1e-12)
    with np.errstate(divide="ignore"):
        best = value(np.log(found.weights))
    assert best >= -rival.fun - 1e-9
    # The bound holds, and is tight.
    assert 0 <= found.gap < 1e-7
    assert_allclose(found.weights.sum(), 1)
    assert best >= np.average(log_density, axis=0, weights=weight).max()


def test_weights_of_two_boxes_are_shares_of_rows() -> None:
    """With disjoint supports the maximum is in closed form."""
    log_density = np.full((10, 3), -np.inf)
    log_density[:7, 0] = 3.0
    log_density[7:, 1] = -2.0
    weight = np.r_[np.ones(7), 2 * np.ones(3)]
    found = mixing_weights(log_density, weight)
    assert_allclose(found.weights, [7 / 13, 6 / 13, 0], atol=1e-9)
    assert found.weights[2] == 0


def test_weights_do_not_know_rows_without_density_or_huge_shifts() -> None:
    rng = np.random.default_rng(0)
    log_density = rng.normal(size=(200, 4))
    weight = np.ones(200)
    expected = mixing_weights(log_density, weight).weights
    for shift in (1e6, -1e8):
        shifted = mixing_weights(log_density + shift, weight).weights
        assert_allclose(shifted, expected, atol=1e-5)
    with_empty = np.r_[log_density, np.full((50, 4), -np.inf)]
    found = mixing_weights(with_empty, np.ones(250))
    assert_allclose(found.weights, expected, atol=1e-8)
    nothing = mixing_weights(np.full((5, 2), -np.inf), np.ones(5))
    assert_array_equal(nothing.weights, 0.5)


def test_equal_members_share_their_weight() -> None:
    rng = np.random.default_rng(0)
    log_density = rng.normal(size=(200, 3))[:, [0, 1, 2, 0]]
    weights = mixing_weights(log_density, np.ones(200)).weights
    assert_allclose(weights[0], weights[3], rtol=1e-6)
    alone = mixing_weights(np.zeros((5, 3)), np.ones(5)).weights
    assert_array_equal(alone, 1 / 3)


def test_a_gap_bounds_what_is_left_to_gain() -> None:
    """f* − f ≤ max g − 1 holds at any weights, not only at the best ones."""
    rng = np.random.default_rng(0)
    log_density = rng.normal(size=(100, 3))
    best = mixing_weights(log_density, np.ones(100)).weights
    density = np.exp(log_density)
    for _ in range(20):
        mixed = density @ rng.dirichlet(np.ones(3))
        gap = (density / mixed[:, None]).mean(0).max() - 1
        assert np.log(density @ best).mean() - np.log(mixed).mean() <= gap
