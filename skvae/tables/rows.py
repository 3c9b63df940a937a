"""Rows of a table in any container, by number and one after the other."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import issparse, vstack

from skvae.reports import pandas_for_frames
from skvae.tables.labels import is_frame
from skvae.typing import Index, Table

__all__ = ["exchange_column", "join_rows", "take_rows", "with_cells"]

Rows = TypeVar("Rows", bound=Table)


def take_rows(table: Rows, index: Index) -> Rows:
    """Return some rows of an array, a data frame or a sparse matrix, by number."""
    # A pandas frame takes a bare index array for names of columns.
    return table.iloc[index] if hasattr(table, "iloc") else table[index]


def join_rows(tables: Sequence[Any]) -> Any:
    """Return the rows of tables of one container, one table after the other."""
    first = tables[0]
    if issparse(first):
        return vstack(tables, format="csr")
    if not is_frame(first):
        return np.concatenate(tables)
    if hasattr(first, "vstack"):  # polars
        joined = first
        for table in tables[1:]:
            joined = joined.vstack(table)
        return joined
    return pandas_for_frames().concat(tables, ignore_index=True)


def exchange_column(table: Any, other: Any, j: int) -> Any:
    """Return a table with column j of another one of the same length and container."""
    if hasattr(other, "iloc"):
        # By position, because pandas would match the rows of a Series by their index.
        return with_cells(table, j, other.iloc[:, j].array)
    return with_cells(table, j, other[:, j])


def with_cells(table: Any, j: int, cells: Any) -> Any:
    """Return a copy of a table in which column j has other cells.

    Parameters
    ----------
    table : array or data frame of shape (n, D)
        Rows.
    j : int
        Number of the column; names may repeat.
    cells : array-like of shape (n,)
        Its new cells.
    """
    if hasattr(table, "replace_column"):  # polars, which changes a frame in place
        series = type(table[:, j])(table.columns[j], cells)
        return table.clone().replace_column(j, series)
    table = table.copy()
    if hasattr(table, "isetitem"):
        table.isetitem(j, cells)
    else:
        table[:, j] = cells
    return table
