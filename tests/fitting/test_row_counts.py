"""For how many rows a weight counts: whole numbers as such, others by their ratios."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skvae import VAEDensity
from skvae.fitting.row_counts import row_counts
from tests.conftest import QUICK


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    return np.random.default_rng(6).uniform(0.2, 5, size=200)


@pytest.mark.parametrize("factor", [1 / 7, 3.7, 60.1, 1e-12, 1e-310, 1e300])
def test_the_scale_of_the_weights_changes_nothing(
    factor: float, table: np.ndarray, weight: np.ndarray
) -> None:
    one = VAEDensity(**QUICK).fit(table, sample_weight=weight)
    other = VAEDensity(**QUICK).fit(table, sample_weight=factor * weight)
    state = other.model_.state_dict()
    for name, value in one.model_.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert one.history_[-1]["evidence"] == other.history_[-1]["evidence"]


@pytest.mark.parametrize("value", [1 / 7, 0.1, 1e-300, 1.5])
def test_equal_weights_equal_no_weights(
    value: float, table: np.ndarray, density: VAEDensity
) -> None:
    fitted = VAEDensity(**QUICK).fit(table, sample_weight=value)
    assert_array_equal(fitted.score_samples(table), density.score_samples(table))


def test_whole_numbers_are_counts() -> None:
    count = np.array([0.0, 3, 1, 2])
    assert_array_equal(row_counts(count), count)
    assert_array_equal(row_counts(7 * count), 7 * count)


@pytest.mark.parametrize("weight", [[0, 0.3, 0.1, 0.2], [0, 3e300, 1e300, 2e300]])
def test_other_weights_count_for_the_number_of_rows(weight: list[float]) -> None:
    count = row_counts(np.array(weight))
    np.testing.assert_allclose(count, [0, 1.5, 0.5, 1], rtol=1e-8)


def test_no_weight_is_too_large_or_too_small() -> None:
    for scale in (1e-320, 1e-300, 1.0, 1e300):
        count = row_counts(scale * np.array([0.5, 1.0, 1.5]))
        assert np.isfinite(count).all() and (count > 0).all()


def test_huge_weights_do_not_make_long_epochs() -> None:
    """Floats near 1e300 are whole numbers, but no number of rows."""
    rows = np.random.default_rng(0).normal(size=(5, 2))
    fit = VAEDensity(batch_size=1, **QUICK).fit(rows, sample_weight=np.full(5, 1e300))
    plain = VAEDensity(batch_size=1, **QUICK).fit(rows)
    assert_array_equal(fit.score_samples(rows), plain.score_samples(rows))
