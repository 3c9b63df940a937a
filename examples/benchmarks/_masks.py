"""Which cells are missing: at random, or at random given what is observed."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

__all__ = ["MASKS", "missing_cells"]

Array = NDArray[np.float64]
Cells = NDArray[np.bool_]

SLOPE = 2.0  # of the log-odds of "missing", per standard deviation


def missing_cells(
    mask: str, tables: list[Array], rng: np.random.Generator
) -> list[Cells]:
    """Return which cells of each table are missing.

    Parameters
    ----------
    mask : str
        One of ``MASKS``.
    tables : list of ndarray of shape (n_rows, n_columns)
        Complete tables of the same columns. The first one sets the constants of the
        mechanism, so that all tables have the same mechanism.
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of shape (n_rows, n_columns), bool
    """
    mechanism, rate = MASKS[mask]
    return mechanism(rate, tables, rng)


def completely_at_random(
    rate: float, tables: list[Array], rng: np.random.Generator
) -> list[Cells]:
    """Return cells that are missing independently of each other and of the values."""
    return [rng.random(table.shape) < rate for table in tables]


def at_random_given_observed(
    rate: float, tables: list[Array], rng: np.random.Generator
) -> list[Cells]:
    r"""Return cells that are missing by what is observed of their rows.

    A random half of the columns is always observed. A cell of another column is missing
    with probability

    .. math:: \sigma(a + 2 z),

    where z is a random linear combination of the observed columns, standardised, and a
    is such that the given share of the cells is missing. Each of these columns has its
    own z and a.
    """
    n_columns = tables[0].shape[1]
    if n_columns < 2:
        raise ValueError("Missing at random given others needs at least two columns.")
    observed, others = np.split(rng.permutation(n_columns), [(n_columns + 1) // 2])
    cells = [np.zeros(table.shape, dtype=bool) for table in tables]
    for column in others:
        weights = rng.standard_normal(len(observed))
        combined = [table[:, observed] @ weights for table in tables]
        mean, scale = combined[0].mean(), combined[0].std()
        slopes = [SLOPE * (values - mean) / scale for values in combined]
        offset = offset_for(rate, slopes[0])
        for missing, slope in zip(cells, slopes, strict=True):
            missing[:, column] = rng.random(len(slope)) < expit(offset + slope)
    return cells


def offset_for(rate: float, slope: Array) -> float:
    """Return the offset with which the mean probability is the rate."""
    bound = float(np.abs(slope).max()) + 20
    return float(brentq(lambda a: expit(a + slope).mean() - rate, -bound, bound))


Mechanism = Callable[[float, list[Array], np.random.Generator], list[Cells]]

MASKS: dict[str, tuple[Mechanism, float]] = {
    "mcar20": (completely_at_random, 0.2),
    "mcar50": (completely_at_random, 0.5),
    "mar20": (at_random_given_observed, 0.2),
}
