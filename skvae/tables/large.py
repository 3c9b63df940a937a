"""Large tables: which they are, and how to read them a part at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import get_config
from torch import Tensor

from skvae.tables.columns import RowMap
from skvae.typing import Array, Index

__all__ = [
    "ROWS_AT_ONCE",
    "LargeTable",
    "RowsOnDemand",
    "choose_rows",
    "in_float32",
    "is_large",
    "row_blocks",
]

FARTHEST_IN_FLOAT32 = 1e12  # model units; its square over a floor's is a number
ROWS_AT_ONCE = 8192
# About as many as a training can draw; indices of all rows would need memory.
MAX_TRAINING_ROWS = 2**22


def is_large(table: NDArray[Any]) -> bool:
    """Whether a table, as float64, is larger than scikit-learn's `working_memory`."""
    return table.size * 8 > get_config()["working_memory"] * 2**20


def row_blocks(table: NDArray[Any]) -> Iterator[Array]:
    """Yield the rows of a table, a bounded number at a time, as float64."""
    for begin in range(0, len(table), ROWS_AT_ONCE):
        yield np.asarray(table[begin : begin + ROWS_AT_ONCE], dtype=np.float64)


@dataclass(frozen=True)
class LargeTable:
    """Rows of a table that is too large to copy, and may be on a disk.

    Attributes
    ----------
    table : ndarray of shape (n, columns)
        All rows, of any dtype.
    numbers : ndarray of shape (N,)
        Which of them are meant, in ascending order.
    """

    table: NDArray[Any]
    numbers: Index

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.numbers), self.table.shape[1]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Index) -> Array:
        """Read rows, by their place among those that are meant."""
        return np.asarray(self.table[self.numbers[index]], dtype=np.float64)


def choose_rows(table: NDArray[Any], sample_weight: Array) -> tuple[LargeTable, Array]:
    """Return the rows of a large table to train on, and their weights.

    All of positive weight, if they are not too many; else, from equal slices of the
    cumulative weight, one each.
    """
    used = np.flatnonzero(sample_weight > 0)
    if len(used) <= MAX_TRAINING_ROWS:
        return LargeTable(table, used), sample_weight[used]
    cumulative = np.cumsum(sample_weight)
    place = np.arange(MAX_TRAINING_ROWS, dtype=np.float64)
    place += np.random.default_rng(0).random(MAX_TRAINING_ROWS)
    place *= cumulative[-1] / MAX_TRAINING_ROWS
    numbers = np.searchsorted(cumulative, place, side="right")
    numbers = np.minimum(numbers, used[-1])
    return LargeTable(table, numbers), np.ones(MAX_TRAINING_ROWS)


class RowsOnDemand:
    """Rows of a large table in model units, mapped when they are asked for.

    Indexed by row numbers, as a tensor of all rows would be.

    Parameters
    ----------
    rows : LargeTable
        Rows, in the units of the input.
    columns : RowMap
        Between these and model units.
    device : torch.device
        Where the rows go.
    """

    def __init__(self, rows: LargeTable, columns: RowMap, device: torch.device) -> None:
        self.rows, self.columns, self.device = rows, columns, device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return rows (B, columns), float32, of these numbers."""
        u, _ = self.columns.to_model(self.rows[index.cpu().numpy()])
        return in_float32(u).to(self.device)


def in_float32(u: Array) -> Tensor:
    """Return rows in model units as training reads them."""
    return torch.from_numpy(u.clip(-FARTHEST_IN_FLOAT32, FARTHEST_IN_FLOAT32)).float()
