"""Checks of tables, latents and weights, with errors that name row and column."""

import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, check_consistent_length

from skvae.model.features import ColumnKind, Support
from skvae.tables.large import is_large, row_blocks
from skvae.tables.names import KnowsColumns, TableColumns
from skvae.tables.validation import validate_data
from skvae.typing import Array, Mask

__all__ = [
    "check_latents",
    "check_mask",
    "check_numbers",
    "check_sample_weight",
    "check_supports",
    "check_table",
    "listed_columns",
]


def check_table(
    estimator: KnowsColumns, X: Any, *, reset: bool, min_samples: int = 1
) -> Array:
    """Return a table of numbers as a float64 array, NaN where a cell is missing.

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
        For text, for too few rows, for no columns, or for other columns than `fit` has
        seen.
    TypeError
        For sparse tables.
    """
    if _is_array_of_numbers(X) and is_large(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        if len(X) < min_samples:
            raise ValueError(
                f"Found array with {len(X)} sample(s) (shape={X.shape}) while a "
                f"minimum of {min_samples} is required by {type(estimator).__name__}."
            )
        return X
    # Infinity is left to check_numbers, which names the columns. A number of a longer
    # type that float64 does not hold becomes infinity.
    with np.errstate(over="ignore"):
        return validate_data(
            estimator,
            X,
            reset=reset,
            dtype=np.float64,
            ensure_all_finite=False,
            ensure_min_samples=min_samples,
        )


def _is_array_of_numbers(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "fiu"


def check_mask(table: Any, name: str) -> None:
    """Raise a ValueError for a masked array with masked cells.

    Parameters
    ----------
    table : object
        What the user gave.
    name : str
        The argument.
    """
    # NumPy's conversions drop the mask and keep the numbers below it.
    n_masked = int(np.ma.getmaskarray(table).sum()) if np.ma.isMA(table) else 0
    if n_masked:
        raise ValueError(
            f"{name} is a masked array with {n_masked} masked cells, which are missing "
            f"values. Drop or impute them; {name}.data has what is below the mask."
        )


def check_numbers(columns: TableColumns, table: NDArray[Any]) -> bool:
    """Return whether no cell is missing; raise a ValueError for infinity.

    Parameters
    ----------
    columns : TableColumns
        What the message calls the columns that contain infinity.
    table : ndarray of shape (n, D)
        Numbers, NaN where a cell is missing. It is read a part at a time.
    """
    # A finite sum proves that all entries are; it needs no mask as large as the table.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(table.sum(dtype=np.float64)):
            return True
    complete = True
    first: dict[int, int] = {}
    n_before = 0
    for block in row_blocks(table):
        complete = complete and not np.isnan(block).any()
        infinite = np.isinf(block)
        for j in np.flatnonzero(infinite.any(0)):
            first.setdefault(int(j), n_before + int(infinite[:, j].argmax()))
        n_before += len(block)
    if not first:
        return complete
    raise ValueError(
        f"Input {columns.table} contains infinity in {listed_columns(columns, first)} "
        f"(first in row {first[min(first)]}). {columns.owner} takes finite numbers "
        f"only: drop or impute these cells."
    )


def listed_columns(columns: TableColumns, indices: Iterable[int]) -> str:
    """Return what messages call some columns, the first five if there are more."""
    ordered = sorted(indices)
    more = f" and {len(ordered) - 5} more" if len(ordered) > 5 else ""
    return ", ".join(columns.label(j) for j in ordered[:5]) + more


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
    columns: TableColumns, table: NDArray[Any], kinds: tuple[ColumnKind, ...]
) -> None:
    """Raise a ValueError for the first column with a value that it cannot have.

    Any column may have missing cells.
    """
    for j, kind in enumerate(kinds):
        allowed = ALLOWED.get(kind.support)
        if allowed is None:
            continue
        bad = ~allowed.holds(table[:, j])
        if bad.any():
            bad &= ~np.isnan(table[:, j])
        if not bad.any():
            continue
        row = int(bad.argmax())
        raise ValueError(
            f"likelihood {allowed.likelihoods} takes columns of {allowed.values} "
            f"only, but {columns.label(j)} has {table[row, j]:g} in row "
            f"{row}. Use likelihood='mixture' for real columns."
        )


def check_latents(Z: Any, n_components: int) -> Array:
    """Return latents of shape (n_samples, n_components), all finite."""
    check_mask(Z, "Z")
    # torch warns of arrays that it may not write to, such as those of a data frame.
    latents = check_array(Z, dtype=np.float64, input_name="Z", force_writeable=True)
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
    check_mask(sample_weight, "sample_weight")
    try:
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"sample_weight must hold one number for each row, got "
            f"{reprlib.repr(sample_weight)}: {error}."
        ) from error
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
