"""Whether a pipeline scores rows in the units of the table, or in others."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skvae.arguments.warnings import warn_caller
from skvae.members.pipelines import changes_rows, rows_of_last_step
from skvae.tables.rows import take_rows
from skvae.typing import Array, Density, Table

__all__ = ["UnitChange", "unit_change", "warn_of_units"]

N_ROWS = 5
STEP = 1e-4  # of the finite differences, in standard deviations of the columns
SMALLEST = 0.01  # nats, of a difference that is worth a warning


@dataclass(frozen=True)
class UnitChange:
    """How the units of a density's rows differ from those of the table.

    Attributes
    ----------
    log_volume : float
        Mean of log |det t'(x)| for transformers t, nats. It is nan where there is no
        determinant: for text, or for another number of columns.
    n_columns : int
        How many columns the density is fitted to.
    other_columns : bool
        Whether these are more or fewer than the columns of the table.
    """

    log_volume: float
    n_columns: int
    other_columns: bool


def unit_change(density: Density, rows: Table) -> UnitChange:
    r"""Return how a pipeline's transformers change the columns and volume of a row.

    The density of x is :math:`p(t(x))\,|\det t'(x)|` if p is that of the transformed
    rows t(x), but the `score_samples` of a pipeline leaves out the second factor. If
    t(x) has other columns than x, p is no density of x at all.

    Parameters
    ----------
    density : estimator
        Fitted. Only pipelines, and searches around them, change a row.
    rows : array or data frame
        Rows; the first five are used, and the determinants are by finite differences.

    Returns
    -------
    change : UnitChange
    """
    n_columns = rows.shape[1]
    if not changes_rows(density):
        return UnitChange(0.0, n_columns, False)
    some = take_rows(rows, np.arange(min(N_ROWS, rows.shape[0])))
    n_transformed = np.shape(rows_of_last_step(density, some))[1]
    if n_transformed != n_columns:
        return UnitChange(np.nan, n_transformed, True)
    try:
        volume = float(np.mean([_log_determinant(density, some)]))
    except (TypeError, ValueError, np.linalg.LinAlgError):
        volume = np.nan
    return UnitChange(volume, n_transformed, False)


def _log_determinant(pipeline: Density, rows: Any) -> Array:
    """Return log |det t'(x)| of every row of an array or a data frame of numbers."""
    values = np.asarray(rows, dtype=np.float64)
    step = STEP * np.where(values.std(0) > 0, values.std(0), 1.0)

    def transformed(cells: Array) -> Array:
        # Transformers of named columns need a frame of pandas again.
        named = hasattr(rows, "iloc")
        table = type(rows)(cells, columns=rows.columns) if named else cells
        return np.asarray(rows_of_last_step(pipeline, table), dtype=np.float64)

    # Column j of the Jacobian, of all rows at once: central differences in x_j.
    columns = [
        (transformed(values + move) - transformed(values - move)) / (2 * size)
        for move, size in zip(np.diag(step), step, strict=True)
    ]
    return np.linalg.slogdet(np.stack(columns, axis=1))[1]


def warn_of_units(changes: Iterable[tuple[str, UnitChange]]) -> None:
    """Warn if densities are not in the units of the table, and say which.

    Parameters
    ----------
    changes : iterable of (str, UnitChange)
        What to call each density, and how its units differ.
    """
    changes = list(changes)
    off = [
        f"{label} by {-change.log_volume:+.2f}"
        for label, change in changes
        if abs(change.log_volume) > SMALLEST
    ]
    if off:
        warn_caller(
            f"Log-densities are not in the same units: a pipeline leaves out how its "
            f"transformers change the volume of a row. They are off, in nats per "
            f"row: {', '.join(off)}. Transform the rows beforehand instead, the same "
            f"for all estimators."
        )
    other = [
        f"{label} of {change.n_columns}"
        for label, change in changes
        if change.other_columns
    ]
    if other:
        warn_caller(
            f"Log-densities are of other columns than those of X, because the "
            f"transformers of a pipeline change how many there are: {', '.join(other)} "
            f"columns. They cannot be compared or mixed with others. Transform the "
            f"rows beforehand instead, the same for all estimators."
        )
