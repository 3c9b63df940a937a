"""Several densities side by side: fitted to all rows, or scored on held-out ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone

from skvae.members.folds import Fold
from skvae.members.member import fit_member, score_member, take_rows, weight_argument
from skvae.members.units import log_volume
from skvae.typing import Array

__all__ = ["HeldOut", "Member", "clone_members", "fit_members", "score_held_out"]


@dataclass(frozen=True)
class Member:
    """A density that is not fitted yet.

    Attributes
    ----------
    density : estimator
        To clone.
    label : str
        What to call it in errors.
    argument : str or None
        How its `fit` takes weights; None for no weights.
    """

    density: Any
    label: str
    argument: str | None


@dataclass(frozen=True)
class HeldOut:
    """What a density says of one fold's held-out rows.

    Attributes
    ----------
    log_density : ndarray of shape (n_valid,)
        Nats.
    fit_seconds, score_seconds : float
        Wall-clock time.
    log_volume : float
        What its log-densities leave out where it is a pipeline; see `log_volume`.
    density : estimator or None
        As fitted to the other rows, of the first fold and where it was asked for.
    """

    log_density: Array
    fit_seconds: float
    score_seconds: float
    log_volume: float
    density: Any


def clone_members(
    named: Sequence[tuple[str, Any]], what: str, *, weighted: bool
) -> list[Member]:
    """Return clones of named estimators.

    Parameters
    ----------
    named : sequence of (str, estimator)
        Names and density estimators.
    what : str
        What the names are names of, for errors.
    weighted : bool
        Whether there are row weights; an estimator that takes none is an error then.
    """
    members = []
    for name, estimator in named:
        label = f"{what} {name!r}"
        argument = weight_argument(estimator, label) if weighted else None
        members.append(Member(clone(estimator), label, argument))
    return members


def fit_members(
    members: Sequence[Member], table: Any, weight: Array, *, n_jobs: int | None
) -> list[Any]:
    """Fit members to all rows of positive weight.

    Parameters
    ----------
    members : sequence of Member
        Densities; clones are fitted.
    table : array or data frame of n rows
        All rows.
    weight : ndarray of shape (n,)
        Their weights.
    n_jobs : int or None
        Fits at a time, as joblib takes it.

    Returns
    -------
    densities : list of estimators
    """
    used = np.flatnonzero(weight > 0)
    rows = table if len(used) == table.shape[0] else take_rows(table, used)
    return Parallel(n_jobs=n_jobs)(
        delayed(_fit_one)(member, rows, weight[used]) for member in members
    )


def score_held_out(
    members: Sequence[Member],
    table: Any,
    weight: Array,
    folds: Sequence[Fold],
    *,
    n_jobs: int | None,
    keep: bool = False,
) -> list[list[HeldOut]]:
    """Fit members to the rows of folds, and score the held-out rows.

    Parameters
    ----------
    members, table, weight, n_jobs
        As for `fit_members`.
    folds : sequence of F Fold
        Which rows to fit and to score.
    keep : bool, default=False
        Whether to return the densities that were fitted without the first fold.

    Returns
    -------
    held_out : list of M lists of F HeldOut
    """
    flat = Parallel(n_jobs=n_jobs)(
        delayed(_score_one)(member, table, weight, fold, keep and fold is folds[0])
        for member in members
        for fold in folds
    )
    n_folds = len(folds)
    return [flat[i : i + n_folds] for i in range(0, len(flat), n_folds)]


def _fit_one(member: Member, rows: Any, weight: Array) -> Any:
    given = None if member.argument is None else weight
    return fit_member(clone(member.density), rows, member.label, member.argument, given)


def _score_one(
    member: Member, table: Any, weight: Array, fold: Fold, keep: bool
) -> HeldOut:
    start = perf_counter()
    fitted = _fit_one(member, take_rows(table, fold.train), weight[fold.train])
    middle = perf_counter()
    rows = take_rows(table, fold.valid)
    log_density = score_member(fitted, rows, member.label)
    end = perf_counter()
    return HeldOut(
        log_density=log_density,
        fit_seconds=middle - start,
        score_seconds=end - middle,
        log_volume=log_volume(fitted, rows),
        density=fitted if keep else None,
    )
