"""A proposal that is searched for anew for every row."""

import math
from numbers import Integral

import torch
from torch import Tensor

from skvae.evidence.matching import Gaussians, match_gaussians
from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals._base import Proposal
from skvae.model import VAE
from skvae.model.distributions import (
    CholeskyGaussianMixture,
    LatentDistribution,
    MixtureOfDistributions,
)

__all__ = ["RefinedProposal"]

ENCODER_SHARE = 0.05
GRID = 2.0**-26
N_DRAWS = 32  # per step
N_START_DRAWS = 64
PULL = 3.0
# Widths of the fitted Gaussians in the proposal, and their shares.
WIDTHS = (1.05, 1.3)
SHARES = (0.7, 0.3)
BANK_SIZE = 512
BANK_SURVIVORS = 24.0
ROUND_DRAWS = 512
N_KERNELS = 4
KERNEL_WIDTH = 0.7  # of the posterior's
KERNEL_SHARE = 0.3


class RefinedProposal(Proposal):
    r"""Gaussians fitted to the posterior of each row, mixed with the encoder.

    A Gaussian starts as wide as the encoder and is moved by batch-and-match steps
    until its score agrees with that of p(x, z). A second one, if asked for, starts
    at draws from the prior weighed by p(x | z)^β and follows the path

    .. math:: p_\beta(z) \propto p(x \mid z)^\beta\, p(z), \qquad \beta \to 1,

    with β first so small that many draws survive; it finds modes that the encoder
    knows nothing of. Rounds of adaptation, if asked for, then draw from the proposal
    and replace the Gaussians by one with the weighted moments of the draws and a few
    narrower ones at draws that the weights select. The proposal is 95 % Gaussians,
    somewhat widened for the tails, and 5 % the encoder.

    Parameters
    ----------
    n_steps : int, default=4
        Steps from the encoder.
    n_annealed_steps : int, default=0
        Steps from the prior; 0 for none.
    n_rounds : int, default=0
        Rounds of adaptation, of 512 draws each.

    References
    ----------
    D. Cai et al., 2024. Batch and match: black-box variational inference with a
    score-based divergence.

    R. M. Neal, 2001. Annealed importance sampling. (The path.)

    O. Cappé, A. Guillin, J.-M. Marin and C. P. Robert, 2004. Population Monte Carlo.
    """

    alias = "refined"

    def __init__(
        self, n_steps: int = 4, n_annealed_steps: int = 0, n_rounds: int = 0
    ) -> None:
        self.n_steps = n_steps
        self.n_annealed_steps = n_annealed_steps
        self.n_rounds = n_rounds

    def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> LatentDistribution:
        """Search, and return the mixture."""
        for name in ("n_steps", "n_annealed_steps", "n_rounds"):
            number = getattr(self, name)
            if not isinstance(number, Integral) or number < 0:
                raise ValueError(
                    f"{name} of RefinedProposal must be an int of at least 0, "
                    f"got {number!r}."
                )
        search = _Search(model, x)
        found = [search.from_encoder(noise.stream(1), self.n_steps)]
        if self.n_annealed_steps:
            found.append(search.from_prior(noise.stream(2), self.n_annealed_steps))
        # No fit is trusted less than a fifth: its mass is a rough estimate.
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


class _Search:
    """Fits Gaussians to p(z | x) for the rows of one block."""

    def __init__(self, model: VAE, x: Tensor) -> None:
        self.model, self.x = model, x
        self.prior = model.prior()
        self.encoder = model.encode(x)

    def proposal(
        self, weight: Tensor, means: Tensor, tril: Tensor
    ) -> LatentDistribution:
        """Mix Gaussians (B, J) with the encoder."""
        # The last bits of a batch's matrix products depend on its size: without
        # them, a row's proposal does not.
        step = GRID * torch.exp2(tril.diagonal(dim1=-2, dim2=-1).amin(-1).log2().ceil())
        means = (means / step[..., None]).round() * step[..., None]
        tril = (tril / step[..., None, None]).round() * step[..., None, None]
        fitted = CholeskyGaussianMixture(
            weight.log(),
            means,
            tril,
            means.new_tensor(WIDTHS),
            means.new_tensor(SHARES),
        )
        shares = means.new_tensor([1 - ENCODER_SHARE, ENCODER_SHARE])
        return MixtureOfDistributions(shares.log(), (fitted, self.encoder))

    def adapted(
        self, proposal: LatentDistribution, noise: RowNoise
    ) -> LatentDistribution:
        """Return a proposal that follows the weights of draws from another."""
        z, log_w = [], []
        for begin in range(0, ROUND_DRAWS, N_DRAWS):
            points = noise.points(
                proposal.noise_dim, begin, begin + N_DRAWS, like=self.x
            )
            draw = self.model.draw_from(proposal, self.x, points)
            z.append(draw.z)
            log_w.append(draw.log_w)
        drawn, tempered = torch.cat(z), torch.cat(log_w)
        n_latents = drawn.shape[-1]
        tempered = tempered * _temperature(tempered, 2.0 * n_latents)
        fit = _moments(drawn, tempered)
        edges = tempered.softmax(0).cumsum(0).T.contiguous()
        where = (torch.arange(N_KERNELS).to(edges) + 0.5) / N_KERNELS
        chosen = torch.searchsorted(edges, where.expand(len(edges), -1).contiguous())
        row = torch.arange(len(edges), device=edges.device)[:, None]
        centres = drawn[chosen.clamp(max=ROUND_DRAWS - 1), row]
        # Drawn in, so that the kernels together are no wider than the posterior.
        mean, tril = fit.mean[:, None], fit.tril[:, None]
        centres = mean + math.sqrt(1 - KERNEL_WIDTH**2) * (centres - mean)
        weight = torch.full((len(edges), N_KERNELS + 1), KERNEL_SHARE / N_KERNELS)
        weight[:, -1] = 1 - KERNEL_SHARE
        narrow = KERNEL_WIDTH * tril.expand(-1, N_KERNELS, -1, -1)
        return self.proposal(
            weight.to(centres),
            torch.cat([centres, mean], 1),
            torch.cat([narrow, tril], 1),
        )

    def from_encoder(self, noise: RowNoise, n_steps: int) -> Gaussians:
        """Start at the moments of the encoder."""
        points = noise.points(self.encoder.noise_dim, 0, N_START_DRAWS, like=self.x)
        z, _ = self.encoder.rsample(points)
        gaussians = _moments(z, torch.zeros_like(z[..., 0]))
        for step in range(n_steps):
            pull = PULL / (1 + 0.5 * step)
            gaussians = self._step(gaussians, noise.stream(1), step, pull)
        return gaussians

    def from_prior(self, noise: RowNoise, n_steps: int) -> Gaussians:
        """Start at draws from the prior that a tempered likelihood selects."""
        z, log_likelihood = [], []
        for begin in range(0, BANK_SIZE, N_DRAWS):
            points = noise.points(
                self.prior.noise_dim, begin, begin + N_DRAWS, like=self.x
            )
            z.append(self.prior.rsample(points)[0])
            log_likelihood.append(self.model.log_likelihood(self.x, z[-1]))
        log_p_x = torch.cat(log_likelihood)
        beta = _temperature(log_p_x, BANK_SURVIVORS)
        gaussians = _moments(torch.cat(z), beta * log_p_x)
        n_heating = max(1, round(0.8 * n_steps))
        for step in range(n_steps):
            power = max(0.0, 1 - (step + 1) / n_heating)
            pull = PULL / (1 + 0.05 * max(0, step - n_heating))
            gaussians = self._step(gaussians, noise.stream(1), step, pull, beta**power)
        return gaussians

    def _step(
        self,
        gaussians: Gaussians,
        noise: RowNoise,
        step: int,
        pull: float,
        beta: Tensor | float = 1.0,
    ) -> Gaussians:
        n_latents = gaussians.mean.shape[1]
        points = noise.points(
            n_latents, step * N_DRAWS, (step + 1) * N_DRAWS, like=self.x
        )

        def log_density(z: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                log_p_x = self.model.log_likelihood(self.x, z)
                value = beta * log_p_x + self.prior.log_prob(z)
                (gradient,) = torch.autograd.grad(value.sum(), z)
            return value.detach(), gradient

        return match_gaussians(log_density, gaussians, points, pull)


def _moments(z: Tensor, log_w: Tensor) -> Gaussians:
    """Return Gaussians with the weighted mean and a shrunk weighted covariance."""
    weight = log_w.softmax(0)
    mean = torch.einsum("kb,kbl->bl", weight, z)
    centred = z - mean
    covariance = torch.einsum("kb,kbi,kbj->bij", weight, centred, centred)
    n_latents = z.shape[-1]
    size = 1 / weight.square().sum(0)
    shrink = (n_latents / (n_latents + size))[:, None, None]
    diagonal = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-8)
    covariance = (1 - shrink) * covariance + shrink * torch.diag_embed(diagonal)
    tril, _ = torch.linalg.cholesky_ex(covariance)
    return Gaussians(mean, tril, torch.full_like(size, -torch.inf))


def _temperature(log_w: Tensor, size: float) -> Tensor:
    """Return the largest power β ≤ 1 that leaves this effective sample size.

    Parameters
    ----------
    log_w : Tensor of shape (K, B)
        Log weights.
    size : float
        Effective sample size of the weights w^β.
    """
    log_w = log_w - log_w.amax(0)
    low, high = torch.full_like(log_w[0], -40.0), torch.zeros_like(log_w[0])
    for _ in range(40):
        middle = (low + high) / 2
        tempered = middle.exp() * log_w
        log_size = 2 * tempered.logsumexp(0) - (2 * tempered).logsumexp(0)
        enough = log_size.exp() >= size
        low = torch.where(enough, middle, low)
        high = torch.where(enough, high, middle)
    return low.exp()
