"""Mixtures of Gaussians: one for all rows, and one for each row."""

from functools import cached_property

import torch
from torch import Tensor

from skvae.model.distributions._base import LatentDistribution
from skvae.model.distributions._choice import choose
from skvae.model.distributions.gaussian import HALF_LOG_2PI
from skvae.model.networks.linear import linear, matvec, solve_tril

__all__ = ["CholeskyGaussianMixture", "DiagonalGaussianMixture"]


class DiagonalGaussianMixture(LatentDistribution):
    """Σ_c π_c N(μ_c, diag σ_c²), shared by all rows."""

    def __init__(self, log_weight: Tensor, mean: Tensor, scale: Tensor) -> None:
        self.log_weight, self._means, self.scale = log_weight, mean, scale
        self.n_latents = mean.shape[-1]
        self.noise_dim = self.n_latents + 1

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a mode by the last number of the noise, draw from it by the others."""
        mode = choose(self.log_weight, noise[..., -1])
        z = torch.addcmul(self._means[mode], self.scale[mode], noise[..., :-1])
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density.

        −½ Σ (z − μ_c)² / σ_c² is expanded in z² and z: one matrix product gives the
        exponents of all modes, and nothing of shape (K, B, C, L) is formed.
        """
        precision = self.scale.square().reciprocal()
        constant = (
            self.log_weight
            - self.scale.log().sum(-1)
            - self.n_latents * HALF_LOG_2PI
            - 0.5 * (self._means.square() * precision).sum(-1)
        )
        features = torch.cat([z.square(), z], -1)
        weight = torch.cat([-0.5 * precision, self._means * precision], -1)
        return linear(features, weight, constant).logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        """Σ_c π_c μ_c."""
        return self.log_weight.exp() @ self._means

    def gaussian_modes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the modes."""
        return self.log_weight, self._means, self.scale.diag_embed()

    def select(self, rows: Tensor) -> "DiagonalGaussianMixture":
        """Return itself."""
        return self


class CholeskyGaussianMixture(LatentDistribution):
    r"""A few Gaussians per row, each at several widths.

    .. math:: \sum_j w_j \sum_f a_f\, N(\mu_j, s_f^2\, T_j T_j^\top)

    Parameters
    ----------
    log_weight : Tensor of shape (B, J)
        log w.
    means : Tensor of shape (B, J, L)
        μ.
    tril : Tensor of shape (B, J, L, L)
        T, lower triangular.
    widths, shares : Tensor of shape (F,)
        s and a, the same for all.
    """

    def __init__(
        self,
        log_weight: Tensor,
        means: Tensor,
        tril: Tensor,
        widths: Tensor,
        shares: Tensor,
    ) -> None:
        self.log_weight, self._means, self.tril = log_weight, means, tril
        self.widths, self.shares = widths, shares
        n_latents = means.shape[-1]
        self.noise_dim = n_latents + 1
        log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_width = widths.log() * n_latents - shares.log()
        self._constant = (
            (log_weight - log_det)[..., None] - log_width - n_latents * HALF_LOG_2PI
        )  # (B, J, F)

    @cached_property
    def _inverse(self) -> Tensor:
        """T⁻¹, shape (B, J, L, L); draws of a single Gaussian do not need it."""
        eye = torch.eye(
            self.tril.shape[-1], dtype=self.tril.dtype, device=self.tril.device
        )
        return solve_tril(self.tril, eye.expand_as(self.tril))

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose Gaussian and width by the last number, draw by the others."""
        share = self.log_weight.exp()[..., None] * self.shares  # (B, J, F)
        edges = share.flatten(1).cumsum(1)
        uniform = torch.special.ndtr(noise[..., -1]).T.contiguous()  # (B, K)
        cell = torch.searchsorted(edges, uniform).clamp(max=edges.shape[1] - 1).T
        n_widths = len(self.widths)
        mode = cell.div(n_widths, rounding_mode="floor")
        row = torch.arange(len(edges), device=noise.device)
        step = noise[..., :-1] * self.widths[cell % n_widths].unsqueeze(-1)
        if self.tril.shape[1] == 1:
            z = self._means[:, 0] + matvec(self.tril[:, 0], step)
            return z, self._log_prob_at(step.square().sum(-1)[..., None, None])
        shift = (self.tril[row, mode] * step.unsqueeze(-2)).sum(-1)
        z = self._means[row, mode] + shift
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        n_modes = self.tril.shape[1]
        centred = (z.unsqueeze(2) - self._means).flatten(1, 2)  # (K, B J, L)
        standard = matvec(self._inverse.flatten(0, 1), centred)
        standard = standard.unflatten(1, (-1, n_modes))
        return self._log_prob_at(standard.square().sum(-1, keepdim=True))

    def _log_prob_at(self, distance: Tensor) -> Tensor:
        """Return the log-density at squared distances (K, B, J, 1) from the means."""
        exponent = -0.5 * distance / self.widths.square() + self._constant
        return exponent.flatten(-2).logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        """Σ_j w_j μ_j."""
        return torch.einsum("bj,bjl->bl", self.log_weight.exp(), self._means)

    def select(self, rows: Tensor) -> "CholeskyGaussianMixture":
        """Return the mixtures of some of the rows."""
        return CholeskyGaussianMixture(
            self.log_weight[rows],
            self._means[rows],
            self.tril[rows],
            self.widths,
            self.shares,
        )
