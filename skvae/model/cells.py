"""Distributions of a single cell, one for each of several rows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy import special
from torch import Tensor

from skvae.model.missing import by_blocks

__all__ = [
    "MODES_AT_ONCE",
    "CellDistribution",
    "DiscreteCells",
    "GaussianCells",
    "MixtureCells",
    "StudentTCells",
]

Block: TypeAlias = tuple[Tensor, ...]

N_NODES = 64  # for expectations
# Of the search for quantiles: first step, in model units, and where it ends, as a share
# of the number and as a difference of probabilities.
FIRST_STEP, MAX_DOUBLINGS, MAX_ITERATIONS = 0.1, 200, 120
FINEST, SAME_SHARE = 1e-12, 1e-10
NEAR = 0.02  # of the spread: the first step from where the nodes have the quantile
# Points and weights for the expectation of a function of a normal number.
HERMITE = np.polynomial.hermite_e.hermegauss(3)
MODES_AT_ONCE = 256
VALUES_AT_ONCE = 1024


class CellDistribution(ABC):
    """The distribution of one cell in each of B rows.

    Its results for a row depend on that row alone.
    """

    @property
    def is_whole(self) -> bool:
        """Whether the values are counts: all whole numbers from zero on."""
        return False

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

    def log_mass(self) -> Tensor | None:
        """Log-masses of the values 0, …, V − 1, shape (B, V); None for other cells."""
        return None

    def centre(self) -> Tensor:
        """Return what is expected, (B,): the median of a count, else the mean.

        Of finitely many values, it is the most probable one.
        """
        if self.is_whole:
            return self.quantile(torch.tensor([0.5], dtype=torch.float64))[:, 0]
        return self.mean()

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Points and their log-weights, (B, N) each, for expectations.

        By default they are quantiles at the middles of equal shares.
        """
        share = (torch.arange(N_NODES, dtype=torch.float64) + 0.5) / N_NODES
        values = self.quantile(share)
        return values, torch.full_like(values, -math.log(N_NODES))

    def quantile(self, q: Tensor) -> Tensor:
        """Smallest values of which a cell is not above with probabilities (Q,), (B, Q).

        They are bracketed by steps that double, and then found by linear interpolation
        of the distribution function, or by bisection where that does not help.
        """
        q, is_whole = q.double(), self.is_whole
        start, step = self._guess(q)
        low, high = (self._beyond(start, step, q, sign) for sign in (-1, 1))
        below, above = self._cdf(low), self._cdf(high)
        for iteration in range(MAX_ITERATIONS):
            width = high - low
            active = (width > FINEST * (1 + start.abs())) & (above - below > SAME_SHARE)
            if is_whole:
                active = width > 0.5
            if not active.any():
                break
            share = (q - below) / (above - below).clamp(min=1e-300)
            # Every third step halves the bracket.
            share = share.clamp(0.01, 0.99) if iteration % 3 else torch.tensor(0.5)
            middle = torch.where(active, low + share * width, high)
            value = self._cdf(middle)
            is_above = value >= q
            high = torch.where(active & is_above, middle, high)
            above = torch.where(active & is_above, value, above)
            low = torch.where(active & ~is_above, middle, low)
            below = torch.where(active & ~is_above, value, below)
        return high.floor() if is_whole else high

    def _cdf(self, t: Tensor) -> Tensor:
        return self.cdf(t).double()

    def _guess(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return where to begin to search, and first steps, (B, Q) each."""
        start = self.mean().double()[:, None].expand(-1, len(q)).contiguous()
        return start, torch.full_like(start, FIRST_STEP)

    def _beyond(self, start: Tensor, step: Tensor, q: Tensor, sign: int) -> Tensor:
        """Return values whose distribution function is below q, or not below it."""
        t = start + sign * step
        for _ in range(MAX_DOUBLINGS):
            short = (self._cdf(t) < q) == (sign > 0)
            if not short.any():
                break
            step = torch.where(short, 2 * step, step)
            t = torch.where(short, start + sign * step, t)
        return t


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

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the points of a Gauss–Hermite rule for every mode."""
        node, weight = (torch.from_numpy(numbers) for numbers in HERMITE)
        values = self.location[..., None] + self.scale[..., None] * node.to(self.scale)
        log_weight = (weight / weight.sum()).log().to(self.log_weight)
        return values.flatten(1), (self.log_weight[..., None] + log_weight).flatten(1)

    def mean(self) -> Tensor:
        """Return the mean of the modes' means."""

        def of_block(log_weight: Tensor, mean: Tensor) -> Block:
            parts = (log_weight.exp() * mean).split(MODES_AT_ONCE, 1)
            return (sum((part.sum(1) for part in parts), torch.zeros(())),)

        return by_blocks(of_block, self.log_weight, self.location)[0]


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
        standard = (t - self.location[:, None]) / self.scale[:, None]
        df = self.df.double().cpu().numpy()[:, None]
        below = special.stdtr(df, standard.double().cpu().numpy())
        return torch.from_numpy(below).to(t)

    def quantile(self, q: Tensor) -> Tensor:
        """Return the quantiles."""
        df, which = self.df.double().cpu().unique(return_inverse=True)
        of_each = special.stdtrit(df.numpy()[:, None], q.double().cpu().numpy())
        standard = torch.from_numpy(of_each)[which]
        return self.location[:, None].double() + self.scale[:, None] * standard

    def mean(self) -> Tensor:
        """Return the location."""
        return self.location


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

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the values and their log-masses."""
        values = torch.arange(self.log_masses.shape[1]).to(self.log_masses)
        return values.expand_as(self.log_masses), self.log_masses.log_softmax(1)

    def quantile(self, q: Tensor) -> Tensor:
        """Return codes: the values are in the order of their codes."""
        below = self.log_masses.softmax(1).cumsum(1).double()
        code = torch.searchsorted(below, q.double().expand(len(below), -1).contiguous())
        return code.clamp(max=below.shape[1] - 1).double()

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

    @property
    def is_whole(self) -> bool:
        """Whether all values of all parts are whole numbers."""
        return all(part.is_whole for part in self.parts)

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

    def _guess(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return the quantiles of the nodes, and a small share of their spread."""
        values, log_weight = self.nodes()
        values, order = values.sort(1)
        below = log_weight.gather(1, order).softmax(1).cumsum(1)
        place = torch.searchsorted(below, q.expand(len(below), -1).contiguous())
        start = values.gather(1, place.clamp(max=values.shape[1] - 1))
        ends = below.new_tensor([0.1, 0.9]).expand(len(below), -1).contiguous()
        spread = values.gather(1, torch.searchsorted(below, ends)).diff(dim=1)
        step = (NEAR * spread).clamp(min=1e-9) + 1e-9 * start.abs()
        return start, step

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the nodes of all parts."""
        nodes = [part.nodes() for part in self.parts]
        values = torch.cat([values.double() for values, _ in nodes], 1)
        shares = zip(nodes, self.log_weight.T, strict=True)
        weights = [weight.double() + share[:, None] for (_, weight), share in shares]
        return values, torch.cat(weights, 1)

    def quantile(self, q: Tensor) -> Tensor:
        """Return quantiles, of discrete values by their masses."""
        log_mass = self.log_mass()
        if log_mass is not None:
            return DiscreteCells(log_mass).quantile(q)
        return super().quantile(q)

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
