"""Location and scale of columns, computed so that no finite number overflows."""

import numpy as np

from skvae.typing import Array

__all__ = ["location_and_scale", "observed_cells", "standardise"]

FARTHEST = 1e100  # model units; its square is still a number


def observed_cells(column: Array, sample_weight: Array) -> tuple[Array, Array]:
    """Return the cells of a column that are not missing, and their weights.

    Parameters
    ----------
    column : ndarray of shape (n,)
        Numbers, NaN where a cell is missing.
    sample_weight : ndarray of shape (n,)
        Weights.
    """
    missing = np.isnan(column)
    if not missing.any():
        return column, sample_weight
    return column[~missing], sample_weight[~missing]


def location_and_scale(rows: Array, sample_weight: Array) -> tuple[Array, Array]:
    """Return the weighted mean and standard deviation of each column.

    They are those of its observed cells; without any, they are 0 and 1. A constant
    column has no deviation: its scale is the absolute value of the constant, or one for
    zero, and its location is the constant to the last digit.

    Parameters
    ----------
    rows : ndarray of shape (n, D) or (n,)
        Several columns, or one; NaN where a cell is missing.
    sample_weight : ndarray of shape (n,)
        Positive weights.

    Returns
    -------
    center, scale : ndarray of shape (D,), or of no dimension for one column
        In the units of the columns; the scales are positive.
    """
    if rows.ndim == 1:
        return _of_complete(*observed_cells(rows, sample_weight))
    incomplete = np.isnan(rows).any(0)
    if not incomplete.any():
        return _of_complete(rows, sample_weight)
    center, scale = np.empty((2, rows.shape[1]))
    center[~incomplete], scale[~incomplete] = _of_complete(
        rows[:, ~incomplete], sample_weight
    )
    for j in np.flatnonzero(incomplete):
        center[j], scale[j] = location_and_scale(rows[:, j], sample_weight)
    return center, scale


def _of_complete(rows: Array, sample_weight: Array) -> tuple[Array, Array]:
    """Return location and scale of columns without missing cells."""
    if not len(rows):
        return np.zeros(rows.shape[1:]), np.ones(rows.shape[1:])
    share = sample_weight / sample_weight.sum()
    # Relative to the largest entry, so that squares neither overflow nor vanish.
    largest = np.abs(rows).max(0)
    largest = np.where(largest == 0, 1.0, largest)
    relative = rows / largest
    center = share @ relative
    scale = np.sqrt(share @ np.square(relative - center))
    # Rounding leaves a constant column a deviation of a few units in the last place.
    constant = scale <= 1e-12 * np.abs(center)
    center = np.where(constant, relative[0], center)
    of_constant = np.where(center == 0, 1.0, np.abs(center))
    scale = np.where(constant, of_constant, scale)
    return center * largest, np.maximum(scale * largest, np.finfo(float).tiny)


def standardise(rows: Array, center: Array, scale: Array) -> Array:
    """Return u = (x − center) / scale, clipped to ±10¹⁰⁰, and NaN for a missing cell.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        Rows, in the units of the columns.
    center, scale : ndarray of shape (D,)
        Location and scale of each column.
    """
    # Halves keep the difference of the largest numbers finite.
    half = rows / 2 - center / 2
    with np.errstate(over="ignore"):
        return np.clip(half / scale * 2, -FARTHEST, FARTHEST)
