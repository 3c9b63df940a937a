"""Gaussians: standard, with independent latents, and with a covariance."""

import math

import torch
from torch import Tensor

from skvae.model.distributions._base import LatentDistribution
from skvae.model.networks.linear import matvec, solve_tril

__all__ = ["HALF_LOG_2PI", "CholeskyGaussian", "DiagonalGaussian", "StandardNormal"]

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class StandardNormal(LatentDistribution):
    """N(0, I) in L dimensions."""

    def __init__(self, like: Tensor) -> None:
        self._zero = torch.zeros_like(like)
        self.noise_dim = like.shape[-1]

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise itself."""
        return noise, self.log_prob(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return Σ log N(z; 0, 1)."""
        return -0.5 * z.square().sum(-1) - self.noise_dim * HALF_LOG_2PI

    @property
    def mean(self) -> Tensor:
        """Zero."""
        return self._zero

    def select(self, rows: Tensor) -> "StandardNormal":
        """Return itself."""
        return self

    def gaussian_modes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the one Gaussian."""
        eye = torch.eye(self.noise_dim, dtype=self._zero.dtype)
        return self._zero.new_zeros(1), self._zero[None], eye.to(self._zero)[None]

    def expected_log_prob(self, q: LatentDistribution) -> Tensor | None:
        """Return −½ Σ E_q[z²] − ½ L log 2π."""
        moment = q.second_moment()
        if moment is None:
            return None
        return -0.5 * moment.sum(-1) - self.noise_dim * HALF_LOG_2PI


class DiagonalGaussian(LatentDistribution):
    """N(μ, diag σ²), one per row."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self._mean, self.scale = mean, scale
        self.noise_dim = mean.shape[-1]
        self._log_normaliser = scale.log().sum(-1) + self.noise_dim * HALF_LOG_2PI

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ + σ ε and its log-density."""
        z = torch.addcmul(self._mean, self.scale, noise)
        return z, -0.5 * noise.square().sum(-1) - self._log_normaliser

    def log_prob(self, z: Tensor) -> Tensor:
        """Return Σ log N(z; μ, σ²)."""
        standard = (z - self._mean) / self.scale
        return -0.5 * standard.square().sum(-1) - self._log_normaliser

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self._mean

    def gaussian_modes(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return the one Gaussian, where all rows share it."""
        if self._mean.dim() > 1:
            return None
        return self._mean.new_zeros(1), self._mean[None], self.scale.diag()[None]

    def select(self, rows: Tensor) -> "DiagonalGaussian":
        """Return the Gaussians of some of the rows."""
        if self._mean.dim() == 1:
            return self
        return DiagonalGaussian(self._mean[rows], self.scale[rows])

    def entropy(self) -> Tensor:
        """Return Σ log σ + ½ L (1 + log 2π)."""
        return self._log_normaliser + 0.5 * self.noise_dim

    def second_moment(self) -> Tensor:
        """Return μ² + σ²."""
        return self._mean.square() + self.scale.square()

    def mean_and_tril(self) -> tuple[Tensor, Tensor] | None:
        """Return μ and diag σ."""
        return self._mean, torch.diag_embed(self.scale)


class CholeskyGaussian(LatentDistribution):
    """N(μ, T Tᵀ) with lower-triangular T, one per row."""

    def __init__(self, mean: Tensor, tril: Tensor) -> None:
        self._mean, self.tril = mean, tril
        self.noise_dim = mean.shape[-1]
        log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        self._log_normaliser = log_det + self.noise_dim * HALF_LOG_2PI

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ + T ε and its log-density."""
        shift = matvec(self.tril, noise)
        return (
            self._mean + shift,
            -0.5 * noise.square().sum(-1) - self._log_normaliser,
        )

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; μ, T Tᵀ)."""
        squared = self.standardised(z).square().sum(-1)
        return -0.5 * squared - self._log_normaliser

    def standardised(self, z: Tensor) -> Tensor:
        """Return T⁻¹ (z − μ), shape (K, B, L)."""
        centred = (z - self._mean).permute(1, 2, 0)
        standard = solve_tril(self.tril, centred)
        return standard.permute(2, 0, 1)

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self._mean

    def select(self, rows: Tensor) -> "CholeskyGaussian":
        """Return the Gaussians of some of the rows."""
        return CholeskyGaussian(self._mean[rows], self.tril[rows])

    def entropy(self) -> Tensor:
        """Return log det T + ½ L (1 + log 2π)."""
        return self._log_normaliser + 0.5 * self.noise_dim

    def second_moment(self) -> Tensor:
        """Return μ² + diag(T Tᵀ)."""
        return self._mean.square() + self.tril.square().sum(-1)

    def mean_and_tril(self) -> tuple[Tensor, Tensor] | None:
        """Return μ and T."""
        return self._mean, self.tril
