"""The typical rows of a table, by two simple models that a few outliers cannot bend."""

import numpy as np
import torch

from skvae.model.backgrounds import StudentTBackground
from skvae.model.backgrounds.student_t import StudentTBackgroundModule
from skvae.model.features import ColumnKind
from skvae.model.threads import one_thread
from skvae.tables.columns import MIN_FLOOR, fit_columns
from skvae.typing import Array, Mask

__all__ = ["typical_rows"]

ROUNDING = 1e-9  # of a share


@one_thread()
def typical_rows(
    numbers: Array,
    weight: Array,
    share: float,
    codes: Array | None = None,
    *,
    every_category: bool = False,
) -> Mask:
    r"""Return which rows are left when the strangest are trimmed.

    Rows are ranked by two scores, and a row is as strange as the stranger of its two
    ranks. One score is the log-density of a multivariate Student-t distribution of the
    numbers, which sees these columns together. The other one is

    .. math:: \sum_j \log \min(1, 2 F_j(x_j), 2 (1 - F_j(x_j^-)))
              + \sum_k \log P(f_k(C_k) \le f_k(c_k)),

    with the distribution function :math:`F_j` of a column of numbers and the
    frequencies :math:`f_k` of a column of categories. The last probability is the
    share of the rows whose category is at most as frequent as that of this row. The
    score sees that a row is far out, or rare, in several columns, whatever their
    distributions are. Both scores are too stiff to learn a cluster of outliers, as
    flexible densities do.

    Parameters
    ----------
    numbers : ndarray of shape (n, D)
        Finite numbers. If there are no such columns, only the second score counts.
    weight : ndarray of shape (n,)
        Positive weights; equal to repeated rows where they are integers.
    share : float
        Share of the weight to trim at most, in [0, 1). Of equally strange rows, either
        all are trimmed or none.
    codes : ndarray of shape (n, C), default=None
        Columns of categories, as numbers that have no order. None if there are none.
    every_category : bool, default=False
        Whether each category has to be left in some row. If all of its rows are to be
        trimmed, the least strange of them is kept.

    Returns
    -------
    typical : ndarray of bool of shape (n,)
        False for the rows to trim.

    References
    ----------
    Z. Li, Y. Zhao, X. Hu, N. Botta, C. Ionescu and G. Chen, 2022. ECOD: unsupervised
    outlier detection using empirical cumulative distribution functions.

    K. L. Lange, R. J. A. Little and J. M. G. Taylor, 1989. Robust statistical
    modeling using the t distribution.
    """
    share_of_row = weight / weight.sum()
    tails = _tail_score(numbers, share_of_row)
    if codes is not None:
        tails += _rarity_score(codes, share_of_row)
    views = [tails]
    if numbers.shape[1]:
        views.append(_joint_score(numbers, share_of_row))
    typicality = np.min([_rank(view, share_of_row) for view in views], axis=0)
    rank = _rank(typicality, share_of_row, right=True)
    typical = np.asarray(rank > share + ROUNDING)
    if codes is not None and every_category:
        for column in codes.T:
            _, place = np.unique(column, return_inverse=True)
            highest = np.zeros(place.max() + 1)
            np.maximum.at(highest, place, rank)
            typical |= rank == highest[place]
    return typical


def _rank(value: Array, mass: Array, *, right: bool = False) -> Array:
    """Return the mass of smaller values for each value; `right` adds equal values."""
    distinct, code = np.unique(value, return_inverse=True)
    total = np.cumsum(np.bincount(code, mass, len(distinct)))
    return np.asarray(total[code] if right else np.append(0.0, total)[code])


def _tail_score(table: Array, mass: Array) -> Array:
    """Return the sum of the columns' log tail probabilities."""
    score = np.zeros(len(table))
    for column in table.T:
        below, above = _rank(column, mass, right=True), _rank(-column, mass, right=True)
        score += np.log(np.minimum(1.0, 2 * np.minimum(below, above)))
    return score


def _rarity_score(codes: Array, mass: Array) -> Array:
    """Return the sum of the columns' log probabilities of categories this rare."""
    score = np.zeros(len(codes))
    for column in codes.T:
        _, place = np.unique(column, return_inverse=True)
        # Frequencies that are equal differ by the rounding of their sums.
        frequency = np.bincount(place, mass).round(12)[place].astype(np.float64)
        score += np.log(np.minimum(1.0, _rank(frequency, mass, right=True)))
    return score


def _joint_score(table: Array, mass: Array) -> Array:
    """Return the log-density under a Student-t distribution."""
    kinds = (ColumnKind("real"),) * table.shape[1]
    columns = fit_columns(table, mass, kinds, normal_margins=False)
    x = torch.from_numpy(columns.to_model(table)[0])
    settings = StudentTBackground()
    floor = torch.full((table.shape[1],), MIN_FLOOR, dtype=x.dtype)
    background = StudentTBackgroundModule(0.0, settings.df, floor)
    background.initialise(x, torch.from_numpy(mass))
    return np.asarray(background.log_prob(x).numpy())
