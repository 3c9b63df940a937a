"""The columns of X that a conditional density is given, and how they are coded.

Numbers are standardised, and categories become codes 0, 1, …, as those of the targets
do. What differs is who decides which columns hold categories: the parameter
`given_kind`, where a likelihood decides for targets. A missing cell is NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_consistent_length

from skvae.model.features import ColumnKind, Support
from skvae.tables.columns import ColumnMap, RowMap
from skvae.tables.labels import is_series
from skvae.tables.missing import check_observed_columns, columns_with_gaps
from skvae.tables.names import KnowsColumns
from skvae.tables.raw import RawTable, read_table
from skvae.tables.scaling import location_and_scale, standardise
from skvae.tables.schema import TableSchema, fit_schema
from skvae.typing import Array

__all__ = [
    "ConditionalColumns",
    "Given",
    "GivenColumns",
    "fit_given",
    "read_given",
]

KINDS = ("auto", "numeric", "categorical")
ADVICE = "Use given_kind='categorical' for text and categories."


@dataclass(frozen=True)
class GivenColumns:
    """The columns of X and how they are coded.

    Attributes
    ----------
    schema : TableSchema
        What each column holds, and the codes of its categories.
    center, scale : ndarray of shape (G,)
        Location and scale that numbers are standardised by; 0 and 1 for categories.
    """

    schema: TableSchema
    center: Array
    scale: Array

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """What each coded column holds, for the networks that read it."""
        return self.schema.kinds

    def code(self, raw: RawTable) -> "Given":
        """Return rows of X as numbers and codes; raise for what `fit` has not seen."""
        return Given(self, self.schema.encode(raw))

    def standardised(self, coded: Array, sample_weight: Array) -> "GivenColumns":
        """Return the columns with locations and scales of the observed cells."""
        center, scale = location_and_scale(coded, sample_weight)
        number = np.array([kind.support == "real" for kind in self.kinds])
        return replace(
            self,
            center=np.where(number, center, 0.0),
            scale=np.where(number, scale, 1.0),
        )

    def to_model(self, coded: Array) -> Array:
        """Return coded rows with their numbers standardised; codes stay as they are."""
        return standardise(coded, self.center, self.scale)


@dataclass(frozen=True)
class ConditionalColumns:
    """A `RowMap` of rows [y, coded x], of which only y has a density.

    Attributes
    ----------
    modelled : RowMap
        Maps the targets y.
    given : GivenColumns
        Maps the columns of X.
    """

    modelled: RowMap
    given: GivenColumns

    @property
    def kinds(self) -> tuple[ColumnKind, ...]:
        """What the targets hold, and then the columns of X."""
        return self.modelled.kinds + self.given.kinds

    @property
    def scale(self) -> Array:
        """One model unit of each target."""
        return self.modelled.scale

    @property
    def floor(self) -> Array:
        """Smallest standard deviation of each target, in model units."""
        return self.modelled.floor

    def to_model(self, table: Array) -> tuple[Array, Array]:
        """Return rows in model units and log |det du/dx| of each row.

        The Jacobian is that of the targets alone.
        """
        n_features = table.shape[1] - len(self.given.kinds)
        u, log_jacobian = self.modelled.to_model(table[:, :n_features])
        given = self.given.to_model(table[:, n_features:])
        return np.concatenate([u, given], 1), log_jacobian

    def gaussian(self) -> tuple[Array, Array] | None:
        """Return mean and factor of a Gaussian of targets that are not mapped alone."""
        return self.modelled.gaussian()

    def column(self, index: int) -> ColumnMap:
        """Return the map of a target."""
        return self.modelled.column(index)

    def to_table(self, u: Array) -> Array:
        """Return the targets in the units of the input."""
        return self.modelled.to_table(u)


@dataclass(frozen=True)
class Given:
    """The given columns of some rows, coded.

    Attributes
    ----------
    columns : GivenColumns
        How they are coded.
    table : ndarray of shape (n, G)
        Numbers and codes, NaN where a cell is missing.
    """

    columns: GivenColumns
    table: Array

    def beside(self, table: Array) -> Array:
        """Return rows [y, coded x]; raise if there are not as many of x as of y."""
        check_consistent_length(table, self.table)
        return np.concatenate([table, self.table], 1)

    def beside_missing(self, n_targets: int) -> Array:
        """Return rows [y, coded x] in which all targets are missing."""
        return self.beside(np.full((len(self.table), n_targets), np.nan))

    def in_model_units(self) -> Array:
        """Return the rows as networks read them, of shape (n, G)."""
        return self.columns.to_model(self.table)


def read_given(
    estimator: KnowsColumns, X: Any, *, reset: bool, min_samples: int = 1
) -> RawTable:
    """Return X with its columns of labels apart; raise if X is no table.

    Parameters
    ----------
    estimator, reset, min_samples
        As for `read_table`.
    X : array-like of shape (n_samples, n_features) or Series of shape (n_samples,)
        What the user gave. A Series of pandas or polars is one column if it has a
        name; other tables without a second axis are an error, as scikit-learn has it.
    """
    if is_series(X):
        if X.name in (None, ""):
            raise ValueError(
                "Expected a 2-dimensional container, but X is a Series without a name: "
                "name it, or pass a data frame with one column."
            )
        X = X.to_frame()
    return read_table(estimator, X, reset=reset, min_samples=min_samples, advice=ADVICE)


def fit_given(
    raw: RawTable,
    kind: str | Sequence[str],
    sample_weight: Array,
    *,
    with_other: bool = False,
) -> Given:
    """Choose how the columns of X are coded, and code them.

    Parameters
    ----------
    raw : RawTable
        Rows of X.
    kind : {"auto", "numeric", "categorical"} or a sequence of them
        The parameter `given_kind` of `ConditionalVAEDensity`.
    sample_weight : ndarray of shape (n,)
        Weights. A category counts as seen only if a row of positive weight has it; in
        a row of weight zero, an unknown category gets the code 0.
    with_other : bool, default=False
        Whether values that `fit` has not seen may be given.

    Raises
    ------
    ValueError
        If no row of positive weight has an observed cell in some column.
    """
    check_observed_columns(raw, sample_weight)
    kinds = _kinds(kind, raw.columns.n_columns)

    def choose(
        names: tuple[str, ...], natural: Callable[[int], Support]
    ) -> tuple[Support, ...]:
        return tuple(
            "category"
            if asked == "categorical"
            or (asked == "auto" and (j in raw.labels or raw.layout.truth))
            else "real"
            for j, asked in enumerate(kinds)
        )

    schema = fit_schema(raw, sample_weight, choose, with_other=with_other)
    schema = schema.with_gaps(columns_with_gaps(raw, sample_weight))
    n_given = len(kinds)
    columns = GivenColumns(schema, np.zeros(n_given), np.ones(n_given))
    return Given(columns, schema.encode(raw, used=sample_weight > 0))


def _kinds(kind: object, n_columns: int) -> tuple[str, ...]:
    """Return one of "auto", "numeric", "categorical" for every column."""
    kinds = (kind,) * n_columns if isinstance(kind, str) else kind
    if not isinstance(kinds, (tuple, list)):
        raise TypeError(
            f"given_kind must be a str or a sequence of str, one per column of X, got "
            f"{kind!r}."
        )
    for each in kinds:
        if each not in KINDS:
            raise ValueError(
                f"given_kind must be 'auto', 'numeric' or 'categorical', or one of "
                f"them for every column of X, got {each!r}."
            )
    if len(kinds) != n_columns:
        raise ValueError(
            f"given_kind has {len(kinds)} entries, but X has {n_columns} columns."
        )
    return tuple(kinds)
