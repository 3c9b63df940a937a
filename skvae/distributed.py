"""Fits of one density by several processes, on one machine or many."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from numpy.typing import ArrayLike
from torch import Tensor

from skvae.arguments.seeds import seed_from
from skvae.arguments.staging import staged_fit
from skvae.density import VAEDensity
from skvae.tables.batches import Batches, most_sampled
from skvae.tables.labels import is_frame
from skvae.tables.rows import join_rows, take_rows
from skvae.training import together
from skvae.typing import Array, RandomState

__all__ = ["LostProcessError", "fit_together"]

Density = TypeVar("Density", bound=VAEDensity)


class LostProcessError(ConnectionError):
    """A process of a common fit has gone, or does not answer."""


def fit_together(
    density: Density,
    X: ArrayLike | Batches,
    sample_weight: ArrayLike | None = None,
    *,
    group: Any = None,
) -> Density:
    """Fit a density to the rows of all processes; every process gets the same.

    Every process of a torch.distributed group calls this function with its own rows,
    as under ``torchrun``. The processes exchange a sample of their rows, a million in
    all and from each in proportion to its rows, from which each of them finds scaling,
    margins, companion and start. Then they train together: each computes the gradient
    of a batch of its own, and all take the step of the mean gradient.

    Parameters
    ----------
    density : VAEDensity
        The same in all processes. It is fitted in place.
    X : array-like of shape (n_samples, n_features) or Batches
        The rows of this process; each process has one at least, and all have the same
        columns.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of these rows; in all processes or in none.
    group : torch.distributed.ProcessGroup, default=None
        None is the default group.

    Returns
    -------
    density : VAEDensity
        The density, the same in all processes. If fitting fails, it stays as it was.

    Raises
    ------
    RuntimeError
        If there is no group: call ``torch.distributed.init_process_group("gloo")``.
    ValueError
        If `checkpoint` is set, which is of one process.
    LostProcessError
        If another process has gone. Nothing is half-fitted: begin again.

    Notes
    -----
    A step of n processes takes n times `batch_size` rows, at √n times the learning
    rate, as long as 200 steps are left of an epoch; beyond that, batches are divided.
    A fit has as many epochs as one by one process, in as many fewer steps. With the
    same number of processes, the same rows and the same `random_state`, densities are
    the same.

    References
    ----------
    S. Li, Y. Zhao, R. Varma et al., 2020. PyTorch distributed: experiences on
    accelerating data parallel training.

    S. Malladi, K. Lyu, A. Panigrahi and S. Arora, 2022. On the SDEs and scaling rules
    for adaptive gradient algorithms.
    """
    if not torch.distributed.is_initialized():
        raise RuntimeError(
            "There is no group of processes. Call torch.distributed."
            "init_process_group('gloo') first, as in examples/distributed/fit.py."
        )
    check_no_checkpoint(density)
    processes = Processes(group)
    seed = processes.first(common_seed(density.random_state))
    rows, weight = _common_sample(processes, X, sample_weight, seed)
    return fit_same_rows(density, rows, weight, processes, seed)


def common_seed(random_state: RandomState) -> int:
    """Return a seed that can be sent: a whole number stays the one it is."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return seed_from(random_state)


def check_no_checkpoint(density: VAEDensity) -> None:
    """Raise ValueError if a density's fit would write a checkpoint."""
    if density.checkpoint is not None:
        raise ValueError(
            f"checkpoint={density.checkpoint!r} is for fits by one process."
        )


def fit_same_rows(
    density: Density,
    rows: Any,
    weight: Array | None,
    processes: "Processes",
    seed: int,
) -> Density:
    """Fit a density to rows, and by a seed, that are the same in all processes."""
    # A seed in place of None or of a generator, which each process would have its own.
    with staged_fit(density, warm=True) as common, together(processes):
        common.random_state = seed
        common.fit(rows, sample_weight=weight)
        common.random_state = density.random_state
    return density


class Processes:
    """A group of torch.distributed, as a training sees it.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup or None
        None is the default group.
    is_stopped : callable, optional
        Asked before everything that is done in common, whether to give up.
    """

    def __init__(
        self, group: Any, is_stopped: Callable[[], bool] | None = None
    ) -> None:
        self._group, self._is_stopped = group, is_stopped
        self.rank = torch.distributed.get_rank(group)
        self.size = torch.distributed.get_world_size(group)

    def average(self, tensor: Tensor) -> None:
        """Put the mean over all processes into a tensor, in place."""
        self._call(torch.distributed.all_reduce, tensor)
        tensor /= self.size

    def share(self, tensor: Tensor) -> None:
        """Put what the first process has into a tensor, in place."""
        own = tensor.contiguous()
        self._call(torch.distributed.broadcast, own, group_src=0)
        if own is not tensor:
            tensor.copy_(own)

    def first(self, value: Any) -> Any:
        """Return the value that the first process has."""
        return self.gather(value)[0]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in order."""
        values: list[Any] = [None] * self.size
        self._call(torch.distributed.all_gather_object, values, value)
        return values

    def _call(self, function: Any, *arguments: Any, **options: Any) -> None:
        if self._is_stopped is not None and self._is_stopped():
            raise LostProcessError(f"Process {self.rank} of {self.size} was stopped.")
        try:
            function(*arguments, group=self._group, **options)
        except RuntimeError as error:
            raise LostProcessError(
                f"Process {self.rank} of {self.size} has lost another one: {error}"
            ) from error


def _common_sample(
    processes: Processes, X: Any, sample_weight: ArrayLike | None, seed: int
) -> tuple[Any, Array | None]:
    """Return some rows of all processes, the same in each of them."""
    batches = X
    if not isinstance(X, Batches):
        batches = Batches([X if is_frame(X) else np.asarray(X)])
    rows, weight = batches.sample(sample_weight, seed + processes.rank)
    total = sum(processes.gather(batches.n_rows))
    share = batches.n_rows / total
    return join_parts(
        processes.gather(choose_rows(rows, weight, share, [seed, processes.rank]))
    )


def choose_rows(
    rows: Any, weight: Array | None, share: float, seed: Sequence[int]
) -> tuple[Any, Array | None]:
    """Return the rows that a part of a table has in a sample of the whole table.

    Parameters
    ----------
    rows, weight : table and ndarray or None
        The part, or a sample of it that is as large as that of the table.
    share : float
        Which share of the table's rows the part has.
    seed : sequence of int
        Seed of the choice.
    """
    n_rows = min(len(rows), math.ceil(share * most_sampled(rows)))
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(rows), n_rows, replace=False))
    return take_rows(rows, chosen), None if weight is None else weight[chosen]


def join_parts(
    parts: Sequence[tuple[Any, Array | None]],
) -> tuple[Any, Array | None]:
    """Return the rows and weights of all parts as one table.

    Raises
    ------
    ValueError
        If some parts have weights, and others do not.
    """
    rows = join_rows([part for part, _ in parts])
    weights = [weight for _, weight in parts if weight is not None]
    if not weights:
        return rows, None
    if len(weights) < len(parts):
        raise ValueError("sample_weight must be given in all processes or in none.")
    return rows, np.concatenate(weights)
