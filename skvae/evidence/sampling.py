"""Importance sampling of a block of rows, with as many samples as each one needs.

Whatever is decided about a row, how many draws it gets and whether the proposal is good
enough, is decided by *pilot* draws. The row's estimate is made of other, fresh draws.
If the same draws did both, a row would stop where a part of its posterior happens to be
missing from them, since the weights look even then, and p̂ would be too low on average.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.evidence.blocks import BLOCK_DRAWS
from skvae.evidence.importance import Estimate, summarise
from skvae.evidence.noise import RowNoise
from skvae.evidence.pareto import pareto_k
from skvae.model import VAE
from skvae.model.distributions import LatentDistribution

__all__ = ["NEGLIGIBLE_SHARE", "Budget", "DrawSampler", "Pilot", "Sampler"]

GROWTH = 4  # the largest factor by which one step enlarges a row's pilot
# So many draws tell how many fresh ones are needed, unless the weights' tail is heavy.
PILOT_DRAWS = 256
SAFETY = 1.2  # of the number of fresh draws
# A k̂ of fewer pilot draws that is below this needs no more of them to be believed.
CLEARLY_LIGHT = 0.25
# If the latent part has a smaller share of a row, its error does not matter.
NEGLIGIBLE_SHARE = 0.05


@dataclass(frozen=True)
class Budget:
    """How many samples a row may get, and when they are enough.

    Attributes
    ----------
    n_samples, max_samples : int
        Smallest and largest number of draws per row; the pilot has as many at most.
    tol : float
        Standard error, in nats, that is small enough.
    patient : bool
        What happens to a row that would need more than `max_samples`. If True, it gets
        `max_samples`, and a large error is accepted. If False, no more samples are
        spent on it, and it is left to a better proposal.
    """

    n_samples: int
    max_samples: int
    tol: float
    patient: bool = True


@dataclass(frozen=True)
class Pilot:
    """What pilot draws say of the rows of a block.

    Attributes
    ----------
    estimate : Estimate
        Of the pilot draws.
    n_fresh : Tensor of int64 of shape (B,)
        Number of fresh draws that brings the standard error to the tolerance, or the
        largest one that is allowed.
    enough : Tensor of bool of shape (B,)
        Whether so many draws are expected to bring it there.
    groups : list of (Tensor of shape (b,), Tensor of shape (K, b))
        Row numbers and the log-weights of their pilot draws.
    """

    estimate: Estimate
    n_fresh: Tensor
    enough: Tensor
    groups: list[tuple[Tensor, Tensor]]


class Sampler(ABC):
    """Estimates of log p(x) of the latent part for the rows of a block."""

    @abstractmethod
    def pilot(self, budget: Budget) -> Pilot:
        """Make the estimates by which rows are judged."""

    @abstractmethod
    def fresh(self, pilot: Pilot, chosen: Tensor) -> Estimate:
        """Return the pilot's estimates, those of chosen rows made anew.

        Parameters
        ----------
        pilot : Pilot
            Says how many draws each row needs.
        chosen : Tensor of bool of shape (B,)
            Rows whose estimates are kept.
        """

    def estimate(self, budget: Budget) -> Estimate:
        """Estimate log p(x) of all rows, which need no better proposal."""
        pilot = self.pilot(budget)
        return self.fresh(pilot, torch.ones_like(pilot.enough))


@dataclass(frozen=True)
class DrawSampler(Sampler):
    """Importance sampling by a distribution that was prepared for the rows.

    Attributes
    ----------
    model : VAE
        The density.
    distribution : LatentDistribution
        The proposal from which the latents are drawn.
    x : Tensor of shape (B, D)
        Rows, in model units.
    noise : RowNoise
        The rows' noise.
    """

    model: VAE
    distribution: LatentDistribution
    x: Tensor
    noise: RowNoise

    def pilot(self, budget: Budget) -> Pilot:
        """Draw until it is known how many fresh draws each row needs.

        A row begins with `n_samples` draws. Where they are too few to tell the standard
        error, or where the weights have a heavy tail, which may be due to chance, their
        number is multiplied by two or four, up to `max_samples`. The decision reads the
        row alone.
        """
        closed_form = self.model.closed_form(self.x)
        rows = torch.arange(len(self.x), device=self.x.device)
        n_first = min(budget.n_samples, budget.max_samples)
        first = self._log_w(self.noise.stream(1), rows, n_first)
        estimate = summarise(first)
        n_fresh = torch.full_like(rows, n_first)
        enough = torch.ones_like(rows, dtype=torch.bool)
        groups = []
        pending = [(rows, first)]
        while pending:
            rows, log_w = pending.pop()
            known = estimate[rows]
            share = closed_form[rows].latent_share(known.log_density)
            need = _factor_needed(share * known.standard_error, budget.tol)
            heavy = known.heavy_tailed() & (share >= NEGLIGIBLE_SHARE)
            unclear = ~(known.pareto_k <= CLEARLY_LIGHT) & (share >= NEGLIGIBLE_SHARE)
            totals = _pilot_totals(need, heavy, unclear, len(log_w), budget)
            for total in totals.unique().tolist():
                group = (totals == total).nonzero().squeeze(1)
                chosen = rows[group]
                if total > len(log_w):
                    more = self._log_w(self.noise.stream(1), chosen, total, len(log_w))
                    joined = torch.cat([log_w[:, group], more])
                    estimate.update(chosen, summarise(joined))
                    pending.append((chosen, joined))
                else:
                    enough[chosen] = need[group] * len(log_w) <= budget.max_samples
                    factor = torch.where(heavy, need.clamp(min=1), need)[group]
                    n_fresh[chosen] = _n_fresh(factor, len(log_w), budget)
                    groups.append((chosen, log_w[:, group]))
        return Pilot(estimate, n_fresh, enough, groups)

    def fresh(self, pilot: Pilot, chosen: Tensor) -> Estimate:
        """Average the weights of fresh draws; of the tail, all draws tell."""
        estimate = pilot.estimate
        for rows, log_w in pilot.groups:
            for n_draws in pilot.n_fresh[rows].unique().tolist():
                group = chosen[rows] & (pilot.n_fresh[rows] == n_draws)
                index = group.nonzero().squeeze(1)
                if not len(index):
                    continue
                drawn = self._log_w(self.noise.stream(2), rows[index], n_draws)
                together = torch.cat([log_w[:, index], drawn])
                averaged = replace(
                    summarise(drawn),
                    pareto_k=pareto_k(together),
                    n_draws=torch.full_like(rows[index], len(together)),
                )
                estimate.update(rows[index], averaged)
        return estimate

    def estimate(self, budget: Budget) -> Estimate:
        """Estimate log p(x) of all rows; no pilot where there is nothing to decide."""
        if budget.n_samples < budget.max_samples:
            return super().estimate(budget)
        rows = torch.arange(len(self.x), device=self.x.device)
        return summarise(self._log_w(self.noise.stream(2), rows, budget.max_samples))

    def _log_w(self, noise: RowNoise, rows: Tensor, end: int, begin: int = 0) -> Tensor:
        """Return the log-weights of draws number `begin` to `end`, in cache's size."""
        at_once = BLOCK_DRAWS[self.x.device.type]

        def log_w(part: Tensor) -> Tensor:
            proposal, drawn = self.distribution.select(part), []
            for first in range(begin, end, at_once):
                last = min(first + at_once, end)
                points = noise[part].points(
                    self.distribution.noise_dim, first, last, like=self.x
                )
                draw = self.model.draw_from(proposal, self.x[part], points)
                drawn.append(draw.log_w.double())
            return torch.cat(drawn)

        parts = rows.split(max(1, at_once // (end - begin)))
        return torch.cat([log_w(part) for part in parts], 1)


def _factor_needed(error: Tensor, tol: float) -> Tensor:
    """Return by how much to multiply the draws for the error to fall to `tol`.

    The error falls as one over the square root of their number.
    """
    # Written so that a row whose error is nan needs more draws, too.
    return torch.where(error.isfinite(), (error / tol).square(), torch.inf)


def _pilot_totals(
    need: Tensor, heavy: Tensor, unclear: Tensor, n_draws: int, budget: Budget
) -> Tensor:
    """Return the number of pilot draws that each row is to have, shape (B,).

    Parameters
    ----------
    need : Tensor of shape (B,)
        See `_factor_needed`.
    heavy : Tensor of bool of shape (B,)
        Whether weights have a heavy tail that matters.
    unclear : Tensor of bool of shape (B,)
        Whether they may have one that few draws do not show.
    n_draws : int
        Pilot draws that the rows have.
    budget : Budget
        Largest number of draws. A row that would need more is left to a better
        proposal, unless the budget is patient.
    """
    more = heavy | (((need > 1) | unclear) & (n_draws < PILOT_DRAWS))
    # An error is itself an estimate: no step multiplies the number by more than GROWTH.
    factor = torch.where(heavy | unclear, need.clamp(min=GROWTH), need)
    if not budget.patient:
        more &= ~factor.isfinite() | (factor * n_draws <= budget.max_samples)
    doublings = factor.clamp(1, GROWTH).log2().ceil().clamp(min=1).long()
    total = (n_draws << doublings).clamp(max=budget.max_samples)
    return torch.where(more, total, n_draws)


def _n_fresh(need: Tensor, n_draws: int, budget: Budget) -> Tensor:
    """Return the number of fresh draws, `n_samples` times a power of two.

    If a row needs more draws than the budget has, it gets all of them if the budget is
    patient, and the smallest number if it is not.
    """
    least = min(max(budget.n_samples, GROWTH), budget.max_samples)
    # A little more than needed, since the error is an estimate, too.
    factor = (SAFETY * need * n_draws / least).clamp(1, budget.max_samples)
    total = (least << factor.log2().ceil().long()).clamp(max=budget.max_samples)
    if budget.patient:
        return total
    return torch.where(need * n_draws <= budget.max_samples, total, least)
