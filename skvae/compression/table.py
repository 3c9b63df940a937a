"""Tables of the user as numbers, and back to the bit.

What a number cannot say of a cell is kept beside it: cells whose value would come back
as another one are treated as missing, and stored as they are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae.persistence.frames import frame_from_parts, parts_of_frame
from skvae.tables.labels import as_array, is_frame
from skvae.tables.schema import TableSchema
from skvae.typing import Array, Mask

__all__ = ["ColumnForm", "columns_of", "table_of", "unlike", "verbatim"]

NUMPY = "numpy"
JSON_TYPES = (type(None), bool, int, float, str)


def columns_of(X: Any) -> tuple[dict[str, Any], list[tuple[str, Any, Any]]]:
    """Take a table apart.

    Parameters
    ----------
    X : array-like or data frame of shape (n, D)
        The table.

    Returns
    -------
    frame : dict
        What it is besides its columns, as JSON has it.
    columns : list of tuple
        Dtype, cells and, of categories, their values; see `parts_of_frame`.

    Raises
    ------
    ValueError
        If it is a frame of pandas with an index that is not 0, 1, ….
    """
    if not is_frame(X):
        array = as_array(X)
        one_dimensional = array.ndim == 1
        array = array.reshape(len(array), -1)
        frame: dict[str, Any] = {"library": NUMPY, "dtype": array.dtype.str}
        frame["one_dimensional"] = one_dimensional
        if array.dtype == object:
            return frame, [("object", cells.tolist(), None) for cells in array.T]
        return frame, [("array", cells, None) for cells in array.T]
    parts = parts_of_frame(X)
    index = getattr(X, "index", None)
    if index is not None and not (np.asarray(index) == np.arange(len(X))).all():
        raise ValueError(
            "The index of X is not 0, 1, …, and rows alone are compressed: call "
            "X.reset_index() first, which makes it a column, or reset_index(drop=True)."
        )
    return {"library": parts["library"], "names": parts["names"]}, parts["columns"]


def table_of(frame: dict[str, Any], columns: list[tuple[str, Any, Any]]) -> Any:
    """Put a table together again."""
    if frame["library"] != NUMPY:
        return frame_from_parts({**frame, "columns": columns})
    dtype = np.dtype(frame["dtype"])
    n_rows = len(columns[0][1]) if columns else 0
    table = np.empty((n_rows, len(columns)), dtype)
    for j, (_, cells, _) in enumerate(columns):
        if dtype.kind == "O":
            table[:, j] = np.fromiter(cells, object, n_rows)
        else:
            table[:, j] = cells
    return table[:, 0] if frame["one_dimensional"] else table


class ColumnForm:
    """How the cells of a column are made of numbers.

    Parameters
    ----------
    description : dict
        As JSON has it: `of` is "array", "numbers" or "values".
    """

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description

    @classmethod
    def of(
        cls, column: tuple[str, Any, Any], numbers: Array, schema: TableSchema, j: int
    ) -> "ColumnForm":
        """Return the form of a column of a table.

        Parameters
        ----------
        column : tuple
            Dtype, cells and values of categories, as `columns_of` returns them.
        numbers : ndarray of shape (n,)
            What the density reads in their place; NaN for missing cells.
        schema : TableSchema
            The density's.
        j : int
            Which column.
        """
        dtype, cells, of_categories = column
        known = {"dtype": dtype, "categories": _plain(of_categories)}
        if schema.categories[j] is not None:
            values: list[Any] = [None] * (len(schema.categories[j] or ()) + 1)
            observed = ~np.isnan(numbers)
            codes, first = np.unique(numbers[observed], return_index=True)
            places = np.flatnonzero(observed)[first]
            for code, place in zip(codes.astype(int), places, strict=True):
                values[code] = _as_json(cells[place])
            known |= {"of": "values", "values": values}
        elif dtype == "array":
            known |= {"of": "array"}
        else:
            whole = dtype.startswith(("Int", "UInt"))
            known |= {"of": "numbers", "whole": whole}
        if isinstance(cells, np.ndarray):
            known["cells"] = cells.dtype.str
        return cls(known)

    def cells(self, numbers: Array) -> Any:
        """Return the cells of numbers (n,); NaN for missing ones."""
        form, missing = self.description, np.isnan(numbers)
        cells: Any
        if form["of"] == "values":
            codes = np.where(missing, len(form["values"]) - 1, numbers).astype(int)
            values = form["values"]
            cells = [None if m else values[c] for c, m in zip(codes, missing)]  # noqa: B905
            if "cells" in form:
                # The code of a missing category is −1.
                nothing = np.nan if form["cells"][1] == "f" else -1
                cells = [nothing if cell is None else cell for cell in cells]
        elif form["of"] == "array":
            kind = np.dtype(form["cells"]).kind
            cells = numbers if kind == "f" else np.where(missing, 0, numbers)
        else:
            convert = int if form["whole"] else float
            cells = [
                None if absent else convert(number)
                for number, absent in zip(numbers.tolist(), missing, strict=True)
            ]
        if "cells" in form:
            return np.asarray(cells).astype(form["cells"])
        return cells

    def column(self, cells: Any) -> tuple[str, Any, Any]:
        """Return the column as `table_of` takes it."""
        form = self.description
        return form["dtype"], cells, form["categories"]


def unlike(cells: Any, others: Any) -> Mask:
    """Return which cells differ from others in any way."""
    if isinstance(cells, np.ndarray):
        same = cells == others
        if cells.dtype.kind == "f":
            same &= np.signbit(cells) == np.signbit(others)
            same |= np.isnan(cells) & np.isnan(others)
        return ~same
    return np.array([not _same(a, b) for a, b in zip(cells, others, strict=True)], bool)


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    return bool(a == b)


def verbatim(cells: Any, rows: NDArray[np.intp]) -> list[Any]:
    """Return some cells as JSON has them."""
    return [_as_json(cells[row]) for row in rows.tolist()]


def _as_json(cell: Any) -> Any:
    cell = cell.item() if isinstance(cell, np.generic) else cell
    if type(cell) not in JSON_TYPES:
        raise TypeError(
            f"Cells are compressed if they are numbers, truth values, text or missing; "
            f"got {cell!r} of type {type(cell).__name__}."
        )
    return cell


def _plain(of_categories: Any) -> Any:
    """Return the values of categories as JSON has them."""
    if of_categories is None:
        return None
    if isinstance(of_categories, tuple):
        values, ordered = of_categories
        return [[_as_json(value) for value in values], ordered]
    return [_as_json(value) for value in of_categories]
