"""The contract of a proposal."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from skvae.evidence.importance import Estimate
from skvae.evidence.noise import RowNoise
from skvae.evidence.sampling import Budget, DrawSampler, Sampler
from skvae.model import VAE
from skvae.model.distributions import LatentDistribution
from skvae.model.spec import ComponentSpec

__all__ = ["Proposal", "check_continuous"]


class Proposal(ComponentSpec, ABC):
    """Where the latents of the importance sampler come from, row by row."""

    family: ClassVar[str] = "proposal"

    @property
    def n_rows(self) -> tuple[int, int]:
        """Numbers of rows of a large and of a small block."""
        return 128, 16

    def estimate(
        self, model: VAE, x: Tensor, noise: RowNoise, budget: Budget
    ) -> Estimate:
        """Estimate log p(x) of the latent part for a block of rows (B, D)."""
        return self.sampler(model, x, noise).estimate(budget, model.closed_form(x))

    def sampler(self, model: VAE, x: Tensor, noise: RowNoise) -> Sampler:
        """Prepare to estimate log p(x) for a block of rows (B, D)."""
        # If the draws shared the search's noise, the proposal would have been fitted to
        # the very draws that it is judged by, and p̂ would be biased.
        distribution = self.prepare(model, x, noise.stream(1))
        return DrawSampler(x, noise.stream(2), model, distribution)

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
            Noise for a search that needs randomness. It is independent of the noise by
            which the distribution is sampled.
        """


def check_continuous(proposal: Proposal, model: VAE) -> None:
    """Raise a ValueError if latents are codes, between which nothing lies."""
    if model.prior.n_codes is not None:
        raise ValueError(
            f"{type(proposal).__name__} is for continuous latents, but those of a "
            f"CodebookPrior are codes. Use proposal=None; or 'encoder', 'defensive', "
            f"'prior' or, for more codes than a sum would take, 'slotwise'."
        )
