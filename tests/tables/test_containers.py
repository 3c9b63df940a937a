"""Tables come in any container and leave in the one that was asked for."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from skvae import VAEDensity
from tests.conftest import QUICK

NAMES = ["width", "height", "mass"]


@pytest.fixture(scope="module")
def grid() -> np.ndarray:
    """Return rows that float32 and int64 hold exactly."""
    rng = np.random.default_rng(1)
    return np.round(8 * rng.normal(size=(150, 3)) @ [[1, 1, 0], [0, 1, 1], [0, 0, 1]])


@pytest.fixture(scope="module")
def on_grid(grid: np.ndarray) -> VAEDensity:
    return VAEDensity(**QUICK).fit(grid)


def strided(table: np.ndarray) -> np.ndarray:
    wide = np.zeros((2 * len(table), 2 * table.shape[1]))
    wide[::2, ::2] = table
    return wide[::2, ::2]


def read_only(table: np.ndarray) -> np.ndarray:
    table = table.copy()
    table.setflags(write=False)
    return table


CONTAINERS: dict[str, Callable[[np.ndarray], object]] = {
    "float32": lambda table: table.astype(np.float32),
    "float16": lambda table: table.astype(np.float16),
    "int64": lambda table: table.astype(np.int64),
    "int8": lambda table: table.astype(np.int8),
    "big-endian": lambda table: table.astype(">f8"),
    "object": lambda table: table.astype(object),
    "Fortran": np.asfortranarray,
    "list": lambda table: table.tolist(),
    "read-only": read_only,
    "strided": strided,
    "backwards": lambda table: table[::-1].copy()[::-1],
    "pandas": lambda table: pd.DataFrame(table, columns=NAMES),
    "pandas Int64": lambda table: pd.DataFrame(table, columns=NAMES).astype("Int64"),
    "pandas mixed": lambda table: pd.DataFrame(table, columns=NAMES).astype(
        {"width": "float32", "height": "int16"}
    ),
    "polars": lambda table: pl.DataFrame(table, schema=NAMES),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_fit_and_score_do_not_depend_on_the_container(
    name: str, grid: np.ndarray, on_grid: VAEDensity
) -> None:
    table = CONTAINERS[name](grid)
    fitted = VAEDensity(**QUICK).fit(table)
    expected = on_grid.score_samples(grid)
    assert_array_equal(fitted.score_samples(table), expected)
    assert_array_equal(fitted.transform(table), on_grid.transform(grid))
    assert_array_equal(fitted.sample(5), on_grid.sample(5))
    assert expected.dtype == np.float64


@pytest.mark.parametrize("name", ["float32", "Fortran", "list", "read-only", "strided"])
def test_scoring_does_not_depend_on_the_container(
    name: str, grid: np.ndarray, on_grid: VAEDensity
) -> None:
    table = CONTAINERS[name](grid)
    assert_array_equal(on_grid.score_samples(table), on_grid.score_samples(grid))
    assert on_grid.score(table) == on_grid.score(grid)


def test_float32_values_are_not_rounded_further() -> None:
    rng = np.random.default_rng(2)
    single = rng.normal(size=(120, 2)).astype(np.float32)
    a = VAEDensity(**QUICK).fit(single)
    b = VAEDensity(**QUICK).fit(single.astype(np.float64))
    assert_array_equal(a.score_samples(single), b.score_samples(single.astype(float)))


def test_the_callers_table_is_left_alone(grid: np.ndarray) -> None:
    table = grid.copy()
    fitted = VAEDensity(marginal_transform="normal", **QUICK).fit(table)
    fitted.score_samples(table)
    fitted.transform(table)
    assert_array_equal(table, grid)


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_column_names_are_kept(name: str, grid: np.ndarray) -> None:
    fitted = VAEDensity(**QUICK).fit(CONTAINERS[name](grid))
    assert fitted.feature_names_in_.tolist() == NAMES
    assert fitted.n_features_in_ == 3


def test_an_array_leaves_no_column_names(grid: np.ndarray) -> None:
    fitted = VAEDensity(**QUICK).fit(CONTAINERS["pandas"](grid))
    fitted.fit(grid)
    assert not hasattr(fitted, "feature_names_in_")


@pytest.mark.parametrize(
    ("output", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)]
)
def test_transform_gives_the_container_that_set_output_names(
    output: str, kind: type, grid: np.ndarray, on_grid: VAEDensity
) -> None:
    frame = pd.DataFrame(grid, columns=NAMES, index=np.arange(150) + 7)
    fitted = VAEDensity(**QUICK).set_output(transform=output)
    latents = fitted.fit_transform(frame)
    assert isinstance(latents, kind)
    assert list(latents.columns) == fitted.get_feature_names_out().tolist()
    assert_array_equal(latents.to_numpy(), on_grid.transform(grid))
    if output == "pandas":
        assert_array_equal(latents.index, frame.index)
    assert isinstance(fitted.score_samples(frame), np.ndarray)


@pytest.mark.parametrize("method", ["score_samples", "score", "transform", "evidence"])
@pytest.mark.parametrize(
    "columns", [NAMES[::-1], NAMES[:2], [*NAMES, "colour"], ["width", "height", "Mass"]]
)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_other_columns_than_fitted_are_an_error(
    method: str, columns: list[str], library: str, grid: np.ndarray
) -> None:
    frame = pd.DataFrame(grid, columns=NAMES)
    fitted = VAEDensity(**QUICK, early_stopping=False).fit(frame)
    other = frame.assign(colour=0.0, Mass=0.0)[columns]
    if library == "polars":
        other = pl.DataFrame(other.to_dict("list"))
    with pytest.raises(ValueError, match="feature names should match"):
        getattr(fitted, method)(other)


def test_an_unnamed_array_after_a_named_frame_warns(grid: np.ndarray) -> None:
    fitted = VAEDensity(**QUICK).fit(pd.DataFrame(grid, columns=NAMES))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.score_samples(grid)
