"""Checks of tables, latents and weights, with errors that name row and column."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    validate_data,
)

from skvae.model.features import ColumnKind, Support
from skvae.tables.large import is_large, row_blocks
from skvae.tables.names import KnowsColumns, column_label
from skvae.typing import Array, Mask

__all__ = [
    "check_finite",
    "check_latents",
    "check_sample_weight",
    "check_supports",
    "check_table",
]


def check_table(
    estimator: KnowsColumns, X: Any, *, reset: bool, min_samples: int = 1
) -> Array:
    """Return a table of numbers as a float64 array, all finite.

    Parameters
    ----------
    estimator : KnowsColumns
        Messages have its name. Its number of columns and their names are set, or
        compared with those of X.
    X : array-like of shape (n_samples, n_features)
        What the user gave.
    reset : bool
        Whether to set them, as `fit` does.
    min_samples : int, default=1
        Smallest number of rows.

    Returns
    -------
    table : ndarray of shape (n_samples, n_features)
        A large array of numbers is returned as it is, of any dtype and perhaps on a
        disk.

    Raises
    ------
    ValueError
        For text, for NaN or infinity, for too few rows, for no columns, or for other
        columns than `fit` has seen.
    TypeError
        For sparse tables.
    """
    if _is_array_of_numbers(X) and is_large(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        check_finite(estimator, X)
        return X
    # NaN and infinity are left to check_finite, which names the columns.
    table = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=np.float64,
        ensure_all_finite=False,
        ensure_min_samples=min_samples,
    )
    check_finite(estimator, table)
    return table


def _is_array_of_numbers(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "fiu"


def check_finite(estimator: KnowsColumns, table: NDArray[Any]) -> None:
    """Raise a ValueError that names the columns with NaN or infinity."""
    # A finite sum proves that all entries are; it needs no mask as large as X.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(table.sum(dtype=np.float64)):
            return
    bad_column = np.zeros(table.shape[1], dtype=bool)
    for block in row_blocks(table):
        bad_column |= ~np.isfinite(block).all(0)
    if not bad_column.any():
        return
    columns = np.flatnonzero(bad_column)
    where = ", ".join(column_label(estimator, j) for j in columns[:5])
    row = int(np.flatnonzero(~np.isfinite(table[:, columns[0]]))[0])
    what = "NaN" if np.isnan(table[row, columns[0]]) else "infinity"
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    raise ValueError(
        f"Input X contains {what} in {where}{more} (first in row {row}). "
        f"{type(estimator).__name__} takes finite numbers only: drop or impute "
        f"these cells."
    )


@dataclass(frozen=True)
class _Allowed:
    """The values that a kind of column may have.

    Attributes
    ----------
    likelihoods : str
        What messages call the likelihoods of such columns.
    values : str
        What messages call the values.
    holds : callable
        Whether each of some numbers is such a value.
    """

    likelihoods: str
    values: str
    holds: Callable[[Array], Mask]


ALLOWED: dict[Support, _Allowed] = {
    "binary": _Allowed("'bernoulli'", "0 and 1", lambda x: (x == 0) | (x == 1)),
    "count": _Allowed(
        "'poisson' or 'negative_binomial'",
        "whole numbers from 0 to 1e15",
        # Beyond 2⁵³, about 1e16, floats skip whole numbers.
        lambda x: (x >= 0) & (x <= 1e15) & (x == np.floor(x)),
    ),
}


def check_supports(
    estimator: KnowsColumns, table: NDArray[Any], kinds: tuple[ColumnKind, ...]
) -> None:
    """Raise a ValueError for the first column with a value that it cannot have."""
    for j, kind in enumerate(kinds):
        allowed = ALLOWED.get(kind.support)
        if allowed is None:
            continue
        bad = ~allowed.holds(table[:, j])
        if not bad.any():
            continue
        row = int(bad.argmax())
        raise ValueError(
            f"likelihood {allowed.likelihoods} takes columns of {allowed.values} "
            f"only, but {column_label(estimator, j)} has {table[row, j]:g} in row "
            f"{row}. Use likelihood='mixture' for real columns."
        )


def check_latents(Z: Any, n_components: int) -> Array:
    """Return latents of shape (n_samples, n_components), all finite."""
    latents = check_array(Z, dtype=np.float64, input_name="Z")
    if latents.shape[1] != n_components:
        raise ValueError(
            f"Z has {latents.shape[1]} columns, but the model has "
            f"n_components_={n_components} latents."
        )
    return latents


def check_sample_weight(sample_weight: Any, n_samples: int) -> Array:
    """Return weights of shape (n_samples,), finite, not negative, not all zero.

    None is a weight of one for each row, and a number is the weight of all rows.
    """
    if sample_weight is None:
        return np.ones(n_samples)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.ndim == 0:
        weight = np.full(n_samples, float(weight))
    if weight.ndim != 1:
        raise ValueError(
            f"sample_weight must be 1D of shape (n_samples,), got shape {weight.shape}."
        )
    check_consistent_length(np.empty((n_samples, 0)), weight)
    if not np.isfinite(weight).all():
        raise ValueError("sample_weight must be finite, but contains NaN or infinity.")
    if (weight < 0).any():
        worst = int(weight.argmin())
        raise ValueError(
            f"sample_weight must not be negative, got {weight[worst]:g} at row {worst}."
        )
    with np.errstate(over="ignore"):
        if not np.isfinite(weight.sum()):
            raise ValueError(
                "sample_weight has no finite sum; divide it by its largest entry."
            )
    if not (weight > 0).any():
        raise ValueError(
            "sample_weight is zero for all rows; at least one weight must be positive."
        )
    return weight
