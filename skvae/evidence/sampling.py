"""Importance sampling of a block of rows, with as many samples as each one needs.

The draws of a row are divided into two *halves*. Whatever is decided about one half,
how many draws it gets and whether the proposal is good enough, is decided by the draws
of the other one. If a half decided about itself, it would stop where a part of the
posterior happens to be missing from it, since its weights look even then, and p̂ would
be too low on average.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.evidence.blocks import draws_at_once, equal_blocks, filled_rows
from skvae.evidence.importance import Estimate, summarise
from skvae.evidence.noise import RowNoise
from skvae.model import VAE, ClosedFormPart
from skvae.model.distributions import LatentDistribution

__all__ = [
    "NEGLIGIBLE_SHARE",
    "Budget",
    "DrawSampler",
    "Halves",
    "Sampler",
    "WeightSampler",
    "merged",
    "of_other_half",
    "settle",
]

GROWTH = 4  # the largest factor by which one step enlarges a half
SAFETY = 1.3  # of the number of draws
HEAVIEST = 0.7  # k̂, beyond which no number of draws is enough
SURE = 128  # draws that tell whether k̂ is that large
K_ERROR = 0.1  # of a k̂ of few draws
# Standard errors by which a row has to be off a threshold, and draws of a half that can
# tell.
SURE_ERRORS, SURE_DRAWS = 5.0, 32
# If the latent part has a smaller share of a row, its error does not matter.
NEGLIGIBLE_SHARE = 0.05
# Rows × draws at a time: of the last rows, and what their number is a multiple of.
FEW = 512
DRAW_GROUP = 16


@dataclass(frozen=True)
class Budget:
    """How many samples a row may get, and when they are enough.

    Attributes
    ----------
    n_samples, max_samples : int
        Smallest number of draws of a half of the row, and largest number of the row.
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

    def of_half(self) -> int:
        """Return the smallest number of draws of a half."""
        return max(1, min(self.n_samples, self.max_samples // 2))


def swapped(values: Tensor) -> Tensor:
    """Return for each of 2B halves the value of the other half of its row."""
    return values.roll(len(values) // 2)


class Halves(ABC):
    """Two independent estimates of each of B rows.

    All first halves come before all second ones.

    Attributes
    ----------
    estimate : Estimate
        Of the 2B halves.
    """

    estimate: Estimate

    @abstractmethod
    def extend(self, totals: Tensor) -> None:
        """Enlarge halves that have fewer draws than their entry of `totals` (2B,)."""


def of_other_half(halves: Halves) -> Tensor:
    """Return log p̂(x) of the latent part as the other half of the row has it, (2, B).

    Decisions about a half read this, and nothing of the half itself.
    """
    return halves.estimate.log_density.view(2, -1).flip(0)


class Sampler(ABC):
    """Estimates of log p(x) of the latent part for the rows of a block."""

    @abstractmethod
    def halves(self, budget: Budget) -> Halves:
        """Begin with the smallest number of draws that is allowed."""

    def estimate(self, budget: Budget, closed_form: ClosedFormPart) -> Estimate:
        """Estimate log p(x) of all rows, which need no better proposal.

        Parameters
        ----------
        budget : Budget
            What may be spent on a row.
        closed_form : ClosedFormPart
            The closed-form part of the rows: what they need no latents for.
        """
        halves = self.halves(budget)
        every = torch.ones_like(halves.estimate.n_samples, dtype=torch.bool)
        settle(halves, every, budget, closed_form, last=True)
        return merged(halves.estimate)


def settle(
    halves: Halves,
    settled: Tensor,
    budget: Budget,
    closed_form: ClosedFormPart,
    *,
    last: bool,
    threshold: Tensor | None = None,
) -> Tensor:
    """Draw until the tolerance is met; return which halves are still settled.

    Parameters
    ----------
    halves : Halves
        First draws; more are added.
    settled : Tensor of bool of shape (2B,)
        Halves that get more draws where they need them.
    budget : Budget
        What may be spent on a row. Unless it is patient, a half that would need more is
        not settled.
    closed_form : ClosedFormPart
        Of the rows.
    last : bool
        Whether there is no better proposal. If there is one, a half is not settled
        where its weights have too heavy a tail.
    threshold : Tensor of shape (B,), default=None
        If given, all that is asked is on which side of it log p(x) is: the tolerance is
        a share of the distance.
    """
    most = max(1, budget.max_samples // 2)
    while True:
        estimate = halves.estimate
        n_draws = estimate.n_samples.clone()  # it changes with the draws
        share = closed_form.latent_share(of_other_half(halves)).flatten()
        tol = torch.full_like(share, budget.tol)
        for_tail = _wanted_for_tail(estimate, share)
        if threshold is not None:
            log_density = closed_form.mix(estimate.log_density.view(2, -1))
            distance = swapped((log_density - threshold).abs().flatten())
            sure = torch.maximum(tol, distance / SURE_ERRORS)
            # The errors of fewer draws are not to be trusted so far.
            tol = sure.where(swapped(n_draws) >= SURE_DRAWS, tol)
        for_error = _wanted_for_error(estimate, share, tol)
        wanted = torch.maximum(for_error, for_tail)
        if not budget.patient:
            settled = settled & (wanted <= most)
        elif not last:
            settled = settled & (for_tail <= most)
        wanted = wanted.clamp(max=GROWTH * n_draws)
        wanted = _rounded(wanted, budget.of_half()).clamp(max=most)
        more = settled & (wanted > n_draws)
        halves.extend(torch.where(more, wanted, n_draws))
        if (halves.estimate.n_samples == n_draws).all():
            return settled


def _wanted_for_error(estimate: Estimate, share: Tensor, tol: Tensor) -> Tensor:
    """Return the number of draws that the tolerance asks for, shape (2B,).

    Like all that is wanted of a half, it is read from the other half. The error of a
    half may be √2 times that of the row.
    """
    error, n_draws = swapped(estimate.standard_error), swapped(estimate.n_samples)
    factor = SAFETY * (share * error / tol).square() / 2
    # Written so that an error of nan asks for more draws, too.
    return torch.where(error.isfinite(), factor * n_draws, torch.inf)


def _wanted_for_tail(estimate: Estimate, share: Tensor) -> Tensor:
    """Return the number of draws that the tail of the weights asks for, shape (2B,).

    Weights with a tail of shape k are read reliably from 10^(1/(1−k)) draws of a row.
    Beyond `HEAVIEST`, no number is enough, but few draws do not tell that for sure.
    """
    k, n_draws = swapped(estimate.pareto_k), swapped(estimate.n_samples).double()
    wanted = 0.5 * 10 ** (1 / (1 - (k + K_ERROR).clamp(max=HEAVIEST)))
    beyond = torch.where(n_draws < SURE, GROWTH * n_draws, torch.inf)
    wanted = torch.where(k < HEAVIEST, wanted, beyond)
    return wanted.where((share >= NEGLIGIBLE_SHARE) & ~k.isnan(), 0.0)


def _rounded(n_draws: Tensor, least: int) -> Tensor:
    """Round up to `least` times 1, 1.5, 2, 3, 4, …, so that many rows have as many."""
    factor = (n_draws / least).clamp(min=1)
    octave = factor.log2().ceil().exp2()
    factor = torch.where(factor <= 0.75 * octave, 0.75 * octave, octave)
    return (least * factor).ceil().long()


def merged(halves: Estimate) -> Estimate:
    """Return the mean of the two halves of each row.

    The bias of its logarithm is estimated by the jackknife: that of the two halves is
    twice as large, on average.

    References
    ----------
    M. H. Quenouille, 1956. Notes on bias in estimation.
    """
    n_rows = len(halves.n_samples) // 2
    rows = filled_rows(n_rows, halves.n_samples.device)
    first, second = (vars(halves[rows + i * n_rows]) for i in (0, 1))
    log_sum = torch.logaddexp(first["log_density"], second["log_density"])
    # Where both are −∞, each counts for a half.
    shares = [
        (half["log_density"] - log_sum).exp().nan_to_num(0.5)
        for half in (first, second)
    ]
    (a, first), (b, second) = zip(shares, (first, second), strict=True)
    error = torch.hypot(a * first["standard_error"], b * second["standard_error"])
    log_density = log_sum - math.log(2)
    of_halves = 0.5 * (first["log_density"] + second["log_density"])
    bias = (of_halves - log_density).nan_to_num(0.0)
    size = a.square() / first["effective_sample_size"]
    size += b.square() / second["effective_sample_size"]
    return Estimate(
        log_density=log_density,
        standard_error=error,
        bias=bias,
        effective_sample_size=size.reciprocal().clamp(min=1),
        pareto_k=_mean_of_known(first["pareto_k"], second["pareto_k"]),
        n_samples=first["n_samples"] + second["n_samples"],
    )[:n_rows]


def _mean_of_known(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean of two numbers, or that one which is not nan."""
    mean = torch.where(a == b, a, 0.5 * (a + b))  # also of two infinite ones
    return torch.where(a.isnan(), b, torch.where(b.isnan(), a, mean))


@dataclass(frozen=True)
class WeightSampler(Sampler):
    """Importance sampling by draws that can be told by their numbers.

    Attributes
    ----------
    x : Tensor of shape (B, D)
        Rows.
    noise : RowNoise
        The rows' noise.
    """

    x: Tensor
    noise: RowNoise

    def halves(self, budget: Budget) -> "DrawnHalves":
        """Make the first draws of each half."""
        return DrawnHalves(self, budget.of_half())

    def estimate(self, budget: Budget, closed_form: ClosedFormPart) -> Estimate:
        """Estimate log p(x) of all rows; of one piece where nothing is decided."""
        if budget.n_samples < budget.max_samples:
            return super().estimate(budget, closed_form)
        rows = torch.arange(len(self.x), device=self.x.device)
        return summarise(self.log_w(self.noise.stream(2), rows, budget.max_samples))

    @abstractmethod
    def log_w(self, noise: RowNoise, rows: Tensor, end: int, begin: int = 0) -> Tensor:
        """Return the log-weights of draws number `begin` to `end`, float64.

        Parameters
        ----------
        noise : RowNoise
            Noise of the rows that are asked for, b of them.
        rows : Tensor of shape (b,)
            Numbers of these rows.
        end, begin : int
            Numbers of the draw after the last one, and of the first one.

        Returns
        -------
        log_w : Tensor of shape (end - begin, b)
            Log-weights.
        """


@dataclass(frozen=True)
class DrawSampler(WeightSampler):
    """Draws from a distribution that was prepared for the rows, in model units.

    Attributes
    ----------
    model : VAE
        The density.
    distribution : LatentDistribution
        The proposal from which the latents are drawn.
    """

    model: VAE
    distribution: LatentDistribution

    def log_w(self, noise: RowNoise, rows: Tensor, end: int, begin: int = 0) -> Tensor:
        """Return log-weights; so many draws are decoded at a time as stay in the cache.

        The parameters are those of `WeightSampler.log_w`.
        """
        at_once = draws_at_once(self.x.device)

        def of_block(places: Tensor) -> Tensor:
            chosen = rows[places]
            proposal, drawn = self.distribution.select(chosen), []
            for first in range(begin, end, at_once):
                last = min(first + at_once, end)
                points = noise[places].points(
                    self.distribution.noise_dim, first, last, like=self.x
                )
                cells = noise[places].cells(first)
                draw = self.model.draw_from(proposal, self.x[chosen], points, cells)
                drawn.append(draw.log_w.double())
            return torch.cat(drawn)

        many, few = (_rows_at_once(end - begin, most) for most in (at_once, FEW))
        places = torch.arange(len(rows), device=rows.device)
        parts = [of_block(block) for block in equal_blocks(places, many, few)]
        return torch.cat(parts, 1)[:, : len(rows)]


class DrawnHalves(Halves):
    """Two halves of the draws of each row, with noise of their own.

    Parameters
    ----------
    sampler : WeightSampler
        Draws.
    n_draws : int
        Number of first draws of a half.
    """

    def __init__(self, sampler: WeightSampler, n_draws: int) -> None:
        self.sampler = sampler
        row = torch.arange(len(sampler.x), device=sampler.x.device)
        self.row = row.repeat(2)
        self.noise = sampler.noise.stream(1).beside(sampler.noise.stream(2))
        every = torch.arange(len(self.row), device=row.device)
        log_w = sampler.log_w(self.noise, self.row, n_draws)
        self.groups = [(every, log_w)]  # halves with as many draws, and their weights
        self.estimate = summarise(log_w)

    def extend(self, totals: Tensor) -> None:
        """Draw more; halves with as many draws are kept together."""
        groups = []
        for halves, log_w in self.groups:
            n_draws = len(log_w)
            wanted = totals[halves].clamp(min=n_draws)
            for total in wanted.unique().tolist():
                index = (wanted == total).nonzero().squeeze(1)
                chosen, joined = halves[index], log_w[:, index]
                if total > n_draws:
                    more = self.sampler.log_w(
                        self.noise[chosen], self.row[chosen], total, n_draws
                    )
                    joined = torch.cat([joined, more])
                    self.estimate.update(chosen, summarise(joined))
                groups.append((chosen, joined))
        self.groups = groups


def _rows_at_once(n_draws: int, at_once: int) -> int:
    """Return of how many rows to decode `n_draws` each.

    The number of draws of all rows together is a multiple of `DRAW_GROUP`: a
    processor's last few numbers may be computed by other instructions.
    """
    step = DRAW_GROUP // math.gcd(n_draws, DRAW_GROUP)
    return -(-max(1, at_once // n_draws) // step) * step
