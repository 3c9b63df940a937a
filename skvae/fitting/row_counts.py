"""For how many rows each row of a table counts, by its weight."""

import numpy as np

from skvae.typing import Array

__all__ = ["row_counts"]

LARGEST_COUNT = 2.0**53  # beyond, floats skip whole numbers
PRECISION = 26  # bits of a relative weight; rounding errors are below


def row_counts(sample_weight: Array) -> Array:
    r"""Return for how many rows each row of a table counts.

    Whole numbers count rows: a row of weight w is w equal rows. Other weights are
    relative. Their unit is arbitrary, so that together they count for as many rows as
    there are rows of positive weight:

    .. math:: n_i = w_i \frac{\#\{j : w_j > 0\}}{\sum_j w_j}

    Parameters
    ----------
    sample_weight : ndarray of shape (n,)
        Weights, at least 0, finite, not all zero.

    Returns
    -------
    count : ndarray of shape (n,)
        Counts. For weights that are not whole numbers, they are the same after
        multiplication of all weights by a number, unless the products are whole.
    """
    whole = (sample_weight == np.floor(sample_weight)).all()
    with np.errstate(over="ignore"):
        if whole and sample_weight.sum() <= LARGEST_COUNT:
            return sample_weight
    # The first division keeps the sum of the largest and smallest floats in range.
    relative = sample_weight / sample_weight.max()
    relative /= relative[relative > 0].mean()
    # The last bits of a quotient depend on the unit of the weights.
    mantissa, exponent = np.frexp(relative)
    bits = 2.0**PRECISION
    return np.ldexp(np.round(mantissa * bits) / bits, exponent)
