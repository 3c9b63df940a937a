"""Whether a pipeline scores rows in the units of the table, or in others."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from skvae.arguments.warnings import warn_caller
from skvae.members.pipelines import changes_rows, rows_of_last_step
from skvae.members.rows import take_rows
from skvae.typing import Array, Density, Table

__all__ = ["log_volume", "warn_of_units"]

N_ROWS = 5
STEP = 1e-4  # of the finite differences, in standard deviations of the columns
SMALLEST = 0.01  # nats, of a difference that is worth a warning


def log_volume(density: Density, rows: Table) -> float:
    r"""Return by how much a pipeline's transformers change the volume of a row.

    The density of x is :math:`p(t(x))\,|\det t'(x)|` if p is that of the transformed
    rows t(x), but the `score_samples` of a pipeline leaves out the second factor.

    Parameters
    ----------
    density : estimator
        Fitted. Only pipelines change the volume of a row.
    rows : array or data frame
        Rows; the first five are used.

    Returns
    -------
    log_volume : float
        Mean of log |det t'(x)| by finite differences, nats. It is nan where there is
        no determinant: for text, or where the transformers change the number of
        columns.
    """
    if not changes_rows(density):
        return 0.0
    try:
        some = take_rows(rows, np.arange(min(N_ROWS, rows.shape[0])))
        return float(np.mean([_log_determinant(density, some)]))
    except (TypeError, ValueError, np.linalg.LinAlgError):
        return np.nan


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


def warn_of_units(volumes: Iterable[tuple[str, float]]) -> None:
    """Warn if densities are not in the units of the table, and say which.

    Parameters
    ----------
    volumes : iterable of (str, float)
        What to call each density, and its `log_volume`.
    """
    off = [
        f"{label} by {-volume:+.2f}"
        for label, volume in volumes
        if abs(volume) > SMALLEST
    ]
    if off:
        warn_caller(
            f"Log-densities are not in the same units: a pipeline leaves out how its "
            f"transformers change the volume of a row. They are off, in nats per "
            f"row: {', '.join(off)}. Transform the rows beforehand instead, the same "
            f"for all estimators."
        )
