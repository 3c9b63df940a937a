"""Table ↔ model units: kinds of columns, scaling, monotone margins, log |det J|."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from skvae.model.features import ColumnKind
from skvae.tables.margins import MonotoneMap, fit_normal_scores
from skvae.typing import Array

__all__ = ["Columns", "RowMap", "fit_columns", "merge_duplicates"]

MIN_FLOOR = 1e-3
MAX_FLOOR = 0.5
NORMAL_MIDDLE = 3.29  # between the 5 % and 95 % quantiles of N(0, 1)
FARTHEST = 1e100  # model units; its square is still a number


class RowMap(Protocol):
    """Rows of a table to model units and back, with the Jacobian."""

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """What the columns hold, given ones last."""

    @property
    def scale(self) -> Array:
        """One model unit of each column that has a density, shape (D,)."""

    @property
    def floor(self) -> Array:
        """Smallest standard deviation of each of them, in model units."""

    def to_model(self, table: Array) -> tuple[Array, Array]:
        """Return rows in model units and log |det du/dx| of each row."""

    def to_table(self, u: Array) -> Array:
        """Return the columns that have a density in the units of the input."""


@dataclass(frozen=True)
class Columns:
    """Maps rows to model units and back, and knows the Jacobian.

    A real column is standardised, u = (x − center) / scale, and then, if it has a
    map, made about normal. All others stay as they are: zeros and ones, counts, and
    codes of categories.

    Attributes
    ----------
    kinds : tuple of ColumnKind, one per column
        What the columns hold.
    center, scale : ndarray of shape (D,)
        Affine part, in the units of the input.
    maps : tuple of MonotoneMap or None, one per column
        Margins, on the standardised column.
    floor : ndarray of shape (D,)
        Smallest standard deviation that a likelihood may give the column, in model
        units.
    """

    kinds: tuple[ColumnKind, ...]
    center: Array
    scale: Array
    maps: tuple[MonotoneMap | None, ...]
    floor: Array

    def to_model(self, table: Array) -> tuple[Array, Array]:
        """Return rows in model units and log |det du/dx| of each row."""
        # Halves keep the difference of the largest numbers finite.
        u = (table / 2 - self.center / 2) / self.scale * 2
        u = np.clip(u, -FARTHEST, FARTHEST)
        log_jacobian = np.full(len(u), -np.log(self.scale).sum())
        for j, monotone in enumerate(self.maps):
            if monotone is not None:
                u[:, j], log_slope = monotone.forward(u[:, j])
                log_jacobian += log_slope
        return u, log_jacobian

    def to_table(self, u: Array) -> Array:
        """Return rows in the units of the input."""
        u = u.copy()
        for j, monotone in enumerate(self.maps):
            if monotone is not None:
                u[:, j] = monotone.inverse(u[:, j])
        largest = np.finfo(float).max
        with np.errstate(over="ignore"):
            return np.clip(self.center + self.scale * u, -largest, largest)


def fit_columns(
    rows: Array,
    sample_weight: Array,
    kinds: tuple[ColumnKind, ...],
    *,
    normal_margins: bool,
    smoothing: float = 0.0,
) -> Columns:
    """Fit location, scale, margin and floor of every column.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        Distinct rows.
    sample_weight : ndarray of shape (n,)
        Positive weights.
    kinds : tuple of ColumnKind
        What the columns hold. Location and scale of counts are filled in.
    normal_margins : bool
        Whether to map real columns to normal scores.
    smoothing : float, default=0.0
        Least floor, in spreads of the column.

    Notes
    -----
    The floor is 10⁻³ of the column's standard deviation, or, where values repeat,
    the rounding error step/√12 of the smallest step between values if that is
    larger, but never more than half of the standard deviation; and at least
    `smoothing` times the column's spread, which a few outliers do not move. A constant
    column has no spread: its scale is the absolute value of the constant, or one for
    zero.
    """
    n_columns = rows.shape[1]
    real = np.array([kind.support == "real" for kind in kinds])
    center, scale = _location_and_scale(rows, sample_weight)
    center[~real], scale[~real] = 0, 1
    kinds = tuple(
        _with_log_scale(kind, column, sample_weight)
        for kind, column in zip(kinds, rows.T, strict=True)
    )
    plain = Columns(kinds, center, scale, (None,) * n_columns, np.empty(n_columns))
    u, _ = plain.to_model(rows)
    maps = tuple(
        fit_normal_scores(column, sample_weight) if normal_margins and is_real else None
        for column, is_real in zip(u.T, real, strict=True)
    )
    mapped = replace(plain, maps=maps)
    u, _ = mapped.to_model(rows)
    n_rows = max(float(sample_weight.sum()), len(rows))
    floor = [
        max(
            _resolution(column, n_rows),
            smoothing * _robust_spread(column, sample_weight) if smoothing else 0.0,
        )
        if is_real
        else MIN_FLOOR
        for column, is_real in zip(u.T, real, strict=True)
    ]
    return replace(mapped, floor=np.array(floor))


def _with_log_scale(
    kind: ColumnKind, column: Array, sample_weight: Array
) -> ColumnKind:
    """Return the kind, for counts with mean and deviation of log(1 + x)."""
    if kind.support != "count":
        return kind
    logarithm = np.log1p(column)
    center = float(np.average(logarithm, weights=sample_weight))
    square = np.average(np.square(logarithm - center), weights=sample_weight)
    return replace(kind, center=center, scale=float(np.sqrt(square)) or 1.0)


def _location_and_scale(rows: Array, sample_weight: Array) -> tuple[Array, Array]:
    weight = sample_weight / sample_weight.sum()
    # Relative to the largest entry, so that squares neither overflow nor vanish.
    largest = np.abs(rows).max(0)
    largest[largest == 0] = 1
    relative = rows / largest
    center = weight @ relative
    scale = np.sqrt(weight @ np.square(relative - center))
    constant = scale <= 1e-12 * np.abs(center)
    center[constant] = relative[0, constant]
    scale[constant] = np.where(center[constant] == 0, 1, np.abs(center[constant]))
    return center * largest, np.maximum(scale * largest, np.finfo(float).tiny)


def _resolution(column: Array, n_rows: float) -> float:
    """Return the floor of a column's standard deviations, in model units."""
    distinct = np.unique(column)
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 1e-9 * (distinct[-1] - distinct[0])]
    if not len(gaps) or len(distinct) > 0.9 * n_rows:
        return MIN_FLOOR
    return float(np.clip(gaps.min() / np.sqrt(12), MIN_FLOOR, MAX_FLOOR))


def _robust_spread(column: Array, sample_weight: Array) -> float:
    """Return how far the middle 90 % reach, in units of a normal's deviation.

    At most one, the standard deviation; that, too, where 90 % are one value.
    """
    order = np.argsort(column, kind="stable")
    mass = np.cumsum(sample_weight[order])
    ends = np.searchsorted(mass, np.array([0.05, 0.95]) * mass[-1])
    low, high = column[order[ends]]
    spread = float(high - low) / NORMAL_MIDDLE
    return min(spread, 1.0) if spread > 0 else 1.0


def merge_duplicates(table: Array, sample_weight: Array) -> tuple[Array, Array]:
    """Return distinct rows in lexicographic order, with their total weights.

    Whatever is computed from the result treats integer weights exactly as repeated
    rows, and does not depend on the order of the table.
    """
    used = sample_weight > 0
    rows, inverse = np.unique(table[used], axis=0, return_inverse=True)
    weight = np.bincount(inverse.ravel(), sample_weight[used], minlength=len(rows))
    return rows, weight.astype(np.float64)
