"""The contract of a training objective."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import ComponentSpec

__all__ = ["ObjectiveSpec"]


class ObjectiveSpec(ComponentSpec, ABC):
    """A lower bound on log p(x) that training maximises."""

    family: ClassVar[str] = "objective"

    @abstractmethod
    def n_draws(self, progress: float) -> int:
        """Return how many latents to draw per row.

        Parameters
        ----------
        progress : float
            Share of the training that is done, in [0, 1).
        """

    @abstractmethod
    def bound(self, draw: LatentDraw) -> Tensor:
        """Return the bound for each row, shape (B,), nats; training maximises it."""
