"""Tables of the user with their missing cells filled in, in the same container."""

from typing import Any

import numpy as np

from skvae.tables.labels import as_array, frame_columns, is_frame
from skvae.tables.output import layout_of
from skvae.tables.schema import TableSchema
from skvae.typing import Array, Mask

__all__ = ["fill_table"]


def fill_table(X: Any, filled: Array, missing: Mask, schema: TableSchema) -> Any:
    """Return X with values in its missing cells, and all else as it is.

    Parameters
    ----------
    X : array-like of shape (n, D)
        What the user gave.
    filled : ndarray of shape (n, D)
        Numbers and codes.
    missing : ndarray of bool of shape (n, D)
        Which cells of X are missing.
    schema : TableSchema
        What the columns hold.

    Returns
    -------
    table : ndarray or DataFrame of shape (n, D)
        A data frame has the index and the dtypes of X; numbers in columns of integers
        are rounded. An array is one of floats, or of objects where X is one of objects
        or has text.
    """
    if is_frame(X):
        library = layout_of(X).library
        decoded = frame_columns(schema.decode(filled, str(library)))
        fill = _fill_pandas if library == "pandas" else _fill_polars
        return fill(X, decoded, missing)
    values = schema.decode(filled)
    array = as_array(X)
    if array.dtype.kind in "fiub" and values.dtype != object:
        array = array.astype(np.result_type(array.dtype, np.float32))
    else:
        array = array.astype(object)
    array[missing] = values[missing]
    return array


def _fill_pandas(frame: Any, decoded: list[Any], missing: Mask) -> Any:
    filled = frame.copy()
    for j, (values, chosen) in enumerate(zip(decoded, missing.T, strict=True)):
        if not chosen.any():
            continue
        column = frame.iloc[:, j].copy()
        if column.dtype.kind == "f":
            values = values.astype(column.dtype)
        column[chosen] = values[chosen].array
        filled.isetitem(j, column)
    return filled


def _fill_polars(frame: Any, decoded: list[Any], missing: Mask) -> Any:
    import polars

    columns = []
    for name, values, chosen in zip(frame.columns, decoded, missing.T, strict=True):
        column = frame[name]
        if chosen.any():
            cells = column.to_list()
            for row in np.flatnonzero(chosen).tolist():
                cells[row] = values[row]
            column = polars.Series(name, cells, dtype=column.dtype, strict=False)
        columns.append(column)
    return polars.DataFrame(columns)
