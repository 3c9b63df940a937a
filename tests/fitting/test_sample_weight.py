"""Weights: integers are repeated rows, and the density follows them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skvae import GaussianLikelihood, VAEDensity
from tests.conftest import QUICK

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {"decoder": "auto"},
    "no validation": {"early_stopping": False},
    "normal margins": {"marginal_transform": "normal", "early_stopping": True},
    "small batches, dropout": {"batch_size": 32, "dropout": 0.3},
    "simple parts": {
        "prior": "normal",
        "posterior": "diagonal",
        "likelihood": GaussianLikelihood(scale="column"),
        "objective": "elbo",
    },
}


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 4, size=200)


@pytest.mark.parametrize("name", VARIANTS)
def test_integer_weights_equal_repeated_rows(
    name: str, table: np.ndarray, counts: np.ndarray
) -> None:
    repeated = np.repeat(table, counts, axis=0)
    shuffled = np.random.default_rng(4).permutation(repeated)
    settings = {**QUICK, **VARIANTS[name]}
    a = VAEDensity(**settings).fit(table, sample_weight=counts)
    b = VAEDensity(**settings).fit(shuffled)
    assert_array_equal(a.score_samples(table), b.score_samples(table))
    assert_array_equal(a.sample(20), b.sample(20))
    assert a.best_iter_ == b.best_iter_


def test_integer_weights_equal_repeated_rows_of_zeros_and_ones(
    binary_table: np.ndarray,
) -> None:
    rows, weight = np.unique(binary_table, axis=0, return_counts=True)
    a = VAEDensity(likelihood="bernoulli", **QUICK).fit(rows, sample_weight=weight)
    b = VAEDensity(likelihood="bernoulli", **QUICK).fit(binary_table)
    assert_array_equal(a.score_samples(rows), b.score_samples(rows))


def test_integer_weights_equal_repeated_rows_in_partial_fit(
    table: np.ndarray, counts: np.ndarray
) -> None:
    a, b = VAEDensity(**QUICK), VAEDensity(**QUICK)
    for _ in range(2):
        a.partial_fit(table, sample_weight=counts)
        b.partial_fit(np.repeat(table, counts, axis=0))
    assert_array_equal(a.score_samples(table), b.score_samples(table))


def test_zero_weight_equals_removal(table: np.ndarray) -> None:
    weight = np.ones(len(table))
    weight[::3] = 0
    wild = table.copy()
    wild[::3] *= 1e6
    a = VAEDensity(**QUICK).fit(wild, sample_weight=weight)
    b = VAEDensity(**QUICK).fit(table[weight > 0])
    assert_array_equal(a.score_samples(table), b.score_samples(table))
    assert_array_equal(a.sample(20), b.sample(20))


@pytest.mark.parametrize("weight", [1.0, np.ones(200), [1] * 200, [True] * 200])
def test_unit_weights_equal_no_weights(
    weight: Any, table: np.ndarray, density: VAEDensity
) -> None:
    fitted = VAEDensity(**QUICK).fit(table, sample_weight=weight)
    assert_array_equal(fitted.score_samples(table), density.score_samples(table))


@pytest.mark.parametrize("dtype", [np.float32, np.int8, object])
def test_the_type_of_the_weights_does_not_matter(
    dtype: Any, table: np.ndarray, counts: np.ndarray
) -> None:
    a = VAEDensity(**QUICK).fit(table, sample_weight=counts)
    b = VAEDensity(**QUICK).fit(table, sample_weight=counts.astype(dtype))
    c = VAEDensity(**QUICK).fit(table, sample_weight=pd.Series(counts))
    assert_array_equal(a.score_samples(table), b.score_samples(table))
    assert_array_equal(a.score_samples(table), c.score_samples(table))


@pytest.mark.parametrize("factor", [0.5, 2.0**-10, 2.0**-900])
def test_fractional_weights_below_the_number_of_rows_only_matter_relatively(
    factor: float, table: np.ndarray
) -> None:
    weight = np.random.default_rng(6).uniform(0.1, 1, size=len(table))
    a = VAEDensity(**QUICK).fit(table, sample_weight=weight)
    b = VAEDensity(**QUICK).fit(table, sample_weight=factor * weight)
    assert_array_equal(a.score_samples(table), b.score_samples(table))


@pytest.mark.parametrize("factor", [1e-3, 1e-12, 1e-300])
def test_a_scale_of_the_weights_that_rounds_hardly_matters(
    factor: float, table: np.ndarray
) -> None:
    weight = np.random.default_rng(6).uniform(0.1, 1, size=len(table))
    a = VAEDensity(**QUICK).fit(table, sample_weight=weight)
    b = VAEDensity(**QUICK).fit(table, sample_weight=factor * weight)
    difference = np.abs(a.score_samples(table) - b.score_samples(table))
    # Rounding of the factor may move a draw from a row to its neighbour.
    assert np.median(difference) < 0.05


def test_huge_weights_are_an_error_or_a_density(table: np.ndarray) -> None:
    weight = np.ones(len(table))
    weight[0] = 1e300
    try:
        fitted = VAEDensity(**QUICK).fit(table, sample_weight=weight)
    except ValueError as error:
        assert "sample_weight" in str(error)
    else:
        assert np.isfinite(fitted.score_samples(table)).all()


def test_only_two_rows_of_positive_weight_are_enough(table: np.ndarray) -> None:
    weight = np.zeros(len(table))
    weight[[3, 5]] = 1
    fitted = VAEDensity(**QUICK).fit(table, sample_weight=weight)
    assert np.isfinite(fitted.score_samples(table)).all()


def test_the_density_follows_the_weights() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(-4, 1, size=(300, 1)), rng.normal(4, 1, size=(300, 1))
    table = np.r_[left, right]
    weight = np.r_[np.full(300, 1.5), np.full(300, 0.5)]
    settings = {**QUICK, "max_iter": 30, "max_evidence_samples": 256}
    fitted = VAEDensity(**settings).fit(table, sample_weight=weight)
    even = VAEDensity(**settings).fit(table)
    gain = fitted.score_samples(table) - even.score_samples(table)
    # log 1.5 = 0.41 and log 0.5 = −0.69 for the true densities.
    assert np.median(gain[:300]) == pytest.approx(np.log(1.5), abs=0.2)
    assert np.median(gain[300:]) == pytest.approx(np.log(0.5), abs=0.3)
    # 4,000 draws of a share of 0.75 have a standard deviation of 0.007; the fit
    # itself may be off by a few per cent.
    share = (fitted.sample(4000) < 0).mean()
    assert share == pytest.approx(0.75, abs=0.06)


def test_score_is_the_weighted_mean_of_the_log_densities(
    table: np.ndarray, density: VAEDensity, counts: np.ndarray
) -> None:
    evidence = density.evidence(table)  # at a tolerance that is as coarse
    log_density = evidence.unbiased()
    expected = float(np.sum(counts * log_density) / counts.sum())
    assert density.score(table, sample_weight=counts) == pytest.approx(expected)
    assert density.score(table) == pytest.approx(log_density.mean())
    repeated = density.score(np.repeat(table, counts, axis=0))
    assert repeated == pytest.approx(expected, rel=1e-12)


def test_zero_weighted_rows_do_not_count_in_score(
    table: np.ndarray, density: VAEDensity
) -> None:
    weight = np.r_[np.ones(100), np.zeros(100)]
    far = np.r_[table[:100], 1e6 * table[100:]]
    assert density.score(far, sample_weight=weight) == pytest.approx(
        density.score(table[:100]), rel=1e-12
    )
