"""The typical rows of a table, by two simple views that few strange rows can move."""

import numpy as np
import torch

from skvae.model.backgrounds import StudentTBackground
from skvae.model.backgrounds.student_t import StudentTBackgroundModule
from skvae.model.features import ColumnKind
from skvae.tables.columns import MIN_FLOOR, fit_columns
from skvae.typing import Array, Mask

__all__ = ["typical_rows"]

ROUNDING = 1e-9  # of a share


def typical_rows(table: Array, weight: Array, share: float) -> Mask:
    r"""Return which rows are left when the strangest are trimmed.

    A row is as strange as the stranger of two ranks: of its distance under a
    multivariate Student-t distribution, which sees columns together, and of

    .. math:: \sum_j \log \min(1, 2 F_j(x_j), 2 (1 - F_j(x_j^-))),

    which sees that it is far out in several columns, whatever their shapes. Both are
    too stiff to learn a cluster of outliers, as flexible densities do.

    Parameters
    ----------
    table : ndarray of shape (n, D)
        Finite numbers.
    weight : ndarray of shape (n,)
        Positive weights; equal to repeated rows where they are integers.
    share : float
        Share of the weight to trim at most, in [0, 1). Equally strange rows stay
        together.

    Returns
    -------
    typical : ndarray of bool of shape (n,)

    References
    ----------
    Z. Li, Y. Zhao, X. Hu, N. Botta, C. Ionescu and G. Chen, 2022. ECOD: unsupervised
    outlier detection using empirical cumulative distribution functions.

    K. L. Lange, R. J. A. Little and J. M. G. Taylor, 1989. Robust statistical
    modeling using the t distribution.
    """
    share_of_row = weight / weight.sum()
    views = (_tail_score(table, share_of_row), _joint_score(table, share_of_row))
    typicality = np.min([_rank(view, share_of_row) for view in views], axis=0)
    return np.asarray(_rank(typicality, share_of_row, right=True) > share + ROUNDING)


def _rank(value: Array, mass: Array, *, right: bool = False) -> Array:
    """Return the mass of smaller values, or with `right` of equal ones, too."""
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
