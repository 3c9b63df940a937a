"""What questions about a density are answered with."""

from typing import Any, NamedTuple

from skvae.typing import Array

__all__ = ["CodeLengths", "MeanEstimate", "Surprise"]


class CodeLengths(NamedTuple):
    """How many bits rows take.

    Attributes
    ----------
    rows : ndarray of shape (n,)
        −log₂ of the probability of each row, with all its observed cells.
    columns : ndarray of shape (n, D) or None
        What each cell takes, given the columns before it; NaN where it is missing.
        None unless it was asked for.
    resolution : ndarray of shape (D,)
        The step between neighbouring values of each column, over which the density is
        integrated: one for zeros and ones and categories, NaN where steps differ, as
        between floats.
    """

    rows: Array
    columns: Array | None
    resolution: Array


class MeanEstimate(NamedTuple):
    """A mean over draws.

    Attributes
    ----------
    value : float
        The mean, nats.
    standard_error : float
        Its standard error.
    """

    value: float
    standard_error: float


class Surprise(NamedTuple):
    """How surprising each cell is, given the rest of its row.

    Attributes
    ----------
    surprise : ndarray of shape (n, D)
        −log p(cell | the other observed cells of the row), nats, in the units of the
        columns; NaN where the cell is missing.
    expected : ndarray or DataFrame of shape (n, D)
        What would have been expected in the place of each cell.
    tail : ndarray of shape (n, D)
        Probability of a value at least as far out as the cell's, on either side, given
        the others: twice the smaller of P(X ≤ x) and P(X ≥ x), at most one. For
        categories, the mass of all values that are not more probable.
    """

    surprise: Array
    expected: Any
    tail: Array
