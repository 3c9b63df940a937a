"""Tables as the user gave them: checked, with numbers and labels apart.

A `RawTable` is read before anyone decides what the columns hold; the decision is that
of `skvae.tables.schema`. X is checked as scikit-learn checks it. y, the target of a
conditional density, has checks of its own, because `validate_data` takes no labels
there and knows no names of its columns.

Cells may be missing: NaN, None, pandas' NA, the null of polars, and masked cells of an
array. A missing number is NaN from here on, and a missing label is None.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from skvae.tables.checks import (
    check_mask,
    check_numbers,
    check_table,
    listed_columns,
)
from skvae.tables.dates import check_no_dates
from skvae.tables.labels import (
    as_array,
    declared_values,
    frame_columns,
    holds_labels,
    is_frame,
    listed,
    missing_cells,
    with_none,
)
from skvae.tables.large import row_blocks
from skvae.tables.names import KnowsColumns, TableColumns
from skvae.tables.output import Layout, layout_of
from skvae.tables.validation import validate_data
from skvae.typing import Array, Mask

__all__ = ["RawTable", "read_table", "read_target"]


@dataclass(frozen=True)
class RawTable:
    """A table as the user gave it, checked for its shape and for infinite numbers.

    Attributes
    ----------
    columns : TableColumns
        What the columns are called.
    numbers : ndarray of shape (n, D)
        The cells of the columns of numbers, NaN where they are missing; zero in the
        columns of labels.
    labels : dict
        The cells of each column of labels, as arrays of objects, by index of the
        column; None where they are missing.
    declared : dict
        The values that the dtypes of these columns allow; empty for any.
    layout : Layout
        The container of the table and the dtypes of its columns.
    complete : bool
        Whether no cell is missing.
    """

    columns: TableColumns
    numbers: Array
    labels: dict[int, NDArray[np.object_]]
    declared: dict[int, tuple[object, ...]]
    layout: Layout
    complete: bool

    def cells(self, j: int) -> NDArray[Any]:
        """Return the cells of one column, labels or numbers."""
        return self.labels.get(j, self.numbers[:, j])

    def missing_blocks(self) -> Iterator[Mask]:
        """Yield which cells are missing, for some rows in order at a time."""
        of_labels = {j: missing_cells(cells) for j, cells in self.labels.items()}
        begin = 0
        for block in row_blocks(self.numbers):
            end = begin + len(block)
            missing = np.isnan(block)
            for j, cells in of_labels.items():
                missing[:, j] = cells[begin:end]
            yield missing
            begin = end


# X


def read_table(
    estimator: KnowsColumns,
    X: Any,
    *,
    reset: bool,
    min_samples: int = 1,
    allow_missing: bool = True,
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
    allow_missing : bool, default=True
        Whether cells may be missing.
    **more
        Further attributes of the `TableColumns`.
    """
    given = X
    X = _unmasked(X)
    found = _label_columns(X)
    X = _without_missing_objects(X, found)
    if found:
        numbers = _beside_labels(estimator, X, found, reset, min_samples)
    else:
        numbers = check_table(estimator, X, reset=reset, min_samples=min_samples)
    columns = TableColumns.of(estimator, **more)
    raw = _raw_table(columns, numbers, found, layout_of(given))
    if not allow_missing:
        _check_complete(raw, "value", "Drop or impute these cells.")
    return raw


def _unmasked(X: Any) -> Any:
    """Return a masked array as an array in which the masked cells are missing."""
    mask = np.ma.getmaskarray(X) if np.ma.isMA(X) else None
    if mask is None or not mask.any() or X.dtype.kind in "mM":
        return X
    if X.dtype.kind in "USO":
        return with_none(X.data, mask)
    return np.where(mask, np.nan, X.data)


def _without_missing_objects(X: Any, found: dict[int, Any]) -> Any:
    """Return X with NaN for the missing objects in columns of numbers.

    Neither NumPy nor scikit-learn make a number of an object such as pandas' NA.
    """
    if is_frame(X):
        changed = X
        for j, column in enumerate(frame_columns(X)):
            if j in found or column.dtype != object or not hasattr(X, "isetitem"):
                continue
            cells = np.asarray(column, dtype=object)
            missing = missing_cells(cells)
            if missing.any():
                changed = X.copy(deep=False) if changed is X else changed
                changed.isetitem(j, np.where(missing, np.nan, cells))
        return changed
    if not isinstance(X, (np.ndarray, list, tuple)):
        return X
    try:
        array = as_array(X)
    except ValueError:  # rows of different lengths, which check_table refuses
        return X
    if array.dtype.kind != "O" or array.ndim != 2:
        return X
    missing = missing_cells(array)
    missing[:, list(found)] = False
    return np.where(missing, np.nan, array) if missing.any() else X


def _beside_labels(
    estimator: KnowsColumns,
    X: Any,
    found: dict[int, Any],
    reset: bool,
    min_samples: int,
) -> Array:
    """Return the columns of numbers of a table, and zeros for those of labels."""
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
    return numbers


def _as_float(part: Any, **checks: Any) -> Array:
    """Return numbers in float64, infinity where float64 does not hold them."""
    with np.errstate(over="ignore"):
        return check_array(part, dtype=np.float64, ensure_all_finite=False, **checks)


def _raw_table(
    columns: TableColumns, numbers: Array, found: dict[int, Any], layout: Layout
) -> RawTable:
    complete = check_numbers(columns, numbers)
    labels: dict[int, NDArray[np.object_]] = {}
    for j, column in found.items():
        cells = np.asarray(column, dtype=object)
        missing = missing_cells(cells)
        if missing.any():
            cells, complete = with_none(cells, missing), False
        labels[j] = cells
    declared = {j: declared_values(column) for j, column in found.items()}
    return RawTable(columns, numbers, labels, declared, layout, complete)


def _check_complete(raw: RawTable, what: str, advice: str) -> None:
    """Raise a ValueError that names the columns with missing cells."""
    first: dict[int, int] = {}
    n_before = 0
    for missing in () if raw.complete else raw.missing_blocks():
        for j in np.flatnonzero(missing.any(0)):
            first.setdefault(int(j), n_before + int(missing[:, j].argmax()))
        n_before += len(missing)
    if first:
        raise ValueError(
            f"Input {raw.columns.table} contains NaN, a missing {what}, in "
            f"{listed_columns(raw.columns, first)} (first in row {first[min(first)]}). "
            f"{advice}"
        )


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

    No target may be missing: a row without it says nothing of the density of y.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        What the user gave.
    owner : str
        The class of the estimator, for messages.
    seen : Layout, default=None
        What `fit` has seen, which y is compared with. Columns of a data frame are
        matched by their names.
    """
    if y is None:
        raise ValueError(f"{owner} requires y to be passed, but the target y is None.")
    if hasattr(y, "toarray"):
        raise TypeError("y is sparse; pass y.toarray().")
    check_mask(y, "y")
    layout = layout_of(y)
    order = None if seen is None else _fitted_order(layout, seen)
    if order is not None:
        y = (y.iloc if hasattr(y, "iloc") else y)[:, order]
        layout = layout_of(y)
    cells = _columns_of_target(y)
    columns = TableColumns(
        owner,
        len(cells),
        layout.names,
        table="y",
        one_dimensional=layout.one_dimensional,
    )
    if seen is not None and len(cells) != seen.n_columns:
        raise ValueError(
            f"y has {len(cells)} columns, but fit has seen {seen.n_columns}."
        )
    found = _labels_among(cells, columns)
    numbers = np.zeros((len(cells[0]), len(cells)))
    for j, column in enumerate(cells):
        if j not in found:
            numbers[:, j] = _numbers(column, columns.label(j))
    raw = _raw_table(columns, numbers, found, layout)
    _check_complete(
        raw,
        "target",
        f"{owner} learns and reads the density of y in rows that have it: drop these "
        f"rows, or model y jointly with X by VAEDensity and ask for conditionals.",
    )
    return raw


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
    if values.dtype.kind == "O":
        values = np.where(missing_cells(values), np.nan, values)
    with np.errstate(over="ignore"):
        return values.astype(np.float64)


def _fitted_order(layout: Layout, seen: Layout) -> list[int] | None:
    """Return where the columns of `fit` are in y, by name; None if in their places.

    Raises
    ------
    ValueError
        If a column is missing, is new, or is not the only one of its name.
    """
    names, fitted = layout.names, seen.names
    if names is None or fitted is None or names == fitted:
        return None
    missing = [name for name in fitted if name not in names]
    new = [name for name in names if name not in fitted]
    if missing or new:
        wrong = [f"lacks {listed(missing)}"] * bool(missing)
        wrong += [f"has {listed(new)}, which fit has not seen"] * bool(new)
        raise ValueError(
            f"y should have the columns {listed(fitted)} of fit, in any order, but it "
            f"{' and '.join(wrong)}."
        )
    twice = [name for name in names if names.count(name) > 1 or fitted.count(name) > 1]
    if twice:
        raise ValueError(
            f"y has several columns called {twice[0]!r}, so that names do not tell "
            f"them apart: pass as many, and in the same order, as in fit."
        )
    return [names.index(name) for name in fitted]
