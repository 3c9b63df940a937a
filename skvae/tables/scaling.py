"""Location and scale of columns, computed so that no finite number overflows."""

import numpy as np

from skvae.typing import Array

__all__ = ["location_and_scale", "standardise"]

FARTHEST = 1e100  # model units; its square is still a number


def location_and_scale(rows: Array, sample_weight: Array) -> tuple[Array, Array]:
    """Return the weighted mean and standard deviation of each column.

    A constant column has no deviation: its scale is the absolute value of the
    constant, or one for zero, and its location is the constant to the last digit.

    Parameters
    ----------
    rows : ndarray of shape (n, D) or (n,)
        Several columns, or one.
    sample_weight : ndarray of shape (n,)
        Positive weights.

    Returns
    -------
    center, scale : ndarray of shape (D,), or of no dimension for one column
        In the units of the columns; the scales are positive.
    """
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
    """Return u = (x − center) / scale, clipped to ±10¹⁰⁰.

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
