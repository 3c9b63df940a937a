"""Tables of numbers, text and categories ↔ tables of numbers alone.

Categories become codes 0, 1, … in the order of the column's known values. Numbers stay
as they are. The likelihood decides what a column holds: it may take numbers for
categories, and text that reads like numbers, such as "1.5", for these numbers.
"""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from skvae.model.features import ColumnKind, Support
from skvae.model.likelihoods import LikelihoodSpec
from skvae.tables.checks import check_finite, check_supports, check_table
from skvae.tables.labels import (
    as_array,
    as_codes,
    as_python,
    check_cells,
    declared_values,
    distinct_values,
    first_missing,
    frame_columns,
    holds_labels,
    is_frame,
    listed,
)
from skvae.tables.names import KnowsColumns, column_label, column_names
from skvae.typing import Array, Mask

__all__ = ["RawTable", "TableSchema", "fit_schema", "natural_support", "read_table"]

MAX_CATEGORIES = 1000
MAX_NUMERIC_CATEGORIES = 10
MIN_ROWS_PER_CATEGORY = 10


@dataclass(frozen=True)
class RawTable:
    """A table as the user gave it, checked for its shape and for finite numbers.

    Attributes
    ----------
    names : tuple of str
        Names of the columns; "x0", "x1", … where they have none.
    numbers : ndarray of shape (n, D)
        The cells of the columns of numbers; zero in the columns of labels.
    labels : dict
        The cells of each column of labels, as arrays of objects, by index of the
        column.
    declared : dict
        The values that the dtypes of these columns allow; empty for any.
    """

    names: tuple[str, ...]
    numbers: Array
    labels: dict[int, NDArray[np.object_]]
    declared: dict[int, tuple[object, ...]]


def read_table(
    estimator: KnowsColumns, X: Any, *, reset: bool, min_samples: int = 1
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
    """
    found = _label_columns(X)
    if not found:
        numbers = check_table(estimator, X, reset=reset, min_samples=min_samples)
        return RawTable(column_names(estimator), numbers, {}, {})
    X = X if hasattr(X, "columns") else np.asarray(X, dtype=object)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    n_columns = len(X.columns) if hasattr(X, "columns") else X.shape[1]
    numeric = [j for j in range(n_columns) if j not in found]
    numbers = np.zeros((len(X), n_columns))
    if numeric:
        part = X.iloc[:, numeric] if hasattr(X, "iloc") else X[:, numeric]
        numbers[:, numeric] = check_array(
            part,
            dtype=np.float64,
            ensure_all_finite=False,
            ensure_min_samples=0,
            estimator=estimator,
        )
    # Once more for all columns: a table of labels alone may have too few rows.
    check_array(
        numbers,
        ensure_all_finite=False,
        ensure_min_samples=min_samples,
        estimator=estimator,
    )
    check_finite(estimator, numbers)
    cells = {j: np.asarray(column, dtype=object) for j, column in found.items()}
    declared = {j: declared_values(column) for j, column in found.items()}
    return RawTable(column_names(estimator), numbers, cells, declared)


def _label_columns(X: Any) -> dict[int, Any]:
    """Return the columns of X that hold labels, by index."""
    if is_frame(X):
        columns = frame_columns(X)
    elif isinstance(X, (np.ndarray, list, tuple)):
        try:
            array = as_array(X)
        except ValueError:  # rows of different lengths, which check_table refuses
            return {}
        if array.ndim != 2 or array.dtype != object:
            return {}
        columns = list(array.T)
    else:
        return {}
    return {j: column for j, column in enumerate(columns) if holds_labels(column)}


def _check_labels(estimator: KnowsColumns, j: int, cells: NDArray[Any]) -> None:
    """Raise for a cell of column j that is missing, or that cannot be a value."""
    name = column_label(estimator, j)
    check_cells(cells, name, "X")
    row = first_missing(cells)
    if row is not None:
        raise ValueError(
            f"Input X contains NaN, a missing value, in {name} (first in row {row}). "
            f"Drop or impute these cells, or make them a category of their own."
        )


def _as_numbers(estimator: KnowsColumns, j: int, cells: NDArray[Any]) -> Array:
    """Return labels that read like numbers as these numbers; raise for others."""
    _check_labels(estimator, j, cells)
    try:
        return cells.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{error} in {column_label(estimator, j)}. Use likelihood='auto' for "
            f"text and categories."
        ) from None


@dataclass(frozen=True)
class TableSchema:
    """What the columns of a table hold, and the codes of their categories.

    Attributes
    ----------
    names : tuple of str
        Names of the columns.
    kinds : tuple of ColumnKind
        What each column holds.
    categories : tuple
        The known values of each column of categories, in the order of their codes;
        None for the others.
    """

    names: tuple[str, ...]
    kinds: tuple[ColumnKind, ...]
    categories: tuple[tuple[object, ...] | None, ...]

    def read(self, estimator: KnowsColumns, X: Any) -> Array:
        """Return a table as numbers and codes; raise for what `fit` has not seen."""
        return self.encode(estimator, read_table(estimator, X, reset=False))

    def encode(
        self, estimator: KnowsColumns, raw: RawTable, used: Mask | None = None
    ) -> Array:
        """Return numbers and codes; raise for values that a column cannot have.

        Parameters
        ----------
        estimator : KnowsColumns
            Has the names of the columns, for messages.
        raw : RawTable
            Rows.
        used : ndarray of bool of shape (n,), default=None
            The rows whose categories have to be known, all for None. In the other
            rows, an unknown category gets the code 0.
        """
        changes = self._has_categories or raw.labels
        table = raw.numbers.copy() if changes else raw.numbers
        for j, values in enumerate(self.categories):
            if values is None and j in raw.labels:
                table[:, j] = _as_numbers(estimator, j, raw.labels[j])
            elif values is not None:
                table[:, j] = _encode_column(estimator, j, raw, values, used)
        if raw.labels:
            check_finite(estimator, table)
        check_supports(estimator, table, self.kinds)
        return table

    @property
    def _has_categories(self) -> bool:
        return any(values is not None for values in self.categories)

    def decode(self, table: Array) -> NDArray[Any]:
        """Return the table with categories in place of their codes.

        It is an array of floats if all categories are numbers or truth values, and
        an array of objects otherwise.
        """
        if not self._has_categories:
            return table
        decoded = table.astype(object if self._has_text else float)
        for j, values in enumerate(self.categories):
            if values is not None:
                known = np.fromiter(values, decoded.dtype, len(values))
                decoded[:, j] = known[table[:, j].astype(int)]
        return decoded

    @property
    def _has_text(self) -> bool:
        return any(
            not all(isinstance(value, Real) for value in values)
            for values in self.categories
            if values
        )


def fit_schema(
    estimator: KnowsColumns,
    raw: RawTable,
    sample_weight: Array,
    likelihood: LikelihoodSpec,
) -> TableSchema:
    """Decide what each column holds, and number the categories.

    Parameters
    ----------
    estimator : KnowsColumns
        Has the names of the columns, for messages.
    raw : RawTable
        What `fit` was given.
    sample_weight : ndarray of shape (n,)
        Weights; rows of weight zero do not count.
    likelihood : LikelihoodSpec
        Decides which kind of column each one is.
    """
    used = sample_weight > 0
    weight = sample_weight[used]

    def natural(j: int) -> Support:
        if j in raw.labels:
            return "category"
        return natural_support(raw.numbers[used, j], weight)

    supports = likelihood.supports(raw.names, natural)
    kinds: list[ColumnKind] = []
    categories: list[tuple[object, ...] | None] = []
    for j, support in enumerate(supports):
        if support != "category":
            kinds.append(ColumnKind(support))
            categories.append(None)
            continue
        if j in raw.labels:
            # A missing cell would otherwise become a category.
            _check_labels(estimator, j, raw.labels[j][used])
        values = raw.declared.get(j) or distinct_values(
            raw.labels.get(j, raw.numbers[:, j])[used]
        )
        if len(values) > MAX_CATEGORIES:
            raise ValueError(
                f"{column_label(estimator, j)} has {len(values)} categories; at most "
                f"{MAX_CATEGORIES} are allowed. Join the rare ones, or drop the column."
            )
        kinds.append(ColumnKind(support, n_values=len(values)))
        categories.append(values)
    return TableSchema(raw.names, tuple(kinds), tuple(categories))


def _encode_column(
    estimator: KnowsColumns,
    j: int,
    raw: RawTable,
    values: tuple[object, ...],
    used: Mask | None,
) -> Array:
    """Return the codes of one column; raise for an unknown category."""
    cells: NDArray[Any] = raw.labels.get(j, raw.numbers[:, j])
    if j in raw.labels:
        _check_labels(estimator, j, cells)
    codes = as_codes(cells, values)
    unknown = codes < 0 if used is None else (codes < 0) & used
    if unknown.any():
        row = int(unknown.argmax())
        raise ValueError(
            f"{column_label(estimator, j)} has {as_python(cells[row])!r} in row {row}, "
            f"a category that fit has not seen. Known ones: {listed(values)}."
        )
    return codes.clip(min=0)


def natural_support(column: Array, sample_weight: Array) -> Support:
    """Return what a column of numbers looks like, by the rules of `MixedLikelihood`."""
    values, inverse = np.unique(column, return_inverse=True)
    if np.isin(values, (0, 1)).all():
        return "binary"
    if len(values) == 1 or (values != np.floor(values)).any():
        return "real"
    weight = np.bincount(inverse, sample_weight)
    # Weights may be shares of one. They count as rows: at least as many as there are.
    weight = weight * max(1.0, len(column) / weight.sum())
    if len(values) <= MAX_NUMERIC_CATEGORIES and weight.min() >= MIN_ROWS_PER_CATEGORY:
        return "category"
    mean = np.average(values, weights=weight)
    variance = np.average(np.square(values - mean), weights=weight)
    return "count" if values[0] == 0 and variance >= mean else "real"
