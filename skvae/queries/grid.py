"""Distributions of a cell that are known at some values."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.cells import CellDistribution

__all__ = ["DrawnCells", "GridCells"]


@dataclass(frozen=True)
class GridCells(CellDistribution):
    """Densities that are linear between given values, and zero beyond the outer ones.

    Attributes
    ----------
    t : Tensor of shape (B, G)
        Values, in ascending order, float64.
    density : Tensor of shape (B, G)
        Density at the values, which integrates to one.
    """

    t: Tensor
    density: Tensor

    @classmethod
    def of(cls, t: Tensor, log_density: Tensor) -> "GridCells":
        """Return the distribution with densities in these ratios."""
        density = (log_density - log_density.amax(1, keepdim=True)).exp()
        mass = torch.trapezoid(density, t, dim=1)
        return cls(t, density / mass[:, None])

    def _place(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each value's interval, its distance from the left, and the slope."""
        inside = t.clamp(self.t[:, :1], self.t[:, -1:]).contiguous()
        left = torch.searchsorted(self.t, inside, right=True) - 1
        left = left.clamp(0, self.t.shape[1] - 2)
        step = inside - self.t.gather(1, left)
        slope = self.density.diff(dim=1) / self.t.diff(dim=1)
        return left, step, slope.gather(1, left)

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-density."""
        left, step, slope = self._place(t)
        density = self.density.gather(1, left) + slope * step
        outside = (t < self.t[:, :1]) | (t > self.t[:, -1:])
        return density.where(~outside, 0.0).log()

    def cdf(self, t: Tensor) -> Tensor:
        """Return the distribution function."""
        left, step, slope = self._place(t)
        below = torch.cumulative_trapezoid(self.density, self.t, dim=1)
        below = torch.cat([torch.zeros_like(below[:, :1]), below], 1)
        rise = self.density.gather(1, left) * step + 0.5 * slope * step.square()
        return (below.gather(1, left) + rise).clamp(0, 1)

    def mean(self) -> Tensor:
        """Return the mean."""
        values, log_weight = self.nodes()
        return (log_weight.exp() * values).sum(1)

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the values, with the masses that the trapezoidal rule gives them."""
        step = self.t.diff(dim=1) / 2
        zero = torch.zeros_like(step[:, :1])
        width = torch.cat([step, zero], 1) + torch.cat([zero, step], 1)
        return self.t, (width * self.density).log()


@dataclass(frozen=True)
class DrawnCells(CellDistribution):
    """Weighted draws of a cell, (B, K) each."""

    values: Tensor
    log_weight: Tensor
    are_counts: bool

    @property
    def is_whole(self) -> bool:
        """Whether they are draws of counts."""
        return self.are_counts

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-mass of draws that equal each value."""
        equal = t[:, :, None] == self.values[:, None]
        return (equal * self.log_weight.exp()[:, None]).sum(2).log()

    def cdf(self, t: Tensor) -> Tensor:
        """Return the mass of draws up to each value."""
        below = self.values[:, None] <= t[:, :, None]
        return (below * self.log_weight.exp()[:, None]).sum(2)

    def mean(self) -> Tensor:
        """Return the mean of the draws."""
        return (self.log_weight.exp() * self.values).sum(1)

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the draws."""
        return self.values, self.log_weight
