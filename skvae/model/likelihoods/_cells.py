"""Distributions of a cell that likelihoods have, mixed over draws of the latents."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from skvae.model.cells import CellDistribution
from skvae.model.likelihoods._counts import negative_binomial_log_mass

__all__ = ["CountCells", "LogisticCells", "StudentTModes"]


@dataclass(frozen=True)
class _Modes(CellDistribution):
    """Mixtures of shifted and stretched copies of one distribution.

    Attributes
    ----------
    log_weight : Tensor of shape (B, M)
        Log-weights of the modes; those of a row sum to one.
    location, scale : Tensor of shape (B, M)
        By which each mode is shifted and stretched.
    """

    log_weight: Tensor
    location: Tensor
    scale: Tensor

    @abstractmethod
    def standard_log_prob(self, t: Tensor) -> Tensor:
        """Log-density of the distribution itself."""

    @abstractmethod
    def standard_cdf(self, t: Tensor) -> Tensor:
        """Its distribution function."""

    def _standard(self, t: Tensor) -> Tensor:
        return (t[:, :, None] - self.location[:, None]) / self.scale[:, None]

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        log_p = self.standard_log_prob(self._standard(t)) - self.scale.log()[:, None]
        return (log_p + self.log_weight[:, None]).logsumexp(2)

    def cdf(self, t: Tensor) -> Tensor:
        """Return the mean of the modes' distribution functions."""
        below = self.standard_cdf(self._standard(t))
        return (below * self.log_weight.exp()[:, None]).sum(2).clamp(0, 1)

    def mean(self) -> Tensor:
        """Return the mean of the modes' locations."""
        return (self.log_weight.exp() * self.location).sum(1)


class LogisticCells(_Modes):
    """Mixtures of logistic distributions."""

    def standard_log_prob(self, t: Tensor) -> Tensor:
        """Return −|t| − 2 log(1 + exp −|t|)."""
        return -t.abs() - 2 * F.softplus(-t.abs())

    def standard_cdf(self, t: Tensor) -> Tensor:
        """Return 1 / (1 + exp −t)."""
        return t.sigmoid()


@dataclass(frozen=True)
class StudentTModes(_Modes):
    """Mixtures of Student-t distributions of the same degrees of freedom.

    Attributes
    ----------
    df : float
        Degrees of freedom.
    """

    df: float

    def standard_log_prob(self, t: Tensor) -> Tensor:
        """Return the log-density of the t distribution."""
        df = self.df
        constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2)
        constant -= 0.5 * math.log(df * math.pi)
        return constant - (df + 1) / 2 * torch.log1p(t.square() / df)

    def standard_cdf(self, t: Tensor) -> Tensor:
        """Return the distribution function of the t distribution."""
        below = special.stdtr(self.df, t.double().cpu().numpy())
        return torch.from_numpy(below).to(t)


@dataclass(frozen=True)
class CountCells(CellDistribution):
    """Mixtures of Poisson or negative binomial distributions.

    Attributes
    ----------
    log_weight : Tensor of shape (B, M)
        Log-weights; those of a row sum to one.
    log_mean : Tensor of shape (B, M)
        Log-means.
    log_size : Tensor of shape (B, M) or None
        Logarithms of the sizes r; None for Poisson distributions.
    """

    log_weight: Tensor
    log_mean: Tensor
    log_size: Tensor | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers: they are."""
        return True

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-mass; that of a fraction or below zero is minus infinity."""
        possible = (t >= 0) & (t == t.floor())
        count = t.where(possible, 0.0).double()[:, :, None]
        log_mean = self.log_mean[:, None]
        if self.log_size is None:
            log_mass = count * log_mean - log_mean.exp() - torch.lgamma(count + 1)
        else:
            log_size = self.log_size[:, None]
            log_mass = negative_binomial_log_mass(count, log_mean, log_size)
        mixed = (log_mass + self.log_weight[:, None]).logsumexp(2)
        return mixed.where(possible, -torch.inf)

    def cdf(self, t: Tensor) -> Tensor:
        """Return the mass of all counts up to each value."""
        count = t.floor().clamp(min=0).double()[:, :, None].cpu().numpy()
        mean = self.log_mean.exp().cpu().numpy()[:, None]
        if self.log_size is None:
            below = special.gammaincc(count + 1, mean)
        else:
            size = self.log_size.exp().cpu().numpy()[:, None]
            below = special.betainc(size, count + 1, size / (size + mean))
        weight = self.log_weight.exp()[:, None]
        total = (torch.from_numpy(below).to(weight) * weight).sum(2).clamp(0, 1)
        return total.where(t >= 0, 0.0)

    def mean(self) -> Tensor:
        """Return the mean."""
        return (self.log_weight + self.log_mean).logsumexp(1).exp()
