"""A density as a part of another estimator: checked, seeded, fitted, scored."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import has_fit_parameter

from skvae.members.pipelines import steps_of
from skvae.tables.rows import take_rows
from skvae.typing import Array, Density, Estimator, Table

__all__ = [
    "allow_what_members_allow",
    "check_density",
    "fit_member",
    "score_member",
    "score_members",
    "seed_members",
    "set_random_states",
    "weight_argument",
]


def check_density(density: object, label: str) -> None:
    """Raise a TypeError unless this is an estimator of log-densities.

    Parameters
    ----------
    density : object
        What the user gave.
    label : str
        What messages call it.
    """
    missing = [name for name in ("fit", "score_samples") if not hasattr(density, name)]
    if missing or isinstance(density, type):
        raise TypeError(
            f"{label} must be an estimator with fit and score_samples, got "
            f"{density!r}"
            + (f", which has no {missing[0]}." if missing else ", which is a class.")
        )


def weight_argument(density: Density, label: str = "density") -> str:
    """Return the name of the argument by which a density's `fit` takes row weights.

    Raises
    ------
    ValueError
        If it does not take any.
    """
    if has_fit_parameter(density, "sample_weight"):
        return "sample_weight"
    steps = steps_of(density)
    if steps and has_fit_parameter(steps[-1][1], "sample_weight"):
        return f"{steps[-1][0]}__sample_weight"
    raise ValueError(
        f"sample_weight was given, but fit of {label}={density!r} does not take it."
    )


def set_random_states(estimator: Estimator, seed: int) -> None:
    """Set every `random_state` of an estimator and of its parts."""
    names = [
        name
        for name in estimator.get_params()
        if name == "random_state" or name.endswith("__random_state")
    ]
    estimator.set_params(**dict.fromkeys(names, seed))


def seed_members(members: Iterable[Estimator], random: np.random.RandomState) -> None:
    """Set the random states of each estimator to a seed of its own."""
    for member in members:
        set_random_states(member, int(random.randint(2**31 - 1)))


def allow_what_members_allow(tags: Tags, members: Iterable[object]) -> Tags:
    """Allow missing values, and sparse tables, where all members allow them.

    Parameters
    ----------
    tags : Tags
        Those of the estimator that has the members; changed in place.
    members : iterable of estimators
        If there are none, nothing is allowed.

    Returns
    -------
    tags : Tags
        The same object.
    """
    inner = [get_tags(member).input_tags for member in members]
    tags.input_tags.allow_nan = bool(inner) and all(t.allow_nan for t in inner)
    tags.input_tags.sparse = bool(inner) and all(t.sparse for t in inner)
    return tags


def fit_member(
    density: Density,
    rows: Table,
    label: str,
    weight_argument: str | None,
    weight: Array | None,
) -> Density:
    """Fit a density; if that fails, the error says which density it was.

    Parameters
    ----------
    density : estimator
        Fitted in place.
    rows : array or data frame
        n rows. A single one is handed over twice, with half of its weight, because
        many densities ask for two.
    label : str
        What the error calls the rows.
    weight_argument : str or None
        By which argument `fit` takes weights; None hands over none.
    weight : ndarray of shape (n,) or None
        Weights of the rows.

    Returns
    -------
    density : estimator
        What its `fit` returns.
    """
    n_rows = rows.shape[0]
    if n_rows == 1:
        rows = take_rows(rows, np.zeros(2, dtype=np.intp))
        weight = None if weight is None else _halves(float(weight[0]))
    arguments: dict[str, Any] = (
        {} if weight_argument is None else {weight_argument: weight}
    )
    with _naming(f"The density of {label} ({n_rows} rows) could not be fitted"):
        # Some densities have no y, and FrozenEstimator requires it.
        y = signature(density.fit).parameters.get("y")
        if y is not None and y.default is y.empty:
            arguments["y"] = None
        return density.fit(rows, **arguments)


def _halves(weight: float) -> Array:
    """Divide a weight; a whole number into whole numbers, so that it counts rows."""
    first = (
        np.ceil(weight / 2)
        if weight >= 2 and weight == np.floor(weight)
        else weight / 2
    )
    return np.array([first, weight - first])


def score_member(density: Density, rows: Table, label: str) -> Array:
    """Return log-densities of rows; raise an error that says which density failed.

    Parameters
    ----------
    density : estimator
        Fitted.
    rows : array or data frame
        n rows.
    label : str
        What the error calls the density.

    Returns
    -------
    log_density : ndarray of shape (n,)
        Finite or −inf. NaN and +inf are errors.
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


def score_members(
    densities: Sequence[Density],
    rows: Table,
    labels: Sequence[str],
    *,
    n_jobs: int | None,
) -> Array:
    """Return the log-densities of n rows by M fitted densities, shape (n, M).

    Parameters
    ----------
    densities : sequence of M estimators
        Fitted.
    rows : array or data frame
        n rows.
    labels : sequence of M str
        What errors call the densities; see `score_member`.
    n_jobs : int or None
        Densities at a time, as joblib takes it.
    """
    columns = Parallel(n_jobs=n_jobs)(
        delayed(score_member)(density, rows, label)
        for density, label in zip(densities, labels, strict=True)
    )
    return np.stack(columns, axis=1)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Put what has failed before the message of an error.

    It stays a ValueError or a TypeError; any other error becomes a RuntimeError.
    """
    try:
        yield
    except Exception as error:
        kinds = (kind for kind in (ValueError, TypeError) if isinstance(error, kind))
        raise next(kinds, RuntimeError)(f"{what}: {error}") from error
