"""The encoder, insured by the prior."""

from numbers import Real

import torch
from torch import Tensor

from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals._base import Proposal
from skvae.model import VAE
from skvae.model.distributions import LatentDistribution, MixtureOfDistributions

__all__ = ["DefensiveProposal"]


class DefensiveProposal(Proposal):
    r"""A mixture of encoder and prior.

    .. math:: r(z \mid x) = (1 - a)\, q(z \mid x) + a\, p(z)

    All draws are weighed by the density of the whole mixture (the balance
    heuristic), so that no weight exceeds p(x | z) / a.

    Parameters
    ----------
    prior_share : float, default=0.1
        a, between 0 and 1.

    References
    ----------
    T. Hesterberg, 1995. Weighted average importance sampling and defensive mixture
    distributions.

    E. Veach and L. J. Guibas, 1995. Optimally combining sampling techniques for
    Monte Carlo rendering.

    Examples
    --------
    >>> from skvae import DefensiveProposal
    >>> DefensiveProposal(prior_share=0.5)
    DefensiveProposal(prior_share=0.5)
    """

    alias = "defensive"

    def __init__(self, prior_share: float = 0.1) -> None:
        self.prior_share = prior_share

    def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> LatentDistribution:
        """Return the mixture."""
        share = self.prior_share
        if not isinstance(share, Real) or not 0 < share < 1:
            raise ValueError(
                f"prior_share of DefensiveProposal must be between 0 and 1, "
                f"got {share!r}."
            )
        weight = torch.tensor([1 - share, share], dtype=x.dtype, device=x.device)
        return MixtureOfDistributions(weight.log(), (model.encode(x), model.prior()))
