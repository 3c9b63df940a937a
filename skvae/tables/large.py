"""Large tables, which are read a part at a time and never copied as a whole."""

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

# Model units. A density squares the ratio of a distance to a floor of 10⁻³, and this
# square still is a number in float32.
FARTHEST_IN_FLOAT32 = 1e12
ROWS_AT_ONCE = 8192
# About as many rows as a training can draw. The numbers of all rows of a larger table
# would take memory for nothing.
MAX_TRAINING_ROWS = 2**22


def is_large(table: NDArray[Any]) -> bool:
    """Whether a table takes more memory, as float64, than `working_memory` allows.

    `working_memory` is a setting of scikit-learn, 1 GiB unless the user changes it.
    """
    return table.size * 8 > get_config()["working_memory"] * 2**20


def row_blocks(table: NDArray[Any], at_once: int = ROWS_AT_ONCE) -> Iterator[Array]:
    """Yield the rows of a table in order, at most so many at a time, as float64."""
    for begin in range(0, len(table), at_once):
        # A number of a longer type that float64 does not hold becomes infinity.
        with np.errstate(over="ignore"):
            block = np.asarray(table[begin : begin + at_once], dtype=np.float64)
        yield block


@dataclass(frozen=True)
class LargeTable:
    """Some rows of a table that is too large to copy, and may be on a disk.

    Attributes
    ----------
    table : ndarray of shape (n, columns)
        All rows of the table, of any dtype.
    numbers : ndarray of shape (N,)
        The numbers of the rows that belong to this object, in ascending order.
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
        """Read rows by their place in `numbers`."""
        return np.asarray(self.table[self.numbers[index]], dtype=np.float64)


def choose_rows(table: NDArray[Any], sample_weight: Array) -> tuple[LargeTable, Array]:
    """Return the rows of a large table to train on, and their weights.

    These are all rows of positive weight, unless there are more than 2²² of them. Of
    more rows, 2²² are drawn by weight, and each drawn row has the weight one: the total
    weight is cut into 2²² equal slices, and each slice gives one row (stratified
    sampling).
    """
    used = np.flatnonzero(sample_weight > 0)
    if len(used) <= MAX_TRAINING_ROWS:
        return LargeTable(table, used), sample_weight[used]
    cumulative = np.cumsum(sample_weight)
    # The seed is fixed: the choice depends on the table and its weights alone.
    place = np.arange(MAX_TRAINING_ROWS, dtype=np.float64)
    place += np.random.default_rng(0).random(MAX_TRAINING_ROWS)
    place *= cumulative[-1] / MAX_TRAINING_ROWS
    numbers = np.searchsorted(cumulative, place, side="right")
    # Rounding may move a place beyond the last row that has a weight.
    numbers = np.minimum(numbers, used[-1])
    return LargeTable(table, numbers), np.ones(MAX_TRAINING_ROWS)


class RowsOnDemand:
    """Rows of a large table, each mapped to model units only when it is read.

    An index selects rows as it would select those of a tensor of all rows.

    Parameters
    ----------
    rows : LargeTable
        Rows, in the units of the input.
    columns : RowMap
        Maps rows to model units.
    device : torch.device
        Device of the tensors that are returned.
    """

    def __init__(self, rows: LargeTable, columns: RowMap, device: torch.device) -> None:
        self.rows, self.columns, self.device = rows, columns, device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return the rows with these numbers, shape (B, columns), in float32."""
        u, _ = self.columns.to_model(self.rows[index.cpu().numpy()])
        return in_float32(u).to(self.device)


def in_float32(u: Array) -> Tensor:
    """Return rows in model units as training reads them: clipped, in float32."""
    return torch.from_numpy(u.clip(-FARTHEST_IN_FLOAT32, FARTHEST_IN_FLOAT32)).float()
