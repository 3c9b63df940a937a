"""Fits that change an estimator either completely or not at all."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["staged_fit"]

Estimator = TypeVar("Estimator")


@contextmanager
def staged_fit(estimator: Estimator, *, warm: bool = False) -> Iterator[Estimator]:
    """Yield a copy of an estimator; when the block ends, take over its attributes.

    A `fit` works on the copy. Every attribute that the block sets or deletes there is
    set or deleted on the estimator itself once the block has ended. If the block
    raises, the estimator stays as it was: a failed fit does not even leave the names
    of the columns that it has read.

    Parameters
    ----------
    estimator : estimator
        What to fit.
    warm : bool, default=False
        Whether the copy begins with what an earlier fit has learnt: the attributes
        whose names end with an underscore.

    Yields
    ------
    staged : estimator
        The copy. It is shallow: objects that it shares with the estimator, such as
        parameters, must not be changed in place.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from skvae.arguments.staging import staged_fit
    >>> model = SimpleNamespace(tol=0.1, mean_=1.0, error_=0.2)
    >>> with staged_fit(model) as staged:
    ...     staged.mean_ = 2.0
    >>> model
    namespace(tol=0.1, mean_=2.0)
    """
    staged = copy.copy(estimator)
    before = dict(vars(staged))
    if not warm:
        for name in before:
            if name.endswith("_"):
                delattr(staged, name)
    yield staged
    # Only what has changed: callbacks may have set other attributes meanwhile.
    after, own = vars(staged), vars(estimator)
    for name in before.keys() - after.keys():
        own.pop(name, None)
    for name, value in after.items():
        if name not in before or before[name] is not value:
            own[name] = value
