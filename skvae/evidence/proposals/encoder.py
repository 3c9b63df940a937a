"""The encoder as the proposal."""

from torch import Tensor

from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals._base import Proposal
from skvae.model import VAE
from skvae.model.distributions import LatentDistribution

__all__ = ["EncoderProposal"]


class EncoderProposal(Proposal):
    """The encoder q(z | x): cheap, and good for rows like those of the training.

    It has never seen rows far from these, and misses their posteriors.

    References
    ----------
    Y. Burda, R. Grosse and R. Salakhutdinov, 2016. Importance weighted autoencoders.

    Examples
    --------
    >>> from skvae import EncoderProposal
    >>> EncoderProposal()
    EncoderProposal()
    """

    alias = "encoder"

    def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> LatentDistribution:
        """Return q(z | x)."""
        return model.encode(x)
