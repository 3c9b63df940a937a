"""What displays read of a table: names, single columns, groups of rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils import get_tags

from skvae.members.member import check_density
from skvae.members.pipelines import changes_rows, last_step
from skvae.tables.labels import (
    as_array,
    as_codes,
    distinct_values,
    frame_columns,
    holds_labels,
    is_frame,
    missing_cells,
)
from skvae.typing import Array, Density, Mask, Table

__all__ = [
    "AxisColumn",
    "axis_column",
    "cells_of",
    "check_density_of_rows",
    "groups_of",
    "names_of",
    "numbers_of",
    "table_of",
]

MARGIN = 0.15  # of the range of a column, on each side, that a figure shows beyond it
TAIL = 0.005  # share of a column's cells, on each side, that do not decide its range
MAX_COUNTS = 200  # values of a column of counts that are shown
MAX_GROUPS = 20


def table_of(X: ArrayLike, name: str = "X") -> Any:
    """Return a table as densities take it; raise where it has no rows and columns."""
    table: Any = X if is_frame(X) or issparse(X) else as_array(X)
    if len(table.shape) != 2 or not table.shape[0]:
        raise ValueError(
            f"{name} must be a table of shape (n_samples, n_features) with at least "
            f"one row, got shape {table.shape}."
        )
    return table


def check_density_of_rows(density: Any) -> None:
    """Raise a TypeError unless this is an estimator of log-densities of rows."""
    check_density(density, "density")
    tagged = hasattr(density, "__sklearn_tags__")
    if tagged and get_tags(density).target_tags.required:
        raise TypeError(
            f"density must be one of rows alone, got {density!r}, a density of y given "
            f"X: draw what its conditional(X) or score_samples(X, y) returns."
        )


def names_of(density: Any, table: Table) -> tuple[str, ...]:
    """Return the names of a table's columns; "x0", "x1", … where it has none."""
    seen = getattr(density, "feature_names_in_", None)
    if is_frame(table):
        seen = table.columns  # type: ignore[attr-defined]
    n_columns = table.shape[1]
    if seen is None or len(seen) != n_columns:
        return tuple(f"x{j}" for j in range(n_columns))
    return tuple(map(str, seen))


def cells_of(table: Any, j: int) -> NDArray[Any]:
    """Return the cells of a column."""
    return np.asarray(frame_columns(table)[j] if is_frame(table) else table[:, j])


def numbers_of(values: ArrayLike, name: str, n: int | None = None) -> Array:
    """Return an array of floats of one axis; raise for anything else."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers: {error}.") from None
    length = "n," if n is None else f"{n},"
    if array.ndim != 1 or not len(array) or n not in (None, len(array)):
        raise ValueError(f"{name} must have shape ({length}), got shape {array.shape}.")
    return array


def groups_of(y: ArrayLike | None, n: int) -> dict[str, Mask]:
    """Return which of n rows belong to each group, by its name.

    Parameters
    ----------
    y : array-like of shape (n,) or None
        Groups of the rows; None puts all of them into one, whose name is empty.
    n : int
        Number of rows.
    """
    if y is None:
        return {"": np.ones(n, dtype=bool)}
    cells = as_array(y)
    if cells.shape != (n,):
        raise ValueError(
            f"y must have shape ({n},), a group for each row of X, got shape "
            f"{cells.shape}."
        )
    missing = missing_cells(cells)
    names = distinct_values(cells[~missing])
    if len(names) > MAX_GROUPS:
        raise ValueError(
            f"y has {len(names)} different values, and at most {MAX_GROUPS} groups can "
            f"be told apart: divide them into fewer, as by pandas.qcut."
        )
    code = as_codes(cells, names)
    groups = {str(name): code == place for place, name in enumerate(names)}
    return groups | ({"missing": missing} if missing.any() else {})


@dataclass(frozen=True)
class AxisColumn:
    """A column of a table as an axis of a figure.

    Attributes
    ----------
    name : str
        The name of the column.
    cells : ndarray of shape (G,)
        Values at which the density is read, as the table has them.
    places : ndarray of shape (G,)
        Where they are on the axis.
    labels : tuple of str or None
        What is written at the places; None writes numbers.
    is_discrete : bool
        Whether the column has masses, and not densities.
    """

    name: str
    cells: NDArray[Any]
    places: Array
    labels: tuple[str, ...] | None
    is_discrete: bool

    def placed(self, cells: NDArray[Any]) -> Array:
        """Return where cells are on the axis; NaN where they are missing or unknown."""
        if self.labels is None:
            missing = missing_cells(cells)
            return np.where(missing, np.nan, cells).astype(np.float64)
        code = as_codes(cells, tuple(self.cells.tolist()))
        return np.where(code < 0, np.nan, code)


def axis_column(
    density: Density, table: Table, j: int, name: str, n_values: int
) -> AxisColumn:
    """Return a column as an axis: where to read the density, and what to write there.

    Parameters
    ----------
    density : estimator
        Fitted. `VAEDensity` knows what its columns hold. To other densities, a column
        without labels is one of real numbers.
    table : array or data frame
        Rows, whose cells say how far the axis has to reach.
    j : int
        Number of the column.
    name : str
        Its name.
    n_values : int
        Number of values of a real column.
    """
    cells = cells_of(table, j)
    observed = cells[~missing_cells(cells)]
    if not len(observed):
        raise ValueError(f"Column {name!r} of X has no observed cell.")
    schema = None if changes_rows(density) else _schema_of(density)
    support = "real" if schema is None else schema.kinds[j].support
    column = frame_columns(table)[j] if is_frame(table) else cells
    if support == "category" or holds_labels(column):
        known = None if schema is None else schema.categories[j]
        values = distinct_values(observed) if known is None else known
        of_values = np.empty(len(values), dtype=object)
        of_values[:] = values
        labels = tuple(map(str, values))
        places = np.arange(len(values), dtype=np.float64)
        return AxisColumn(name, of_values, places, labels, True)
    numbers = observed.astype(np.float64)
    low, high = np.quantile(numbers, [TAIL, 1 - TAIL])
    if support in ("binary", "count"):
        last = 1 if support == "binary" else int(np.ceil(high + MARGIN * (high - low)))
        step = 1 + last // MAX_COUNTS
        counts = np.arange(0, last + 1, step, dtype=np.float64)
        return AxisColumn(name, counts, counts, None, True)
    reach = MARGIN * (high - low) if high > low else 0.5
    places = np.linspace(low - reach, high + reach, n_values)
    return AxisColumn(name, places, places, None, False)


def _schema_of(density: Density) -> Any:
    return getattr(last_step(density), "schema_", None)
