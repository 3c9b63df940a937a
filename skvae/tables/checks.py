"""Checks of tables and weights, with errors that name row and column."""

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
from skvae.typing import Array, Mask

__all__ = [
    "check_finite",
    "check_latents",
    "check_sample_weight",
    "check_supports",
    "check_table",
    "column_label",
    "is_missing",
]


def column_label(estimator: Any, index: int) -> str:
    """Return how to call a column: by its name if it has one."""
    names = getattr(estimator, "feature_names_in_", None)
    return f"column {index}" if names is None else f"column {names[index]!r}"


def check_table(estimator: Any, X: Any, *, reset: bool, min_samples: int = 1) -> Array:
    """Return X as a float64 array of shape (n_samples, n_features), all finite.

    An array of numbers that is large comes back as it is, which may be on a disk.

    Raises
    ------
    ValueError
        For text, NaN or infinity (which column is said), no rows, no columns, or
        columns other than those seen by fit.
    TypeError
        For sparse tables.
    """
    if _is_array_of_numbers(X) and is_large(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        check_finite(estimator, X)
        return X
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


def check_finite(estimator: Any, table: NDArray[Any]) -> None:
    """Raise a ValueError that names the first column with NaN or infinity."""
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


def check_supports(
    estimator: Any, table: NDArray[Any], kinds: tuple[ColumnKind, ...]
) -> None:
    """Raise a ValueError that names the first column with a value it cannot have."""
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


def is_missing(value: Any) -> bool:
    """Whether an object in a column stands for no value: None, NaN, NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def check_latents(Z: Any, n_components: int) -> Array:
    """Return latents of shape (n_samples, n_components), all finite."""
    latents = check_array(Z, dtype=np.float64, input_name="Z")
    if latents.shape[1] != n_components:
        raise ValueError(
            f"Z has {latents.shape[1]} columns, but the model has "
            f"n_components_={n_components} latents."
        )
    return latents


@dataclass(frozen=True)
class Allowed:
    """The values of one kind of column, and what to call them in messages."""

    likelihoods: str
    values: str
    holds: Callable[[Array], Mask]


ALLOWED: dict[Support, Allowed] = {
    "binary": Allowed("'bernoulli'", "0 and 1", lambda x: (x == 0) | (x == 1)),
    "count": Allowed(
        "'poisson' or 'negative_binomial'",
        "whole numbers from 0 to 1e15",
        lambda x: (x >= 0) & (x <= 1e15) & (x == np.floor(x)),
    ),
}


def check_sample_weight(sample_weight: Any, n_samples: int) -> Array:
    """Return weights of shape (n_samples,), finite, not negative, not all zero."""
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
