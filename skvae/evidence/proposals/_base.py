"""The contract of a proposal."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from skvae.evidence.importance import Estimate
from skvae.evidence.noise import RowNoise
from skvae.evidence.sampling import Budget, sample_within
from skvae.model import VAE
from skvae.model.distributions import LatentDistribution
from skvae.model.spec import ComponentSpec

__all__ = ["Proposal"]


class Proposal(ComponentSpec, ABC):
    """Where the latents of the importance sampler come from, row by row.

    Attributes
    ----------
    draws_at_once : int
        Latents per row that are looked at together: sets the rows of a block.
    """

    family: ClassVar[str] = "proposal"
    draws_at_once: ClassVar[int] = 32

    def estimate(
        self, model: VAE, x: Tensor, noise: RowNoise, budget: Budget
    ) -> Estimate:
        """Estimate log p(x) of the latent part for a block of rows (B, D)."""
        # The draws have noise of their own: given the search, they are independent.
        distribution = self.prepare(model, x, noise.stream(1))
        return sample_within(budget, model, distribution, x, noise.stream(2))

    @abstractmethod
    def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> LatentDistribution:
        """Return a distribution over the latents of each row.

        Parameters
        ----------
        model : VAE
            The density.
        x : Tensor of shape (B, D)
            Rows, in model units.
        noise : RowNoise
            For a search that needs randomness; independent of the noise that the
            distribution will be sampled with.
        """
