"""The partitions of dask collections, and functions of their rows."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from skvae.typing import Array

__all__ = [
    "Part",
    "joined",
    "joined_like",
    "lengths_of",
    "map_rows",
    "node_of",
    "partitions_of",
    "parts_of",
]

Part = tuple[Any, Array | None]  # rows and their weights


def map_rows(
    function: Callable[[Any], ArrayLike],
    X: Any,
    *,
    dtype: DTypeLike = np.float64,
    shape: Sequence[int] = (),
) -> Any:
    """Apply a function of rows to each partition, lazily.

    Parameters
    ----------
    function : callable
        Maps rows to an array with one entry for each, such as ``detector.predict``. It
        is sent to each worker once.
    X : dask array or dask data frame of shape (n_samples, n_features)
        Rows.
    dtype : dtype, default=float64
        Type of the results.
    shape : sequence of int, default=()
        Shape of the result of a row, such as ``(n_classes,)``.

    Returns
    -------
    results : dask array of shape (n_samples,) + shape
        In the partitions of X.
    """
    import dask

    held = node_of(function)
    results = [
        dask.delayed(_apply)(held, rows, dtype, tuple(shape))
        for rows in partitions_of(X)
    ]
    return joined(results, lengths_of(X), dtype, shape)


def _apply(
    function: Callable[[Any], ArrayLike],
    rows: Any,
    dtype: DTypeLike,
    shape: tuple[int, ...],
) -> Array:
    expected = (len(rows), *shape)
    if not len(rows):  # as a partition may be, and a table may not
        return np.empty(expected, dtype)
    result = np.asarray(function(rows), dtype)
    if result.shape != expected:
        raise ValueError(
            f"The function must map {len(rows)} rows to an array of shape {expected}, "
            f"got {result.shape}; shape={shape!r} is that of the result of a row."
        )
    return result


def node_of(thing: Any) -> Any:
    """Return something as one node of a graph, which is sent to each worker once."""
    import dask

    name = f"{type(thing).__name__}-{uuid.uuid4().hex}"
    return dask.delayed(thing, name=name, traverse=False)


def _is_frame(X: Any) -> bool:
    return hasattr(X, "map_partitions") and hasattr(X, "to_delayed")


def _is_array(X: Any) -> bool:
    return hasattr(X, "map_blocks") and hasattr(X, "to_delayed")


def partitions_of(X: Any) -> list[Any]:
    """Return the partitions of a dask collection as delayed tables."""
    if not _is_frame(X) and not _is_array(X):
        raise TypeError(
            f"X must be a dask array or a dask data frame, got {type(X).__name__}; for "
            f"tables in memory there is VAEDensity."
        )
    if _is_frame(X) and not _is_array(X):
        return list(X.to_delayed())
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, got shape {X.shape}.")
    return list(X.rechunk({1: -1}).to_delayed().ravel())


def lengths_of(X: Any) -> Sequence[float]:
    """Return the number of rows of each partition, nan where it is not known."""
    return X.chunks[0] if _is_array(X) else [np.nan] * X.npartitions


def parts_of(X: Any, sample_weight: Any) -> list[Any]:
    """Return the partitions with their weights, delayed."""
    import dask

    rows = partitions_of(X)
    weights: Sequence[Any] = [None] * len(rows)
    if sample_weight is not None:
        if not hasattr(sample_weight, "to_delayed"):
            import dask.array

            if any(map(np.isnan, lengths_of(X))):
                raise ValueError(
                    "sample_weight must be a dask collection with the partitions of X, "
                    "whose lengths are not known."
                )
            weight = np.asarray(sample_weight)
            if weight.shape != (sum(lengths_of(X)),):
                raise ValueError(
                    f"sample_weight has shape {weight.shape}, and X has "
                    f"{sum(lengths_of(X))} rows."
                )
            sample_weight = dask.array.from_array(weight, chunks=(lengths_of(X),))
        weights = list(np.ravel(sample_weight.to_delayed()))
        if len(weights) != len(rows):
            raise ValueError(
                f"sample_weight has {len(weights)} partitions, and X has {len(rows)}."
            )
    return [
        dask.delayed(_part)(*both, number)
        for number, both in enumerate(zip(rows, weights, strict=True))
    ]


def _part(rows: Any, weight: Any, number: int) -> Part:
    if weight is None:
        return rows, None
    weight = np.asarray(weight)
    if weight.shape != (len(rows),):
        raise ValueError(
            f"sample_weight has shape {weight.shape} in partition {number}, whose "
            f"number of rows is {len(rows)}."
        )
    return rows, weight


def joined(
    parts: Sequence[Any],
    lengths: Sequence[float],
    dtype: DTypeLike,
    shape: Sequence[int] = (),
) -> Any:
    """Return delayed arrays, one after the other, as a dask array."""
    import dask.array

    arrays = [
        dask.array.from_delayed(part, (length, *shape), dtype)
        for part, length in zip(parts, lengths, strict=True)
    ]
    return dask.array.concatenate(arrays)


def joined_like(X: Any, parts: Sequence[Any]) -> Any:
    """Return delayed tables as a collection like X."""
    if _is_array(X):
        return joined(parts, lengths_of(X), np.float64, X.shape[1:])
    import dask.dataframe

    return dask.dataframe.from_delayed(
        parts, meta=X._meta, divisions=X.divisions, verify_meta=False
    )
