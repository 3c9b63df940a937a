"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    r"""A running mean of the parameters, :math:`a \leftarrow a + (1-\beta)(\theta-a)`.

    The decay β grows as (1 + t) / (10 + t) up to its final value, so that the average
    soon forgets the first steps.

    Parameters
    ----------
    model : nn.Module
        The model whose parameters are averaged.
    decay : float
        Final decay β.

    References
    ----------
    B. T. Polyak and A. B. Juditsky, 1992. Acceleration of stochastic approximation
    by averaging.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.parameters: list[Tensor] = list(model.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.decay = decay
        self.n_updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present weights."""
        self.n_updates += 1
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

    @torch.no_grad()
    def reset(self) -> None:
        """Restart the average at the present weights."""
        torch._foreach_copy_(self.average, self.parameters)
        self.n_updates = 0

    @torch.no_grad()
    def follow(self, before: list[Tensor]) -> None:
        """Move the average to the present weights where these differ from earlier ones.

        Parameters
        ----------
        before : list of Tensor
            All parameters as they were.
        """
        for mean, new, old in zip(self.average, self.parameters, before, strict=True):
            mean.copy_(new.where(new != old, mean))

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Give the model the averaged weights, and its own back after the block."""
        live = [p.detach().clone() for p in self.parameters]
        self._copy(self.average)
        try:
            yield
        finally:
            self._copy(live)

    @torch.no_grad()
    def _copy(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(self.parameters, values)
