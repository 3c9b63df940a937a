"""Rows and columns of a table without any observed cell."""

from collections.abc import Iterator

import numpy as np

from skvae.arguments.warnings import warn_caller
from skvae.tables.checks import listed_columns
from skvae.tables.raw import RawTable
from skvae.typing import Array, Mask

__all__ = ["check_observed_columns", "columns_with_gaps", "weight_of_observed_rows"]

MIN_ROWS = 2


def weight_of_observed_rows(raw: RawTable, sample_weight: Array) -> Array:
    """Return the weights, zero for each row without an observed cell.

    Such a row says nothing of the density. A warning counts them.

    Parameters
    ----------
    raw : RawTable
        Rows to fit to.
    sample_weight : ndarray of shape (n,)
        Weights.

    Raises
    ------
    ValueError
        If fewer than two rows have an observed cell, or none of positive weight.
    """
    if raw.complete:
        return sample_weight
    empty = np.concatenate([missing.all(1) for missing in raw.missing_blocks()])
    n_empty = int(empty.sum())
    if not n_empty:
        return sample_weight
    n_left = len(empty) - n_empty
    table, owner = raw.columns.table, raw.columns.owner
    if n_left < MIN_ROWS:
        raise ValueError(
            f"Input {table} has {n_left} row(s) with an observed cell while a minimum "
            f"of {MIN_ROWS} is required by {owner}: in {n_empty} rows, all cells are "
            f"missing."
        )
    weight = np.where(empty, 0.0, sample_weight)
    if not weight.any():
        raise ValueError(
            f"Input {table} has no observed cell in the rows of positive weight."
        )
    warn_caller(
        f"{n_empty} of {len(empty)} rows of {table} have no observed cell. They say "
        f"nothing of the density, and are left out."
    )
    return weight


def check_observed_columns(raw: RawTable, sample_weight: Array) -> None:
    """Raise a ValueError that names the columns without an observed cell.

    Parameters
    ----------
    raw : RawTable
        Rows to fit to.
    sample_weight : ndarray of shape (n,)
        Weights; cells in rows of weight zero do not count.
    """
    if raw.complete:
        return
    unseen = np.ones(raw.numbers.shape[1], dtype=bool)
    for missing in _of_used_rows(raw, sample_weight):
        unseen &= missing.all(0)
    if unseen.any():
        which = listed_columns(raw.columns, np.flatnonzero(unseen).tolist())
        raise ValueError(
            f"Input {raw.columns.table} has no observed cell in {which}, in rows of "
            f"positive weight. There is nothing to learn from a column whose cells are "
            f"all missing: drop it."
        )


def columns_with_gaps(raw: RawTable, sample_weight: Array) -> Mask:
    """Return which columns have missing cells in rows of positive weight, (D,).

    Parameters
    ----------
    raw : RawTable
        Rows to fit to.
    sample_weight : ndarray of shape (n,)
        Weights.
    """
    gaps = np.zeros(raw.numbers.shape[1], dtype=bool)
    if raw.complete:
        return gaps
    for missing in _of_used_rows(raw, sample_weight):
        gaps |= missing.any(0)
    return gaps


def _of_used_rows(raw: RawTable, sample_weight: Array) -> Iterator[Mask]:
    """Yield which cells are missing, of some rows of positive weight at a time."""
    begin = 0
    for missing in raw.missing_blocks():
        end = begin + len(missing)
        yield missing[sample_weight[begin:end] > 0]
        begin = end
