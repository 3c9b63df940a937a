"""Tables with counts, categories and text: from `fit` to `sample`."""

import itertools
import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skvae import (
    CategoricalLikelihood,
    GaussianLikelihood,
    IndependentBackground,
    MixedBackground,
    MixedLikelihood,
    StudentTBackground,
    VAEDensity,
)
from skvae.tables.schema import natural_support
from tests.conftest import QUICK

N = 300
READERS = ("score_samples", "transform", "bounds", "evidence", "diagnose", "score")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return a table with every kind of column; one latent drives nearly all."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    return pd.DataFrame(
        {
            "height": 170 + 10 * z + rng.normal(size=N),
            "visits": rng.negative_binomial(2, 1 / (1 + np.exp(z))),
            "member": (z + rng.normal(size=N) > 0).astype(int),
            "colour": np.where(z > 0.5, "red", np.where(z < -0.5, "green", "blue")),
            "size": pd.Categorical(
                rng.choice(["S", "M"], N), categories=["S", "M", "L"], ordered=True
            ),
            "left": z + rng.normal(size=N) < 0,
            "rating": np.clip(np.round(3 + z), 1, 5),
        }
    )


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> VAEDensity:
    return VAEDensity(likelihood="auto", **QUICK).fit(frame)


@pytest.fixture(scope="module")
def discrete() -> np.ndarray:
    """Return two binary columns and one of three categories, numbered oddly."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=N)
    code = np.digitize(z + 0.5 * rng.normal(size=N), [-0.5, 0.7])
    return np.c_[z > 0, z + rng.normal(size=N) > 0, np.array([-1.5, 2, 40])[code]]


# All kinds in one table


def test_kinds_follow_dtype_and_values(fitted: VAEDensity) -> None:
    kinds = fitted.schema_.kinds
    assert [kind.support for kind in kinds] == [
        *("real", "count", "binary", "category", "category", "category", "category")
    ]
    assert fitted.schema_.categories == (
        *(None, None, None),
        ("blue", "green", "red"),
        ("S", "M", "L"),
        (False, True),
        (1.0, 2.0, 3.0, 4.0, 5.0),
    )
    assert type(fitted.background_) is MixedBackground
    assert type(fitted.likelihood_) is MixedLikelihood


def test_training_improves_on_the_start(frame: pd.DataFrame) -> None:
    density = VAEDensity(likelihood="auto", **{**QUICK, "max_iter": 10}).fit(frame)
    evidence = [record["evidence"] for record in density.history_]
    assert evidence[-1] > evidence[0] + 0.2


def test_samples_are_rows_of_the_table(fitted: VAEDensity, frame: pd.DataFrame) -> None:
    rows = pd.DataFrame(fitted.sample(500), columns=frame.columns)
    assert set(rows["colour"]) == {"red", "green", "blue"}
    assert set(rows["size"]) <= {"S", "M", "L"}
    assert set(map(type, rows["left"])) == {bool}
    assert set(rows["member"]) == {0.0, 1.0}
    assert set(rows["rating"]) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    visits = rows["visits"].to_numpy(float)
    assert_array_equal(visits, np.floor(np.abs(visits)))
    assert abs(rows["height"].astype(float).mean() - 170) < 5
    assert np.isfinite(fitted.score_samples(rows)).all()


def test_every_container_has_the_same_scores(
    fitted: VAEDensity, frame: pd.DataFrame
) -> None:
    expected = fitted.score_samples(frame)
    assert_array_equal(fitted.score_samples(pl.from_pandas(frame)), expected)
    assert_array_equal(fitted.score_samples(frame.astype({"colour": object})), expected)
    assert_array_equal(fitted.score_samples(frame.convert_dtypes()), expected)
    with pytest.warns(UserWarning, match="feature names"):
        assert_array_equal(fitted.score_samples(frame.to_numpy()), expected)
    with pytest.warns(UserWarning, match="feature names"):
        nested = frame.to_numpy().tolist()
        assert_array_equal(fitted.score_samples(nested), expected)


def test_polars_learns_the_same_density(
    fitted: VAEDensity, frame: pd.DataFrame
) -> None:
    table = pl.from_pandas(frame).with_columns(
        pl.col("size").cast(pl.String).cast(pl.Enum(["S", "M", "L"])),
        pl.col("colour").cast(pl.Categorical),
    )
    other = VAEDensity(likelihood="auto", **QUICK).fit(table)
    assert other.schema_ == fitted.schema_
    assert_array_equal(other.score_samples(table), fitted.score_samples(frame))


def test_rows_in_another_order_are_the_same_table(
    fitted: VAEDensity, frame: pd.DataFrame
) -> None:
    other = VAEDensity(likelihood="auto", **QUICK).fit(frame[::-1])
    assert other.schema_ == fitted.schema_
    assert_array_equal(other.score_samples(frame), fitted.score_samples(frame))


def test_everything_that_reads_rows_takes_the_table(
    fitted: VAEDensity, frame: pd.DataFrame
) -> None:
    latents = fitted.transform(frame)
    assert latents.shape == (N, fitted.n_components_)
    back = pd.DataFrame(fitted.inverse_transform(latents), columns=frame.columns)
    assert (back["colour"] == frame["colour"]).mean() > 0.5
    assert set(back["size"]) <= {"S", "M", "L"}
    bounds = fitted.bounds(frame, n_samples=(1, 4))
    assert np.isfinite(bounds.elbo).all()
    for report in (fitted.diagnose(frame), fitted.diagnose()):
        errors = dict(
            zip(report.feature_names, report.reconstruction_error, strict=True)
        )
        assert 0 <= errors["colour"] < 1
        assert 0 < errors["height"] < 1
        floors = dict(zip(report.feature_names, report.floor_share, strict=True))
        assert np.isnan(floors["colour"])
        assert 0 <= floors["height"] <= 1


def test_copies_are_the_same_density(fitted: VAEDensity, frame: pd.DataFrame) -> None:
    opened = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(opened.score_samples(frame), fitted.score_samples(frame))
    assert_array_equal(opened.sample(5), fitted.sample(5))
    again = clone(fitted).fit(frame)
    assert_array_equal(again.score_samples(frame), fitted.score_samples(frame))


def test_grid_search_over_likelihoods(frame: pd.DataFrame) -> None:
    choices = [
        "auto",
        MixedLikelihood({"visits": "poisson", "height": GaussianLikelihood()}),
        MixedLikelihood({"rating": "mixture", "x": "poisson"}),
    ]
    search = GridSearchCV(
        VAEDensity(**QUICK), {"likelihood": choices[:2]}, cv=2, error_score="raise"
    ).fit(frame)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) == 2
    with pytest.raises(ValueError, match="'x', which is no column"):
        VAEDensity(likelihood=choices[2], **QUICK).fit(frame)


def test_columns_of_an_array_are_called_x0_x1(discrete: np.ndarray) -> None:
    spec = MixedLikelihood({"x2": "mixture", 0: "categorical"})
    density = VAEDensity(likelihood=spec, **QUICK).fit(discrete)
    supports = [kind.support for kind in density.schema_.kinds]
    assert supports == ["category", "binary", "real"]


def test_integer_weights_equal_repeated_rows(frame: pd.DataFrame) -> None:
    weight = np.arange(N) % 3
    table = frame.copy()
    table.loc[table.index[weight == 0][0], "colour"] = "of a row that does not count"
    repeated = table.loc[table.index.repeat(weight)]
    a = VAEDensity(likelihood="auto", **QUICK).fit(table, sample_weight=weight)
    b = VAEDensity(likelihood="auto", **QUICK).fit(repeated)
    assert a.schema_ == b.schema_
    assert_allclose(a.score_samples(repeated), b.score_samples(repeated), rtol=1e-7)


def test_a_warm_start_keeps_the_categories(frame: pd.DataFrame) -> None:
    density = VAEDensity(likelihood="auto", **QUICK).partial_fit(frame)
    schema = density.schema_
    density.partial_fit(frame[frame["colour"] == "red"])
    assert density.schema_ is schema
    with pytest.raises(ValueError, match="column 'colour' has 'pink' in row 0"):
        density.partial_fit(frame.assign(colour="pink"))


# Single likelihoods


SUITABLE: dict[str, list[str]] = {
    "student_t": ["height", "visits"],
    "logistic_mixture": ["height", "rating"],
    "categorical": ["colour", "member", "rating"],
    "poisson": ["visits", "member"],
    "negative_binomial": ["visits", "rating"],
    "bernoulli": ["member", "left"],
    "mixture": ["height", "left"],
}


@pytest.mark.parametrize("likelihood", SUITABLE)
def test_each_likelihood_fits_a_suitable_table(
    likelihood: str, frame: pd.DataFrame
) -> None:
    table = frame[SUITABLE[likelihood]]
    density = VAEDensity(likelihood=likelihood, **QUICK).fit(table)
    assert np.isfinite(density.score_samples(table)).all()
    sample = density.sample(50)
    assert sample.shape == (50, table.shape[1])
    real = density.likelihood_.support == "real"
    background = StudentTBackground if real else IndependentBackground
    assert type(density.background_) is background
    known = {
        "bernoulli": [{0.0, 1.0}] * 2,
        "categorical": [set(frame["colour"]), {0.0, 1.0}, {1.0, 2.0, 3.0, 4.0, 5.0}],
    }
    for column, values in zip(sample.T, known.get(likelihood, []), strict=False):
        assert set(column) <= values
    if not real:
        assert (density.score_samples(table) <= 0).all()
    if density.likelihood_.support == "count":
        assert_array_equal(sample, np.floor(np.abs(sample)))


def test_categories_of_an_array_are_its_distinct_numbers(
    discrete: np.ndarray,
) -> None:
    density = VAEDensity(likelihood="categorical", **QUICK).fit(discrete)
    assert density.schema_.categories[2] == (-1.5, 2.0, 40.0)
    sample = density.sample(200)
    assert sample.dtype == float
    assert set(sample[:, 2]) == {-1.5, 2.0, 40.0}
    with pytest.raises(ValueError, match=r"column 2 has 3\.0 in row 1.*-1\.5, 2\.0"):
        density.score_samples([[0, 0, 2.0], [0, 1, 3.0]])


@pytest.mark.parametrize("background", ["auto", None])
@pytest.mark.parametrize(
    "likelihood", [MixedLikelihood({2: "categorical"}), CategoricalLikelihood()]
)
def test_masses_of_all_states_sum_to_one(
    likelihood: Any, background: str | None, discrete: np.ndarray
) -> None:
    """The sum is within five of its standard errors of one."""
    density = VAEDensity(
        2,
        likelihood=likelihood,
        background=background,
        **{
            **QUICK,
            "n_importance_samples": 1024,
            "max_evidence_samples": 1024,
            "evidence_tol": 1e-3,
        },
    ).fit(discrete)
    states = list(itertools.product([0, 1], [0, 1], [-1.5, 2, 40]))
    evidence = density.evidence(states)
    mass = np.exp(evidence.log_density)
    error = np.sqrt(np.sum(np.square(mass * evidence.standard_error)))
    assert error < 0.02
    assert mass.sum() == pytest.approx(1, abs=5 * error)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_masses_of_counts_sum_to_one(likelihood: str, frame: pd.DataFrame) -> None:
    """The sum ends at 400; the background's tail holds 0.1 · 0.005 · 3 / 400 beyond."""
    table = frame[["visits", "member"]].to_numpy()
    spec = MixedLikelihood({0: likelihood})
    density = VAEDensity(1, likelihood=spec, **QUICK).fit(table)
    states = list(itertools.product(range(400), [0, 1]))
    evidence = density.evidence(states, proposal="quadrature", max_samples=1024)
    assert np.exp(evidence.log_density).sum() == pytest.approx(1, abs=1e-5)


def test_far_counts_have_the_backgrounds_mass(frame: pd.DataFrame) -> None:
    table = frame[["visits", "member"]].to_numpy()
    density = VAEDensity(likelihood="auto", **QUICK).fit(table)
    evidence = density.evidence([[1e6, 0], [1e9, 0], [1e12, 0]])
    fall = np.diff(evidence.log_density)
    assert_allclose(fall, -6 * np.log(10), rtol=1e-3)
    assert (evidence.background_share > 0.99).all()


# What a column looks like


@pytest.mark.parametrize(
    ("values", "support"),
    [
        ([0, 1] * 20, "binary"),
        ([0] * 40, "binary"),
        ([1] * 40, "binary"),
        ([7] * 40, "real"),
        ([1, 2] * 20, "category"),
        ([-1, 0, 1] * 10, "category"),
        ([-1, 0, 1] * 9, "real"),
        ([0.5, 1.5] * 20, "real"),
        (list(range(10)) * 10, "category"),
        (list(range(11)) * 10, "count"),
        (list(range(1, 12)) * 10, "real"),
        ([0, 0, 0, 5, 9], "count"),
        ([0, *[20, 21, 22] * 9], "real"),
    ],
)
def test_natural_support(values: list[float], support: str) -> None:
    column = np.array(values, dtype=float)
    for weight in (np.ones(len(column)), np.full(len(column), 1 / len(column))):
        assert natural_support(column, weight) == support


# Errors


@pytest.mark.parametrize("method", READERS)
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("colour", "pink", r"column 'colour' has 'pink' in row 3.*'blue', 'green'"),
        ("rating", 2.5, r"column 'rating' has 2\.5 in row 3.*1\.0, 2\.0"),
        ("member", 2.0, r"0 and 1.*column 'member' has 2 in row 3"),
        ("visits", -1.0, r"whole numbers.*column 'visits' has -1 in row 3"),
        ("visits", 0.5, r"whole numbers.*column 'visits' has 0\.5 in row 3"),
        ("height", np.inf, "infinity in column 'height'"),
        ("height", "tall", r"string to float: 'tall'.*column 'height'"),
    ],
)
def test_values_that_a_column_cannot_have_are_errors(
    method: str,
    column: str,
    value: object,
    message: str,
    fitted: VAEDensity,
    frame: pd.DataFrame,
) -> None:
    cells = frame[column].astype(object)
    cells.iloc[3] = value
    cells = cells if isinstance(value, str) else cells.astype(float)
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(frame.assign(**{column: cells}))


def test_text_without_a_likelihood_for_it_is_an_error(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"'blue'.*'colour'.*likelihood='auto'"):
        VAEDensity(**QUICK).fit(frame[["colour", "height"]].sort_values("colour"))


def test_cells_that_are_no_values_are_an_error(
    fitted: VAEDensity, frame: pd.DataFrame
) -> None:
    table = frame.assign(colour=["red", "red", {"red": 1}, *["blue"] * (N - 3)])
    for method in (VAEDensity(likelihood="auto").fit, fitted.score_samples):
        with pytest.raises(TypeError, match=r"'red': 1.*column 'colour'.*row 2"):
            method(table)


def test_too_many_categories_are_an_error() -> None:
    table = pd.DataFrame({"id": [f"row {i}" for i in range(1001)]})
    with pytest.raises(ValueError, match="column 'id' has 1001 categories; at most"):
        VAEDensity(likelihood="auto", **QUICK).fit(table)


def test_likelihood_of_counts_takes_counts_only(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"whole numbers.*column 'height'"):
        VAEDensity(likelihood="poisson", **QUICK).fit(frame[["height"]])


@pytest.mark.parametrize("background", ["student_t", "independent"])
def test_background_has_to_suit_all_columns(
    background: str, frame: pd.DataFrame
) -> None:
    density = VAEDensity(likelihood="auto", background=background, **QUICK)
    with pytest.raises(ValueError, match=f"background='{background}'.*likelihood"):
        density.fit(frame)


def test_one_row_of_text_is_too_few(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="1 sample"):
        VAEDensity(likelihood="auto", **QUICK).fit(frame[:1])


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("method", READERS)
def test_other_columns_are_an_error(
    method: str, fitted: VAEDensity, frame: pd.DataFrame
) -> None:
    with pytest.raises(ValueError, match="feature names"):
        getattr(fitted, method)(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="7 features"):
        getattr(fitted, method)(frame.to_numpy()[:, :3])
