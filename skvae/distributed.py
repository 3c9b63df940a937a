"""Fits of one density by several processes, on one machine or many."""

import math
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from numpy.typing import ArrayLike
from torch import Tensor

from skvae.arguments.seeds import seed_from
from skvae.arguments.staging import staged_fit
from skvae.density import VAEDensity
from skvae.tables.batches import MOST_SAMPLED, Batches
from skvae.tables.labels import is_frame
from skvae.tables.rows import join_rows, take_rows
from skvae.training import together
from skvae.typing import Array

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
    of its part of every batch, and all take the step of the mean gradient.

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
    The batches of a fit by several processes are those of a fit by one, but not the
    noise: densities differ as those of two seeds. With the same number of processes,
    the same rows and the same `random_state`, they are the same.

    References
    ----------
    S. Li, Y. Zhao, R. Varma et al., 2020. PyTorch distributed: experiences on
    accelerating data parallel training.
    """
    if not torch.distributed.is_initialized():
        raise RuntimeError(
            "There is no group of processes. Call torch.distributed."
            "init_process_group('gloo') first, as in examples/distributed/fit.py."
        )
    if density.checkpoint is not None:
        raise ValueError(
            f"checkpoint={density.checkpoint!r} is for fits by one process."
        )
    processes = _Processes(group)
    seed = processes.first(seed_from(density.random_state))
    rows, weight = _common_sample(processes, X, sample_weight, seed)
    # A seed in place of None or of a generator, which each process would have its own.
    with staged_fit(density, warm=True) as common, together(processes):
        common.random_state = seed
        common.fit(rows, sample_weight=weight)
        common.random_state = density.random_state
    return density


class _Processes:
    """A group of torch.distributed, as a training sees it."""

    def __init__(self, group: Any) -> None:
        self._group = group
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
        try:
            function(*arguments, group=self._group, **options)
        except RuntimeError as error:
            raise LostProcessError(
                f"Process {self.rank} of {self.size} has lost another one: {error}"
            ) from error


def _common_sample(
    processes: _Processes, X: Any, sample_weight: ArrayLike | None, seed: int
) -> tuple[Any, Array | None]:
    """Return some rows of all processes, the same in each of them."""
    rows = X
    if not isinstance(X, Batches):
        rows = Batches([X if is_frame(X) else np.asarray(X)])
    own, weight = rows.sample(sample_weight, seed + processes.rank)
    total = sum(processes.gather(rows.n_rows))
    n_own = len(own)
    if total > MOST_SAMPLED:  # of each as many as its rows are worth
        n_own = min(n_own, math.ceil(MOST_SAMPLED * rows.n_rows / total))
    random = np.random.default_rng([seed, processes.rank])
    chosen = np.sort(random.choice(len(own), n_own, replace=False))
    own = take_rows(own, chosen)
    weight = None if weight is None else weight[chosen]
    parts = processes.gather((own, weight))
    weights = [of_part for _, of_part in parts]
    if any(of_part is None for of_part in weights):
        if not all(of_part is None for of_part in weights):
            raise ValueError("sample_weight must be given in all processes or in none.")
        return join_rows([part for part, _ in parts]), None
    return join_rows([part for part, _ in parts]), np.concatenate(weights)
