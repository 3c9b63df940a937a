"""Several densities side by side: fitted to all rows, or scored on held-out rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone

from skvae.members.evidence import scores_for_means
from skvae.members.folds import Fold
from skvae.members.member import (
    fit_member,
    seed_members,
    weight_argument,
)
from skvae.members.units import UnitChange, unit_change, warn_of_units
from skvae.tables.rows import take_rows
from skvae.typing import Array, Density, Table

__all__ = ["HeldOut", "Member", "clone_members", "fit_members", "score_held_out"]


@dataclass(frozen=True)
class Member:
    """A density that is not fitted yet.

    Attributes
    ----------
    density : estimator
        Not fitted; each fit is of another clone of it.
    label : str
        What messages call it.
    argument : str or None
        By which argument its `fit` takes weights; None hands over none.
    """

    density: Density
    label: str
    argument: str | None


@dataclass(frozen=True)
class HeldOut:
    """How a density scores the held-out rows of one fold.

    Attributes
    ----------
    log_density : ndarray of shape (n_valid,)
        Nats.
    fit_seconds, score_seconds : float
        Wall-clock time.
    unit_change : UnitChange
        How the units of a pipeline's log-densities differ from those of the table.
    density : estimator or None
        The density that was fitted to the other rows. It is kept for the first fold
        alone, and only where `score_held_out` is told to keep it.
    """

    log_density: Array
    fit_seconds: float
    score_seconds: float
    unit_change: UnitChange
    density: Density | None


def clone_members(
    named: Sequence[tuple[str, Density]],
    what: str,
    *,
    weighted: bool,
    random: np.random.RandomState | None,
) -> list[Member]:
    """Return clones of named estimators.

    Parameters
    ----------
    named : sequence of (str, estimator)
        Names and density estimators.
    what : str
        What messages put before a name, such as "member".
    weighted : bool
        Whether there are row weights. If so, an estimator that takes none is an error.
    random : RandomState or None
        Source of a seed for each clone; None leaves their random states as they are.
    """
    members = []
    for name, estimator in named:
        label = f"{what} {name!r}"
        argument = weight_argument(estimator, label) if weighted else None
        members.append(Member(clone(estimator), label, argument))
    if random is not None:
        seed_members([member.density for member in members], random)
    return members


def fit_members(
    members: Sequence[Member], table: Table, weight: Array, *, n_jobs: int | None
) -> list[Density]:
    """Fit members to all rows of positive weight.

    Parameters
    ----------
    members : sequence of Member
        What to fit clones of.
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
    table: Table,
    weight: Array,
    folds: Sequence[Fold],
    *,
    n_jobs: int | None,
    keep: bool = False,
) -> list[list[HeldOut]]:
    """Fit members to the rows of folds, and score the held-out rows.

    Warns if a member's log-densities are not in the units of the table.

    Parameters
    ----------
    members, table, weight, n_jobs
        As for `fit_members`.
    folds : sequence of F Fold
        Which rows to fit and to score.
    keep : bool, default=False
        Whether to keep the densities that were fitted without the first fold's rows.

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
    held_out = [flat[i : i + n_folds] for i in range(0, len(flat), n_folds)]
    warn_of_units(
        (m.label, of_folds[0].unit_change)
        for m, of_folds in zip(members, held_out, strict=True)
    )
    return held_out


def _fit_one(member: Member, rows: Table, weight: Array) -> Density:
    given = None if member.argument is None else weight
    return fit_member(clone(member.density), rows, member.label, member.argument, given)


def _score_one(
    member: Member, table: Table, weight: Array, fold: Fold, keep: bool
) -> HeldOut:
    start = perf_counter()
    fitted = _fit_one(member, take_rows(table, fold.train), weight[fold.train])
    middle = perf_counter()
    rows = take_rows(table, fold.valid)
    log_density = scores_for_means(fitted, rows, member.label)
    end = perf_counter()
    return HeldOut(
        log_density=log_density,
        fit_seconds=middle - start,
        score_seconds=end - middle,
        unit_change=unit_change(fitted, rows),
        density=fitted if keep else None,
    )
