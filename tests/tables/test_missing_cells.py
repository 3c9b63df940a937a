"""Missing cells: read from any container, coded as NaN, and given back as missing."""

import decimal
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn import config_context
from sklearn.utils import get_tags

from skvae import ConditionalVAEDensity, VAEDensity
from skvae.model.features import Support
from skvae.tables.checks import check_supports
from skvae.tables.given import fit_given
from skvae.tables.large import LargeTable, choose_rows, in_float32, is_large
from skvae.tables.missing import check_observed_columns, weight_of_observed_rows
from skvae.tables.raw import RawTable, read_table, read_target
from skvae.tables.schema import TableSchema, fit_schema, natural_support
from tests.conftest import GIVEN_QUICK, QUICK

Array = np.ndarray
NAN = np.nan


def read(table: Any, **options: Any) -> RawTable:
    return read_table(VAEDensity(), table, reset=True, **options)


def by_dtype(
    names: tuple[str, ...], natural: Callable[[int], Support]
) -> tuple[Support, ...]:
    """Take labels for categories and numbers for real ones."""
    return tuple(
        "category" if natural(j) == "category" else "real" for j in range(len(names))
    )


def by_look(
    names: tuple[str, ...], natural: Callable[[int], Support]
) -> tuple[Support, ...]:
    return tuple(natural(j) for j in range(len(names)))


def schema_of(
    raw: RawTable, weight: Array | None = None, **options: Any
) -> TableSchema:
    weight = np.ones(len(raw.numbers)) if weight is None else weight
    return fit_schema(raw, weight, by_dtype, **options)


def objects(*rows: list[object]) -> Array:
    array = np.empty((len(rows), len(rows[0])), dtype=object)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            array[i, j] = cell
    return array


# Reading

MASK = np.array([[False, True], [False, False], [True, False]])
WHOLE = np.array([[1, 0], [2, 4], [0, 6]])
NUMBERS: dict[str, Any] = {
    "floats": np.array([[1, NAN], [2, 4], [NAN, 6]]),
    "float32": np.array([[1, NAN], [2, 4], [NAN, 6]], dtype=np.float32),
    "list of None": [[1, None], [2, 4], [None, 6]],
    "list of NA": [[1, pd.NA], [2, 4], [None, 6.0]],
    "objects": objects([1, None], [2.0, 4], [NAN, 6]),
    "masked integers": np.ma.masked_array(WHOLE, MASK),
    "masked floats": np.ma.masked_array(np.where(MASK, np.inf, WHOLE), MASK),
    "masked objects": np.ma.masked_array(WHOLE.astype(object), MASK),
    "pandas floats": pd.DataFrame({"a": [1.0, 2.0, NAN], "b": [NAN, 4.0, 6.0]}),
    "pandas Int64": pd.DataFrame({"a": [1, 2, None], "b": [None, 4, 6]}, dtype="Int64"),
    "pandas Float32": pd.DataFrame(
        {"a": [1, 2, None], "b": [None, 4, 6]}, dtype="Float32"
    ),
    "pandas objects": pd.DataFrame(
        {"a": [1, 2.0, None], "b": [pd.NA, 4, 6]}, dtype=object
    ),
    "pandas of several dtypes": pd.DataFrame(
        {
            "a": pd.Series([1, 2, None], dtype="Int8"),
            "b": pd.Series([pd.NA, 4, 6], dtype=object),
        }
    ),
    "pandas of arrow": pd.DataFrame(
        {"a": [1, 2, None], "b": [None, 4, 6]}, dtype="int64[pyarrow]"
    ),
    "polars": pl.DataFrame({"a": [1, 2, None], "b": [None, 4.0, 6.0]}),
    "polars Decimal": pl.DataFrame(
        {"a": [decimal.Decimal(1), decimal.Decimal(2), None], "b": [None, 4, 6]}
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_missing_numbers_are_nan(name: str) -> None:
    raw = read(NUMBERS[name])
    assert not raw.labels
    assert not raw.complete
    assert_array_equal(raw.numbers, [[1, NAN], [2, 4], [NAN, 6]])
    assert_array_equal(np.concatenate([*raw.missing_blocks()]), MASK)


@pytest.mark.parametrize("name", NUMBERS)
def test_missing_numbers_beside_text_are_nan(name: str) -> None:
    table = NUMBERS[name]
    if isinstance(table, pd.DataFrame):
        table = table.assign(c=["x", "y", "z"])
    elif isinstance(table, pl.DataFrame):
        table = table.with_columns(pl.Series("c", ["x", "y", "z"]))
    elif np.ma.isMA(table):
        cells = np.c_[table.data.astype(object), ["x", "y", "z"]]
        table = np.ma.masked_array(cells, np.c_[MASK, [False] * 3])
    else:
        table = [[*row, text] for row, text in zip(table, "xyz", strict=True)]
    raw = read(table)
    assert list(raw.labels) == [2]
    assert not raw.complete
    assert_array_equal(raw.numbers[:, :2], [[1, NAN], [2, 4], [NAN, 6]])


COLUMNS_OF_LABELS: dict[str, Any] = {
    "objects": pd.Series(["b", None, "a", NAN], dtype=object),
    "text": pd.Series(["b", None, "a", None]),
    "string": pd.Series(["b", pd.NA, "a", None], dtype="string"),
    "category": pd.Series(["b", None, "a", NAN], dtype="category"),
    "polars text": pl.Series(["b", None, "a", None]),
    "polars Categorical": pl.Series(["b", None, "a", None], dtype=pl.Categorical),
    "polars Enum": pl.Series(["b", None, "a", None], dtype=pl.Enum(["a", "b"])),
}


def framed(column: Any) -> Any:
    kind = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    return kind({"a": column})


@pytest.mark.parametrize("name", COLUMNS_OF_LABELS)
def test_missing_labels_are_no_category(name: str) -> None:
    raw = read(framed(COLUMNS_OF_LABELS[name]))
    assert raw.labels[0].tolist() == ["b", None, "a", None]
    schema = schema_of(raw)
    assert schema.categories == (("a", "b"),)
    assert_array_equal(schema.encode(raw), [[1], [NAN], [0], [NAN]])


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([True, None, False], dtype="boolean"),
        pd.Series([True, None, False], dtype=object),
        pl.Series([True, None, False]),
    ],
    ids=["pandas", "objects", "polars"],
)
def test_missing_truth_values(column: Any) -> None:
    raw = read(framed(column))
    schema = schema_of(raw)
    assert schema.categories == ((False, True),)
    assert_array_equal(schema.encode(raw), [[1], [NAN], [0]])
    # A likelihood of zeros and ones reads them as numbers.
    numbers = fit_schema(raw, np.ones(3), lambda names, natural: ("binary",))
    assert_array_equal(numbers.encode(raw), [[1], [NAN], [0]])


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([None, None], dtype="string"),
        pd.Series([None, None], dtype="boolean"),
        pd.Series([None, None], dtype="category"),
        pl.Series([None, None], dtype=pl.String),
        pl.Series([None, None], dtype=pl.Boolean),
    ],
    ids=lambda column: str(column.dtype),
)
def test_a_dtype_of_labels_has_labels_even_where_all_are_missing(column: Any) -> None:
    assert read(framed(column)).labels[0].tolist() == [None, None]


@pytest.mark.parametrize(
    "cells", [[None, None], [NAN, NAN], ["a", None], [None, "b"]], ids=str
)
@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_rows_that_are_read_later_may_miss_any_label(
    cells: list[object], library: Any
) -> None:
    schema = schema_of(read(library({"a": ["a", "b", "b"]})))
    code = {"a": 0, "b": 1}
    expected = [[code.get(cell, NAN)] for cell in cells]
    assert_array_equal(schema.encode(read(library({"a": cells}))), expected)


def test_text_that_reads_like_nan_is_no_missing_cell() -> None:
    frame = pd.DataFrame({"a": ["1.5", "nan", None]})
    raw = read(frame)
    assert schema_of(raw).categories == (("1.5", "nan"),)
    numbers = fit_schema(raw, np.ones(3), lambda names, natural: ("real",))
    with pytest.raises(ValueError, match=r"'nan', which is no number, .*'a' .*row 1"):
        numbers.encode(raw)
    assert_array_equal(numbers.encode(read(frame[::2])), [[1.5], [NAN]])


@pytest.mark.parametrize("working_memory", [0, 1024])
@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_infinity_beside_missing_cells_is_located(
    infinity: float, working_memory: int
) -> None:
    table = np.full((9000, 3), NAN)
    table[8999, 1] = infinity
    table[7, 2] = infinity
    message = r"infinity in column 1, column 2 \(first in row 8999\).*finite numbers"
    with config_context(working_memory=working_memory):
        with pytest.raises(ValueError, match=message):
            read(table)
    with pytest.raises(ValueError, match=r"infinity in column 0 \(first in row 1\)"):
        read([[NAN, "x"], [infinity, "y"]])
    frame = pd.DataFrame({"a": ["1", None, "inf"]})
    raw = read(frame)
    numbers = fit_schema(raw, np.ones(3), lambda names, natural: ("real",))
    with pytest.raises(ValueError, match=r"infinity in column 'a' \(first in row 2\)"):
        numbers.encode(raw)


def test_missing_cells_may_be_refused() -> None:
    message = r"X contains NaN, a missing value, in {} \(first in row {}\)\. Drop or"
    with pytest.raises(ValueError, match=message.format("column 0, column 1", 2)):
        read(NUMBERS["floats"], allow_missing=False)
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]})
    with pytest.raises(ValueError, match=message.format("column 'b'", 1)):
        read(frame, allow_missing=False)
    assert read(frame[:1], allow_missing=False).complete
    for cells in ([1.0, None], ["x", None], [1.0, NAN], pd.Series(["x", None])):
        with pytest.raises(
            ValueError,
            match=r"y contains NaN, a missing target, in y \(first in row 1\)\. .*"
            r"drop these rows, or model y jointly with X by VAEDensity",
        ):
            read_target(cells, "ConditionalVAEDensity")
    with pytest.raises(ValueError, match="y is a masked array with 3 masked cells"):
        read_target(np.ma.masked_array(np.zeros(3), mask=True), "Density")


# What fit does with rows and columns that are missing


def test_columns_without_an_observed_cell_are_named() -> None:
    table = np.zeros((9000, 8))
    table[:, 1:7] = NAN
    table[8999, 2] = 1.0
    raw, weight = read(table), np.ones(9000)
    message = "no observed cell in column 1, column 3, column 4, column 5, column 6, in"
    with pytest.raises(ValueError, match=message):
        check_observed_columns(raw, weight)
    weight[8999] = 0  # with the only cell of column 2
    with pytest.raises(ValueError, match=r"column 2, .*, column 5 and 1 more, in"):
        check_observed_columns(raw, weight)
    check_observed_columns(read(table[:, :1]), weight)


@pytest.mark.parametrize("column", [[None] * 3, [NAN] * 3, pd.Categorical([None] * 3)])
def test_fit_needs_an_observed_cell_in_every_column(column: Any) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": column})
    for density in (VAEDensity(**QUICK), VAEDensity(likelihood="auto", **QUICK)):
        with pytest.raises(ValueError, match="X has no observed cell in column 'b'"):
            density.fit(frame)
        assert not hasattr(density, "model_")
    frame["b"] = frame["b"].astype(object)
    frame.loc[2, "b"] = "x"
    with pytest.raises(ValueError, match="X has no observed cell in column 'b'"):
        VAEDensity(likelihood="auto", **QUICK).fit(frame, sample_weight=[1, 1, 0])
    given = ConditionalVAEDensity(**GIVEN_QUICK)
    with pytest.raises(ValueError, match="X has no observed cell in column 'b'"):
        given.fit(frame, frame["a"], sample_weight=[1, 1, 0])


def test_rows_without_an_observed_cell_have_no_weight() -> None:
    frame = pd.DataFrame({"a": [1.0, NAN, NAN, 2.0], "b": ["x", None, "y", None]})
    with pytest.warns(UserWarning, match="1 of 4 rows of X have no observed") as caught:
        weight = weight_of_observed_rows(read(frame), np.array([1.0, 2.0, 3.0, 4.0]))
    assert caught[0].filename == __file__
    assert_array_equal(weight, [1, 0, 3, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = np.ones(3)
        assert weight_of_observed_rows(read(frame.drop(index=1)), kept) is kept


@pytest.mark.parametrize("working_memory", [0, 1024])
def test_a_fit_is_that_of_the_rows_with_an_observed_cell(
    working_memory: int, table: Array
) -> None:
    some = np.insert(table, [3, 3, 150, 200], NAN, axis=0)
    shares = np.random.default_rng(0).random(len(some))
    observed = ~np.isnan(some[:, 0])
    settings = {**QUICK, "max_iter": 1}
    with config_context(working_memory=working_memory):
        for weight in (None, shares):
            used = None if weight is None else weight[observed]
            expected = VAEDensity(**settings).fit(table, sample_weight=used)
            with pytest.warns(UserWarning, match="4 of 204 rows of X have no") as said:
                density = VAEDensity(**settings).fit(some, sample_weight=weight)
            assert len(said) == 1
            assert said[0].filename == __file__
            assert_array_equal(
                density.score_samples(table[:20]), expected.score_samples(table[:20])
            )


def test_rows_without_an_observed_cell_score_zero_beside_others(table: Array) -> None:
    density = VAEDensity(**QUICK, marginal_transform=None).fit(table)
    scores = density.score_samples(np.insert(table[:5], 2, NAN, axis=0))
    assert scores[2] == 0
    assert_array_equal(np.delete(scores, 2), density.score_samples(table[:5]))


def test_at_least_two_rows_have_an_observed_cell() -> None:
    density = VAEDensity(**QUICK)
    with pytest.raises(
        ValueError, match=r"1 row\(s\) with an observed .* minimum of 2"
    ):
        density.fit([[1.0, 2.0], [NAN, NAN], [NAN, NAN]])
    with pytest.raises(
        ValueError, match=r"0 row\(s\) with an observed .* minimum of 2"
    ):
        density.fit(np.full((5, 2), NAN))
    with pytest.raises(ValueError, match="no observed cell in the rows of positive"):
        density.fit([[1.0], [2.0], [NAN]], sample_weight=[0, 0, 1])


def test_large_tables_may_have_missing_cells() -> None:
    table = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    table[9000] = NAN
    table[::2, 1] = NAN
    with config_context(working_memory=0.1):
        raw = read(table)
        assert is_large(raw.numbers)
        assert np.shares_memory(raw.numbers, table)
        schema = fit_schema(raw, np.ones(len(table)), by_look)
        code = schema.encode(raw)
    assert np.shares_memory(code, table)
    with pytest.warns(UserWarning, match="1 of 20000 rows"):
        weight = weight_of_observed_rows(raw, np.ones(len(table)))
    rows, weight = choose_rows(code, weight)
    assert isinstance(rows, LargeTable)
    assert len(rows) == len(weight) == 19_999
    assert 9000 not in rows.numbers
    assert_array_equal(rows[np.array([0, 1])], table[:2])
    clipped = in_float32(np.array([[NAN, 1e300, -1e300]]))
    assert_array_equal(clipped.numpy(), np.array([[NAN, 1e12, -1e12]], np.float32))


@pytest.mark.parametrize("estimator", [VAEDensity, ConditionalVAEDensity])
def test_tags_allow_nan_and_infinity_is_refused_all_the_same(
    estimator: Any, table: Array
) -> None:
    """scikit-learn checks infinity only where NaN is not allowed."""
    assert get_tags(estimator()).input_tags.allow_nan
    given = estimator is ConditionalVAEDensity
    settings = GIVEN_QUICK if given else QUICK
    y = (table[:, 0],) if given else ()
    density = estimator(**settings).fit(table, *y)
    for infinity in (np.inf, -np.inf):
        bad = table.copy()
        bad[7, 1] = infinity
        for method in (estimator(**settings).fit, density.score_samples):
            with pytest.raises(ValueError, match=r"infinity in column 1 .*row 7"):
                method(bad, *y)
            if given:
                with pytest.raises(ValueError, match=r"infinity in y .*row 7"):
                    method(table, bad[:, 1])


# What columns hold


def test_what_a_column_looks_like_goes_by_its_observed_cells() -> None:
    rng = np.random.default_rng(0)
    columns: list[Array] = [
        rng.integers(0, 2, 200) * 1.0,
        rng.integers(1, 5, 200) * 1.0,
        rng.poisson(20, 200) * 1.0 * rng.integers(0, 2, 200),
        rng.normal(size=200),
    ]
    weight = rng.random(200)
    for column, support in zip(
        columns, ("binary", "category", "count", "real"), strict=True
    ):
        assert natural_support(column, weight) == support
        some = np.insert(column, [0, 50, 200], NAN)
        assert natural_support(some, np.insert(weight, [0, 50, 200], 9.0)) == support
    # Of each value, ten rows are needed.
    assert natural_support(np.r_[np.repeat([1.0, 2], 9), [NAN] * 99], np.ones(117)) == (
        "real"
    )


def test_categories_of_numbers_may_be_missing() -> None:
    raw = read([[1.0], [NAN], [3.0], [1.0]])
    schema = fit_schema(raw, np.ones(4), lambda names, natural: ("category",))
    assert schema.categories == ((1.0, 3.0),)
    assert_array_equal(schema.encode(raw), [[0], [NAN], [1], [0]])


def test_missing_cells_do_not_become_the_other_category() -> None:
    raw = read(pd.DataFrame({"a": ["x", "y", None, None]}))
    schema = schema_of(raw, np.array([1.0, 2.0, 5.0, 0.0]), with_other=True)
    # Half a row among three observed ones and two categories.
    assert schema.kinds[0].other == 0.5 / (3 + 0.5 * 3)
    later = read(pd.DataFrame({"a": ["z", None, "x"]}))
    assert_array_equal(schema.encode(later), [[2], [NAN], [0]])


def test_identifiers_are_told_by_observed_cells() -> None:
    names = [f"row {i}" for i in range(40)]
    frame = pd.DataFrame({"a": [*names, *[None] * 400]})
    with pytest.warns(UserWarning, match="its 40 rows have 40 different labels"):
        schema_of(read(frame))
    few = pd.DataFrame({"a": [*names[:20], *[None] * 400]})
    schema_of(read(few))


def test_unknown_categories_are_named_beside_missing_cells() -> None:
    schema = schema_of(read(pd.DataFrame({"a": ["x", "y", None]})))
    later = read(pd.DataFrame({"a": [None, "z"]}))
    with pytest.raises(ValueError, match="column 'a' has 'z' in row 1, a category"):
        schema.encode(later)
    assert_array_equal(schema.encode(later, used=np.array([True, False]))[0], NAN)


def test_missing_cells_are_in_every_support() -> None:
    for support, bad in (("binary", 2.0), ("count", -1.0)):
        raw = read([[1.0], [NAN], [bad]])
        schema = fit_schema(raw, np.ones(3), lambda names, natural, s=support: (s,))
        check_supports(raw.columns, raw.numbers[:2], schema.kinds)
        with pytest.raises(ValueError, match=rf"column 0 has {bad:g} in row 2"):
            check_supports(raw.columns, raw.numbers, schema.kinds)


def test_given_columns_are_scaled_by_their_observed_cells() -> None:
    frame = pd.DataFrame(
        {"a": [1.0, NAN, 3.0, 100.0], "b": ["x", "y", None, "x"], "c": [5.0] * 4}
    )
    weight = np.array([1.0, 1.0, 1.0, 0.0])
    given = fit_given(read(frame), "auto", weight)
    assert_array_equal(given.table[:, :2], [[1, 0], [NAN, 1], [3, NAN], [100, 0]])
    columns = given.columns.standardised(given.table[:3], weight[:3])
    assert_array_equal(columns.center, [2, 0, 5])
    assert_array_equal(columns.scale, [1, 1, 5])
    assert_array_equal(
        columns.to_model(given.table[:3]), [[-1, 0, 0], [NAN, 1, 0], [1, NAN, 0]]
    )
    later = columns.code(read(pd.DataFrame({"a": [None], "b": [None], "c": [6.0]})))
    assert_array_equal(columns.to_model(later.table), [[NAN, NAN, 0.2]])
    with pytest.raises(ValueError, match="X has no observed cell in column 'b'"):
        fit_given(read(frame), "auto", np.array([0.0, 0.0, 1.0, 0.0]))


# Given back


def pandas_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "height": [1.5, NAN, 2.5],
            "single": np.array([0.5, 1.5, NAN], dtype=np.float32),
            "nullable": pd.array([None, 2, 3], dtype="Int64"),
            "small": pd.array([1, None, 250], dtype="UInt8"),
            "float": pd.array([1.5, None, 2.5], dtype="Float32"),
            "arrow": pd.array([1, None, 3], dtype="int64[pyarrow]"),
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "fact": pd.array([True, None, False], dtype="bool[pyarrow]"),
            "size": pd.Categorical(
                ["S", None, "M"], categories=["S", "M"], ordered=True
            ),
            "grade": pd.Categorical([2, 1, None]),
            "colour": pd.array(["red", None, "blue"], dtype="str"),
            "string": pd.array(["red", None, "blue"], dtype="string"),
            "object": pd.Series(["red", None, "blue"], dtype=object),
            "mixed": pd.Series([1, None, "blue"], dtype=object),
            "truth": pd.Series([True, None, False], dtype=object),
        }
    )


def polars_frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "height": [1.5, None, 2.5],
            "single": pl.Series([0.5, 1.5, None], dtype=pl.Float32),
            "whole": [None, 2, 3],
            "small": pl.Series([1, None, 250], dtype=pl.UInt8),
            "maybe": [True, None, False],
            "colour": ["red", None, "blue"],
            "size": pl.Series(["S", None, "M"], dtype=pl.Enum(["S", "M"])),
            "name": pl.Series(["S", None, "M"], dtype=pl.Categorical),
        }
    )


def test_frames_of_pandas_come_back() -> None:
    frame = pandas_frame()
    raw = read(frame)
    schema = schema_of(raw)
    assert_frame_equal(schema.decode(schema.encode(raw), "pandas"), frame)
    for name in frame:
        only = read(frame[[name]])
        schema = schema_of(only)
        codes = schema.encode(only)
        assert_frame_equal(schema.decode(codes, "pandas"), frame[[name]])
        again = read(schema.decode(codes, "pandas"))
        assert_array_equal(schema.encode(again), codes)


def test_frames_of_polars_come_back() -> None:
    frame = polars_frame()
    raw = read(frame)
    schema = schema_of(raw)
    again = schema.decode(schema.encode(raw), "polars")
    assert again.equals(frame)
    assert again.schema == frame.schema
    assert again.null_count().row(0) == (1,) * frame.shape[1]


def test_the_other_librarys_frame_has_missing_cells_at_the_same_places() -> None:
    raw = read(pandas_frame())
    schema = schema_of(raw)
    codes = schema.encode(raw)
    other = schema.decode(codes, "polars")
    for name, missing in zip(raw.columns.names, np.isnan(codes).T, strict=True):
        assert_array_equal(other[name].is_null().to_numpy(), missing)
    assert other.schema["nullable"] == pl.Int64
    assert other.schema["maybe"] == pl.Boolean
    raw = read(polars_frame())
    schema = schema_of(raw)
    codes = schema.encode(raw)
    frame = schema.decode(codes, "pandas")
    assert_array_equal(frame.isna().to_numpy(), np.isnan(codes))
    assert frame["whole"].dtype == np.float64
    assert frame["single"].dtype == np.float32


def test_dtypes_without_missing_cells_change_only_where_they_have_some() -> None:
    frame = pd.DataFrame(
        {"count": [1, 2, 3], "small": np.array([1, 2, 3], np.uint8), "bit": [True] * 3}
    )
    schema = schema_of(read(frame))
    codes = schema.encode(read(frame))
    assert_frame_equal(schema.decode(codes, "pandas"), frame)
    codes[1] = NAN
    codes[2, 0] = 2.7
    some = schema.decode(codes, "pandas")
    assert_series_equal(some["count"], pd.Series([1.0, NAN, 3.0], name="count"))
    assert_series_equal(some["small"], pd.Series([1.0, NAN, 3.0], name="small"))
    assert some["bit"].tolist() == [True, None, True]
    polars = pl.DataFrame({"count": [1, 2, 3], "bit": [True] * 3})
    schema = schema_of(read(polars))
    some = schema.decode(np.array([[1, 1], [NAN, NAN], [2.7, 0]]), "polars")
    assert some.equals(
        pl.DataFrame({"count": [1, None, 3], "bit": [True, None, False]})
    )


def test_missing_cells_of_arrays_are_nan_or_none() -> None:
    codes = np.array([[0.5, 1.0], [NAN, NAN]])
    numbers = schema_of(read([[1.0, True], [2.0, False]]))
    floats = numbers.decode(codes)
    assert floats.dtype == np.float64
    assert_array_equal(floats, codes)
    text = schema_of(read([[1.0, "x"], [2.0, "y"]])).decode(codes)
    assert text.dtype == object
    assert text.tolist() == [[0.5, "y"], [None, None]]
    plain = schema_of(read([[1.0, 2.0], [2.0, 3.0]])).decode(codes)
    assert_array_equal(plain, codes)
