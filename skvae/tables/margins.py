"""Monotone maps of single columns to normal scores, with exact Jacobian."""

from dataclasses import dataclass

import numpy as np
import torch

from skvae.tables.scaling import observed_cells
from skvae.typing import Array, Index

__all__ = ["MonotoneMap", "fit_normal_scores"]

MIN_ROWS = 50
# The slope of a bin has a relative error of 1/√10, a third. With fewer rows, the map
# would follow single rows.
ROWS_PER_BIN = 10
# Beside a number like 1e308, all others of a standardised column are nearly equal. The
# slopes between them would be no floats.
LEAST_GAP = 1e-100


@dataclass(frozen=True)
class MonotoneMap:
    """A strictly increasing, once differentiable map of the real line to itself.

    Between its knots, the map is a rational-quadratic spline; beyond the first and the
    last knot, it is a straight line with the slope of that knot. Map, inverse and
    derivative have closed forms.

    Attributes
    ----------
    x, u : ndarray of shape (n_knots,)
        Knots, strictly increasing in both coordinates.
    slope : ndarray of shape (n_knots,)
        Derivatives du/dx at the knots, positive.

    References
    ----------
    J. A. Gregory and R. Delbourgo, 1982. Piecewise rational quadratic interpolation
    to monotonic data.
    """

    x: Array
    u: Array
    slope: Array

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Return u(x) and log du/dx; for a missing cell, NaN and 0."""
        inside = np.clip(x, self.x[0], self.x[-1])
        k, width, height = _bin(inside, self.x, self.u)
        left, right, mean = self.slope[k], self.slope[k + 1], height / width
        t = (inside - self.x[k]) / width
        bend = t * (1 - t)
        denominator = mean + (left + right - 2 * mean) * bend
        u = self.u[k] + height * (mean * t**2 + left * bend) / denominator
        numerator = right * t**2 + 2 * mean * bend + left * (1 - t) ** 2
        log_slope = 2 * np.log(mean / denominator) + np.log(numerator)
        # Beyond the knots, clipping has put t at 0 or 1, so that log_slope already is
        # that of the end; only u lacks the straight line.
        end = np.where(x < self.x[0], self.slope[0], self.slope[-1])
        return u + (x - inside) * end, np.where(np.isnan(x), 0.0, log_slope)

    def inverse(self, u: Array) -> Array:
        """Return x with u(x) = u; for a missing cell, NaN."""
        inside = np.clip(u, self.u[0], self.u[-1])
        k, height, width = _bin(inside, self.u, self.x)
        left, right, mean = self.slope[k], self.slope[k + 1], height / width
        rise = inside - self.u[k]
        excess = rise * (left + right - 2 * mean)
        a = height * (mean - left) + excess
        b = height * left - excess
        c = -mean * rise
        # t solves a t² + b t + c = 0. This form of the root stays exact near a = 0.
        root = np.sqrt(np.maximum(b**2 - 4 * a * c, 0))
        x = self.x[k] + width * 2 * c / (-b - root)
        end = np.where(u < self.u[0], self.slope[0], self.slope[-1])
        return x + (u - inside) / end


def _bin(value: Array, along: Array, across: Array) -> tuple[Index, Array, Array]:
    """Return each value's bin, and the bin's length along both coordinates."""
    k = np.searchsorted(along, value, side="right") - 1
    k = np.clip(k, 0, len(along) - 2)
    return k, along[k + 1] - along[k], across[k + 1] - across[k]


def _knot_scores(end: float, n_knots: int, least_mass: float) -> Array:
    """Return scores from −end to end, symmetric about 0.

    They are evenly spaced, but a score is left out where its bin would have less than
    the least mass of the normal distribution.
    """
    lower: list[float] = []
    for score in np.linspace(-end, 0, n_knots // 2 + 1):
        if not lower or _normal_mass(score) - _normal_mass(lower[-1]) >= least_mass:
            lower.append(score)
    return np.array([*lower, *(-score for score in reversed(lower) if score < 0)])


def _normal_mass(u: float) -> float:
    return float(torch.special.ndtr(torch.tensor(u, dtype=torch.float64)))


def _normal_quantile(p: Array | float) -> Array:
    return torch.special.ndtri(torch.as_tensor(p, dtype=torch.float64)).numpy()


def fit_normal_scores(x: Array, sample_weight: Array) -> MonotoneMap | None:
    """Fit the map that makes a column about standard normal.

    A knot maps a quantile of the column to the same quantile of the normal
    distribution, its normal score. The scores of the knots are evenly spaced. There
    are √n knots, but at least 8 and at most 64, and fewer where less than ten rows
    would lie between two knots or beyond the last one. The slope at a knot is a
    weighted harmonic mean of the slopes of the two secants beside it, which keeps the
    spline monotone.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Column. Its missing cells do not count.
    sample_weight : ndarray of shape (n,)
        Positive weights.

    Returns
    -------
    map : MonotoneMap or None
        None where the column has fewer than 50 rows or fewer than four knots, since
        too few of its values differ, or differ by enough.

    References
    ----------
    F. N. Fritsch and J. Butland, 1984. A method for constructing local monotone
    piecewise cubic interpolants.
    """
    x, sample_weight = observed_cells(x, sample_weight)
    order = np.argsort(x, kind="stable")
    x, weight = x[order], sample_weight[order]
    mass = np.cumsum(weight)
    n = len(x)
    if n < MIN_ROWS:
        return None
    score = _normal_quantile((mass - 0.5 * weight) / mass[-1])
    n_knots = int(np.clip(np.sqrt(n), 8, 64))
    end = min(-_normal_quantile(ROWS_PER_BIN / n), score[-1], -score[0])
    knots_u = _knot_scores(end, n_knots, ROWS_PER_BIN / n)
    knots_x = np.interp(knots_u, score, x)
    # Repeated values make quantiles coincide. Those that do, or nearly do, become one
    # knot at their mean score, because knots have to increase strictly.
    gap = 1e-4 * (knots_x[-1] - knots_x[0])
    if gap < LEAST_GAP:
        return None
    group = np.concatenate([[0], np.cumsum(np.diff(knots_x) > gap)])
    count = np.bincount(group)
    knots_x = np.bincount(group, knots_x) / count
    knots_u = np.bincount(group, knots_u) / count
    if len(knots_x) < 4:
        return None
    # The weighted harmonic mean of Fritsch and Butland.
    dx, secant = np.diff(knots_x), np.diff(knots_u) / np.diff(knots_x)
    slope = np.concatenate([secant[:1], np.empty(len(dx) - 1), secant[-1:]])
    a, b = 2 * dx[1:] + dx[:-1], dx[1:] + 2 * dx[:-1]
    slope[1:-1] = (a + b) / (a / secant[:-1] + b / secant[1:])
    return MonotoneMap(knots_x, knots_u, slope)
