"""The contract of a prior."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import LatentDistribution
from skvae.model.posteriors import PosteriorModule, PosteriorSpec
from skvae.model.spec import ComponentSpec

__all__ = ["PriorModule", "PriorSpec"]


class PriorModule(nn.Module, ABC):
    """A distribution over z, with or without parameters of its own.

    Attributes
    ----------
    is_finite : bool
        Whether z has so few values that sums over all of them are computed. p(z) is a
        `CodeDistribution` then.
    n_slots, n_codes : int or None
        Where latents are codes, how many `embed` gives of a row, and of how many each
        is one. p(z) is then a `CodeDistribution` or a `SlotDistribution`.
    """

    is_finite: bool = False
    n_slots: int | None = None
    n_codes: int | None = None

    def posterior(self, spec: PosteriorSpec, context: BuildContext) -> PosteriorModule:
        """Return the encoder's module: that of the spec, where it is of latents.

        Codes have a posterior of their own, of which the spec says how wide it is.
        """
        return spec.build(context)

    @abstractmethod
    def forward(self) -> LatentDistribution:
        """Return p(z)."""

    def connect(self, posterior: PosteriorModule) -> None:
        """Receive the model's encoder, once, when the model is built.

        Only a prior that is made of the encoder keeps it; by default nothing happens.
        """

    def embed(self, posterior: LatentDistribution) -> Tensor:
        """Return what a user sees of the latents of rows: their means (B, L)."""
        return posterior.mean

    def latents(self, embedded: Tensor) -> Tensor:
        """Return the latents (B, L) for what a user has seen of them."""
        return embedded

    @abstractmethod
    def initialise(self, start: LinearStart) -> None:
        """Move the parameters to the latents of the linear start."""


class PriorSpec(ComponentSpec, ABC):
    """Hyper-parameters of a prior p(z)."""

    family: ClassVar[str] = "prior"

    @abstractmethod
    def build(self, context: BuildContext) -> PriorModule:
        """Return the module for tables of these sizes."""
