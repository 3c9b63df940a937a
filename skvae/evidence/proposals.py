"""Proposals: where the latents of the importance sampler come from."""

from abc import ABC, abstractmethod

from torch import Tensor

from skvae.model import VAE, LatentDraw

__all__ = ["EncoderProposal", "PriorProposal", "Proposal"]


class Proposal(ABC):
    """Draws latents for rows and knows their density."""

    @abstractmethod
    def noise_dim(self, model: VAE, x: Tensor) -> int:
        """Return how many standard-normal numbers one draw takes."""

    @abstractmethod
    def draw(self, model: VAE, x: Tensor, noise: Tensor) -> LatentDraw:
        """Draw latents for rows (B, D) from noise (K, B, noise_dim)."""


class PriorProposal(Proposal):
    """The prior: naive Monte Carlo, p̂(x) = mean of p(x | z).

    Exact in the limit for any encoder, and hopeless beyond a few latents.
    """

    def noise_dim(self, model: VAE, x: Tensor) -> int:
        """Return the prior's."""
        return model.prior().noise_dim

    def draw(self, model: VAE, x: Tensor, noise: Tensor) -> LatentDraw:
        """Draw from p(z)."""
        return model.draw_from(model.prior(), x, noise)


class EncoderProposal(Proposal):
    """The encoder q(z | x)."""

    def noise_dim(self, model: VAE, x: Tensor) -> int:
        """Return the encoder's."""
        return model.posterior(x[:1]).noise_dim

    def draw(self, model: VAE, x: Tensor, noise: Tensor) -> LatentDraw:
        """Draw from q(z | x)."""
        return model.draw(x, noise)
