"""What a conditional density is given: columns of numbers or categories, coded."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length

from skvae.model.features import ColumnKind
from skvae.tables.checks import check_sample_weight, is_missing
from skvae.tables.columns import RowMap
from skvae.typing import Array

__all__ = [
    "ConditionalColumns",
    "Given",
    "GivenColumn",
    "GivenColumns",
    "read_given",
]

KINDS = ("numeric", "categorical")
MAX_NAMES = 10
FARTHEST = 1e100  # model units; its square is still a number


@dataclass(frozen=True)
class GivenColumn:
    """One column of y and how it is coded.

    Attributes
    ----------
    name : str
        What messages call it.
    categories : tuple or None, default=None
        The values it may have, sorted where they can be; None for numbers.
    center, scale : float, default=0.0, 1.0
        What numbers are standardised by.
    named : bool, default=False
        Whether the name is a data frame's.
    """

    name: str
    categories: tuple[Any, ...] | None = None
    center: float = 0.0
    scale: float = 1.0
    named: bool = False

    @property
    def kind(self) -> ColumnKind:
        """How networks read the coded column."""
        if self.categories is None:
            return ColumnKind()
        return ColumnKind("category", len(self.categories))

    def code(self, values: NDArray[Any]) -> Array:
        """Return numbers as they are, and of each category its index.

        Raises
        ------
        ValueError
            For a category or a kind of value that `fit` has not seen.
        """
        if self.categories is None:
            return _numbers(values, self.name)
        index = {category: i for i, category in enumerate(self.categories)}
        codes = np.array([index.get(value, -1) for value in values.tolist()])
        unseen = list(dict.fromkeys(values[codes < 0].tolist()))
        if unseen:
            raise ValueError(
                f"{self.name} has {_listed(unseen)}, which fit has not seen. Its "
                f"categories are {_listed(self.categories)}."
            )
        return codes.astype(np.float64)

    def standardised(self, values: Array, sample_weight: Array) -> "GivenColumn":
        """Return the column with the location and scale of these numbers."""
        if self.categories is not None:
            return self
        # Relative to the largest entry, so that squares neither overflow nor vanish.
        largest = float(np.abs(values).max()) or 1.0
        share = sample_weight / sample_weight.sum()
        center = float(share @ (values / largest))
        spread = float(np.sqrt(share @ np.square(values / largest - center)))
        if spread <= 1e-12 * abs(center):
            spread = abs(center)
        return replace(self, center=center * largest, scale=spread * largest or 1.0)


@dataclass(frozen=True)
class GivenColumns:
    """All columns of y.

    Attributes
    ----------
    columns : tuple of GivenColumn
        One for each.
    """

    columns: tuple[GivenColumn, ...]

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """How networks read each column."""
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
        """Standardise the numbers of coded rows."""
        center = np.array([column.center for column in self.columns])
        scale = np.array([column.scale for column in self.columns])
        # Halves keep the difference of the largest numbers finite.
        return np.clip((coded / 2 - center / 2) / scale * 2, -FARTHEST, FARTHEST)


@dataclass(frozen=True)
class ConditionalColumns:
    """Maps rows [x, coded y] to model units; only x has a density and a Jacobian.

    Attributes
    ----------
    modelled : RowMap
        The columns of x.
    given : GivenColumns
        Those of y.
    """

    modelled: RowMap
    given: GivenColumns

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """What the columns of x hold, and those of y."""
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
        """Return rows in model units and log |det du/dx| of each row."""
        n_features = table.shape[1] - len(self.given.columns)
        u, log_jacobian = self.modelled.to_model(table[:, :n_features])
        given = self.given.to_model(table[:, n_features:])
        return np.concatenate([u, given], 1), log_jacobian

    def to_table(self, u: Array) -> Array:
        """Return x in the units of the input."""
        return self.modelled.to_table(u)


@dataclass(frozen=True)
class Given:
    """The y of some rows, coded.

    Attributes
    ----------
    columns : GivenColumns
        How it is coded.
    table : ndarray of shape (n, G)
        Numbers and codes.
    """

    columns: GivenColumns
    table: Array

    def beside(self, table: Array) -> Array:
        """Return rows [x, coded y]."""
        check_consistent_length(table, self.table)
        return np.concatenate([table, self.table], 1)


def read_given(y: Any, kind: Any, sample_weight: Any = None) -> Given:
    """Choose how the columns of y are coded, and code them.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, G)
        Array or data frame.
    kind : {"auto", "numeric", "categorical"} or a sequence of them
        As `ConditionalVAEDensity` takes `y_kind`.
    sample_weight : array-like of shape (n,), default=None
        Weights; the categories of rows of weight zero do not count.
    """
    found = list(_columns_of(y))
    used = check_sample_weight(sample_weight, len(found[0].values)) > 0
    chosen, coded = [], []
    for column, asked in zip(found, _kinds(kind, len(found)), strict=True):
        values = column.complete()
        given = GivenColumn(column.name, named=column.named)
        if (column.nature if asked == "auto" else asked) == "numeric":
            codes = given.code(values)
        else:
            given = replace(given, categories=_sorted_values(values[used]))
            codes = np.zeros(len(values))
            codes[used] = given.code(values[used])
        chosen.append(given)
        coded.append(codes)
    return Given(GivenColumns(tuple(chosen)), np.stack(coded, 1))


@dataclass(frozen=True)
class _Values:
    """One column of y as it came: its name, values and natural kind."""

    name: str
    named: bool
    values: NDArray[Any]
    nature: str

    def complete(self) -> NDArray[Any]:
        """Return the values; raise a ValueError where one is missing."""
        kind = self.values.dtype.kind
        if kind not in "Of":
            return self.values
        if kind == "O":
            missing = np.array([is_missing(v) for v in self.values.tolist()], bool)
        else:
            missing = np.isnan(self.values)
        if missing.any():
            row = int(np.flatnonzero(missing)[0])
            raise ValueError(
                f"Input y contains NaN: {self.name} is missing in row {row}. Every row "
                f"needs the values that its density is conditional on."
            )
        return self.values


def _columns_of(y: Any) -> Iterator[_Values]:
    """Yield every column of an array or a data frame."""
    if y is None:
        raise ValueError(
            "ConditionalVAEDensity requires y to be passed, but the target y is None."
        )
    if hasattr(y, "columns") and hasattr(y, "shape"):
        for name in y.columns:
            yield _values(y[name], f"column {name!r} of y", named=True)
        return
    if getattr(y, "ndim", None) != 1 or not hasattr(y, "dtype"):
        y = _as_array(y)
    if y.ndim == 1:
        yield _values(y, "y")
        return
    if y.ndim != 2 or not y.shape[1]:
        raise ValueError(
            f"y must have shape (n_samples,) or (n_samples, n_columns), got shape "
            f"{y.shape}."
        )
    for j in range(y.shape[1]):
        yield _values(y[:, j], f"column {j} of y")


def _as_array(y: Any) -> NDArray[Any]:
    """Return an array; lists keep numbers, text and truth values apart."""
    if hasattr(y, "toarray"):
        raise TypeError("y is sparse; pass y.toarray().")
    array = np.asarray(y)
    # NumPy makes text of the numbers in a list that also holds text.
    mixed = array.dtype.kind in "US" and not hasattr(y, "dtype")
    return np.asarray(y, dtype=object) if mixed else array


def _values(column: Any, name: str, *, named: bool = False) -> _Values:
    """Find out whether a column holds numbers or categories."""
    labelled = str(column.dtype).lower().startswith(("category", "categorical", "enum"))
    values = np.asarray(column)
    if values.dtype.kind in "US":
        values = values.astype(object)
    kind = values.dtype.kind
    if kind == "c":
        raise ValueError(f"Complex data not supported: {name} is {values.dtype}.")
    if kind not in "biufO":
        raise ValueError(
            f"{name} must hold numbers, text, truth values or categories, got dtype "
            f"{values.dtype}."
        )
    numeric = kind in "iuf" or (kind == "O" and _are_numbers(values))
    nature = "numeric" if numeric and not labelled else "categorical"
    return _Values(name, named, values, nature)


def _are_numbers(values: NDArray[Any]) -> bool:
    known = [value for value in values.tolist() if not is_missing(value)]
    return all(isinstance(v, Real) and not isinstance(v, bool) for v in known)


def _numbers(values: NDArray[Any], name: str) -> Array:
    """Return finite numbers; raise a ValueError for all else."""
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


def _sorted_values(values: NDArray[Any]) -> tuple[Any, ...]:
    """Return distinct values, sorted; by type and text where they do not compare."""
    distinct = list(dict.fromkeys(values.tolist()))
    try:
        return tuple(sorted(distinct))
    except TypeError:
        return tuple(sorted(distinct, key=lambda v: (type(v).__name__, str(v))))


def _kinds(kind: Any, n_columns: int) -> tuple[str, ...]:
    """Return one of "auto", "numeric", "categorical" for every column."""
    kinds = (kind,) * n_columns if isinstance(kind, str) else kind
    if not isinstance(kinds, (tuple, list)):
        raise TypeError(
            f"y_kind must be a str or a sequence of str, one per column of y, got "
            f"{kind!r}."
        )
    for each in kinds:
        if each not in ("auto", *KINDS):
            raise ValueError(
                f"y_kind must be 'auto', 'numeric' or 'categorical', or one of them "
                f"for every column of y, got {each!r}."
            )
    if len(kinds) != n_columns:
        raise ValueError(
            f"y_kind has {len(kinds)} entries, but y has {n_columns} columns."
        )
    return tuple(kinds)


def _listed(values: Any) -> str:
    shown = ", ".join(repr(value) for value in list(values)[:MAX_NAMES])
    more = len(values) - MAX_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
