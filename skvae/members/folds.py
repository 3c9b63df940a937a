"""Which rows of a table are held out: one part, or every row once."""

import heapq
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import check_cv

from skvae.arguments.checks import check_number
from skvae.tables.labels import frame_columns, is_frame
from skvae.typing import Array, CrossValidation, Index, Table

__all__ = ["Fold", "distinct_rows", "every_row_once", "one_part"]

MAX_ROWS = 5000  # distinct ones, of one held-out part


@dataclass(frozen=True)
class Fold:
    """Which rows are fitted, and which are held out to be scored.

    Attributes
    ----------
    train, valid : ndarray of shape (n_train,) and (n_valid,)
        Indices of rows.
    """

    train: Index
    valid: Index


def one_part(
    table: Table, weight: Array, fraction: float, random: np.random.RandomState
) -> list[Fold]:
    """Hold out a share of the rows, at random.

    Equal rows are either all held out or all fitted, because the copy of a fitted row
    is not new to the density. This also makes integer weights the same as repeated
    rows. The order of the rows does not matter.

    Parameters
    ----------
    table : array or data frame of n rows
        At least two distinct ones with a positive weight.
    weight : ndarray of shape (n,)
        Non-negative; rows of weight zero are in neither part.
    fraction : float
        Share of the weight to hold out. At least one distinct row is held out, at
        most 5,000, and never all.
    random : RandomState
        Source of the choice.

    Returns
    -------
    folds : list of one Fold
    """
    used, code, total = _distinct(table, weight, at_least=2, why="")
    order = random.permutation(len(total))
    share = total[order].cumsum() / total.sum()
    # A share that is equal but for rounding is not too large.
    n_held_out = int((share <= fraction * (1 + 1e-9)).sum())
    n_held_out = min(max(n_held_out, 1), len(total) - 1, MAX_ROWS)
    is_held_out = np.zeros(len(total), dtype=np.bool_)
    is_held_out[order[:n_held_out]] = True
    return [Fold(used[~is_held_out[code]], used[is_held_out[code]])]


def every_row_once(
    table: Table, weight: Array, cv: CrossValidation, random: np.random.RandomState
) -> list[Fold]:
    """Divide a table into folds, each of which is held out once.

    Parameters
    ----------
    table : array or data frame of n rows
        As for `one_part`.
    weight : ndarray of shape (n,)
        Non-negative; rows of weight zero are in no fold.
    cv : int, splitter or iterable of pairs of index arrays
        An int is a number of folds of about equal weight. The rows are shuffled first,
        and equal rows are in the same fold. Splitters and iterables are as for
        scikit-learn: they may hold a row out several times or never.
    random : RandomState
        Source of the folds, where `cv` is an int.

    Returns
    -------
    folds : list of Fold
    """
    if not isinstance(cv, Integral) or isinstance(cv, bool):
        return _folds_of(table, weight, cv)
    check_number(cv, "cv", low=2, integer=True)
    n_folds = int(cv)
    used, code, total = _distinct(table, weight, at_least=n_folds, why=f" for {cv=}")
    fold_of = np.empty(len(total), dtype=np.intp)
    # Every row goes to the fold that is the lightest so far, so that none stays empty.
    loads = [(0.0, fold) for fold in range(n_folds)]
    for row in random.permutation(len(total)).tolist():
        load, fold = loads[0]
        fold_of[row] = fold
        heapq.heapreplace(loads, (load + float(total[row]), fold))
    return [
        Fold(used[fold_of[code] != fold], used[fold_of[code] == fold])
        for fold in range(n_folds)
    ]


def _folds_of(table: Table, weight: Array, cv: CrossValidation) -> list[Fold]:
    """Return the folds of a splitter, without the rows of weight zero."""
    if cv is None or isinstance(cv, bool):
        raise TypeError(
            f"cv must be an int, a splitter or an iterable of splits, got {cv!r}."
        )
    folds = []
    for number, (train, valid) in enumerate(check_cv(cv).split(table)):
        fold = Fold(*(rows[weight[rows] > 0] for rows in map(_index, (train, valid))))
        for rows, what in ((fold.train, "fit"), (fold.valid, "hold out")):
            if not len(rows):
                raise ValueError(f"Split {number} of cv has no rows to {what}.")
        folds.append(fold)
    if not folds:
        raise ValueError(f"cv={cv!r} has no splits.")
    return folds


def _index(rows: ArrayLike) -> Index:
    """Return the indices of rows that are given by a mask or by their indices."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.intp)


def _distinct(
    table: Table, weight: Array, *, at_least: int, why: str
) -> tuple[Index, Index, Array]:
    """Return the rows in use, which distinct row each is, and their total weights."""
    used = np.flatnonzero(weight > 0)
    _, code = np.unique(distinct_rows(table)[used], return_inverse=True)
    total = np.bincount(code, weight[used]).astype(np.float64)
    if len(total) < at_least:
        raise ValueError(
            f"There are {len(total)} different rows in X; to hold some out, at least "
            f"{at_least} are needed{why}."
        )
    return used, code, total


def distinct_rows(table: Table) -> Index:
    """Return a number for every row, the same for equal rows.

    The numbers depend on the values alone: not on the order of the rows, nor on
    whether they are in an array or in a data frame.

    Parameters
    ----------
    table : array, data frame or sparse matrix of n rows
        Rows of a sparse matrix are all taken to be different.

    Returns
    -------
    code : ndarray of shape (n,)
    """
    if isinstance(table, np.ndarray) and table.dtype.kind in "fiub":
        return _codes(table)
    if isinstance(table, np.ndarray):
        return _codes(np.stack([_numbers(column) for column in table.T], axis=1))
    if is_frame(table):
        columns = [_numbers(column) for column in frame_columns(table)]
        return _codes(np.stack(columns, axis=1))
    return np.arange(table.shape[0])


def _codes(numbers: NDArray[Any]) -> Index:
    return np.unique(numbers, axis=0, return_inverse=True)[1].reshape(-1)


def _numbers(column: Any) -> Array:
    """Return a column's numbers, or numbers in place of its values."""
    cells = np.asarray(column)
    if cells.dtype.kind in "fiub":
        return cells.astype(np.float64)
    # With their types, so that the number 1 and the text "1" differ.
    named = [f"{type(cell).__name__} {cell}" for cell in cells.tolist()]
    return np.unique(named, return_inverse=True)[1].astype(np.float64)
