"""The contract of a posterior."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import LatentDistribution
from skvae.model.spec import ComponentSpec

__all__ = ["PosteriorModule", "PosteriorSpec"]


class PosteriorModule(nn.Module, ABC):
    """An encoder: features of rows in, distributions over latents out."""

    @abstractmethod
    def forward(self, features: Tensor) -> LatentDistribution:
        """Return q(z | x) for rows whose features are (B, F)."""

    def for_training(self, features: Tensor) -> LatentDistribution:
        """Return the distribution that training draws from, by default q(z | x).

        A posterior without a density returns itself here, with a critic's estimate of
        it, and in `forward` a distribution with a density that stands for it.
        """
        return self(features)

    @abstractmethod
    def initialise(self, start: LinearStart) -> None:
        """Move the parameters to the encoder of the linear start."""


class PosteriorSpec(ComponentSpec, ABC):
    """Hyper-parameters of an approximate posterior q(z | x)."""

    family: ClassVar[str] = "posterior"

    @abstractmethod
    def build(self, context: BuildContext) -> PosteriorModule:
        """Return the module for tables of these sizes."""
