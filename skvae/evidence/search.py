"""A search for the posterior p(z | x) of each row.

The search has two ways to begin and one way to go on.

1. `PosteriorSearch.from_encoder` starts at a Gaussian with the encoder's moments and
   moves it by batch-and-match steps (`skvae.evidence.matching`), until its score agrees
   with the gradient of log p(x, z). It finds the mode that the encoder is closest to.
2. `PosteriorSearch.from_prior` starts at draws from the prior, weighed by a power of
   the likelihood that is small enough for many draws to count. Its steps raise the
   power to one. It finds modes that the encoder knows nothing of.
3. `PosteriorSearch.adapted` draws from a proposal and replaces it by several Gaussians,
   placed by the weights of these draws. It can follow a posterior that is bent or in
   several parts, which one Gaussian cannot.

`PosteriorSearch.proposal` turns Gaussians that were found into a distribution to sample
from: it widens them for the tails, and mixes several of them with the encoder.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.evidence.matching import Gaussians, match_gaussians
from skvae.evidence.noise import RowNoise
from skvae.model import VAE
from skvae.model.distributions import (
    CholeskyGaussianMixture,
    LatentDistribution,
    MixtureOfDistributions,
)
from skvae.model.networks.linear import multiple, widened_tril

__all__ = ["PosteriorSearch"]

N_DRAWS = 32  # per row that are decoded at a time
# λ of the first batch-and-match steps; later steps are more cautious.
PULL = 3.0

# Of a proposal
ENCODER_SHARE = 0.05  # where there are several Gaussians
WIDTHS = (1.05, 1.3, 2.0)  # of each Gaussian, in its own standard deviations
SHARES = (0.66, 0.29, 0.05)  # of the widths

# Of the search from the encoder, where it is no Gaussian
N_START_DRAWS = 64

# Of the search from the prior
BANK_SIZE = 512  # draws from the prior
BANK_SURVIVORS = 24.0  # effective sample size of these draws at the first power
HEATING_SHARE = 0.8  # of the steps, over which the power rises to one

# Of a round of adaptation
ROUND_DRAWS = 512
N_KERNELS = 4
KERNEL_WIDTH = 0.7  # of the posterior's
KERNEL_SHARE = 0.3  # of the proposal's Gaussians, for all kernels together


class PosteriorSearch:
    """Fits Gaussians to p(z | x) for the rows of one block.

    Parameters
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, D)
        Rows, in model units.
    n_draws : int, default=32
        Draws per row of a batch-and-match step.
    """

    def __init__(self, model: VAE, x: Tensor, n_draws: int = N_DRAWS) -> None:
        self.model, self.x, self.n_draws = model, x, n_draws
        self.prior = model.prior()
        self.encoder = model.encode(x)
        self.n_latents = self.encoder.mean.shape[-1]

    def from_encoder(self, noise: RowNoise, n_steps: int) -> Gaussians:
        """Fit a Gaussian to each posterior, starting at the moments of the encoder."""
        known = self.encoder.mean_and_tril()
        if known is None:
            points = noise.points(self.encoder.noise_dim, 0, N_START_DRAWS, like=self.x)
            z, _ = self.encoder.rsample(points)
            gaussians = _moments(z, torch.zeros_like(z[..., 0]))
        else:
            mean, tril = (moment.double() for moment in known)
            gaussians = Gaussians(mean, tril, mean.new_full((len(mean),), -torch.inf))
        gaussians = _widened(gaussians)
        for step in range(n_steps):
            pull = PULL / (1 + 0.5 * step)
            gaussians = self._step(gaussians, noise.stream(1), step, pull)
        return _narrowed(gaussians, self.n_latents)

    def from_prior(self, noise: RowNoise, n_steps: int) -> Gaussians:
        r"""Fit a Gaussian to each posterior, starting at draws from the prior.

        The steps follow the path

        .. math:: p_\beta(z) \propto p(x \mid z)^\beta\, p(z), \qquad \beta \to 1,

        on which log β rises linearly to 0 in the first 80 % of the steps. It begins
        where the effective sample size of the draws, weighed by p(x | z)^β, is
        `BANK_SURVIVORS`.
        """
        z, log_likelihood, cells = [], [], noise.stream(2).cells()
        for points in self._points(noise, self.prior.noise_dim, BANK_SIZE):
            z.append(self.prior.rsample(points)[0])
            log_likelihood.append(self.model.log_likelihood(self.x, z[-1], cells))
        log_p_x = torch.cat(log_likelihood).double()
        beta = _temperature(log_p_x, BANK_SURVIVORS)
        gaussians = _widened(_moments(torch.cat(z), beta * log_p_x))
        n_heating = max(1, round(HEATING_SHARE * n_steps))
        for step in range(n_steps):
            power = max(0.0, 1 - (step + 1) / n_heating)
            pull = PULL / (1 + 0.05 * max(0, step - n_heating))
            gaussians = self._step(gaussians, noise.stream(1), step, pull, beta**power)
        return _narrowed(gaussians, self.n_latents)

    def proposal(
        self, weight: Tensor, means: Tensor, tril: Tensor
    ) -> LatentDistribution:
        """Mix Gaussians of several widths, and where they are several, the encoder.

        Parameters
        ----------
        weight : Tensor of shape (B, J)
            Weights of J Gaussians; they sum to one.
        means : Tensor of shape (B, J, L)
            Their means.
        tril : Tensor of shape (B, J, L, L)
            Lower-triangular factors of their covariances.
        """
        new = self.x.new_tensor
        fitted = CholeskyGaussianMixture(
            weight.log().to(self.x),
            means.to(self.x),
            tril.to(self.x),
            new(WIDTHS),
            new(SHARES),
        )
        if means.shape[1] == 1:
            return fitted
        # Several Gaussians may all be far from the mode that the encoder knows.
        shares = new([1 - ENCODER_SHARE, ENCODER_SHARE])
        return MixtureOfDistributions(shares.log(), (fitted, self.encoder))

    def adapted(
        self, proposal: LatentDistribution, noise: RowNoise
    ) -> LatentDistribution:
        """Return a proposal that follows the weights of draws from another one.

        It has one Gaussian with the weighted moments of the draws, and a few narrower
        ones, the kernels, at draws that are chosen by their weights.
        """
        z, log_w, cells = [], [], noise.stream(2).cells()
        for points in self._points(noise, proposal.noise_dim, ROUND_DRAWS):
            draw = self.model.draw_from(proposal, self.x, points, cells)
            z.append(draw.z)
            log_w.append(draw.log_w)
        drawn, log_weight = torch.cat(z), torch.cat(log_w).double()
        n_latents = drawn.shape[-1]
        # A covariance needs more draws than there are latents: where the weights leave
        # fewer, they are evened out.
        tempered = log_weight * _temperature(log_weight, 2.0 * n_latents)
        fit = _moments(drawn, tempered)
        centres = _chosen_by_weight(drawn, tempered, N_KERNELS)
        # The kernels' centres are drawn towards the mean, so that the kernels together
        # are no wider than the posterior.
        mean, tril = fit.mean[:, None], fit.tril[:, None]
        centres = mean + math.sqrt(1 - KERNEL_WIDTH**2) * (centres - mean)
        each = KERNEL_SHARE / N_KERNELS
        weight = torch.full((len(self.x), N_KERNELS + 1), each, dtype=torch.float32)
        weight[:, -1] = 1 - KERNEL_SHARE
        narrow = KERNEL_WIDTH * tril.expand(-1, N_KERNELS, -1, -1)
        return self.proposal(
            weight.to(centres),
            torch.cat([centres, mean], 1),
            torch.cat([narrow, tril], 1),
        )

    def _points(self, noise: RowNoise, n_dims: int, n_draws: int) -> Iterator[Tensor]:
        """Yield the noise of so many draws, `N_DRAWS` of each row at a time."""
        for begin in range(0, n_draws, N_DRAWS):
            yield noise.points(n_dims, begin, begin + N_DRAWS, like=self.x)

    def _step(
        self,
        gaussians: Gaussians,
        noise: RowNoise,
        step: int,
        pull: float,
        beta: Tensor | float = 1.0,
    ) -> Gaussians:
        """Move Gaussians towards p(x | z)^β p(z), by draws of their own."""
        n_latents, n_draws = self.n_latents, self.n_draws
        n_added = gaussians.mean.shape[1] - n_latents
        points = noise.points(
            n_latents, step * n_draws, (step + 1) * n_draws, like=gaussians.mean
        )
        points = F.pad(points, (0, n_added))
        cells = noise.stream(2).cells(step)

        def log_density(z: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                z = z[..., :n_latents].to(self.x).requires_grad_()
                log_p_x = self.model.log_likelihood(self.x, z, cells)
                value = beta * log_p_x + self.prior.log_prob(z)
                (gradient,) = torch.autograd.grad(value.sum(), z)
            return value.detach().double(), F.pad(gradient.double(), (0, n_added))

        return match_gaussians(log_density, gaussians, points, pull)


def _widened(gaussians: Gaussians) -> Gaussians:
    """Add standard-normal latents that no one reads, up to a size of `multiple`.

    For such sizes, what is computed for a row does not depend on its place.
    """
    mean, tril = gaussians.mean, gaussians.tril
    n_latents = mean.shape[1]
    n_added = multiple(n_latents) - n_latents
    return Gaussians(F.pad(mean, (0, n_added)), widened_tril(tril), gaussians.log_mass)


def _narrowed(gaussians: Gaussians, n_latents: int) -> Gaussians:
    """Take the latents that were added away."""
    tril = gaussians.tril[:, :n_latents, :n_latents]
    return Gaussians(gaussians.mean[:, :n_latents], tril, gaussians.log_mass)


def _moments(z: Tensor, log_w: Tensor) -> Gaussians:
    """Return Gaussians with the weighted mean and a shrunk weighted covariance.

    The fewer draws (K, B, L) the weights (K, B) leave, the more the covariance is
    shrunk towards its diagonal. The result is float64.
    """
    n_latents = z.shape[-1]
    # For sizes that are multiples, sums are rounded alike at every place.
    z = F.pad(z.double(), (0, multiple(n_latents) - n_latents))
    weight = log_w.double().softmax(0)
    mean = torch.einsum("kb,kbl->bl", weight, z)
    centred = z - mean
    covariance = torch.einsum("kb,kbi,kbj->bij", weight, centred, centred)
    mean, covariance = mean[:, :n_latents], covariance[:, :n_latents, :n_latents]
    size = 1 / weight.square().sum(0)
    shrink = (n_latents / (n_latents + size))[:, None, None]
    diagonal = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-8)
    covariance = (1 - shrink) * covariance + shrink * torch.diag_embed(diagonal)
    tril, _ = torch.linalg.cholesky_ex(covariance)
    return Gaussians(mean, tril, torch.full_like(size, -torch.inf))


def _chosen_by_weight(z: Tensor, log_w: Tensor, n_chosen: int) -> Tensor:
    """Return some of the draws (K, B, L) of each row, shape (B, n_chosen, L).

    Systematic resampling with a fixed offset: one draw at the middle of each of
    `n_chosen` equal slices of the cumulative weight.
    """
    edges = log_w.softmax(0).cumsum(0).T.contiguous()
    where = (torch.arange(n_chosen).to(edges) + 0.5) / n_chosen
    chosen = torch.searchsorted(edges, where.expand(len(edges), -1).contiguous())
    row = torch.arange(len(edges), device=edges.device)[:, None]
    return z[chosen.clamp(max=len(z) - 1), row]


def _temperature(log_w: Tensor, size: float) -> Tensor:
    """Return the largest power β ≤ 1 that leaves this effective sample size.

    The size (Σ w^β)² / Σ w^2β falls as β rises: log β is found by bisection.

    Parameters
    ----------
    log_w : Tensor of shape (K, B)
        Log weights.
    size : float
        Effective sample size that the weights w^β are to have.
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
