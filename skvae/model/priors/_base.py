"""The contract of a prior."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import LatentDistribution
from skvae.model.posteriors import PosteriorModule
from skvae.model.spec import ComponentSpec

__all__ = ["PriorModule", "PriorSpec"]


class PriorModule(nn.Module, ABC):
    """A distribution over z, with or without parameters of its own."""

    @abstractmethod
    def forward(self) -> LatentDistribution:
        """Return p(z)."""

    def connect(self, posterior: PosteriorModule) -> None:
        """Receive the model's encoder, once, when the model is built.

        Only a prior that is made of the encoder keeps it; by default nothing happens.
        """

    @abstractmethod
    def initialise(self, start: LinearStart) -> None:
        """Move the parameters to the latents of the linear start."""


class PriorSpec(ComponentSpec, ABC):
    """Hyper-parameters of a prior p(z)."""

    family: ClassVar[str] = "prior"

    @abstractmethod
    def build(self, context: BuildContext) -> PriorModule:
        """Return the module for tables of these sizes."""
