"""Rows with missing cells, where the model's columns are sums of the table's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from skvae import AutoregressiveDecoder, ConditionalVAEDensity, VAEDensity
from tests.conftest import GIVEN_QUICK, QUICK

N = 250
EXACT = {
    **QUICK,
    "decoder": AutoregressiveDecoder((16,), reads_latents=False),
    "marginal_transform": "whitened",
}


@pytest.fixture(scope="module")
def thin() -> np.ndarray:
    """Three columns of different units; two nearly determine the third."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, N))
    c = a + 0.5 * a**2 + b + 0.05 * rng.standard_t(5, size=N)
    return np.c_[a, 10 + 5 * b, 100 * c]


@pytest.fixture(scope="module")
def exact(thin: np.ndarray) -> VAEDensity:
    """A density whose log p of complete rows has no error."""
    return VAEDensity(**{**EXACT, "companion": None, "max_iter": 20}).fit(thin)


@pytest.fixture(scope="module")
def default(thin: np.ndarray) -> VAEDensity:
    return VAEDensity(**QUICK, marginal_transform="whitened").fit(thin)


def _without(rows: np.ndarray, column: int) -> np.ndarray:
    rows = rows.copy()
    rows[:, column] = np.nan
    return rows


def _along(density: VAEDensity, row: np.ndarray, column: int) -> tuple:
    """Return values of a cell and the density of the row with each of them."""
    known = density.conditional(row[None], column)
    reach = np.linspace(-25, 25, 2001)
    values = known.mean()[0] + known.std()[0] * reach
    rows = np.repeat(row[None], len(values), 0)
    rows[:, column] = values
    return values, np.exp(density.score_samples(rows))


@pytest.mark.parametrize("column", [0, 1, 2])
def test_log_p_of_observed_cells_is_the_integral_over_the_missing_one(
    exact: VAEDensity, thin: np.ndarray, column: int
) -> None:
    rows = thin[:6]
    evidence = exact.evidence(_without(rows, column), tol=0.02, max_samples=8192)
    for row, log_p, error in zip(
        rows, evidence.log_density, evidence.standard_error, strict=True
    ):
        values, density = _along(exact, row, column)
        integral = np.log(np.trapezoid(density, values))
        # Of 18 rows, one fails by chance in 900 runs.
        assert abs(log_p - integral) < 4.2 * error + 1e-3
    assert (evidence.standard_error < 0.05).all()


def test_two_missing_cells_leave_the_margin_of_the_third(
    exact: VAEDensity, thin: np.ndarray
) -> None:
    grid = np.linspace(-8, 8, 801)
    rows = np.full((len(grid), 3), np.nan)
    rows[:, 0] = grid
    p = np.exp(exact.score_samples(rows))
    assert np.trapezoid(p, grid) == pytest.approx(1, abs=0.02)
    drawn = exact.sample(4000, random_state=0)[:, 0]
    below = np.interp(drawn, grid, np.concatenate([[0], np.cumsum(p[1:] + p[:-1])]))
    assert stats.kstest(below / below.max(), "uniform").statistic < 0.05


def test_conditional_mean_deviation_and_density_are_those_of_the_integral(
    exact: VAEDensity, thin: np.ndarray
) -> None:
    rows = _without(thin[:5], 2)
    known = exact.conditional(rows, 2)
    q = known.quantile([0.05, 0.5, 0.95])
    assert_allclose(known.cdf(q), np.tile([0.05, 0.5, 0.95], (5, 1)), atol=1e-6)
    for number, row in enumerate(thin[:5]):
        values, density = _along(exact, row, 2)
        share = density / density.sum()
        mean = share @ values
        deviation = np.sqrt(share @ (values - mean) ** 2)
        assert known.mean()[number] == pytest.approx(mean, abs=0.3 * deviation)
        assert known.std()[number] == pytest.approx(deviation, rel=0.25)


def test_rows_are_read_alike_whatever_the_others_are(
    default: VAEDensity, thin: np.ndarray
) -> None:
    rows = thin[:23].copy()
    rows[::2, 1] = np.nan
    rows[::3, 2] = np.nan
    rows[6] = np.nan
    scores = default.score_samples(rows)
    assert scores[6] == 0
    for some in ([3], [4], [5, 0, 12], range(22, 7, -1)):
        assert_array_equal(default.score_samples(rows[list(some)]), scores[list(some)])
    filled = default.impute(rows)
    assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])
    assert np.isfinite(filled).all()
    for some in ([4], [12, 6, 0]):
        assert_array_equal(default.impute(rows[some]), filled[some])
    whole = ~np.isnan(rows).any(1)
    assert_array_equal(scores[whole], default.score_samples(thin[:23][whole]))


def test_draws_of_missing_cells_follow_the_density(
    exact: VAEDensity, thin: np.ndarray
) -> None:
    row = thin[3]
    drawn = np.array(exact.impute(_without(row[None], 2), n_draws=200))[:, 0, 2]
    values, density = _along(exact, row, 2)
    below = np.cumsum(density) / density.sum()
    # One run in a thousand has a larger distance by chance.
    statistic = stats.kstest(np.interp(drawn, values, below), "uniform").statistic
    assert statistic < 1.95 / np.sqrt(200)


def test_bounds_rise_to_log_p_and_latents_are_finite(
    default: VAEDensity, thin: np.ndarray
) -> None:
    rows = _without(thin[:40], 0)
    rows[0] = np.nan
    bounds = default.bounds(rows, n_samples=(4, 64))
    log_p = default.score_samples(rows)
    assert bounds.elbo[0] == log_p[0] == 0
    assert bounds.elbo.mean() < bounds.iwae[0].mean() < bounds.iwae[1].mean()
    assert bounds.iwae[1].mean() < log_p.mean() + 0.05
    assert np.isfinite(default.transform(rows)).all()


def test_surprise_finds_a_wrong_cell(default: VAEDensity, thin: np.ndarray) -> None:
    rows = thin[:4].copy()
    rows[:, 2] += 300 * np.where(rows[:, 2] > 0, -1, 1)
    surprise = default.surprise(rows)
    assert np.isfinite(surprise.surprise).all()
    truth = default.surprise(thin[:4]).surprise
    assert (surprise.surprise[:, 2] > truth[:, 2]).all()


def test_targets_that_are_all_missing_are_drawn_given_x(thin: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    given = rng.normal(size=(N, 1))
    density = ConditionalVAEDensity(
        **{**GIVEN_QUICK, "max_iter": 30, "marginal_transform": "whitened"}
    ).fit(given, np.c_[3 * given, 3 * given] + thin[:, :2] * [1, 0.2])
    known = density.conditional(np.array([[-2.0], [2.0]]), [0, 1])
    assert (known.mean()[1] - known.mean()[0] > 5).all()
    drawn = known.sample(400)
    assert drawn.shape == (2, 400, 2)
    assert_allclose(drawn.mean(1), known.mean(), atol=0.6)
