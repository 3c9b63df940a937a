"""Numbers and labels are told apart alike in X and y, and categories get one order."""

import decimal
import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from skvae import VAEDensity
from skvae.tables.given import Given, fit_given
from skvae.tables.labels import (
    as_array,
    as_codes,
    as_python,
    check_cells,
    declared_values,
    distinct_values,
    first_missing,
    frame_columns,
    holds_labels,
    is_frame,
    is_missing,
    listed,
)
from skvae.tables.raw import RawTable, read_table, read_target


def objects(*values: object) -> np.ndarray:
    """Return an array of objects, one per value, even of tuples."""
    return np.fromiter(values, dtype=object, count=len(values))


# Numbers or labels

LABELS: dict[str, Any] = {
    "text": np.array(["a", "b"]),
    "bytes": np.array([b"a", b"b"]),
    "truth values": np.array([True, False]),
    "objects: text": objects("a", "b"),
    "objects: text and numbers": objects("a", 1.5),
    "objects: Python's truth values": objects(True, False),
    "objects: NumPy's truth values": objects(np.True_, np.False_),
    "objects: a truth value and numbers": objects(True, 2.5),
    "pandas text": pd.Series(["a", "b"]),
    "pandas text with missing cells": pd.Series(["a", None]),
    "pandas string": pd.Series(["a", None], dtype="string"),
    "pandas bool": pd.Series([True, False]),
    "pandas boolean": pd.Series([True, None], dtype="boolean"),
    "pandas objects of any kind": pd.Series([True, 1], dtype=object),
    "pandas category of text": pd.Series(["a", "b"], dtype="category"),
    "pandas category of numbers": pd.Series([1, 2], dtype="category"),
    "polars text": pl.Series(["a", "b"]),
    "polars text with missing cells": pl.Series(["a", None]),
    "polars truth values": pl.Series([True, False]),
    "polars truth values with missing cells": pl.Series([True, None]),
    "polars Categorical": pl.Series(["a", "b"], dtype=pl.Categorical),
    "polars Enum": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
    "polars objects of any kind": pl.Series([1, "a"], dtype=pl.Object),
}

NUMBERS: dict[str, Any] = {
    "float64": np.array([1.0, np.nan]),
    "float16": np.array([1.0, 2.0], dtype=np.float16),
    "int8": np.array([1, 2], dtype=np.int8),
    "uint64": np.array([1, 2], dtype=np.uint64),
    "objects: numbers of Python": objects(1, 2.5),
    "objects: numbers of NumPy": objects(np.int8(1), np.float32(2.5)),
    "objects: NaN": objects(1, np.nan),
    "objects: fractions": objects(Fraction(1, 3), 2),
    "objects: a number beyond int64": objects(2**70, 1),
    "pandas int64": pd.Series([1, 2]),
    "pandas Int64": pd.Series([1, 2], dtype="Int64"),
    "pandas Int64 with missing cells": pd.Series([1, None], dtype="Int64"),
    "pandas objects of numbers": pd.Series([1, 2.5], dtype=object),
    "polars Int64": pl.Series([1, 2]),
    "polars Int64 with missing cells": pl.Series([1, None]),
    "polars Float32": pl.Series([1.0, 2.0], dtype=pl.Float32),
    "polars Decimal": pl.Series([decimal.Decimal("1.5"), decimal.Decimal("2.0")]),
    "polars objects of numbers": pl.Series([1, 2.5], dtype=pl.Object),
    "polars nothing": pl.Series([None, None]),
}


@pytest.mark.parametrize("name", LABELS)
def test_column_of_labels(name: str) -> None:
    assert holds_labels(LABELS[name])


@pytest.mark.parametrize("name", NUMBERS)
def test_column_of_numbers(name: str) -> None:
    assert not holds_labels(NUMBERS[name])


COLUMNS = {**LABELS, **NUMBERS}


def table_of(column: Any) -> Any:
    """Return a table, of the same library, that has a column twice."""
    if isinstance(column, pd.Series):
        return pd.DataFrame({"a": column, "b": column})
    if isinstance(column, pl.Series):
        return pl.DataFrame({"a": column, "b": column})
    # Arrays of truth values are numbers in X; those of objects are not.
    return np.stack([column.astype(object)] * 2, 1)


@pytest.mark.parametrize(
    "name",
    [k for k in COLUMNS if first_missing(np.asarray(COLUMNS[k])) is None],
)
def test_columns_of_x_and_y_hold_the_same(name: str) -> None:
    table, labels = table_of(COLUMNS[name]), name in LABELS
    raw = read_table(VAEDensity(), table, reset=True)
    for each in (raw, read_target(table, "Density")):
        assert list(each.labels) == ([0, 1] if labels else [])
    assert_array_equal(raw.numbers, read_target(table, "Density").numbers)
    given = coded(raw).columns.schema.categories
    assert [values is not None for values in given] == [labels] * 2


def coded(raw: RawTable) -> Given:
    """Return a table as what a density is given."""
    return fit_given(raw, "auto", np.ones(len(raw.numbers)))


# Tables and their columns


def test_frames_are_known() -> None:
    for frame in (pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]})):
        assert is_frame(frame)
    for other in (np.zeros((1, 1)), [[1]], pd.Series([1]), pl.Series([1])):
        assert not is_frame(other)


def test_columns_of_a_frame_have_their_own_dtypes() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [True, False]})
    assert [c.dtype for c in frame_columns(frame)] == frame.dtypes.tolist()
    polars = pl.from_pandas(frame)
    assert [c.dtype for c in frame_columns(polars)] == polars.dtypes


def test_columns_of_one_name_are_told_apart() -> None:
    frame = pd.DataFrame([[1, "a"], [2, "b"]], columns=["same", "same"])
    assert [holds_labels(column) for column in frame_columns(frame)] == [False, True]
    given = coded(read_target(frame, "Density"))
    assert given.columns.schema.categories == (None, ("a", "b"))


def test_numbers_beside_text_stay_numbers() -> None:
    array = as_array([[1, "a", True], [2.5, "b", False]])
    assert array.dtype == object
    assert array.tolist() == [[1, "a", True], [2.5, "b", False]]
    assert as_array([[1, 2.5]]).dtype == np.float64
    assert as_array(np.array(["a"])).tolist() == ["a"]


# Values

SCALARS = [
    *(np.True_, np.int8(3), np.uint64(2**63), np.float32(0.5)),
    *(np.str_("a"), np.bytes_(b"a")),
]


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
def test_scalars_of_numpy_become_pythons(scalar: Any) -> None:
    value = as_python(scalar)
    assert value == scalar
    assert type(value).__module__ == "builtins"


@pytest.mark.parametrize(
    "value",
    ["a", 1, None, (1, "a"), pd.NA, np.datetime64("2020-01-01", "ns")],
    ids=repr,
)
def test_other_objects_stay_as_they_are(value: object) -> None:
    assert as_python(value) is value


def test_missing_values() -> None:
    for value in (None, pd.NA, pd.NaT, np.nan, np.float32("nan"), float("nan")):
        assert is_missing(value)
    for value in ("", "nan", 0, False, np.inf, (), np.False_):
        assert not is_missing(value)


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        (objects("a", "b"), None),
        (objects("a", None, "b", None), 1),
        (objects(1, pd.NA), 1),
        (np.array([1.0, 2.0, np.nan]), 2),
        (np.array([1, 2]), None),
        (np.array(["nan"]), None),
        (np.array([], dtype=object), None),
    ],
)
def test_first_missing_cell(cells: np.ndarray, row: int | None) -> None:
    assert first_missing(cells) == row


@pytest.mark.parametrize(
    "value", [[1], {"a": 1}, {1}, np.zeros(1), ("a", [1])], ids=repr
)
def test_cell_that_cannot_be_a_value_is_named(value: object) -> None:
    cells = objects("a", "b", value)
    with pytest.raises(TypeError, match=r"Input y contains .* in column 'c' .*row 2"):
        check_cells(cells, "column 'c'", "y")
    with pytest.raises(TypeError, match=r"Input y contains .* in y .*row 2"):
        coded(read_target(cells, "Density"))
    check_cells(cells[:2], "column 'c'", "y")


# Categories


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pd.Series(["b"], dtype=pd.CategoricalDtype(["c", "b", "a"])), ("c", "b", "a")),
        (pd.Series([3, 1], dtype="category"), (1, 3)),
        (pl.Series(["b"], dtype=pl.Enum(["c", "b", "a"])), ("c", "b", "a")),
        (pl.Series(["b"], dtype=pl.Categorical), ()),
        (np.array([True]), (False, True)),
        (pd.Series([True], dtype="boolean"), (False, True)),
        (pl.Series([True]), (False, True)),
        (objects("a"), ()),
        (pd.Series(["a"]), ()),
    ],
)
def test_values_that_a_dtype_declares(column: Any, values: tuple[object, ...]) -> None:
    assert declared_values(column) == values


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (np.array([2.5, -1.0, 2.5]), (-1.0, 2.5)),
        (np.array(["b", "a", "b"]), ("a", "b")),
        (np.array([True, False]), (False, True)),
        (np.array([2**53 + 1, 2**53]), (2**53, 2**53 + 1)),
        (objects("b", "a", "b"), ("a", "b")),
        (objects(True, False), (False, True)),
        (objects(10, 9, "b", 2.5, "a"), (2.5, 9, 10, "a", "b")),
        (objects("a", True, 0.5), (0.5, True, "a")),
        (objects(np.int64(3), 1, np.float32(2)), (1, 2.0, 3)),
        (objects((1, "b"), (1, "a")), ((1, "a"), (1, "b"))),
        (objects(2j, 1j), (1j, 2j)),
        (objects((1,), ("a",)), (("a",), (1,))),
    ],
)
def test_distinct_values(cells: np.ndarray, values: tuple[object, ...]) -> None:
    found = distinct_values(cells)
    assert found == values
    assert all(type(value).__module__ == "builtins" for value in found)
    assert_array_equal(as_codes(objects(*found), found), np.arange(len(found)))


def test_order_of_values_does_not_depend_on_the_rows() -> None:
    """Of several equal values, the same one stands for all in any order of rows."""
    cells = [1, True, 1.0, np.str_("a"), "a", 2, np.float64(2), "b"]
    orders = itertools.islice(itertools.permutations(cells), 0, None, 97)
    found = {repr(distinct_values(objects(*order))) for order in orders}
    assert found == {"(True, 2.0, 'a', 'b')"}


class Unordered:
    """A value whose comparison fails with an error of its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __lt__(self, other: object) -> bool:
        raise ArithmeticError


@pytest.mark.parametrize(
    "values",
    [
        (frozenset("ab"), frozenset("c"), frozenset("a")),
        (complex(1, 2), complex(0, 1), 3j),
        ((1, "a"), ("a", 1), (2.5, None)),
        (Unordered("b"), Unordered("a")),
    ],
)
def test_values_that_cannot_be_sorted_have_an_order(values: tuple[object, ...]) -> None:
    orders = itertools.permutations(values)
    found = {tuple(map(id, distinct_values(objects(*order)))) for order in orders}
    assert len(found) == 1


def test_codes_are_places_among_the_categories() -> None:
    codes = as_codes(objects("b", "x", "a", np.str_("a")), ("b", "a"))
    assert codes.dtype == np.float64
    assert_array_equal(codes, [0, -1, 1, 1])
    assert_array_equal(as_codes(np.array([2, 7]), (2.0, 1.0)), [0, -1])
    assert as_codes(objects(), ("a",)).shape == (0,)


def test_long_lists_of_values_are_cut() -> None:
    assert listed(("a", np.str_("b"), np.True_, 1.5)) == "'a', 'b', True, 1.5"
    assert listed(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (12 in all)"
