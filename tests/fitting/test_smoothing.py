"""`smoothing`: no detail finer than a share of each column's spread."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae import ConditionalVAEDensity, VAEDensity
from tests.conftest import GIVEN_QUICK, QUICK

GIVEN_PLAIN = {**GIVEN_QUICK, "marginal_transform": None}
PLAIN = {**QUICK, "marginal_transform": None}


def floors(table: np.ndarray, smoothing: float | str) -> np.ndarray:
    settings = {**PLAIN, "early_stopping": False}
    return VAEDensity(smoothing=smoothing, **settings).fit(table).columns_.floor


def test_floor_is_a_share_of_the_spread() -> None:
    normal = np.random.default_rng(0).normal(size=(2000, 2)) * [1, 50]
    assert_allclose(floors(normal, 0.3), 0.3, rtol=0.05)
    assert_array_equal(floors(normal, 0.0), 1e-3)


def test_outliers_do_not_widen_the_floor() -> None:
    """In units of the input: 2 % of the rows 100 standard deviations away."""
    rows = np.random.default_rng(0).normal(size=(1000, 1))
    rows[:20] = 100 + np.arange(20)[:, None]
    density = VAEDensity(smoothing=0.3, **PLAIN).fit(rows)
    floor = density.columns_.floor[0] * density.columns_.scale[0]
    assert floor == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize(
    ("shape", "expected"), [((1000, 2), 0.0036), ((200, 4), 0.36), ((60, 9), 0.6)]
)
def test_auto_goes_by_rows_per_column(shape: tuple[int, int], expected: float) -> None:
    table = np.random.default_rng(0).normal(size=shape)
    assert_allclose(floors(table, "auto"), floors(table, expected))


def test_rows_that_are_the_same_value_have_the_standard_deviation_as_spread() -> None:
    column = np.zeros(500)
    column[:20] = np.linspace(5, 6, 20)
    assert_allclose(floors(np.c_[column, np.arange(500)], 0.2)[0], 0.2)
    assert_array_equal(floors(np.full((50, 1), 7.0), 0.2), 0.2)


def test_no_density_is_above_that_of_a_normal_of_the_floor() -> None:
    """A spike of repeated values reaches the bound; nothing can be above it."""
    rng = np.random.default_rng(0)
    spike = np.where(rng.random(400) < 0.8, 0.0, rng.normal(size=400))
    table = spike[:, None]
    settings = {**PLAIN, "max_iter": 100, "background": None}
    smooth = VAEDensity(smoothing=0.5, **settings).fit(table)
    width = smooth.columns_.floor * smooth.columns_.scale
    most = -np.log(width * np.sqrt(2 * np.pi)).sum()
    assert most - 0.5 < smooth.score_samples(table).max() <= most


def test_integer_weights_are_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    table, weight = rng.normal(size=(120, 3)), rng.integers(0, 4, size=120)
    density = VAEDensity(smoothing="auto", **PLAIN)
    weighted = density.fit(table, sample_weight=weight).score_samples(table)
    repeated = density.fit(np.repeat(table, weight, axis=0)).score_samples(table)
    assert_allclose(weighted, repeated, rtol=1e-7)


def test_conditional_densities_are_smoothed_too() -> None:
    rng = np.random.default_rng(0)
    table, given = rng.normal(size=(300, 2)), rng.normal(size=300)
    density = ConditionalVAEDensity(smoothing=0.25, **GIVEN_PLAIN).fit(
        given[:, None], table
    )
    assert_allclose(density.columns_.modelled.floor, 0.25, rtol=0.1)
