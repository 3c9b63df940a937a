"""Rows come back in the container, and with the dtypes, that were asked for."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn import config_context
from sklearn.base import clone

from skvae import ConditionalVAEDensity, VAEDensity
from tests.conftest import GIVEN_QUICK, QUICK

N = 80


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return a table with many dtypes."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    return pd.DataFrame(
        {
            "height": 170 + 10 * z,
            "single": z.astype(np.float32),
            "year": (2000 + 5 * rng.normal(size=N)).astype(np.int16),
            "visits": rng.poisson(20, N),
            "nullable": pd.array(rng.integers(0, 50, N), dtype="Int64"),
            "member": z > 0,
            "maybe": pd.array(z > 1, dtype="boolean"),
            "colour": np.where(z > 0, "red", "green"),
            "size": pd.Categorical(
                rng.choice(["S", "M"], N), categories=["S", "M", "L"], ordered=True
            ),
            "grade": pd.Categorical(rng.integers(1, 4, N)),
        }
    )


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> VAEDensity:
    return VAEDensity(likelihood="auto", **QUICK).fit(frame)


def with_output(density: Any, container: str) -> Any:
    return pickle.loads(pickle.dumps(density)).set_output(transform=container)


@pytest.mark.parametrize("method", ["sample", "inverse_transform"])
def test_frames_have_the_fitted_names_and_dtypes(
    method: str, fitted: VAEDensity, frame: pd.DataFrame
) -> None:
    density = with_output(fitted, "pandas")
    argument = 30 if method == "sample" else fitted.transform(frame)
    rows = getattr(density, method)(argument)
    assert isinstance(rows, pd.DataFrame)
    assert rows.dtypes.to_dict() == frame.dtypes.to_dict()
    assert set(rows["colour"]) <= {"red", "green"}
    assert np.isfinite(density.score_samples(rows)).all()
    array = getattr(fitted, method)(argument)
    assert isinstance(array, np.ndarray)
    assert_array_equal(rows["height"], array[:, 0].astype(float))
    assert_array_equal(rows["visits"], np.round(array[:, 3].astype(float)))
    assert rows["colour"].tolist() == array[:, 7].tolist()
    assert rows["size"].tolist() == array[:, 8].tolist()
    assert rows["member"].tolist() == array[:, 5].tolist()


@pytest.mark.parametrize("method", ["sample", "inverse_transform"])
def test_frames_of_polars_have_the_fitted_names_and_dtypes(
    method: str, frame: pd.DataFrame
) -> None:
    table = pl.from_pandas(frame.drop(columns="grade")).with_columns(
        pl.col("size").cast(pl.String).cast(pl.Enum(["S", "M", "L"])),
        pl.col("colour").cast(pl.Categorical),
        pl.Series("word", np.where(frame["height"] > 170, "a", "b")),
    )
    density = VAEDensity(likelihood="auto", **QUICK).fit(table)
    density.set_output(transform="polars")
    argument = (
        30
        if method == "sample"
        else density.set_output(transform="default").transform(table)
    )
    rows = getattr(density.set_output(transform="polars"), method)(argument)
    assert isinstance(rows, pl.DataFrame)
    assert rows.schema == table.schema
    assert np.isfinite(density.score_samples(rows)).all()


def test_the_other_librarys_frame_has_the_most_similar_dtypes(
    fitted: VAEDensity, frame: pd.DataFrame
) -> None:
    rows = with_output(fitted, "polars").sample(30)
    assert rows.schema == {
        "height": pl.Float64,
        "single": pl.Float32,
        "year": pl.Int16,
        "visits": pl.Int64,
        "nullable": pl.Int64,
        "member": pl.Boolean,
        "maybe": pl.Boolean,
        "colour": pl.String,
        "size": pl.Enum(["S", "M", "L"]),
        "grade": pl.Int64,
    }
    table = pl.from_pandas(frame[["height", "year", "member", "colour"]])
    other = VAEDensity(likelihood="auto", **QUICK).fit(table)
    rows = other.set_output(transform="pandas").sample(30)
    expected = frame[["height", "year", "member", "colour"]].dtypes
    assert rows.dtypes.to_dict() == expected.to_dict()


def test_frames_of_an_array_have_numbered_columns(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK).fit(table)
    array = density.sample(5)
    rows = density.set_output(transform="pandas").sample(5)
    assert_frame_equal(rows, pd.DataFrame(array, columns=["x0", "x1", "x2"]))
    other = clone(density).fit(table).set_output(transform="polars").sample(5)
    assert other.equals(pl.DataFrame(array, schema=["x0", "x1", "x2"]))


def test_arrays_stay_without_set_output(fitted: VAEDensity) -> None:
    assert fitted.sample(5).dtype == object
    with config_context(transform_output="pandas"):
        assert isinstance(fitted.sample(5), pd.DataFrame)
        again = with_output(fitted, "default").sample(5)
    assert isinstance(again, np.ndarray)


def test_labels_that_are_no_text_are_kept(table: np.ndarray) -> None:
    frame = pd.DataFrame(table, columns=[3, 1, 2])
    density = VAEDensity(**QUICK).fit(frame).set_output(transform="pandas")
    assert density.sample(5).columns.tolist() == [3, 1, 2]


def test_integers_stay_in_the_range_of_their_dtype() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"pixel": rng.integers(0, 256, 200).astype(np.uint8), "x": rng.normal(size=200)}
    )
    density = VAEDensity(**QUICK).fit(table)
    array = density.sample(500)[:, 0]
    rows = density.set_output(transform="pandas").sample(500)["pixel"]
    assert array.min() < 0
    assert array.max() > 255
    assert_array_equal(rows, np.clip(np.round(array), 0, 255))


def test_latents_may_be_a_frame(table: np.ndarray, density: VAEDensity) -> None:
    """torch would warn of an array that it may not write to."""
    latents = density.transform(table)
    names = density.get_feature_names_out()
    for each in (
        pd.DataFrame(latents, columns=names),
        pl.DataFrame(latents, schema=list(names)),
    ):
        rows = density.inverse_transform(each)
        assert_allclose(rows, density.inverse_transform(latents), rtol=1e-12)


def test_targets_have_their_fitted_dtypes(table: np.ndarray) -> None:
    y = pd.Series(np.where(table[:, 0] > 0, "warm", "cold"), name="mood")
    density = ConditionalVAEDensity(likelihood="auto", **GIVEN_QUICK).fit(table, y)
    array = density.sample(table)
    drawn = density.set_output(transform="pandas").sample(table)
    assert isinstance(drawn, pd.Series)
    assert drawn.name == "mood"
    assert drawn.dtype == y.dtype
    assert drawn.tolist() == array.tolist()
    drawn = density.set_output(transform="polars").sample(table)
    assert isinstance(drawn, pl.Series)
    assert drawn.name == "mood"
    frame = pd.DataFrame({"mood": y, "count": np.arange(len(y))})
    density = ConditionalVAEDensity(likelihood="auto", **GIVEN_QUICK).fit(table, frame)
    rows = clone(density).fit(table, frame).set_output(transform="pandas").sample(table)
    assert rows.dtypes.to_dict() == frame.dtypes.to_dict()
    with pytest.raises(ValueError, match="transform must be one of"):
        density.set_output(transform="arrow")
