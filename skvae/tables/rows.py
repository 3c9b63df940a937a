"""Rows of a table in any container, by number and one after the other."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import issparse, vstack

from skvae.tables.frames import pandas_for_frames
from skvae.tables.labels import is_frame
from skvae.typing import Index, Table

__all__ = ["join_rows", "take_rows"]

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
