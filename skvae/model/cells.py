"""Distributions of a single cell, one for each of several rows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from skvae.model.incomplete_beta import student_t_cdf
from skvae.model.missing import by_blocks

__all__ = [
    "CellDistribution",
    "DiscreteCells",
    "GaussianCells",
    "MixtureCells",
    "StudentTCells",
]

Block: TypeAlias = tuple[Tensor, ...]

MODES_AT_ONCE = 256
VALUES_AT_ONCE = 1024


class CellDistribution(ABC):
    """The distribution of one cell in each of B rows.

    Its results for a row depend on that row alone.
    """

    @abstractmethod
    def log_prob(self, t: Tensor) -> Tensor:
        """Log-density, or log-mass, of values (B, T), shape (B, T), nats."""

    @abstractmethod
    def cdf(self, t: Tensor) -> Tensor:
        """Probability of a cell up to each of the values (B, T), shape (B, T)."""

    @abstractmethod
    def mean(self) -> Tensor:
        """Mean, or the most probable of finitely many values, shape (B,).

        Where a distribution has no mean, its location.
        """

    @abstractmethod
    def log_mass(self) -> Tensor | None:
        """Log-masses of the values 0, …, V − 1, shape (B, V); None for other cells."""


@dataclass(frozen=True)
class GaussianCells(CellDistribution):
    """Mixtures of Gaussians.

    Attributes
    ----------
    log_weight : Tensor of shape (B, M)
        Log-weights of the modes; those of a row sum to one. Modes without weight have
        minus infinity.
    location, scale : Tensor of shape (B, M)
        Mean and standard deviation of each mode.
    """

    log_weight: Tensor
    location: Tensor
    scale: Tensor

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-density."""

        def of_modes(
            t: Tensor, log_weight: Tensor, mean: Tensor, scale: Tensor
        ) -> Tensor:
            standard = (t[:, :, None] - mean[:, None]) / scale[:, None]
            constant = log_weight - scale.log() - 0.5 * math.log(2 * math.pi)
            return (constant[:, None] - 0.5 * standard.square()).logsumexp(2)

        def of_block(t: Tensor, *modes: Tensor) -> Block:
            chunks = zip(*(part.split(MODES_AT_ONCE, 1) for part in modes), strict=True)
            log_p = torch.stack([of_modes(t, *chunk) for chunk in chunks])
            if len(log_p) == 1:
                return (log_p[0],)
            top = log_p.amax(0)
            total = torch.zeros_like(top)
            # Modes without weight add exact zeros, however many they are.
            for some in log_p:
                total = total + (some - top).exp()
            return (top + total.log(),)

        return _of_values(of_block, t, self.log_weight, self.location, self.scale)

    def cdf(self, t: Tensor) -> Tensor:
        """Return the mean of the modes' distribution functions."""

        def of_block(t: Tensor, *modes: Tensor) -> Block:
            total = torch.zeros_like(t)
            for log_weight, mean, scale in zip(
                *(part.split(MODES_AT_ONCE, 1) for part in modes), strict=True
            ):
                standard = (mean[:, None] - t[:, :, None]) / scale[:, None]
                below = 0.5 * torch.erfc(standard / math.sqrt(2))
                total = total + (below * log_weight.exp()[:, None]).sum(2)
            return (total.clamp(0, 1),)

        return _of_values(of_block, t, self.log_weight, self.location, self.scale)

    def mean(self) -> Tensor:
        """Return the mean of the modes' means."""

        def of_block(log_weight: Tensor, mean: Tensor) -> Block:
            parts = (log_weight.exp() * mean).split(MODES_AT_ONCE, 1)
            return (sum((part.sum(1) for part in parts), torch.zeros(())),)

        return by_blocks(of_block, self.log_weight, self.location)[0]

    def log_mass(self) -> None:
        """Return None: a real number has no list of values."""
        return None


@dataclass(frozen=True)
class StudentTCells(CellDistribution):
    """Student-t distributions.

    Attributes
    ----------
    df, location, scale : Tensor of shape (B,)
        Degrees of freedom, location and scale.
    """

    df: Tensor
    location: Tensor
    scale: Tensor

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-density."""

        def of_block(t: Tensor, df: Tensor, mean: Tensor, scale: Tensor) -> Block:
            standard = (t - mean[:, None]) / scale[:, None]
            constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2)
            constant = constant - 0.5 * (df * math.pi).log() - scale.log()
            tail = torch.log1p(standard.square() / df[:, None])
            return (constant[:, None] - (df[:, None] + 1) / 2 * tail,)

        return _of_values(of_block, t, self.df, self.location, self.scale)

    def cdf(self, t: Tensor) -> Tensor:
        """Return the distribution function."""

        def of_block(t: Tensor, df: Tensor, mean: Tensor, scale: Tensor) -> Block:
            standard = ((t - mean[:, None]) / scale[:, None]).double()
            cdf = student_t_cdf(standard, df[:, None].double().expand_as(standard))
            return (cdf.to(t),)

        return _of_values(of_block, t, self.df, self.location, self.scale)

    def mean(self) -> Tensor:
        """Return the location."""
        return self.location

    def log_mass(self) -> None:
        """Return None: a real number has no list of values."""
        return None


@dataclass(frozen=True)
class DiscreteCells(CellDistribution):
    """Zeros and ones, or categories.

    Attributes
    ----------
    log_masses : Tensor of shape (B, V)
        Log-masses of the values 0, …, V − 1.
    log_other : Tensor of shape (B,) or None
        Log-mass of all other values together, whose code is V. None where there are no
        other values.
    """

    log_masses: Tensor
    log_other: Tensor | None = None

    def _log_mass_of_codes(self) -> Tensor:
        """Return the log-masses of all codes, shape (B, V + 1)."""
        other = self.log_other
        if other is None:
            other = torch.full_like(self.log_masses[:, 0], -torch.inf)
        return torch.cat([self.log_masses, other[:, None]], 1)

    def _codes(self, t: Tensor) -> Tensor:
        """Return the codes of whole numbers from zero; from V on, they are V."""
        return t.clamp(0, self.log_masses.shape[1]).long()

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-mass; that of a fraction or below zero is minus infinity."""
        possible = (t >= 0) & (t == t.floor())
        log_mass = self._log_mass_of_codes().take_along_dim(self._codes(t), 1)
        return log_mass.where(possible, -torch.inf)

    def cdf(self, t: Tensor) -> Tensor:
        """Return the mass of all codes up to each value."""
        below = self._log_mass_of_codes().exp().cumsum(1).clamp(max=1)
        return below.take_along_dim(self._codes(t), 1).where(t >= 0, 0.0)

    def mean(self) -> Tensor:
        """Return the most probable of the values 0, …, V − 1."""
        return self.log_masses.argmax(1).to(self.log_masses)

    def log_mass(self) -> Tensor:
        """Return the log-masses of the values 0, …, V − 1."""
        return self.log_masses


@dataclass(frozen=True)
class MixtureCells(CellDistribution):
    """Mixtures of P distributions, with weights of their own in each row.

    Attributes
    ----------
    log_weight : Tensor of shape (B, P)
        Log-weights; those of a row sum to one.
    parts : sequence of P CellDistribution
        What is mixed, for the same B rows.
    """

    log_weight: Tensor
    parts: Sequence[CellDistribution]

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-density, or log-mass, of the mixture."""
        return self._mixed([part.log_prob(t) for part in self.parts])

    def cdf(self, t: Tensor) -> Tensor:
        """Return the mean of the parts' distribution functions."""
        shares = self.log_weight.exp()[:, :, None]
        below = torch.stack([part.cdf(t) for part in self.parts], 1)
        return (shares * below).sum(1).clamp(0, 1)

    def mean(self) -> Tensor:
        """Return the mean of the parts' means, or the most probable value."""
        log_mass = self.log_mass()
        if log_mass is not None:
            return log_mass.argmax(1).to(log_mass)
        means = torch.stack([part.mean() for part in self.parts], 1)
        # A part without weight may have any mean.
        return (
            (self.log_weight.exp() * means)
            .where(self.log_weight > -torch.inf, 0.0)
            .sum(1)
        )

    def log_mass(self) -> Tensor | None:
        """Return the log-masses of the mixture, if all parts have a list of values."""
        masses = [mass for part in self.parts if (mass := part.log_mass()) is not None]
        return self._mixed(masses) if len(masses) == len(self.parts) else None

    def _mixed(self, log_p: list[Tensor]) -> Tensor:
        """Mix values (B, T) of each part."""

        def of_block(log_weight: Tensor, *log_p: Tensor) -> Block:
            joint = torch.stack(log_p, 2) + log_weight[:, None]
            return (joint.logsumexp(2),)

        return by_blocks(of_block, self.log_weight, *log_p)[0]


def _of_values(
    function: Callable[..., Block], t: Tensor, *parameters: Tensor
) -> Tensor:
    """Apply a function of values (b, T) and parameters to blocks of rows and values."""
    pieces = [
        by_blocks(function, some.contiguous(), *parameters)[0]
        for some in t.split(VALUES_AT_ONCE, 1)
    ]
    return torch.cat(pieces, 1)
