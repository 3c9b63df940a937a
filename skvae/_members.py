"""Density estimators as parts of another estimator: fitted, seeded, drawn from."""

import copy
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array, has_fit_parameter, validate_data

__all__ = [
    "check_member_table",
    "draw_from",
    "fit_member",
    "set_random_states",
    "take_rows",
    "weight_argument",
]

Array = NDArray[np.float64]


def weight_argument(density: Any) -> str:
    """Return how to pass row weights to a density's `fit`.

    Raises
    ------
    ValueError
        If it does not take any.
    """
    if has_fit_parameter(density, "sample_weight"):
        return "sample_weight"
    steps = getattr(density, "steps", None)
    if steps and has_fit_parameter(steps[-1][1], "sample_weight"):
        return f"{steps[-1][0]}__sample_weight"
    raise ValueError(
        f"sample_weight was given, but fit of density={density!r} does not take it."
    )


def fit_member(
    density: Any,
    rows: Any,
    label: str,
    weight_argument: str | None,
    weight: Array | None,
) -> Any:
    """Fit a density to the rows of one part, and name the part if that fails.

    A single row is handed over twice, with half of its weight.
    """
    n_rows = len(rows) if hasattr(rows, "columns") else rows.shape[0]
    if n_rows == 1:
        rows = take_rows(rows, np.zeros(2, dtype=np.intp))
        weight = None if weight is None else np.repeat(weight / 2, 2)
    arguments = {} if weight_argument is None else {weight_argument: weight}
    try:
        return density.fit(rows, **arguments)
    except ValueError as error:
        raise ValueError(
            f"The density of {label} ({n_rows} rows) could not be fitted: {error}"
        ) from error


def take_rows(table: Any, index: NDArray[np.intp]) -> Any:
    """Return some rows of an array or a data frame."""
    return table.iloc[index] if hasattr(table, "iloc") else table[index]


def set_random_states(estimator: Any, seed: int) -> None:
    """Set every `random_state` of an estimator and of its parts."""
    names = [
        name
        for name in estimator.get_params()
        if name == "random_state" or name.endswith("__random_state")
    ]
    estimator.set_params(**dict.fromkeys(names, seed))


def draw_from(density: Any, n_samples: int, seed: int) -> Array:
    """Draw rows from a fitted density; the seed decides which."""
    if "random_state" in signature(density.sample).parameters:
        drawn = density.sample(n_samples, random_state=seed)
    else:
        # GaussianMixture has a parameter instead.
        seeded = copy.copy(density)
        seeded.random_state = seed
        drawn = seeded.sample(n_samples)
    return np.asarray(drawn[0] if isinstance(drawn, tuple) else drawn)


def check_member_table(estimator: Any, X: Any, *, reset: bool, **target: Any) -> Any:
    """Return a frame as it is, all else as an array; check its columns.

    What its cells may be is for the densities to say.
    """
    if not hasattr(X, "columns"):
        X = check_array(
            X,
            accept_sparse=get_tags(estimator).input_tags.sparse,
            dtype=None,
            ensure_all_finite=False,
            estimator=estimator,
            input_name="X",
        )
    validate_data(estimator, X, **target, reset=reset, skip_check_array=True)
    return X
