"""Processes that train one model together."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from torch import Tensor

__all__ = ["Parallel", "own_part", "parallel", "together"]


class Parallel(Protocol):
    """The processes of a training, seen from one of them.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and the number of processes.
    """

    rank: int
    size: int

    def average(self, tensor: Tensor) -> None:
        """Put the mean over all processes into a tensor, in place."""

    def share(self, tensor: Tensor) -> None:
        """Put what the first process has into a tensor, in place."""


_of_this_context: ContextVar[Parallel | None] = ContextVar("parallel", default=None)


def parallel() -> Parallel | None:
    """Return the processes that train together in the present context, if any."""
    return _of_this_context.get()


@contextmanager
def together(processes: Parallel) -> Iterator[None]:
    """Let the trainings that begin within the block be common to these processes."""
    token = _of_this_context.set(processes)
    try:
        yield
    finally:
        _of_this_context.reset(token)


def own_part(x: Tensor, processes: Parallel | None) -> tuple[Tensor, float]:
    """Return this process's rows of a batch, and what their mean counts for."""
    if processes is None:
        return x, 1.0
    own = x[processes.rank :: processes.size]
    if not len(own):
        return x[:1], 0.0
    return own, len(own) * processes.size / len(x)
