"""The prior as the proposal."""

from torch import Tensor

from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals._base import Proposal
from skvae.model import VAE
from skvae.model.distributions import LatentDistribution

__all__ = ["PriorProposal"]


class PriorProposal(Proposal):
    r"""Naive Monte Carlo.

    .. math:: \hat p(x) = \frac1K \sum_k p(x \mid z_k), \quad z_k \sim p(z)

    It is exact in the limit of many draws, however bad the encoder. But with more than
    a few latents, hardly any draw from the prior hits the posterior.

    Examples
    --------
    >>> from skvae import PriorProposal
    >>> PriorProposal()
    PriorProposal()
    """

    alias = "prior"

    def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> LatentDistribution:
        """Return p(z), the same for all rows."""
        return model.prior()
