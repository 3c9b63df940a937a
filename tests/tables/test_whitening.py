"""Rows in whitened principal directions."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal

from skvae import ConditionalVAEDensity, VAEDensity
from skvae.model.features import ColumnKind
from skvae.tables.whitening import fit_whitened_columns
from tests.conftest import GIVEN_QUICK, QUICK

REAL = (ColumnKind("real"),) * 3
GIVEN_WHITENED = {**GIVEN_QUICK, "marginal_transform": "whitened"}
WHITENED = {**QUICK, "marginal_transform": "whitened"}


@pytest.fixture(scope="module")
def thin() -> np.ndarray:
    """Return rows whose third column is nearly the sum of the others."""
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(500, 2)) * [1.0, 3.0]
    third = wide.sum(1) + 1e-3 * rng.normal(size=500)
    return np.c_[wide, third] * [1.0, 10.0, 0.1] + [5.0, -2.0, 0.0]


def test_model_units_are_white_and_go_back(thin: np.ndarray) -> None:
    columns = fit_whitened_columns(thin, np.ones(500), REAL)
    u, log_jacobian = columns.to_model(thin)
    assert_allclose(np.cov(u.T, bias=True), np.eye(3), atol=1e-9)
    assert_allclose(columns.to_table(u), thin, rtol=1e-9, atol=1e-9)
    jacobian = np.linalg.lstsq(thin - thin.mean(0), u - u.mean(0), rcond=None)[0]
    assert_allclose(log_jacobian, np.linalg.slogdet(jacobian)[1], rtol=1e-6)


def test_wide_directions_come_first(thin: np.ndarray) -> None:
    columns = fit_whitened_columns(thin, np.ones(500), REAL)
    spread = (columns.columns.to_model(thin)[0] @ columns.rotation).std(0)
    assert (np.diff(spread) < 0).all()


def test_weights_are_repeated_rows(thin: np.ndarray) -> None:
    counts = np.random.default_rng(1).integers(1, 4, size=500)
    weighted = fit_whitened_columns(thin, counts.astype(float), REAL)
    rows = np.repeat(thin, counts, axis=0)
    repeated = fit_whitened_columns(rows, np.ones(len(rows)), REAL)
    for ours, theirs in zip(
        weighted.to_model(thin), repeated.to_model(thin), strict=True
    ):
        assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("copies", [1, 2])
def test_columns_that_are_equal_are_not_stretched_without_end(copies: int) -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(300, 1))
    columns = fit_whitened_columns(np.repeat(one, 3, 1), np.ones(300), REAL)
    _, log_jacobian = columns.to_model(np.repeat(one, 3, 1))
    assert np.isfinite(log_jacobian).all()
    assert log_jacobian.max() < 2 * np.log(1e4) + 5
    # Noise along both thin directions is at least 10⁻⁵ of a column.
    assert (columns.floor[1:] * columns.directions.scale[1:] >= 0.99e-5).all()


def test_density_of_thin_directions_is_that_of_a_gaussian(thin: np.ndarray) -> None:
    """Plain margins have a floor of 10⁻³ of a column: wider than this table."""
    train, rows = thin[:400], thin[400:]
    law = multivariate_normal(train.mean(0), np.cov(train.T), allow_singular=True)
    gaussian = law.logpdf(rows).mean()
    scores = {
        margins: VAEDensity(**{**WHITENED, "marginal_transform": margins})
        .fit(train)
        .score(rows)
        for margins in ("whitened", None)
    }
    assert scores["whitened"] > gaussian - 0.5
    assert scores["whitened"] > scores[None] + 1


def test_scores_do_not_depend_on_other_rows_and_samples_are_thin(
    thin: np.ndarray,
) -> None:
    density = VAEDensity(**{**WHITENED, "background": None}).fit(thin)
    together = density.score_samples(thin[:50])
    alone = [density.score_samples(row[None])[0] for row in thin[:50]]
    assert_array_equal(together, alone)
    drawn = (density.sample(500, random_state=0) - [5.0, -2.0, 0.0]) / [1.0, 10.0, 0.1]
    assert np.abs(drawn[:, 2] - drawn[:, 0] - drawn[:, 1]).std() < 0.05


def test_targets_of_a_conditional_density_may_be_whitened(thin: np.ndarray) -> None:
    density = ConditionalVAEDensity(**GIVEN_WHITENED).fit(thin[:, :1], thin[:, 1:])
    assert np.isfinite(density.score(thin[:, :1], thin[:, 1:]))
    assert density.sample(thin[:3, :1], 2).shape == (6, 2)


@pytest.mark.parametrize(
    "table", [{"likelihood": "bernoulli"}, {"likelihood": "auto"}], ids=str
)
def test_tables_that_are_not_real_cannot_be_whitened(table: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2, size=(50, 3)).astype(float)
    if table["likelihood"] == "auto":
        rows[:, 0] = rng.normal(size=50)
        with pytest.raises(ValueError, match="'whitened' needs a table of real"):
            VAEDensity(**WHITENED, **table).fit(rows)
    else:
        VAEDensity(**WHITENED, **table).fit(rows)  # there are no margins to change
