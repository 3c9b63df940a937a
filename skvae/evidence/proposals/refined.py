"""A proposal that is searched for anew for every row."""

from numbers import Integral

import torch
from torch import Tensor

from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals._base import Proposal, check_continuous
from skvae.evidence.search import PosteriorSearch
from skvae.model import VAE
from skvae.model.distributions import LatentDistribution
from skvae.model.spec import positive_int

__all__ = ["RefinedProposal", "search_from_prior"]


class RefinedProposal(Proposal):
    r"""Gaussians fitted to the posterior of each row.

    A Gaussian starts as wide as the encoder and is moved by batch-and-match steps
    until its score agrees with that of p(x, z). A second Gaussian, if asked for,
    starts at draws from the prior, weighed by p(x | z)^β, and follows the path

    .. math:: p_\beta(z) \propto p(x \mid z)^\beta\, p(z), \qquad \beta \to 1.

    The first β is so small that many draws keep a weight. In this way the search finds
    modes that the encoder knows nothing of.

    Rounds of adaptation, if asked for, draw from the proposal and replace its
    Gaussians: by one that has the weighted moments of the draws, and by a few narrower
    ones at draws that are chosen by their weights.

    Each Gaussian is somewhat widened for the tails, by 2 with a share of 5 %. Of a
    mixture of several Gaussians, 5 % is the encoder.

    Parameters
    ----------
    n_steps : int, default=4
        Steps from the encoder.
    n_draws : int, default=32
        Draws of a step.
    n_annealed_steps : int, default=0
        Steps from the prior; 0 leaves out the search from the prior.
    n_rounds : int, default=0
        Rounds of adaptation, of 512 draws each.

    References
    ----------
    D. Cai et al., 2024. Batch and match: black-box variational inference with a
    score-based divergence.

    R. M. Neal, 2001. Annealed importance sampling. (The path.)

    O. Cappé, A. Guillin, J.-M. Marin and C. P. Robert, 2004. Population Monte Carlo.
    (The rounds.)

    Examples
    --------
    >>> from skvae import RefinedProposal
    >>> RefinedProposal(n_steps=8, n_rounds=2)
    RefinedProposal(n_rounds=2, n_steps=8)
    """

    alias = "refined"

    def __init__(
        self,
        n_steps: int = 4,
        n_annealed_steps: int = 0,
        n_rounds: int = 0,
        n_draws: int = 32,
    ) -> None:
        self.n_steps = n_steps
        self.n_annealed_steps = n_annealed_steps
        self.n_rounds = n_rounds
        self.n_draws = n_draws

    @property
    def n_rows(self) -> tuple[int, int]:
        """Fewer where a search takes long, since it may be one for a single row."""
        return (32, 4) if self.n_annealed_steps or self.n_rounds else (128, 16)

    def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> LatentDistribution:
        """Search for the posteriors, and return the mixture."""
        check_continuous(self, model)
        for name in ("n_steps", "n_annealed_steps", "n_rounds"):
            number = getattr(self, name)
            if not isinstance(number, Integral) or number < 0:
                raise ValueError(
                    f"{name} of RefinedProposal must be an int of at least 0, "
                    f"got {number!r}."
                )
        n_draws = positive_int(self.n_draws, "n_draws of RefinedProposal")
        search = PosteriorSearch(model, x, n_draws)
        found = [search.from_encoder(noise.stream(1), self.n_steps)]
        if self.n_annealed_steps:
            found.append(search.from_prior(noise.stream(2), self.n_annealed_steps))
        # The mass of a fit is a rough estimate: whatever it says, each of two fits gets
        # at least a tenth of the proposal's Gaussians.
        log_mass = torch.stack([fit.log_mass for fit in found], 1).nan_to_num(-1e300)
        weight = 0.8 * log_mass.softmax(1) + 0.2 / len(found)
        proposal = search.proposal(
            weight,
            torch.stack([fit.mean for fit in found], 1),
            torch.stack([fit.tril for fit in found], 1),
        )
        for number in range(self.n_rounds):
            proposal = search.adapted(proposal, noise.stream(3 + number))
        return proposal


def search_from_prior(n_latents: int) -> RefinedProposal:
    """Return the most thorough of the searches, for a number of latents."""
    return RefinedProposal(n_rounds=2, n_annealed_steps=min(12 * n_latents, 64))
