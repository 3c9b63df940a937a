"""Tables of numbers, categories and text ↔ tables of numbers alone.

Categories become codes 0, 1, … in the order of the column's known values; numbers
stay as they are. What a column holds is the likelihood's decision.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from skvae.model.features import ColumnKind, Support
from skvae.model.likelihoods import LikelihoodSpec
from skvae.tables.checks import (
    check_finite,
    check_supports,
    check_table,
    column_label,
    is_missing,
)
from skvae.typing import Array, Mask

__all__ = ["RawTable", "TableSchema", "fit_schema", "natural_support", "read_table"]

MAX_CATEGORIES = 1000
MAX_SHOWN = 10
MAX_NUMERIC_CATEGORIES = 10
MIN_ROWS_PER_CATEGORY = 10
POLARS_LABELS = {"String", "Categorical", "Enum", "Boolean", "Object"}


@dataclass(frozen=True)
class RawTable:
    """A table as the user gave it, checked for shape.

    Attributes
    ----------
    names : tuple of str
        Names of the columns; "x0", "x1", … where they have none.
    numbers : ndarray of shape (n, D)
        The cells of columns of numbers; zero in the others.
    labels : dict
        The cells of columns of text, categories or truth values, as arrays of
        objects, by index of the column.
    declared : dict
        The values that the dtypes of these columns allow; empty for any.
    """

    names: tuple[str, ...]
    numbers: Array
    labels: dict[int, NDArray[np.object_]]
    declared: dict[int, tuple[object, ...]]


def read_table(
    estimator: Any, X: Any, *, reset: bool, min_samples: int = 1
) -> RawTable:
    """Return X with its columns of labels apart; raise if it is no proper table.

    Parameters
    ----------
    estimator : VAEDensity
        Its names and number of columns are set, or compared.
    X : array-like of shape (n_samples, n_features)
        What the user gave.
    reset : bool
        Whether this is `fit`.
    min_samples : int
        Smallest number of rows.
    """
    found = _label_columns(X)
    if not found:
        numbers = check_table(estimator, X, reset=reset, min_samples=min_samples)
        return RawTable(_names(estimator), numbers, {}, {})
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
    check_array(
        numbers,
        ensure_all_finite=False,
        ensure_min_samples=min_samples,
        estimator=estimator,
    )
    check_finite(estimator, numbers)
    cells = {j: np.asarray(column, dtype=object) for j, column in found.items()}
    declared = {j: _declared(column) for j, column in found.items()}
    return RawTable(_names(estimator), numbers, cells, declared)


def _names(estimator: Any) -> tuple[str, ...]:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return tuple(f"x{j}" for j in range(estimator.n_features_in_))
    return tuple(str(name) for name in names)


def _label_columns(X: Any) -> dict[int, Any]:
    """Return the columns of X that are no numbers, by index."""
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        columns = [
            X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
            for j in range(len(X.columns))
        ]
        return {j: column for j, column in enumerate(columns) if _is_labels(column)}
    if not isinstance(X, (np.ndarray, list, tuple)):
        return {}
    try:
        array = np.asarray(X)
    except ValueError:  # rows of different lengths
        return {}
    if array.ndim != 2 or array.dtype.kind not in "OUS":
        return {}
    array = np.asarray(X, dtype=object)
    return {j: column for j, column in enumerate(array.T) if _is_labels(column)}


def _is_labels(column: Any) -> bool:
    """Whether a column of a DataFrame or of an array of objects holds no numbers."""
    dtype = column.dtype
    kind = getattr(dtype, "kind", None)
    if kind is None:
        return str(dtype).partition("(")[0] in POLARS_LABELS
    if str(dtype) == "category":
        return True
    if kind == "O":
        return not all(isinstance(value, Real) for value in np.asarray(column))
    return kind in "USb"


def _declared(column: Any) -> tuple[object, ...]:
    """Return the values that the dtype of a column allows; empty for any."""
    name = str(column.dtype).partition("(")[0]
    if name in ("category", "Enum"):
        return tuple(np.asarray(column.dtype.categories, dtype=object).tolist())
    return (False, True) if name in ("bool", "boolean", "Boolean") else ()


def _check_cells(estimator: Any, j: int, cells: NDArray[np.object_]) -> None:
    """Raise for missing values, and for objects that are no value at all."""
    for row, value in enumerate(cells):
        if type(value) is str:
            continue
        where = f"in {column_label(estimator, j)} (first in row {row})"
        if not isinstance(value, Hashable):
            raise TypeError(
                f"Input X contains {value!r} {where}: the argument must be a table of "
                f"strings, truth values or numbers."
            )
        if is_missing(value):
            raise ValueError(
                f"Input X contains NaN, a missing value, {where}. Drop or impute "
                f"these cells, or make them a category of their own."
            )


def _as_numbers(estimator: Any, j: int, cells: NDArray[np.object_]) -> Array:
    """Return labels that are numbers or look like them; raise for others."""
    _check_cells(estimator, j, cells)
    try:
        return cells.astype(np.float64)
    except ValueError as error:
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

    def read(self, estimator: Any, X: Any) -> Array:
        """Return the rows of a fitted estimator's table as numbers."""
        return self.encode(estimator, read_table(estimator, X, reset=False))

    def encode(self, estimator: Any, raw: RawTable, used: Mask | None = None) -> Array:
        """Return numbers and codes; raise for values that a column cannot have.

        Parameters
        ----------
        estimator : VAEDensity
            Knows the columns' names.
        raw : RawTable
            Rows.
        used : ndarray of shape (n,), default=None
            Rows that count: in the others, categories may be unknown. None for all.
        """
        table = raw.numbers.copy() if self._has_categories else raw.numbers
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
        """Return categories in place of their codes.

        A table with other values than numbers is an array of objects.
        """
        if not self._has_categories:
            return table
        decoded = table.astype(object if self._has_text else float)
        for j, values in enumerate(self.categories):
            if values is not None:
                known = np.empty(len(values), dtype=decoded.dtype)
                known[:] = [_plain(value) for value in values]
                decoded[:, j] = known[table[:, j].astype(int)]
        return decoded

    @property
    def _has_text(self) -> bool:
        return any(not _are_numbers(values) for values in self.categories if values)


def fit_schema(
    estimator: Any, raw: RawTable, sample_weight: Array, likelihood: LikelihoodSpec
) -> TableSchema:
    """Decide what each column holds, and number the categories.

    Parameters
    ----------
    estimator : VAEDensity
        Knows the columns' names.
    raw : RawTable
        What `fit` was given.
    sample_weight : ndarray of shape (n,)
        Weights; rows of weight zero do not count.
    likelihood : LikelihoodSpec
        Says which kinds of columns it takes.
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
            _check_cells(estimator, j, raw.labels[j][used])
        values = raw.declared.get(j) or _distinct(
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


def natural_support(column: Array, sample_weight: Array) -> Support:
    """Return what a column of numbers looks like; `MixedLikelihood` has the rules."""
    values, inverse = np.unique(column, return_inverse=True)
    if np.isin(values, (0, 1)).all():
        return "binary"
    if len(values) == 1 or (values != np.floor(values)).any():
        return "real"
    weight = np.bincount(inverse, sample_weight)
    # Weights may be shares: there are as many rows as there are, at least.
    weight = weight * max(1.0, len(column) / weight.sum())
    if len(values) <= MAX_NUMERIC_CATEGORIES and weight.min() >= MIN_ROWS_PER_CATEGORY:
        return "category"
    mean = np.average(values, weights=weight)
    variance = np.average(np.square(values - mean), weights=weight)
    return "count" if values[0] == 0 and variance >= mean else "real"


def _distinct(cells: NDArray[Any]) -> tuple[object, ...]:
    """Return the different values in an order that rows do not change."""
    if cells.dtype != object:
        return tuple(np.unique(cells).tolist())
    return tuple(sorted(set(cells), key=lambda value: (type(value).__name__, value)))


def _are_numbers(values: Sequence[object]) -> bool:
    return all(isinstance(value, (Real, np.bool_)) for value in values)


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _encode_column(
    estimator: Any,
    j: int,
    raw: RawTable,
    values: tuple[object, ...],
    used: Mask | None,
) -> Array:
    """Return the codes of one column; raise for an unknown category."""
    cells: NDArray[Any] = raw.labels.get(j, raw.numbers[:, j])
    if j in raw.labels:
        _check_cells(estimator, j, cells)
    code = {value: i for i, value in enumerate(values)}
    codes = np.array([code.get(value, -1) for value in cells.tolist()], dtype=float)
    unknown = codes < 0 if used is None else (codes < 0) & used
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        shown = ", ".join(repr(_plain(value)) for value in values[:MAX_SHOWN])
        more = f", … ({len(values)} in all)" if len(values) > MAX_SHOWN else ""
        raise ValueError(
            f"{column_label(estimator, j)} has {_plain(cells[row])!r} in row {row}, a "
            f"category that fit has not seen. Known ones: {shown}{more}."
        )
    return codes.clip(min=0)
