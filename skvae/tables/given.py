"""The columns of y that a conditional density is given, and their codes.

Numbers of y stay as they are, and categories become codes 0, 1, …, as in
`skvae.tables.schema` for X. What differs is who decides: the parameter `y_kind`, or the
column's own dtype and values, where a likelihood decides for X.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length

from skvae.model.features import ColumnKind
from skvae.tables.checks import check_sample_weight
from skvae.tables.columns import RowMap
from skvae.tables.labels import (
    as_array,
    as_codes,
    check_cells,
    distinct_values,
    first_missing,
    frame_columns,
    holds_labels,
    is_frame,
    listed,
)
from skvae.tables.scaling import location_and_scale, standardise
from skvae.typing import Array

__all__ = [
    "ConditionalColumns",
    "Given",
    "GivenColumn",
    "GivenColumns",
    "read_given",
]

KINDS = ("auto", "numeric", "categorical")


@dataclass(frozen=True)
class GivenColumn:
    """A column of y and how it is coded.

    Attributes
    ----------
    name : str
        What messages call the column.
    categories : tuple or None, default=None
        The values that `fit` has seen, in the order of their codes; None for numbers.
    center, scale : float, default=0.0, 1.0
        Location and scale that numbers are standardised by.
    named : bool, default=False
        Whether the name is that of a data frame's column.
    """

    name: str
    categories: tuple[object, ...] | None = None
    center: float = 0.0
    scale: float = 1.0
    named: bool = False

    @property
    def kind(self) -> ColumnKind:
        """What the coded column holds, for the networks that read it."""
        if self.categories is None:
            return ColumnKind()
        return ColumnKind("category", len(self.categories))

    def code(self, values: NDArray[Any]) -> Array:
        """Return numbers as they are, and the code of each category.

        Parameters
        ----------
        values : ndarray of shape (n,)
            Cells of the column, none missing.

        Raises
        ------
        ValueError
            For a category that `fit` has not seen, or, in a column of numbers, for a
            value that is no finite number.
        """
        if self.categories is None:
            return _numbers(values, self.name)
        codes = as_codes(values, self.categories)
        unseen = list(dict.fromkeys(values[codes < 0].tolist()))
        if unseen:
            raise ValueError(
                f"{self.name} has {listed(unseen)}, which fit has not seen. Its "
                f"categories are {listed(self.categories)}."
            )
        return codes

    def standardised(self, values: Array, sample_weight: Array) -> "GivenColumn":
        """Return the column with the location and scale of these numbers.

        Parameters
        ----------
        values : ndarray of shape (n,)
            Coded cells of the column.
        sample_weight : ndarray of shape (n,)
            Positive weights.
        """
        if self.categories is not None:
            return self
        center, scale = location_and_scale(values, sample_weight)
        return replace(self, center=float(center), scale=float(scale))


@dataclass(frozen=True)
class GivenColumns:
    """The columns of y and how they are coded.

    Attributes
    ----------
    columns : tuple of GivenColumn
        One for each column.
    """

    columns: tuple[GivenColumn, ...]

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """What each coded column holds, for the networks that read it."""
        return tuple(column.kind for column in self.columns)

    def code(self, y: Any) -> Array:
        """Return y as a table of numbers and category codes, shape (n, G)."""
        found = list(_columns_of(y))
        if len(found) != len(self.columns):
            raise ValueError(
                f"y has {len(found)} columns, but fit has seen {len(self.columns)}."
            )
        coded = []
        for column, values in zip(self.columns, found, strict=True):
            if column.named and values.named and column.name != values.name:
                raise ValueError(
                    f"The columns of y should have the names and the order that they "
                    f"had in fit, but {values.name} is in the place of {column.name}."
                )
            coded.append(column.code(values.complete()))
        return np.stack(coded, 1)

    def standardised(self, coded: Array, sample_weight: Array) -> "GivenColumns":
        """Return the columns with locations and scales of these coded rows."""
        fitted = [
            column.standardised(values, sample_weight)
            for column, values in zip(self.columns, coded.T, strict=True)
        ]
        return replace(self, columns=tuple(fitted))

    def to_model(self, coded: Array) -> Array:
        """Return coded rows with their numbers standardised; codes stay as they are."""
        center = np.array([column.center for column in self.columns])
        scale = np.array([column.scale for column in self.columns])
        return standardise(coded, center, scale)


@dataclass(frozen=True)
class ConditionalColumns:
    """A `RowMap` of rows [x, coded y], of which only x has a density.

    Attributes
    ----------
    modelled : RowMap
        Maps the columns of x.
    given : GivenColumns
        Maps the columns of y.
    """

    modelled: RowMap
    given: GivenColumns

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """What the columns of x hold, and then those of y."""
        return self.modelled.kinds + self.given.kinds

    @property
    def scale(self) -> Array:
        """One model unit of each column of x."""
        return self.modelled.scale

    @property
    def floor(self) -> Array:
        """Smallest standard deviation of each column of x, in model units."""
        return self.modelled.floor

    def to_model(self, table: Array) -> tuple[Array, Array]:
        """Return rows in model units and log |det du/dx| of each row.

        The Jacobian is that of the columns of x alone.
        """
        n_features = table.shape[1] - len(self.given.columns)
        u, log_jacobian = self.modelled.to_model(table[:, :n_features])
        given = self.given.to_model(table[:, n_features:])
        return np.concatenate([u, given], 1), log_jacobian

    def to_table(self, u: Array) -> Array:
        """Return the columns of x in the units of the input."""
        return self.modelled.to_table(u)


@dataclass(frozen=True)
class Given:
    """The y of a table's rows, coded.

    Attributes
    ----------
    columns : GivenColumns
        How y is coded.
    table : ndarray of shape (n, G)
        Numbers and codes.
    """

    columns: GivenColumns
    table: Array

    def beside(self, table: Array) -> Array:
        """Return rows [x, coded y]; raise if there are not as many of y as of x."""
        check_consistent_length(table, self.table)
        return np.concatenate([table, self.table], 1)


def read_given(y: Any, kind: str | Sequence[str], sample_weight: Any = None) -> Given:
    """Choose how the columns of y are coded, and code them.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, G)
        Array, list or data frame.
    kind : {"auto", "numeric", "categorical"} or a sequence of them
        The parameter `y_kind` of `ConditionalVAEDensity`.
    sample_weight : array-like of shape (n,), default=None
        Weights. A category counts as seen only if a row of positive weight has it; in
        a row of weight zero, a category gets the code 0.
    """
    found = list(_columns_of(y))
    used = check_sample_weight(sample_weight, len(found[0].values)) > 0
    chosen, coded = [], []
    for column, asked in zip(found, _kinds(kind, len(found)), strict=True):
        values = column.complete()
        given = GivenColumn(column.name, named=column.named)
        if asked == "categorical" or (asked == "auto" and column.labels):
            given = replace(given, categories=distinct_values(values[used]))
            codes = np.zeros(len(values))
            codes[used] = given.code(values[used])
        else:
            codes = given.code(values)
        chosen.append(given)
        coded.append(codes)
    return Given(GivenColumns(tuple(chosen)), np.stack(coded, 1))


@dataclass(frozen=True)
class _Cells:
    """One column of y as the user gave it.

    Attributes
    ----------
    name : str
        What messages call the column.
    named : bool
        Whether the name is that of a data frame's column.
    values : ndarray of shape (n,)
        Cells.
    labels : bool
        Whether they are labels rather than numbers.
    """

    name: str
    named: bool
    values: NDArray[Any]
    labels: bool

    def complete(self) -> NDArray[Any]:
        """Return the cells; raise if one is missing, or cannot be a value."""
        row = first_missing(self.values)
        if row is not None:
            raise ValueError(
                f"Input y contains NaN: {self.name} is missing in row {row}. Every row "
                f"needs the values that its density is conditional on."
            )
        check_cells(self.values, self.name, "y")
        return self.values


def _columns_of(y: Any) -> Iterator[_Cells]:
    """Yield every column of an array, a list or a data frame."""
    if y is None:
        raise ValueError(
            "ConditionalVAEDensity requires y to be passed, but the target y is None."
        )
    if hasattr(y, "toarray"):
        raise TypeError("y is sparse; pass y.toarray().")
    frame = is_frame(y)
    # A Series stays as it is: an array would not have its dtype.
    if not frame and (getattr(y, "ndim", None) != 1 or not hasattr(y, "dtype")):
        y = as_array(y)
    if len(y.shape) == 1:
        yield _cells(y, "y")
        return
    if len(y.shape) != 2 or not y.shape[1]:
        raise ValueError(
            f"y must have shape (n_samples,) or (n_samples, n_columns), got shape "
            f"{y.shape}."
        )
    if frame:
        for name, column in zip(y.columns, frame_columns(y), strict=True):
            yield _cells(column, f"column {name!r} of y", named=True)
        return
    for j, column in enumerate(y.T):
        yield _cells(column, f"column {j} of y")


def _cells(column: Any, name: str, *, named: bool = False) -> _Cells:
    """Find out what a column holds; raise for dates and complex numbers."""
    values = as_array(column)
    # Both dtypes count: the dates of pandas with a time zone are objects in NumPy, and
    # its categories may be dates.
    for dtype in (values.dtype, column.dtype):
        kind = getattr(dtype, "kind", "O")
        if kind == "c":
            raise ValueError(f"Complex data not supported: {name} is {dtype}.")
        if kind not in "biufOUS":
            raise ValueError(
                f"{name} must hold numbers, text, truth values or categories, got "
                f"dtype {dtype}."
            )
    return _Cells(name, named, values, holds_labels(column))


def _numbers(values: NDArray[Any], name: str) -> Array:
    """Return cells as finite numbers; raise a ValueError for all else."""
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} has to hold numbers ({error}). For categories, say "
            f"y_kind='categorical'."
        ) from error
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise ValueError(
            f"Input y contains infinity or a value too large for "
            f"{numbers.dtype!r}: {name} has {numbers[row]} in row {row}."
        )
    return numbers


def _kinds(kind: object, n_columns: int) -> tuple[str, ...]:
    """Return one of "auto", "numeric", "categorical" for every column."""
    kinds = (kind,) * n_columns if isinstance(kind, str) else kind
    if not isinstance(kinds, (tuple, list)):
        raise TypeError(
            f"y_kind must be a str or a sequence of str, one per column of y, got "
            f"{kind!r}."
        )
    for each in kinds:
        if each not in KINDS:
            raise ValueError(
                f"y_kind must be 'auto', 'numeric' or 'categorical', or one of them "
                f"for every column of y, got {each!r}."
            )
    if len(kinds) != n_columns:
        raise ValueError(
            f"y_kind has {len(kinds)} entries, but y has {n_columns} columns."
        )
    return tuple(kinds)
