"""What the cells of a column are, numbers or labels, and the codes of its categories.

A label is any value that is not meant as a number: text, a truth value, a value of a
categorical dtype, or another object. The distinct labels of a column are its
categories. Models read the place of a label among them, its code, as a number.
"""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae.typing import Array, Mask

__all__ = [
    "as_array",
    "as_codes",
    "as_python",
    "check_cells",
    "declared_values",
    "distinct_values",
    "first_missing",
    "frame_columns",
    "holds_labels",
    "is_categorical",
    "is_frame",
    "is_missing",
    "is_series",
    "listed",
    "missing_cells",
    "with_none",
]

MAX_SHOWN = 10
CATEGORICAL_DTYPES = ("category", "Categorical", "Enum")
ENUMERATED_DTYPES = ("category", "Enum")  # those that list their values
TRUTH_DTYPES = ("bool", "boolean", "Boolean")
TEXT_DTYPES = ("str", "string", "String")
MISSING_TYPES = ("NoneType", "NAType", "NaTType")


# Tables and their columns


def is_frame(table: Any) -> bool:
    """Whether a table is a data frame, of pandas or polars."""
    return hasattr(table, "columns") and hasattr(table, "dtypes")


def is_series(table: Any) -> bool:
    """Whether a table is a single column of pandas or polars."""
    return hasattr(table, "name") and hasattr(table, "to_frame")


def frame_columns(frame: Any) -> list[Any]:
    """Return the columns of a data frame with their own dtypes.

    They are taken by number, because names may repeat.
    """
    by_number = frame.iloc if hasattr(frame, "iloc") else frame
    return [by_number[:, j] for j in range(len(frame.columns))]


def as_array(table: Any) -> NDArray[Any]:
    """Return an array; where the table holds any text, an array of objects.

    NumPy would turn the numbers and truth values of a list into text if one of its
    cells is text. As objects, all cells stay what they are.
    """
    array = np.asarray(table)
    return np.asarray(table, dtype=object) if array.dtype.kind in "US" else array


# Numbers or labels


def holds_labels(column: Any) -> bool:
    """Whether a column holds labels, by its dtype or, for objects, by its cells.

    Parameters
    ----------
    column : ndarray of shape (n,) or Series of pandas or polars
        One column of a table.

    Returns
    -------
    labels : bool
        True for text, truth values and categorical dtypes, and for a column of
        objects with a cell that is neither a number nor missing.
    """
    dtype = column.dtype
    # Their columns hold labels even where all cells are missing.
    name = _dtype_name(dtype).partition("[")[0]
    if is_categorical(column) or name in TEXT_DTYPES or name in TRUTH_DTYPES:
        return True
    # The decimals of polars are objects in NumPy, but they are numbers.
    if hasattr(dtype, "is_numeric") and dtype.is_numeric():
        return False
    # The dtypes of polars have no kind; those of pandas say more than NumPy's: a
    # column of nullable integers with missing cells may become an array of objects.
    kind = getattr(dtype, "kind", None) or np.asarray(column).dtype.kind
    if kind == "O":
        cells = np.asarray(column).tolist()
        return not all(_is_number(value) or is_missing(value) for value in cells)
    return kind in "USb"


def is_categorical(column: Any) -> bool:
    """Whether a column of a data frame has a categorical dtype."""
    return _dtype_name(column.dtype) in CATEGORICAL_DTYPES


def _dtype_name(dtype: Any) -> str:
    """Return the name of a dtype without its parameters."""
    return str(dtype).partition("(")[0]


def _is_number(value: object) -> bool:
    # Python counts its truth values as numbers, NumPy does not count its own.
    return isinstance(value, Real) and not isinstance(value, bool)


def as_python(value: Any) -> Any:
    """Return NumPy's number, truth value or text as Python's; all else as it is."""
    scalar = isinstance(value, (np.number, np.bool_, np.character))
    return value.item() if scalar else value


# Missing cells, and cells that cannot be values


def is_missing(value: object) -> bool:
    """Whether an object in a column stands for no value: None, NaN, NA or NaT."""
    if type(value).__name__ in MISSING_TYPES:
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _may_be_missing(kind: type) -> bool:
    return kind.__name__ in MISSING_TYPES or issubclass(kind, (float, np.floating))


def missing_cells(cells: NDArray[Any]) -> Mask:
    """Return which cells of an array of one or two axes are missing."""
    if cells.dtype.kind == "O":
        values = cells.ravel().tolist()
        # Most columns hold text alone, and types are looked up much faster than cells.
        kinds = {kind for kind in set(map(type, values)) if _may_be_missing(kind)}
        if not kinds:
            return np.zeros(cells.shape, dtype=bool)
        missing = [type(value) in kinds and is_missing(value) for value in values]
        return np.array(missing, dtype=bool).reshape(cells.shape)
    if cells.dtype.kind == "f":
        return np.isnan(cells)
    return np.zeros(cells.shape, dtype=bool)


def first_missing(cells: NDArray[Any]) -> int | None:
    """Return the row of the first missing cell, or None if there is none."""
    missing = missing_cells(cells)
    return int(missing.argmax()) if missing.any() else None


def with_none(cells: NDArray[Any], missing: Mask) -> NDArray[np.object_]:
    """Return an array of objects, None in place of the missing cells."""
    changed = cells.astype(object)
    changed[missing] = None
    return changed


def check_cells(cells: NDArray[Any], name: str, table: str) -> None:
    """Raise a TypeError for a cell that cannot be a value, such as a list.

    Parameters
    ----------
    cells : ndarray of shape (n,)
        Cells of a column.
    name : str
        What the message calls the column.
    table : str
        What the message calls the table, "X" or "y".
    """
    if cells.dtype.kind != "O":
        return
    for row, value in enumerate(cells.tolist()):
        # Categories are looked up by their hash.
        if not _can_be_looked_up(value):
            raise TypeError(
                f"Input {table} contains {value!r} in {name} (first in row {row}): the "
                f"argument must be a table of strings, truth values or numbers."
            )


def _can_be_looked_up(value: object) -> bool:
    try:
        hash(value)
    except TypeError:  # a list, or a tuple with a list inside
        return False
    return True


# Categories and their codes


def declared_values(column: Any) -> tuple[object, ...]:
    """Return the values that the dtype of a column allows; none if it allows any."""
    name = _dtype_name(column.dtype)
    if name in ENUMERATED_DTYPES:
        return tuple(np.asarray(column.dtype.categories, dtype=object).tolist())
    return (False, True) if name in TRUTH_DTYPES else ()


def distinct_values(cells: NDArray[Any]) -> tuple[object, ...]:
    """Return the distinct values of a column, in the same order whatever its rows'.

    Parameters
    ----------
    cells : ndarray of shape (n,)
        Observed cells of a column.

    Returns
    -------
    values : tuple
        Python's objects. Numbers and truth values come first, by size, then the values
        of each other type, by the type's name. Within a type, they are sorted, or,
        where they cannot be compared, sorted by their text. Of equal values of several
        types, such as 1, 1.0 and True, one stands for all.
    """
    if cells.dtype != object:
        return tuple(np.unique(cells).tolist())
    # With their types: a set of 1 and True keeps whichever comes first.
    typed = {(type(value), value) for value in map(as_python, cells.tolist())}
    groups: dict[str, list[Any]] = {}
    for kind, value in sorted(typed, key=lambda pair: pair[0].__name__):
        name = "" if isinstance(value, Real) else kind.__name__
        groups.setdefault(name, []).append(value)
    ordered = (value for name in sorted(groups) for value in _sorted(groups[name]))
    return tuple(dict.fromkeys(ordered))


def _sorted(values: list[Any]) -> list[Any]:
    """Return values of one type in order, whatever their order was."""
    if isinstance(values[0], Real):
        return sorted(values)
    # By their text first: sets can be compared, but are in no order.
    values = sorted(values, key=str)
    try:
        return sorted(values)
    except Exception:  # whatever a type raises where it has no order
        return values


def as_codes(cells: NDArray[Any], categories: Sequence[object]) -> Array:
    """Return each cell's place among the categories; −1 if it is none of them."""
    code = {value: place for place, value in enumerate(categories)}
    places = [code.get(value, -1) for value in cells.tolist()]
    return np.array(places, dtype=np.float64)


def listed(values: Sequence[object]) -> str:
    """Return values as messages show them, the first ten if there are more."""
    shown = ", ".join(repr(as_python(value)) for value in values[:MAX_SHOWN])
    more = f", … ({len(values)} in all)" if len(values) > MAX_SHOWN else ""
    return shown + more
