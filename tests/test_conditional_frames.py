"""Conditional densities return the containers that they were given."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from skvae import ConditionalVAEDensity
from tests.conftest import GIVEN_QUICK as QUICK

N = 60


@pytest.fixture(scope="module")
def X() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"age": rng.normal(size=N), "group": rng.choice(["a", "b"], N)},
        index=[f"row {i}" for i in range(N)],
    )


@pytest.fixture(scope="module")
def y(X: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "height": 170 + 10 * X["age"] + rng.normal(size=N),
            "year": (2000 + 5 * X["age"]).round().astype("Int16"),
            "visits": rng.poisson(20, N).astype(np.float32),
            "size": pd.Categorical(
                rng.choice(["S", "M"], N), categories=["S", "M", "L"], ordered=True
            ),
        },
        index=X.index,
    )


@pytest.fixture(scope="module")
def fitted(X: pd.DataFrame, y: pd.DataFrame) -> ConditionalVAEDensity:
    return ConditionalVAEDensity(likelihood="auto", **QUICK).fit(X, y)


def answers(density: ConditionalVAEDensity, X: Any) -> dict[str, Any]:
    """Return what has the container of the targets."""
    latents = np.zeros((len(X), density.n_components_))
    return {
        "sample": density.sample(X),
        "predict": density.predict(X),
        "decode": density.decode(X, latents),
    }


def as_arrays(density: ConditionalVAEDensity) -> ConditionalVAEDensity:
    return pickle.loads(pickle.dumps(density)).set_output(transform="default")


def test_frames_in_frames_out(
    fitted: ConditionalVAEDensity, X: pd.DataFrame, y: pd.DataFrame
) -> None:
    arrays = answers(as_arrays(fitted), X)
    for name, rows in answers(fitted, X).items():
        assert isinstance(rows, pd.DataFrame), name
        whole = name == "sample"
        expected = {**y.dtypes, "year": y["year"].dtype if whole else np.dtype(float)}
        assert rows.dtypes.to_dict() == expected, name
        assert rows.index.equals(X.index), name
        array = arrays[name]
        assert isinstance(array, np.ndarray), name
        assert_array_equal(rows["height"], array[:, 0].astype(float))
        year = array[:, 1].astype(float)
        assert_array_equal(rows["year"], np.round(year) if whole else year)
        assert rows["size"].tolist() == array[:, 3].tolist()
        assert np.isfinite(fitted.score_samples(X, rows)).all(), name


def test_draws_of_one_row_have_its_index(
    fitted: ConditionalVAEDensity, X: pd.DataFrame
) -> None:
    rows = fitted.sample(X[:3], n_samples=2)
    assert rows.index.tolist() == np.repeat(X.index[:3], 2).tolist()
    single = fitted.sample(X[:3].reset_index(drop=True))
    assert single.index.equals(pd.RangeIndex(3))
    assert isinstance(fitted.sample(pl.from_pandas(X[:3])), pd.DataFrame)


def test_frames_of_polars_in_frames_of_polars_out(
    X: pd.DataFrame, y: pd.DataFrame
) -> None:
    given, targets = pl.from_pandas(X), pl.from_pandas(y)
    targets = targets.with_columns(
        pl.col("size").cast(pl.String).cast(pl.Enum(["S", "M", "L"]))
    )
    density = ConditionalVAEDensity(likelihood="auto", **QUICK).fit(given, targets)
    for name, rows in answers(density, given).items():
        assert isinstance(rows, pl.DataFrame)
        year = targets.schema["year"] if name == "sample" else pl.Float64
        assert rows.schema == {**targets.schema, "year": year}


def test_a_series_in_a_series_out(X: pd.DataFrame, y: pd.DataFrame) -> None:
    density = ConditionalVAEDensity(**QUICK).fit(X, y["height"])
    arrays = answers(as_arrays(density), X)
    for name, rows in answers(density, X).items():
        expected = pd.Series(arrays[name], index=X.index, name="height")
        assert_series_equal(rows, expected)
    # A difference of Series goes by the index.
    shuffled = X.sample(frac=1, random_state=0)
    error = density.predict(shuffled) - y["height"]
    assert error.abs().max() < 60
    assert not error.isna().any()
    other = clone(density).fit(X, pl.Series("height", y["height"].to_numpy()))
    assert isinstance(other.predict(X), pl.Series)
    assert_array_equal(other.predict(X), arrays["predict"])


def test_what_was_asked_for_goes_first(
    fitted: ConditionalVAEDensity, X: pd.DataFrame, y: pd.DataFrame
) -> None:
    with config_context(transform_output="polars"):
        assert isinstance(fitted.predict(X), pl.DataFrame)
        assert isinstance(as_arrays(fitted).predict(X), np.ndarray)
    assert isinstance(fitted.predict(X), pd.DataFrame)
    copied = pickle.loads(pickle.dumps(fitted)).set_output(transform="polars")
    assert isinstance(copied.predict(X), pl.DataFrame)
    array = clone(fitted).set_params(likelihood="mixture").fit(X, y[["height"]].values)
    assert isinstance(array.predict(X), np.ndarray)
    framed = array.set_output(transform="pandas").predict(X)
    assert_frame_equal(framed[:0], pd.DataFrame({"y0": []}, index=X.index[:0]))


def test_conditional_distributions_answer_with_arrays(
    fitted: ConditionalVAEDensity, X: pd.DataFrame
) -> None:
    height = fitted.conditional(X[:4], "height")
    for answer in (height.mean(), height.std(), height.quantile(0.5), height.sample(2)):
        assert isinstance(answer, np.ndarray)
    assert_array_equal(height.mean(), fitted.predict(X[:4])["height"])
    # A mean of integers is none.
    year = fitted.conditional(X[:4], "year").mean().astype(float)
    assert (year != np.round(year)).any()
    assert_array_equal(year, fitted.predict(X[:4])["year"])


def test_cross_validation_joins_the_predictions(
    X: pd.DataFrame, y: pd.DataFrame
) -> None:
    density = ConditionalVAEDensity(**QUICK)
    joined = cross_val_predict(density, X, y["height"], cv=2)
    half = clone(density).fit(X[30:], y["height"][30:]).predict(X[:30])
    assert_array_equal(joined[:30], half)


# A Series as X


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_named_series_is_one_given_column(
    library: str, X: pd.DataFrame, y: pd.DataFrame
) -> None:
    frame = X[["group"]] if library == "pandas" else pl.from_pandas(X[["group"]])
    column, targets = frame["group"], y["height"]
    density = ConditionalVAEDensity(**QUICK).fit(column, targets)
    assert density.feature_names_in_.tolist() == ["group"]
    assert density.n_features_in_ == 1
    expected = clone(density).fit(frame, targets)
    for method in ("score_samples", "encode"):
        assert_array_equal(
            getattr(density, method)(column, targets),
            getattr(expected, method)(frame, targets),
        )
    drawn = density.sample(column, 2)
    assert_array_equal(drawn, expected.sample(frame, 2))
    if library == "pandas":
        assert drawn.index.equals(X.index.repeat(2))
    with pytest.raises(ValueError, match="feature names should match"):
        density.predict(X["age"].rename("other"))


def test_a_series_goes_on_with_partial_fit(X: pd.DataFrame, y: pd.DataFrame) -> None:
    density = ConditionalVAEDensity(**QUICK).partial_fit(X["age"], y["height"])
    density.partial_fit(X["age"][:9], y["height"][:9])
    assert density.n_iter_ == 2
    with pytest.raises(ValueError, match="feature names should match"):
        density.partial_fit(X["group"], y["height"])


@pytest.mark.parametrize(
    "column",
    [
        np.arange(40.0),
        list(range(40)),
        pd.Series(np.arange(40.0)),
        pl.Series(np.arange(40.0)),
        pd.Series(["a", "b"] * 20),
        pl.Series(["a", "b"] * 20),
    ],
    ids=["array", "list", "pandas", "polars", "text of pandas", "text of polars"],
)
def test_other_columns_without_a_second_axis_are_an_error(column: Any) -> None:
    message = "Expected (2D array, got 1D array|a 2-dimensional container)"
    with pytest.raises(ValueError, match=message):
        ConditionalVAEDensity(**QUICK).fit(column, np.arange(40.0))
