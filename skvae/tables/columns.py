"""Columns of numbers ↔ model units: scaling, normal margins and log |det J|."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from skvae.model.features import ColumnKind
from skvae.tables.margins import MonotoneMap, fit_normal_scores
from skvae.tables.scaling import location_and_scale, observed_cells, standardise
from skvae.typing import Array

__all__ = ["ColumnMap", "Columns", "RowMap", "fit_columns", "merge_duplicates"]

MIN_FLOOR = 1e-3
MAX_FLOOR = 0.5
NORMAL_MIDDLE = 3.29  # between the 5 % and 95 % quantiles of N(0, 1)


@dataclass(frozen=True)
class ColumnMap:
    """The map of one column to model units and back, for arrays of any shape.

    Attributes
    ----------
    center, scale : float
        Location and scale, in the units of the input.
    monotone : MonotoneMap or None
        Map of the standardised column to normal scores.
    """

    center: float
    scale: float
    monotone: MonotoneMap | None

    @property
    def is_linear(self) -> bool:
        """Whether means of model units are means of the column."""
        return self.monotone is None

    def to_model(self, t: Array) -> tuple[Array, Array]:
        """Return numbers in model units and log |du/dt|."""
        u = standardise(t, np.array(self.center), np.array(self.scale))
        log_slope = np.full(np.shape(t), -np.log(self.scale))
        if self.monotone is not None:
            u, more = self.monotone.forward(u)
            log_slope += more
        return u, log_slope

    def to_table(self, u: Array) -> Array:
        """Return numbers in the units of the input."""
        if self.monotone is not None:
            u = self.monotone.inverse(u)
        return self.center + self.scale * u


class RowMap(Protocol):
    """A map of rows to model units and back, with its Jacobian.

    A row may end with columns that its density is conditional on. They are mapped,
    too, but they have no density, and so no scale, floor or share of the Jacobian.

    A missing cell is NaN on both sides. It has no density, either: the Jacobian of a
    row is that of its observed columns.
    """

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """What each column holds; the columns without a density are last."""

    @property
    def scale(self) -> Array:
        """One model unit of each column that has a density, shape (D,)."""

    @property
    def floor(self) -> Array:
        """Smallest standard deviation of each such column, in model units."""

    def to_model(self, table: Array) -> tuple[Array, Array]:
        """Return rows in model units and log |det du/dx| of each row."""

    def to_table(self, u: Array) -> Array:
        """Return the columns that have a density, in the units of the input."""

    def column(self, index: int) -> ColumnMap:
        """Return the map of a column that has a density.

        Raises
        ------
        ValueError
            If the columns are not mapped one by one.
        """

    def gaussian(self) -> tuple[Array, Array] | None:
        """Return the Gaussian of rows that are standard normal in model units.

        That is its mean (D,) and a factor (D, D) of its covariance, in the units of the
        input. None where the columns are mapped one by one.
        """


@dataclass(frozen=True)
class Columns:
    """A `RowMap` that maps every column by itself.

    A real column is standardised, u = (x − center) / scale. If the column has a map,
    the map then makes its distribution about standard normal. Columns of zeros and
    ones, counts and codes of categories stay as they are.

    Attributes
    ----------
    kinds : tuple of ColumnKind, one per column
        What the columns hold.
    center, scale : ndarray of shape (D,)
        Location and scale, in the units of the input; 0 and 1 where a column stays
        as it is.
    maps : tuple of MonotoneMap or None, one per column
        Maps of the standardised columns to normal scores.
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
        u = standardise(table, self.center, self.scale)
        log_jacobian = np.full(len(u), -np.log(self.scale).sum())
        missing = np.isnan(u)
        for k in np.flatnonzero(missing.any(0)):
            # Nothing is added to complete rows, so that their bits stay as they are.
            log_jacobian[missing[:, k]] += np.log(self.scale[k])
        for j, monotone in enumerate(self.maps):
            if monotone is not None:
                u[:, j], log_slope = monotone.forward(u[:, j])
                log_jacobian += log_slope
        log_jacobian[missing.all(1)] = 0.0  # what rounding has left
        return u, log_jacobian

    def gaussian(self) -> None:
        """Return nothing: the columns are mapped one by one."""

    def column(self, index: int) -> ColumnMap:
        """Return the map of a column."""
        center, scale = float(self.center[index]), float(self.scale[index])
        return ColumnMap(center, scale, self.maps[index])

    def to_table(self, u: Array) -> Array:
        """Return rows in the units of the input, clipped to finite numbers."""
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
    least_floor: float = MIN_FLOOR,
) -> Columns:
    """Fit location, scale, margin and floor of every column.

    Parameters
    ----------
    rows : ndarray of shape (n, D)
        Distinct rows. Of each column, the observed cells count.
    sample_weight : ndarray of shape (n,)
        Positive weights.
    kinds : tuple of ColumnKind
        What the columns hold. For counts, the mean and standard deviation of
        log(1 + x) are filled in.
    normal_margins : bool
        Whether to map real columns to normal scores.
    smoothing : float, default=0.0
        Smallest floor, in robust spreads of the column.
    least_floor : float, default=0.001
        Smallest floor, in standard deviations of the column.

    Notes
    -----
    The floor of a column is `least_floor` times its standard deviation. Where values
    repeat and the rounding error step/√12 of the smallest step between values is
    larger, the floor is this error, but at most half of the standard deviation. With
    `smoothing`, the floor is at least that many times the spread of the column's middle
    90 %, which a few outliers do not move.

    A constant column has no standard deviation. Its scale is the absolute value of
    the constant, or one if the constant is zero.

    A column without observed cells stays as it is and has the least floor.
    """
    n_columns = rows.shape[1]
    real = np.array([kind.support == "real" for kind in kinds])
    center, scale = location_and_scale(rows, sample_weight)
    center, scale = np.where(real, center, 0.0), np.where(real, scale, 1.0)
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
    floor = [
        max(
            _resolution(column, sample_weight, least_floor),
            smoothing * _robust_spread(column, sample_weight) if smoothing else 0.0,
        )
        if is_real
        else least_floor
        for column, is_real in zip(u.T, real, strict=True)
    ]
    return replace(mapped, floor=np.array(floor))


def _with_log_scale(
    kind: ColumnKind, column: Array, sample_weight: Array
) -> ColumnKind:
    """Return the kind, for counts with mean and deviation of log(1 + x)."""
    column, sample_weight = observed_cells(column, sample_weight)
    if kind.support != "count" or not len(column):
        return kind
    logarithm = np.log1p(column)
    center = float(np.average(logarithm, weights=sample_weight))
    square = np.average(np.square(logarithm - center), weights=sample_weight)
    return replace(kind, center=center, scale=float(np.sqrt(square)) or 1.0)


def _resolution(column: Array, sample_weight: Array, least: float) -> float:
    """Return the floor that repeated values set, or the least floor, in model units."""
    column, sample_weight = observed_cells(column, sample_weight)
    if not len(column):
        return least
    # Weights may be shares of one, which say nothing of the number of rows.
    n_rows = max(float(sample_weight.sum()), len(column))
    distinct = np.unique(column)
    gaps = np.diff(distinct)
    # Smaller gaps come from rounding of equal values, not from a step.
    gaps = gaps[gaps > 1e-9 * (distinct[-1] - distinct[0])]
    if not len(gaps) or len(distinct) > 0.9 * n_rows:
        return least
    # An error that is uniform over a step has the standard deviation step/√12.
    return float(np.clip(gaps.min() / np.sqrt(12), least, MAX_FLOOR))


def _robust_spread(column: Array, sample_weight: Array) -> float:
    """Return the width of the middle 90 % of a column, 1 for a standard normal one.

    The result is at most 1, the column's standard deviation in model units. It is also
    1 where 90 % of the rows have the same value, which has no width.
    """
    column, sample_weight = observed_cells(column, sample_weight)
    if not len(column):
        return 1.0
    order = np.argsort(column, kind="stable")
    mass = np.cumsum(sample_weight[order])
    ends = np.searchsorted(mass, np.array([0.05, 0.95]) * mass[-1])
    low, high = column[order[ends]]
    spread = float(high - low) / NORMAL_MIDDLE
    return min(spread, 1.0) if spread > 0 else 1.0


def merge_duplicates(table: Array, sample_weight: Array) -> tuple[Array, Array]:
    """Return distinct rows in lexicographic order, with their total weights.

    Rows of weight zero are left out. A fit to the result therefore treats integer
    weights exactly as repeated rows, and does not depend on the order of the table.

    Rows are equal if the same cells are missing and the others are equal. In the order,
    a missing cell comes after all numbers.
    """
    used = sample_weight > 0
    rows = table[used]
    missing = np.isnan(rows)
    if missing.any():
        # NaN equals nothing. No table has infinity, which can stand for it.
        rows = np.where(missing, np.inf, rows)
    rows, inverse = np.unique(rows, axis=0, return_inverse=True)
    rows[np.isinf(rows)] = np.nan
    weight = np.bincount(inverse.ravel(), sample_weight[used], minlength=len(rows))
    return rows, weight.astype(np.float64)
