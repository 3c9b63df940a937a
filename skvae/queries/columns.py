"""Which columns a question is about, and what users give as their values."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae.tables.labels import (
    as_array,
    as_python,
    frame_columns,
    is_frame,
    listed,
)
from skvae.tables.schema import TableSchema, category_codes
from skvae.typing import Array

__all__ = ["column_numbers", "encoded_cells"]


def column_numbers(names: Sequence[str], columns: Any, argument: str) -> list[int]:
    """Return the numbers of columns that were named, or numbered.

    Parameters
    ----------
    names : sequence of str
        Names of all columns.
    columns : str, int or sequence of them
        What the user gave.
    argument : str
        What it was passed as.
    """
    single = isinstance(columns, (str, Integral))
    asked = [columns] if single else list(columns)
    numbers = []
    for each in asked:
        is_number = isinstance(each, Integral) and not isinstance(each, bool)
        if isinstance(each, str) and each in names:
            numbers.append(list(names).index(each))
        elif is_number and -len(names) <= each < len(names):
            numbers.append(int(each) % len(names))
        else:
            shown = ", ".join(map(repr, names[:10])) + (", …" * (len(names) > 10))
            raise ValueError(
                f"{argument} has {each!r}, which is no column. Allowed: an index below "
                f"{len(names)}, or a name: {shown}."
            )
    if not numbers:
        raise ValueError(f"{argument} is empty; name at least one column.")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{argument} has a column twice: {columns!r}.")
    return numbers


def encoded_cells(
    schema: TableSchema, columns: Sequence[int], values: Any, argument: str
) -> Array:
    """Return values of some columns alone as numbers and codes, shape (n, C).

    Parameters
    ----------
    schema : TableSchema
        What all columns hold.
    columns : sequence of int
        Numbers of the columns.
    values : array-like of shape (n,) or (n, C)
        What the user gave: numbers and categories; None and NaN are missing.
    argument : str
        What it was passed as.

    Raises
    ------
    ValueError
        If there are more or fewer columns, or a value is infinite, no number or no
        category of its column.
    """
    names = [schema.names[j] for j in columns]
    if is_frame(values):
        given = [np.asarray(column) for column in frame_columns(values)]
    else:
        table = as_array(values)
        given = list(table.reshape(len(table), -1).T)
    if len(given) != len(columns):
        raise ValueError(
            f"{argument} has {len(given)} columns, but the question is about "
            f"{len(columns)}: {', '.join(names)}."
        )
    encoded = [
        _encoded_column(schema, j, cells, argument)
        for j, cells in zip(columns, given, strict=True)
    ]
    return np.column_stack(encoded)


def _encoded_column(
    schema: TableSchema, j: int, cells: NDArray[Any], argument: str
) -> Array:
    categories = schema.categories[j]
    if categories is None:
        numbers = np.asarray(cells, dtype=np.float64)
        if np.isinf(numbers).any():
            raise ValueError(f"{argument} contains infinity.")
        return numbers
    codes = category_codes(cells, categories, schema.kinds[j])
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        raise ValueError(
            f"{argument} has {as_python(cells[row])!r} in row {row}, which is no "
            f"category of {schema.names[j]!r}. Known ones: {listed(categories)}."
        )
    return codes
