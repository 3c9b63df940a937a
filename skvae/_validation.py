"""Checks of tables and weights, with errors that name row and column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    validate_data,
)

__all__ = [
    "check_binary",
    "check_finite",
    "check_latents",
    "check_sample_weight",
    "check_table",
    "column_label",
]


def column_label(estimator: Any, index: int) -> str:
    """Return how to call a column: by its name if it has one."""
    names = getattr(estimator, "feature_names_in_", None)
    return f"column {index}" if names is None else f"column {names[index]!r}"


def check_table(
    estimator: Any, X: Any, *, reset: bool, min_samples: int = 1
) -> NDArray[np.float64]:
    """Return X as a float64 array of shape (n_samples, n_features), all finite.

    Raises
    ------
    ValueError
        For text, NaN or infinity (which column is said), no rows, no columns, or
        columns other than those seen by fit.
    TypeError
        For sparse tables.
    """
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


def check_finite(estimator: Any, table: NDArray[np.float64]) -> None:
    """Raise a ValueError that names the first column with NaN or infinity."""
    # A finite sum proves that all entries are; it needs no mask as large as X.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(table.sum()):
            return
    bad = ~np.isfinite(table)
    if not bad.any():
        return
    columns = np.flatnonzero(bad.any(0))
    where = ", ".join(column_label(estimator, j) for j in columns[:5])
    row = int(np.flatnonzero(bad[:, columns[0]])[0])
    what = "NaN" if np.isnan(table[row, columns[0]]) else "infinity"
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    raise ValueError(
        f"Input X contains {what} in {where}{more} (first in row {row}). "
        f"{type(estimator).__name__} takes finite numbers only: drop or impute "
        f"these cells."
    )


def check_binary(estimator: Any, table: NDArray[np.float64]) -> None:
    """Raise a ValueError that names the first column with values other than 0, 1."""
    bad = (table != 0) & (table != 1)
    if bad.any():
        column = int(np.flatnonzero(bad.any(0))[0])
        row = int(np.flatnonzero(bad[:, column])[0])
        raise ValueError(
            f"likelihood 'bernoulli' takes columns of 0 and 1 only, but "
            f"{column_label(estimator, column)} has {table[row, column]:g} in row "
            f"{row}. Use likelihood='mixture' for real columns."
        )


def check_latents(Z: Any, n_components: int) -> NDArray[np.float64]:
    """Return latents of shape (n_samples, n_components), all finite."""
    latents = check_array(Z, dtype=np.float64, input_name="Z")
    if latents.shape[1] != n_components:
        raise ValueError(
            f"Z has {latents.shape[1]} columns, but the model has "
            f"n_components_={n_components} latents."
        )
    return latents


def check_sample_weight(sample_weight: Any, n_samples: int) -> NDArray[np.float64]:
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
