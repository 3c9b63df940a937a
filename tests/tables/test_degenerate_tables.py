"""Degenerate tables fit, score and sample in finite numbers, or raise ValueError."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from skvae import Evidence, GaussianLikelihood, VAEDensity
from tests.conftest import QUICK

N_ROWS = 120


def columns() -> dict[str, np.ndarray]:
    """Return columns of 120 rows, each degenerate in its own way."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=N_ROWS)
    return {
        "normal": normal,
        "constant": np.full(N_ROWS, 3.7),
        "zero": np.zeros(N_ROWS),
        "negative constant": np.full(N_ROWS, -1e12),
        "nearly constant": 1e9 + np.round(rng.random(N_ROWS)) * 1e-6,
        "Cauchy": rng.standard_cauchy(N_ROWS),
        "exponential of Cauchy": np.exp(np.clip(rng.standard_cauchy(N_ROWS), -99, 99)),
        "1e30": 1e30 * normal,
        "1e200": 1e200 * normal,
        "1e30 with offset": 1e30 * (1e3 + normal),
        "1e-30": 1e-30 * normal,
        "1e-200": 1e-200 * normal,
        "offset": 1e8 + normal,
        "integers": np.round(3 * normal),
        "binary": (normal > 0).astype(float),
        "one in 120": np.eye(N_ROWS)[0],
        "zero-inflated": np.where(rng.random(N_ROWS) < 0.7, 0, np.abs(normal)),
        "two clusters": np.sign(normal) * 1e6 + normal,
        "lognormal": np.exp(5 * normal),
        "counter": np.arange(N_ROWS, dtype=float),
    }


def tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    named = columns()
    normal = named["normal"]
    others = rng.normal(size=(N_ROWS, 2))
    beside = {
        f"{name} beside normal": np.c_[others[:, 0], column]
        for name, column in named.items()
    }
    alone = {f"{name} alone": column[:, None] for name, column in named.items()}
    return {
        **beside,
        **alone,
        "all constant": np.tile([1.0, 0.0, -5.0], (N_ROWS, 1)),
        "duplicated": np.c_[normal, normal, others[:, 0]],
        "perfectly correlated": np.c_[normal, 1 - 2 * normal, 1e6 * normal],
        "sum of the others": np.c_[others, others.sum(1)],
        "10 rows, 50 columns": rng.normal(size=(10, 50)),
        "3 rows, 20 columns": rng.normal(size=(3, 20)),
        "2 rows": np.array([[0.0, 1.0, 2.0], [1.0, 1.0, -2.0]]),
        "2 rows, 1 column": np.array([[0.0], [1.0]]),
        "2 equal rows": np.ones((2, 3)),
        "all rows equal": np.tile([[0.3, -2.0]], (N_ROWS, 1)),
        "two distinct rows": np.repeat([[0.0, 1.0], [5.0, 1.0]], 60, axis=0),
        "grid": np.stack(np.meshgrid(range(10), range(12)), -1).reshape(-1, 2) * 1.0,
        "all scales": np.c_[
            [10.0**k * rng.normal(size=N_ROWS) for k in (-30, 0, 30)]
        ].T,
        "largest numbers": np.finfo(float).max * rng.uniform(-1, 1, (N_ROWS, 2)),
        "smallest numbers": np.finfo(float).tiny * others,
    }


TABLES = tables()
# Enough draws for errors that are about normal.
CAREFUL = {
    "n_importance_samples": 64,
    "max_evidence_samples": 1024,
    "evidence_tol": 0.1,
}

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "normal margins, stopping": {
        "marginal_transform": "normal",
        "early_stopping": True,
    },
    "simple parts": {
        "prior": "normal",
        "posterior": "diagonal",
        "likelihood": GaussianLikelihood(scale="row"),
        "objective": "elbo",
        "early_stopping": False,
    },
}


def fit(table: np.ndarray, **parameters: Any) -> VAEDensity:
    with warnings.catch_warnings():
        # Steps that had to be undone are fine here if what remains is finite.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return VAEDensity(**{**QUICK, **parameters}).fit(table)


def assert_finite_everywhere(density: VAEDensity, table: np.ndarray) -> None:
    """Check scores near and far, errors, latents, means and samples.

    Of the table, the rows with the extremes of the columns are read and thirty others.
    """
    extremes = np.r_[table.argmin(0), table.argmax(0)]
    rows = table[np.union1d(extremes, np.arange(len(table))[:30])]
    spread = np.maximum(density.columns_.scale, np.abs(table).max(0) * 1e-16)
    distances = np.array([10, 1e6, 1e12, -10, -1e6, -1e12])[:, None, None]
    with np.errstate(over="ignore"):
        far = (table[:4] + distances * spread).reshape(-1, table.shape[1])
    far = np.clip(far, -np.finfo(float).max, np.finfo(float).max)
    evidence = density.evidence(np.r_[rows, far])
    assert np.isfinite(evidence.log_density).all()
    assert np.isfinite(evidence.standard_error[: len(rows)]).all()
    assert (evidence.effective_sample_size[: len(rows)] >= 1).all()
    latents = density.transform(table)
    assert np.isfinite(latents).all()
    assert np.isfinite(density.inverse_transform(latents)).all()
    assert np.isfinite(density.sample(200)).all()


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (name, setting)
        for name in TABLES
        for setting in SETTINGS
        # A column is read alone or beside another one, not both in each setting.
        if not name.endswith(" alone" if setting == "defaults" else " beside normal")
    ],
)
def test_a_degenerate_table_gives_finite_numbers(name: str, setting: str) -> None:
    table = TABLES[name]
    density = fit(table, **SETTINGS[setting])
    assert all(np.isfinite(record["objective"]) for record in density.history_)
    assert_finite_everywhere(density, table)


@pytest.mark.parametrize("name", ["constant", "1e30", "1e-30", "integers", "Cauchy"])
def test_far_rows_are_less_probable_than_near_ones(name: str) -> None:
    table = np.c_[columns()["normal"], columns()[name]]
    density = fit(table)
    near = np.median(density.score_samples(table))
    spread = density.columns_.scale
    previous = near
    for distance in (1e2, 1e4, 1e6, 1e12):
        far = density.score_samples(np.median(table, axis=0)[None] + distance * spread)
        assert far[0] < previous
        previous = far[0]


def test_a_constant_column_is_sampled_near_its_constant() -> None:
    table = np.c_[columns()["normal"], np.full(N_ROWS, 3.7)]
    rows = fit(table).sample(500)
    assert_allclose(rows[:, 1], 3.7, rtol=0.05)


def test_a_row_off_a_constant_is_improbable() -> None:
    table = np.c_[columns()["normal"], np.full(N_ROWS, 3.7)]
    density = fit(table)
    on, off = density.score_samples([[0.0, 3.7], [0.0, 4.7]])
    assert on > off + 10


def test_repeated_values_do_not_make_the_density_unbounded() -> None:
    rng = np.random.default_rng(0)
    table = np.round(rng.normal(size=(400, 1)) * 2)
    density = fit(table, max_iter=100, hidden_layer_sizes=(32,))
    # A step of one with no smaller floor than 1/√12: at most log(√12/√2π) = 0.32
    # above the log-mass of the commonest value.
    counts = np.unique(table, return_counts=True)[1]
    ceiling = np.log(counts.max() / 400) + np.log(np.sqrt(12 / (2 * np.pi)))
    assert density.score_samples(table).max() < ceiling + 0.3


def test_binary_tables_with_constant_columns_score_in_finite_numbers() -> None:
    rng = np.random.default_rng(0)
    table = (rng.random((100, 4)) < [0.0, 1.0, 0.5, 0.01]).astype(float)
    density = fit(table, likelihood="bernoulli")
    opposite = 1 - table
    for rows in (table, opposite):
        scores = density.score_samples(rows)
        assert np.isfinite(scores).all()
        assert (scores <= 0).all()
    assert set(np.unique(density.sample(100))) <= {0.0, 1.0}


@settings(max_examples=16, deadline=None, derandomize=True, database=None)
@given(
    names=st.lists(st.sampled_from(sorted(columns())), min_size=1, max_size=5),
    n_rows=st.integers(2, N_ROWS),
    setting=st.sampled_from(sorted(SETTINGS)),
)
def test_any_mixture_of_degenerate_columns_gives_finite_numbers(
    names: list[str], n_rows: int, setting: str
) -> None:
    table = np.column_stack([columns()[name] for name in names])[:n_rows]
    density = fit(table, **{**SETTINGS[setting], "max_iter": 1})
    assert_finite_everywhere(density, table)


@settings(max_examples=14, deadline=None, derandomize=True, database=None)
@given(
    data=st.data(),
    n_rows=st.integers(2, 12),
    n_columns=st.integers(1, 4),
)
def test_any_finite_numbers_give_finite_numbers(
    data: st.DataObject, n_rows: int, n_columns: int
) -> None:
    cell = st.floats(allow_nan=False, allow_infinity=False)
    row = st.lists(cell, min_size=n_columns, max_size=n_columns)
    rows = data.draw(st.lists(row, min_size=n_rows, max_size=n_rows))
    table = np.array(rows)
    density = fit(table, max_iter=1)
    assert_finite_everywhere(density, table)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """Return three correlated columns with rows far out, which ask for a search."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 2))
    noise = 0.3 * rng.normal(size=(200, 3))
    columns = np.c_[z[:, 0], z[:, 1] + 0.5 * z[:, 0] ** 2, z.sum(1)] + noise
    return columns * [1.0, 2.0, 10.0] + [0.0, -3.0, 100.0]


@pytest.fixture(scope="module")
def in_plain_units(table: np.ndarray) -> dict[str, Evidence]:
    """Return the evidence of some rows, by the setting of the fit."""
    return {
        name: fit(table, **{**parameters, **CAREFUL}).evidence(table[:80])
        for name, parameters in SETTINGS.items()
    }


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    exponents=st.lists(st.integers(-40, 40), min_size=3, max_size=3),
    setting=st.sampled_from(sorted(SETTINGS)),
)
def test_scores_shift_by_the_log_of_a_change_of_units(
    exponents: list[int],
    setting: str,
    table: np.ndarray,
    in_plain_units: dict[str, Evidence],
) -> None:
    # Powers of two: the standardised table is the same to the last bit.
    factor = 2.0 ** np.array(exponents)
    parameters = {**SETTINGS[setting], **CAREFUL}
    expected = in_plain_units[setting]
    scores = fit(table * factor, **parameters).evidence(table[:80] * factor)
    # The noise of a row is keyed by its values: equality holds up to its error.
    difference = scores.log_density - expected.log_density + np.log(factor).sum()
    error = np.hypot(scores.standard_error, expected.standard_error)
    assert np.mean(np.abs(difference) <= 3 * error + 1e-6) >= 0.95
    assert_allclose(np.median(difference), 0, atol=0.05)
