"""Importance sampling of a block of rows, with as many samples as each one needs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.evidence.blocks import BLOCK_DRAWS
from skvae.evidence.importance import Estimate, summarise
from skvae.evidence.noise import RowNoise
from skvae.model import VAE
from skvae.model.distributions import LatentDistribution

__all__ = ["NEGLIGIBLE_SHARE", "Budget", "sample_within"]

GROWTH = 4  # the largest factor by which one step enlarges a row's sample
# If the latent part has a smaller share of a row, its error does not matter.
NEGLIGIBLE_SHARE = 0.05


@dataclass(frozen=True)
class Budget:
    """How many samples a row may get, and when they are enough.

    Attributes
    ----------
    n_samples, max_samples : int
        First and largest number of draws per row.
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


def sample_within(
    budget: Budget,
    model: VAE,
    distribution: LatentDistribution,
    x: Tensor,
    noise: RowNoise,
) -> Estimate:
    """Draw latents until the error is small or the budget spent.

    A row begins with `n_samples` draws. As long as its standard error is above `tol`,
    or its weights have a heavy tail, the number is multiplied by two or four, up to
    `max_samples`. The decision reads the row alone.

    Parameters
    ----------
    budget : Budget
        Numbers of samples and the tolerance.
    model : VAE
        The density.
    distribution : LatentDistribution
        The proposal from which the latents are drawn.
    x : Tensor of shape (B, D)
        Rows, in model units.
    noise : RowNoise
        The rows' noise.
    """
    closed_form = model.closed_form(x)
    rows = torch.arange(len(x), device=x.device)
    block_draws = BLOCK_DRAWS[x.device.type]

    def log_w(part: Tensor, begin: int, end: int) -> Tensor:
        proposal, drawn = distribution.select(part), []
        for first in range(begin, end, block_draws):
            last = min(first + block_draws, end)
            points = noise[part].points(distribution.noise_dim, first, last, like=x)
            draw = model.draw_from(proposal, x[part], points)
            drawn.append(draw.log_w.double())
        return torch.cat(drawn)

    def in_parts(rows: Tensor, begin: int, end: int) -> Tensor:
        parts = rows.split(max(1, block_draws // (end - begin)))
        return torch.cat([log_w(part, begin, end) for part in parts], 1)

    first = in_parts(rows, 0, min(budget.n_samples, budget.max_samples))
    result = summarise(first)
    pending = [(rows, first)]
    while pending:
        rows, drawn = pending.pop()
        share = closed_form[rows].latent_share(result.log_density[rows])
        error = share * result.standard_error[rows]
        heavy = result.heavy_tailed()[rows] & (share >= NEGLIGIBLE_SHARE)
        for total, group in _next_totals(error, heavy, len(drawn), budget).items():
            more = in_parts(rows[group], len(drawn), total)
            joined = torch.cat([drawn[:, group], more])
            result.update(rows[group], summarise(joined))
            pending.append((rows[group], joined))
    return result


def _next_totals(
    error: Tensor, heavy: Tensor, n_samples: int, budget: Budget
) -> dict[int, Tensor]:
    """Return the rows that need more samples, by the number that they need in all.

    The error falls as one over the square root of the number of samples, which says how
    many are needed. But the error is itself an estimate, so that no step multiplies the
    number by more than `GROWTH`. A heavy tail may be due to chance: more samples tell.
    If a row would need more samples than the budget has, it gets no more, unless the
    budget is patient.

    Parameters
    ----------
    error : Tensor of shape (B,)
        Standard errors of log p(x), which are the latent part's times its share.
    heavy : Tensor of bool of shape (B,)
        Whether weights have a heavy tail that matters.
    n_samples : int
        Samples that the rows have.
    budget : Budget
        Largest number and tolerance.

    Returns
    -------
    groups : dict
        Number of samples in all, to the indices of the rows that are to have it.
    """
    if n_samples >= budget.max_samples:
        return {}
    # Written so that a row whose error is nan needs more samples, too.
    poor = ~(error <= budget.tol)
    need = torch.where(error.isfinite(), (error / budget.tol).square(), GROWTH)
    need = torch.where(heavy, need.clamp(min=GROWTH), need)
    poor |= heavy
    if not budget.patient:
        poor &= need * n_samples <= budget.max_samples
    doublings = need.log2().ceil().clamp(1, math.log2(GROWTH)).long()
    groups: dict[int, Tensor] = {}
    for doubling in doublings[poor].unique().tolist():
        total = min(n_samples << doubling, budget.max_samples)
        chosen = poor & (doublings == doubling)
        if total in groups:
            chosen |= groups[total]
        groups[total] = chosen
    return {total: chosen.nonzero().squeeze(1) for total, chosen in groups.items()}
