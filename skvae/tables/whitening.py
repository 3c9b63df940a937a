"""Rows in whitened principal directions, with the exact Jacobian."""

from dataclasses import dataclass, replace

import numpy as np

from skvae.model.features import ColumnKind
from skvae.tables.columns import ColumnMap, Columns, fit_columns
from skvae.tables.scaling import location_and_scale, standardise
from skvae.typing import Array

__all__ = ["WhitenedColumns", "fit_whitened_columns", "has_thin_direction"]

# Of a standardised column. A direction that is thinner, as where columns determine one
# another, is not stretched further.
THINNEST = 1e-4
# Least standard deviation along a direction: what is finer is rounding.
FINEST = 1e-5
# Share of a standardised column's variance, along a direction of several columns.
THIN = 1e-2
MANY_COLUMNS = 256


@dataclass(frozen=True)
class WhitenedColumns:
    """A `RowMap` that stretches principal directions to the same variance.

    Standardised rows are turned to their principal directions, the widest first, and
    each direction is divided by its standard deviation. A likelihood that factorises
    over model columns then sees noise that is thin along a direction of several
    columns, and an autoregressive decoder predicts thin directions from wide ones. A
    direction is a sum over all columns, so that only complete rows have one.

    Attributes
    ----------
    columns : Columns
        Scaling of the columns of the table.
    rotation : ndarray of shape (D, D)
        Orthogonal; columns are directions.
    directions : Columns
        Scaling of the directions, and their floors.
    """

    columns: Columns
    rotation: Array
    directions: Columns

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """What each column holds: real numbers."""
        return self.columns.kinds

    @property
    def scale(self) -> Array:
        """One standard deviation of each column of the table."""
        return self.columns.scale

    @property
    def floor(self) -> Array:
        """Smallest standard deviation of each direction, in model units."""
        return self.directions.floor

    def to_model(self, table: Array) -> tuple[Array, Array]:
        """Return rows in model units and log |det du/dx| of each row.

        Raises
        ------
        ValueError
            If a cell is missing.
        """
        _check_complete(table)
        standard, log_jacobian = self.columns.to_model(table)
        u, more = self.directions.to_model(_turned(standard, self.rotation))
        return u, log_jacobian + more

    def gaussian(self) -> tuple[Array, Array]:
        """Return mean (D,) and factor (D, D) of a Gaussian of the rows."""
        mean = self.rotation @ self.directions.center
        factor = self.rotation * self.directions.scale
        center, scale = self.columns.center, self.columns.scale
        return center + scale * mean, scale[:, None] * factor

    def column(self, index: int) -> ColumnMap:
        """Raise a ValueError: a column is a mixture of several directions."""
        raise ValueError(
            "A density of principal directions (marginal_transform='whitened') has no "
            "distribution of a single column in closed form: fit with "
            "marginal_transform=None or 'normal'."
        )

    def to_table(self, u: Array) -> Array:
        """Return rows in the units of the input, clipped to finite numbers."""
        turned = self.directions.to_table(u)
        return self.columns.to_table(_turned(turned, self.rotation.T))


def fit_whitened_columns(
    rows: Array,
    sample_weight: Array,
    kinds: tuple[ColumnKind, ...],
    *,
    smoothing: float = 0.0,
) -> WhitenedColumns:
    """Fit principal directions, their scales and floors.

    Parameters
    ----------
    rows, sample_weight, kinds, smoothing
        As for `fit_columns`; all columns are real, and no cell is missing.

    Raises
    ------
    ValueError
        If a cell is missing.

    Notes
    -----
    A direction is not stretched by more than 10⁴ standard deviations of a column, and
    no standard deviation along it falls below 10⁻⁵ of a column's, nor below 10⁻³ of its
    own.
    """
    _check_complete(rows)
    columns = fit_columns(rows, sample_weight, kinds, normal_margins=False)
    standard, _ = columns.to_model(rows)
    _, rotation = np.linalg.eigh(_correlation(standard, sample_weight))
    rotation = rotation[:, ::-1]
    # The sign of a direction is that of its largest entry.
    largest = np.abs(rotation).argmax(0)
    rotation = rotation * np.sign(rotation[largest, np.arange(len(rotation))])
    directions = fit_columns(
        _turned(standard, rotation),
        sample_weight,
        kinds,
        normal_margins=False,
        smoothing=smoothing,
    )
    scale = np.maximum(directions.scale, THINNEST)
    floor = np.maximum(directions.floor, FINEST / scale)
    return WhitenedColumns(
        columns, rotation, replace(directions, scale=scale, floor=floor)
    )


def has_thin_direction(
    rows: Array, sample_weight: Array, kinds: tuple[ColumnKind, ...]
) -> bool:
    """Whether some columns nearly determine others, linearly.

    Some direction of the standardised columns has less than a hundredth of a column's
    variance. Constant columns do not count. Where cells are missing, the answer is no:
    there are no directions to turn such rows to.

    Parameters
    ----------
    rows, sample_weight, kinds
        As for `fit_columns`.
    """
    if any(kind.support != "real" for kind in kinds) or len(kinds) > MANY_COLUMNS:
        return False
    if np.isnan(rows).any():
        return False
    standard = standardise(rows, *location_and_scale(rows, sample_weight))
    standard = standard[:, (standard != standard[0]).any(0)]
    if standard.shape[1] < 2:
        return False
    correlation = _correlation(standard, sample_weight)
    return bool(np.linalg.eigvalsh(correlation)[0] < THIN)


def _check_complete(rows: Array) -> None:
    """Raise a ValueError if a cell is missing."""
    n_incomplete = int(np.isnan(rows).any(1).sum())
    if n_incomplete:
        raise ValueError(
            f"{n_incomplete} of {len(rows)} rows have missing cells, and cannot be "
            f"turned to principal directions: fit with marginal_transform=None or "
            f"'normal'."
        )


def _correlation(standard: Array, sample_weight: Array) -> Array:
    """Return the second moments of standardised rows, shape (D, D)."""
    # Far beyond any data, squares would overflow.
    standard = standard.clip(-1e6, 1e6)
    share = sample_weight / sample_weight.sum()
    return (standard * share[:, None]).T @ standard


def _turned(rows: Array, matrix: Array) -> Array:
    """Return rows @ matrix, each row to the last bit whatever the others are.

    The bits of a matrix product depend on the number of its rows.
    """
    turned = np.zeros((len(rows), matrix.shape[1]))
    for column, weights in zip(rows.T, matrix, strict=True):
        turned += column[:, None] * weights
    return turned
