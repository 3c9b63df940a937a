"""Tables as the user gave them: checked, with numbers and labels apart.

A `RawTable` is read before anyone decides what the columns hold; the decision is that
of `skvae.tables.schema`. X is checked as scikit-learn checks it. y, the target of a
conditional density, has checks of its own, because `validate_data` takes no labels
there and knows no names of its columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from skvae.tables.checks import check_finite, check_mask, check_table
from skvae.tables.dates import check_no_dates
from skvae.tables.labels import (
    as_array,
    check_cells,
    declared_values,
    first_missing,
    frame_columns,
    holds_labels,
    is_frame,
)
from skvae.tables.names import KnowsColumns, TableColumns
from skvae.tables.output import Layout, layout_of
from skvae.tables.validation import validate_data
from skvae.typing import Array

__all__ = ["RawTable", "check_labels", "read_table", "read_target"]


@dataclass(frozen=True)
class RawTable:
    """A table as the user gave it, checked for its shape and for finite numbers.

    Attributes
    ----------
    columns : TableColumns
        What the columns are called.
    numbers : ndarray of shape (n, D)
        The cells of the columns of numbers; zero in the columns of labels.
    labels : dict
        The cells of each column of labels, as arrays of objects, by index of the
        column.
    declared : dict
        The values that the dtypes of these columns allow; empty for any.
    layout : Layout
        The container of the table and the dtypes of its columns.
    """

    columns: TableColumns
    numbers: Array
    labels: dict[int, NDArray[np.object_]]
    declared: dict[int, tuple[object, ...]]
    layout: Layout

    def cells(self, j: int) -> NDArray[Any]:
        """Return the cells of one column, labels or numbers."""
        return self.labels.get(j, self.numbers[:, j])


# X


def read_table(
    estimator: KnowsColumns,
    X: Any,
    *,
    reset: bool,
    min_samples: int = 1,
    **more: str,
) -> RawTable:
    """Return a table with its columns of labels apart; raise if X is no table.

    Parameters
    ----------
    estimator : KnowsColumns
        Its number of columns and their names are set, or compared with those of X.
    X : array-like of shape (n_samples, n_features)
        What the user gave.
    reset : bool
        Whether to set them, as `fit` does.
    min_samples : int, default=1
        Smallest number of rows.
    **more
        Further attributes of the `TableColumns`.
    """
    check_mask(X, "X")
    found = _label_columns(X)
    if not found:
        numbers = check_table(estimator, X, reset=reset, min_samples=min_samples)
        columns = TableColumns.of(estimator, **more)
        return RawTable(columns, numbers, {}, {}, layout_of(X))
    layout = layout_of(X)
    X = X if hasattr(X, "columns") else np.asarray(X, dtype=object)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    n_columns = len(X.columns) if hasattr(X, "columns") else X.shape[1]
    numeric = [j for j in range(n_columns) if j not in found]
    numbers = np.zeros((len(X), n_columns))
    if numeric:
        part = X.iloc[:, numeric] if hasattr(X, "iloc") else X[:, numeric]
        numbers[:, numeric] = _as_float(part, ensure_min_samples=0, estimator=estimator)
    # Once more for all columns: a table of labels alone may have too few rows.
    check_array(
        numbers,
        ensure_all_finite=False,
        ensure_min_samples=min_samples,
        estimator=estimator,
    )
    columns = TableColumns.of(estimator, **more)
    check_finite(columns, numbers)
    return _with_labels(columns, numbers, found, layout)


def _as_float(part: Any, **checks: Any) -> Array:
    """Return numbers in float64, infinity where float64 does not hold them."""
    with np.errstate(over="ignore"):
        return check_array(part, dtype=np.float64, ensure_all_finite=False, **checks)


def _with_labels(
    columns: TableColumns, numbers: Array, found: dict[int, Any], layout: Layout
) -> RawTable:
    cells = {j: np.asarray(column, dtype=object) for j, column in found.items()}
    declared = {j: declared_values(column) for j, column in found.items()}
    return RawTable(columns, numbers, cells, declared, layout)


def _label_columns(X: Any) -> dict[int, Any]:
    """Return the columns of X that hold labels, by index; raise for dates."""
    names: tuple[str, ...] | None = None
    if is_frame(X):
        columns = frame_columns(X)
        names = tuple(str(name) for name in X.columns)
    elif isinstance(X, (np.ndarray, list, tuple)):
        try:
            array = as_array(X)
        except ValueError:  # rows of different lengths, which check_table refuses
            return {}
        if array.ndim != 2 or array.dtype.kind not in "OmM":
            return {}
        columns = list(array.T)
    else:
        return {}
    return _labels_among(columns, TableColumns("", len(columns), names))


def _labels_among(columns: list[Any], called: TableColumns) -> dict[int, Any]:
    """Return the columns that hold labels, by index; raise for dates and huge ints."""
    found = {}
    for j, column in enumerate(columns):
        check_no_dates(column, called.label(j))
        if holds_labels(column):
            found[j] = column
        elif getattr(column.dtype, "kind", None) == "O":
            _check_sizes(column, called, j)
    return found


def _check_sizes(column: Any, called: TableColumns, j: int) -> None:
    """Raise a ValueError for a number that is too large to become a float."""
    for row, value in enumerate(np.asarray(column, dtype=object).tolist()):
        try:
            float(value)
        except OverflowError:
            raise ValueError(
                f"Input {called.table} contains a number beyond float64, whose largest "
                f"is about 1.8e308, in {called.label(j)} (first in row {row})."
            ) from None
        except (TypeError, ValueError):
            continue


# y


def read_target(y: Any, owner: str, seen: Layout | None = None) -> RawTable:
    """Return the targets with their columns of labels apart; raise if y is no table.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        What the user gave.
    owner : str
        The class of the estimator, for messages.
    seen : Layout, default=None
        What `fit` has seen, which y is compared with.
    """
    if y is None:
        raise ValueError(f"{owner} requires y to be passed, but the target y is None.")
    if hasattr(y, "toarray"):
        raise TypeError("y is sparse; pass y.toarray().")
    check_mask(y, "y")
    layout = layout_of(y)
    cells = _columns_of_target(y)
    columns = TableColumns(
        owner,
        len(cells),
        layout.names,
        table="y",
        one_dimensional=layout.one_dimensional,
    )
    if seen is not None:
        _check_seen(columns, layout, seen)
    found = _labels_among(cells, columns)
    numbers = np.zeros((len(cells[0]), len(cells)))
    for j, column in enumerate(cells):
        if j not in found:
            numbers[:, j] = _numbers(column, columns.label(j))
    check_finite(columns, numbers)
    return _with_labels(columns, numbers, found, layout)


def _columns_of_target(y: Any) -> list[Any]:
    if is_frame(y):
        cells = frame_columns(y)
        shape: tuple[int, ...] = y.shape
    else:
        # A Series stays as it is: an array would not have its dtype.
        if getattr(y, "ndim", None) != 1 or not hasattr(y, "dtype"):
            y = as_array(y)
        shape = y.shape
        cells = [y] if len(shape) == 1 else list(y.T) if len(shape) == 2 else []
    if not cells:
        raise ValueError(
            f"y must have shape (n_samples,) or (n_samples, n_targets), got shape "
            f"{shape}."
        )
    return cells


def _numbers(column: Any, label: str) -> Array:
    """Return a column of numbers in float64, NaN where they are missing."""
    values = np.asarray(column)
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {label} is {values.dtype}.")
    if first_missing(values) is not None and values.dtype.kind == "O":
        missing = [
            first_missing(values[i : i + 1]) is not None for i in range(len(values))
        ]
        values = np.where(missing, np.nan, values)
    with np.errstate(over="ignore"):
        return values.astype(np.float64)


def _check_seen(columns: TableColumns, layout: Layout, seen: Layout) -> None:
    """Raise a ValueError unless y has the columns that it had in `fit`."""
    n_seen = seen.n_columns
    if columns.n_columns != n_seen:
        raise ValueError(
            f"y has {columns.n_columns} columns, but fit has seen {n_seen}."
        )
    for name, fitted in zip(layout.names or (), seen.names or (), strict=False):
        if name != fitted:
            raise ValueError(
                f"The columns of y should have the names and the order that they had "
                f"in fit, but {name!r} is in the place of {fitted!r}."
            )


def check_labels(columns: TableColumns, j: int, cells: NDArray[Any]) -> None:
    """Raise for a cell of column j that is missing, or that cannot be a value."""
    label = columns.label(j)
    check_cells(cells, label, columns.table)
    row = first_missing(cells)
    if row is not None:
        raise ValueError(
            f"Input {columns.table} contains NaN, a missing value, in {label} (first "
            f"in row {row}). Drop or impute these cells, or make them a category of "
            f"their own."
        )
