"""Distributions over finitely many points."""

import torch
from torch import Tensor

from skvae.model.distributions._base import LatentDistribution

__all__ = ["CodeDistribution"]


class CodeDistribution(LatentDistribution):
    """A probability for each of N points, the same for all rows or a row's own.

    Log-densities are log-masses: with respect to counting the points.

    Parameters
    ----------
    points : Tensor of shape (N, L)
        The points; no two are equal.
    log_weight : Tensor of shape (N,) or (B, N)
        Log-probabilities.
    """

    noise_dim = 1

    def __init__(self, points: Tensor, log_weight: Tensor) -> None:
        self.points, self.log_weight = points, log_weight

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose points; gradients reach them, and the mass, but not the choice."""
        uniform = torch.special.ndtr(noise.squeeze(-1)).T.contiguous()  # (B, K)
        edges = self.log_weight.detach().exp().cumsum(-1)
        edges = edges.expand(len(uniform), -1).contiguous()
        index = torch.searchsorted(edges, uniform).clamp(max=len(self.points) - 1).T
        return self.points[index], self._mass_of(index)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-mass of points, −inf elsewhere."""
        index = torch.cdist(z.detach(), self.points.detach()).argmin(-1)
        is_point = (self.points[index] == z).all(-1)
        return self._mass_of(index).where(is_point, -torch.inf)

    def _mass_of(self, index: Tensor) -> Tensor:
        """Return the log-masses of points by their numbers (K, B)."""
        if self.log_weight.ndim == 1:
            return self.log_weight[index]
        return self.log_weight.gather(1, index.T).T

    @property
    def mean(self) -> Tensor:
        """Mean of the points."""
        return self.log_weight.exp() @ self.points

    @property
    def mode(self) -> Tensor:
        """The most probable point."""
        return self.points[self.log_weight.argmax(-1)]

    def select(self, rows: Tensor) -> "CodeDistribution":
        """Return the probabilities of some rows."""
        if self.log_weight.ndim == 1:
            return self
        return CodeDistribution(self.points, self.log_weight[rows])

    def second_moment(self) -> Tensor:
        """Return E[z²]."""
        return self.log_weight.exp() @ self.points.square()

    def entropy(self) -> Tensor:
        """Return −Σ p log p."""
        return torch.special.entr(self.log_weight.exp()).sum(-1)
