"""Tables of numbers, text and categories ↔ tables of numbers alone.

Categories become codes 0, 1, … in the order of the column's known values. Numbers stay
as they are. The likelihood decides what a column holds: it may take numbers for
categories, and text that reads like numbers, such as "1.5", for these numbers. A
missing cell is NaN, also in place of a code.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae.arguments.warnings import warn_caller
from skvae.model.features import ColumnKind, Support
from skvae.tables.checks import check_numbers, check_supports
from skvae.tables.labels import (
    as_codes,
    as_python,
    check_cells,
    distinct_values,
    listed,
    missing_cells,
)
from skvae.tables.names import TableColumns
from skvae.tables.output import Layout, frame_of, is_whole
from skvae.tables.raw import RawTable
from skvae.tables.scaling import observed_cells
from skvae.typing import Array, Mask

__all__ = ["TableSchema", "fit_schema", "natural_support"]

MAX_CATEGORIES = 1000
MAX_NUMERIC_CATEGORIES = 10
MIN_ROWS_PER_CATEGORY = 10
# A column of labels with more different values than this share of its rows looks like
# one that numbers or names the rows. In fewer rows, that may be chance.
IDENTIFIER_SHARE = 0.9
MIN_ROWS_OF_IDENTIFIERS = 30
FITTED_NUMBERS = "The column held numbers in fit."
OTHER_COUNT = 0.5  # rows that all unknown categories together are taken to have had


def _as_numbers(
    columns: TableColumns, j: int, cells: NDArray[Any], advice: str
) -> Array:
    """Return labels that read like numbers as these numbers; raise for others."""
    check_cells(cells, columns.label(j), columns.table)
    try:
        numbers = cells.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{error} in {columns.label(j)}. {advice}") from None
    no_number = np.isnan(numbers) & ~missing_cells(cells)
    if no_number.any():
        row = int(no_number.argmax())
        raise ValueError(
            f"Input {columns.table} contains {as_python(cells[row])!r}, which is no "
            f"number, in {columns.label(j)} (first in row {row}). A missing cell is "
            f"NaN or None, without quotes."
        )
    return numbers


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
    layout : Layout
        The container that `fit` has seen.
    """

    names: tuple[str, ...]
    kinds: tuple[ColumnKind, ...]
    categories: tuple[tuple[object, ...] | None, ...]
    layout: Layout = field(compare=False, repr=False)

    def with_gaps(self, gaps: Mask) -> "TableSchema":
        """Return the schema with what `fit` has seen of missing cells.

        Parameters
        ----------
        gaps : ndarray of bool of shape (D,)
            Which columns have missing cells.
        """
        kinds = zip(self.kinds, gaps.tolist(), strict=True)
        return replace(self, kinds=tuple(replace(k, has_gaps=gap) for k, gap in kinds))

    def of_means(self) -> "TableSchema":
        """Return the schema of a table of means: of whole numbers, they are floats."""
        numbers = zip(self.layout.dtypes, self.kinds, strict=bool(self.layout.dtypes))
        dtypes = (
            "float64" if kind.support == "real" and is_whole(dtype) else dtype
            for dtype, kind in numbers
        )
        return replace(self, layout=replace(self.layout, dtypes=tuple(dtypes)))

    def encode(self, raw: RawTable, used: Mask | None = None) -> Array:
        """Return numbers and codes; raise for values that a column cannot have.

        A missing cell of any column is NaN.

        Parameters
        ----------
        raw : RawTable
            Rows.
        used : ndarray of bool of shape (n,), default=None
            In `fit`, the rows that count. In the other rows, an unknown category gets
            the code 0. None after `fit`: all categories have to be known.
        """
        advice = raw.columns.advice if used is not None else FITTED_NUMBERS
        changes = self._has_categories or raw.labels
        table = raw.numbers.copy() if changes else raw.numbers
        for j, values in enumerate(self.categories):
            if values is None and j in raw.labels:
                table[:, j] = _as_numbers(raw.columns, j, raw.labels[j], advice)
            elif values is not None:
                table[:, j] = _encode_column(raw, j, values, self.kinds[j], used)
        if raw.labels:
            check_numbers(raw.columns, table)
        check_supports(raw.columns, table, self.kinds)
        return table

    @property
    def _has_categories(self) -> bool:
        return any(values is not None for values in self.categories)

    def decode(self, table: Array, container: str = "default") -> Any:
        """Return rows with categories in place of their codes.

        Parameters
        ----------
        table : ndarray of shape (n, D)
            Numbers and codes, NaN where a cell is missing.
        container : {"default", "pandas", "polars"}, default="default"
            "default" is an array: of floats if all categories are numbers or truth
            values, and of objects otherwise. The others are data frames with the
            names and dtypes that `fit` has seen. Where `fit` has seen one column
            without a second axis, the rows have none, either. A missing cell is NaN in
            an array of floats, None in one of objects, and in a frame what its dtype
            has for it. Where a dtype of NumPy's integers or truth values has nothing,
            the column becomes one of floats or objects.
        """
        if container != "default":
            columns = [
                cells if values is None else _values_of(cells, values, object)
                for cells, values in zip(table.T, self.categories, strict=True)
            ]
            return frame_of(
                columns, self.categories, self.names, self.layout, container
            )
        if self._has_categories:
            codes, table = table, table.astype(object if self._has_text else float)
            for j, values in enumerate(self.categories):
                if values is not None:
                    table[:, j] = _values_of(codes[:, j], values, table.dtype)
            if self._has_text:
                table[np.isnan(codes)] = None
        return table[:, 0] if self.layout.one_dimensional else table

    @property
    def _has_text(self) -> bool:
        return any(
            not all(isinstance(value, Real) for value in values)
            for values in self.categories
            if values
        )


def _values_of(codes: Array, values: tuple[object, ...], dtype: Any) -> NDArray[Any]:
    """Return the values of codes; None, or NaN in an array of floats, for NaN."""
    # The last one is the value of a missing cell.
    known = np.fromiter((*values, None), object, len(values) + 1).astype(dtype)
    return known[np.where(np.isnan(codes), len(values), codes).astype(int)]


def fit_schema(
    raw: RawTable,
    sample_weight: Array,
    choose: Callable[[tuple[str, ...], Callable[[int], Support]], tuple[Support, ...]],
    *,
    with_other: bool = False,
) -> TableSchema:
    """Decide what each column holds by its observed cells, and number the categories.

    Parameters
    ----------
    raw : RawTable
        What `fit` was given.
    sample_weight : ndarray of shape (n,)
        Weights; rows of weight zero do not count.
    choose : callable
        Decides which kind of column each one is, as `LikelihoodSpec.supports`: given
        the names, and what a column looks like by its index.
    with_other : bool, default=False
        Whether the columns of categories have mass for values that `fit` has not seen.
    """
    used = sample_weight > 0
    weight = sample_weight[used]

    def natural(j: int) -> Support:
        if j in raw.labels:
            return "category"
        return natural_support(raw.numbers[used, j], weight)

    kinds: list[ColumnKind] = []
    categories: list[tuple[object, ...] | None] = []
    for j, support in enumerate(choose(raw.columns.names, natural)):
        if support != "category":
            kinds.append(ColumnKind(support))
            categories.append(None)
            continue
        values = _fitted_categories(raw, j, used)
        other = 0.0
        if with_other:
            observed = ~missing_cells(raw.cells(j)[used])
            other = OTHER_COUNT / (
                float(weight[observed].sum()) + OTHER_COUNT * (len(values) + 1)
            )
        kinds.append(ColumnKind(support, n_values=len(values), other=other))
        categories.append(values)
    return TableSchema(raw.columns.names, tuple(kinds), tuple(categories), raw.layout)


def _fitted_categories(raw: RawTable, j: int, used: Mask) -> tuple[object, ...]:
    """Return the known values of a column; warn if it looks like an identifier."""
    label = raw.columns.label(j)
    cells = raw.cells(j)[used]
    if j in raw.labels:
        check_cells(cells, label, raw.columns.table)
    cells = cells[~missing_cells(cells)]
    distinct = distinct_values(cells)
    values = raw.declared.get(j) or distinct
    if len(values) > MAX_CATEGORIES:
        raise ValueError(
            f"{label} has {len(values)} categories; at most {MAX_CATEGORIES} are "
            f"allowed. Join the rare ones, or drop the column."
        )
    n_rows = len(cells)
    if (
        j in raw.labels
        and n_rows >= MIN_ROWS_OF_IDENTIFIERS
        and len(distinct) > IDENTIFIER_SHARE * n_rows
    ):
        warn_caller(
            f"{label} looks like an identifier: its {n_rows} rows have "
            f"{len(distinct)} different labels. There is nothing to learn from a value "
            f"that does not come again; drop the column, or join its values to groups."
        )
    return values


def _encode_column(
    raw: RawTable,
    j: int,
    values: tuple[object, ...],
    kind: ColumnKind,
    used: Mask | None,
) -> Array:
    """Return the codes of one column; raise for an unknown category without mass."""
    cells = raw.cells(j)
    if j in raw.labels:
        check_cells(cells, raw.columns.label(j), raw.columns.table)
    codes = category_codes(cells, values, kind)
    unknown = codes < 0 if used is None else (codes < 0) & used
    if unknown.any():
        row = int(unknown.argmax())
        raise ValueError(
            f"{raw.columns.label(j)} has {as_python(cells[row])!r} in row {row}, "
            f"a category that fit has not seen. Known ones: {listed(values)}. To score "
            f"such rows, fit with unknown_category='other'."
        )
    return codes.clip(min=0)


def category_codes(
    cells: NDArray[Any], values: tuple[object, ...], kind: ColumnKind
) -> Array:
    """Return the codes of one column's cells: NaN for missing ones, −1 for unknown.

    Where the column has a code for all other values, no cell is unknown.
    """
    codes = as_codes(cells, values)
    codes[missing_cells(cells)] = np.nan
    return np.where(codes < 0, kind.n_values, codes) if kind.other else codes


def natural_support(column: Array, sample_weight: Array) -> Support:
    """Return what a column of numbers looks like, by the rules of `MixedLikelihood`.

    Missing cells do not count.
    """
    column, sample_weight = observed_cells(column, sample_weight)
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
    with np.errstate(over="ignore", invalid="ignore"):  # squares of far numbers
        mean = np.average(values, weights=weight)
        variance = np.average(np.square(values - mean), weights=weight)
    return "count" if values[0] == 0 and variance >= mean else "real"
