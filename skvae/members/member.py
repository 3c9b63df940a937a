"""Density estimators as parts of another estimator: fitted, seeded, drawn from."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array, has_fit_parameter, validate_data

from skvae.typing import Array, Index

__all__ = [
    "check_density",
    "check_member_table",
    "draw_from",
    "draw_mixture",
    "fit_member",
    "score_member",
    "seed_members",
    "set_random_states",
    "take_rows",
    "weight_argument",
]


def check_density(density: Any, label: str) -> None:
    """Raise a TypeError unless this is an estimator of log-densities.

    Parameters
    ----------
    density : Any
        What the user gave.
    label : str
        What to call it.
    """
    missing = [name for name in ("fit", "score_samples") if not hasattr(density, name)]
    if missing or isinstance(density, type):
        raise TypeError(
            f"{label} must be an estimator with fit and score_samples, got "
            f"{density!r}"
            + (f", which has no {missing[0]}." if missing else ", which is a class.")
        )


def weight_argument(density: Any, label: str = "density") -> str:
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
        f"sample_weight was given, but fit of {label}={density!r} does not take it."
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
    n_rows = rows.shape[0]
    if n_rows == 1:
        rows = take_rows(rows, np.zeros(2, dtype=np.intp))
        weight = None if weight is None else np.repeat(weight / 2, 2)
    arguments = {} if weight_argument is None else {weight_argument: weight}
    with _naming(f"The density of {label} ({n_rows} rows) could not be fitted"):
        return density.fit(rows, **arguments)


def score_member(density: Any, rows: Any, label: str) -> Array:
    """Return the log-densities of rows; raise, with the density's name, for no number.

    Parameters
    ----------
    density : estimator
        Fitted.
    rows : array or data frame
        n rows.
    label : str
        What to call the density.

    Returns
    -------
    log_density : ndarray of shape (n,)
        Finite, or −inf.
    """
    with _naming(f"The density of {label} could not score {rows.shape[0]} rows"):
        log_density = np.asarray(density.score_samples(rows), dtype=np.float64)
        if log_density.shape != (rows.shape[0],):
            raise ValueError(
                f"score_samples returned an array of shape {log_density.shape}."
            )
        n_bad = int((np.isnan(log_density) | (log_density == np.inf)).sum())
        if n_bad:
            raise ValueError(f"score_samples returned NaN or +inf for {n_bad} of them.")
    return log_density


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Put what was tried before the message of an error."""
    try:
        yield
    except Exception as error:
        kinds = (kind for kind in (ValueError, TypeError) if isinstance(error, kind))
        raise next(kinds, RuntimeError)(f"{what}: {error}") from error


def take_rows(table: Any, index: Index) -> Any:
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


def seed_members(members: Sequence[Any], random: np.random.RandomState) -> None:
    """Set the random states of each estimator to a seed of its own."""
    for member in members:
        set_random_states(member, int(random.randint(2**31 - 1)))


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


def draw_mixture(
    densities: Sequence[Any],
    weights: Array,
    n_samples: int,
    random: np.random.RandomState,
) -> tuple[Array, Index]:
    """Draw rows from a mixture of fitted densities.

    Parameters
    ----------
    densities : sequence of estimators
        With `sample`, where their weight is positive.
    weights : ndarray of shape (len(densities),)
        Probabilities.
    n_samples : int
        Number of rows.
    random : RandomState
        Source of all randomness.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features)
        In random order.
    code : ndarray of shape (n_samples,)
        Which density each row comes from.
    """
    code = np.sort(random.choice(len(densities), n_samples, p=weights))
    parts = [
        draw_from(densities[c], int(n), int(random.randint(2**31 - 1)))
        for c, n in zip(*np.unique(code, return_counts=True), strict=True)
    ]
    order = random.permutation(n_samples)
    return np.concatenate(parts)[order], code[order]


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
