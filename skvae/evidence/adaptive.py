"""From rows to log-densities: cheap proposals first, better ones where needed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.evidence.blocks import concatenate, in_blocks
from skvae.evidence.importance import Estimate
from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals import (
    DefensiveProposal,
    EncoderProposal,
    Proposal,
    QuadratureProposal,
    RefinedProposal,
)
from skvae.evidence.sampling import NEGLIGIBLE_SHARE, Budget, Pilot
from skvae.model import VAE, ClosedFormPart

__all__ = ["RowEvidence", "Stage", "default_stages", "estimate_evidence"]

# If the background has a larger share of a row, the proposal may have missed modes of
# the latent part.
DOUBTFUL_SHARE = 0.1
PRIOR_SHARE = 0.1  # of the draws for a single latent, in the first stage
COARSE_GRID = 512  # points
MIN_DRAWS = 100  # of pilot and estimate together, for their k̂ to be acted upon
# If the latent part has a smaller share of a row, no search for its modes is made: it
# lies thirty nats below the background.
HOPELESS_SHARE = math.exp(-30)


@dataclass(frozen=True)
class Stage:
    """A proposal and what may be spent on it."""

    proposal: Proposal
    budget: Budget


@dataclass(frozen=True)
class RowEvidence:
    """What is known about B rows, all of shape (B,); see `skvae.Evidence`."""

    log_density: Tensor
    standard_error: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    n_samples: Tensor
    n_stages: Tensor
    background_share: Tensor
    unreliable: Tensor


def default_stages(budget: Budget, n_latents: int) -> list[Stage]:
    """Return proposals in order of their cost.

    They are the encoder, a Gaussian fitted to the row, a mixture adapted to the weights
    of its draws, and a mixture that has modes found from the prior. For a single latent
    they are the encoder mixed with the prior, two grids, and the last mixture.
    """

    def impatient(max_samples: int) -> Budget:
        most = min(max_samples, budget.max_samples)
        return replace(budget, max_samples=most, patient=False)

    n_annealed_steps = min(12 * n_latents, 64)
    search = RefinedProposal(n_rounds=2, n_annealed_steps=n_annealed_steps)
    if n_latents == 1:
        # A single latent follows a table of several columns along a curve of many
        # turns, so that its posteriors have many modes. Draws from the prior notice
        # those that the encoder misses, and a grid misses none of them.
        coarse = QuadratureProposal(n_points=min(COARSE_GRID, budget.max_samples))
        fine = QuadratureProposal(n_points=budget.max_samples)
        return [
            Stage(DefensiveProposal(PRIOR_SHARE), impatient(4 * budget.n_samples)),
            Stage(coarse, budget),
            Stage(fine, budget),
            Stage(search, budget),
        ]
    return [
        Stage(EncoderProposal(), impatient(4 * budget.n_samples)),
        Stage(RefinedProposal(), impatient(2048)),
        Stage(RefinedProposal(n_rounds=2), budget),
        Stage(search, budget),
    ]


@torch.no_grad()
def estimate_evidence(
    model: VAE, x: Tensor, noise: RowNoise, stages: Sequence[Stage]
) -> RowEvidence:
    """Estimate log p(x), row by row, in blocks of bounded size, a thread each.

    All rows go through the first stage. Rows with heavy-tailed weights and, unless
    the stage's budget is patient, rows whose error is too large go on to the next.
    So do rows that the background explains better, and from the second stage on they
    go to the last, unless the latent part is hopeless. All decisions read the row
    alone, so that its value does not depend on the others, and pilot draws alone, so
    that they do not bias the estimate.

    Parameters
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, D)
        Rows, in model units.
    noise : RowNoise
        The rows' noise.
    stages : sequence of Stage
        Proposals, the cheapest first.
    """
    closed_form = model.closed_form(x)
    result: Estimate | None = None
    n_stages = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    # The stage that each row waits for; beyond the last, it is settled.
    waits_for = torch.zeros_like(n_stages)
    for number, stage in enumerate(stages):
        rows = (waits_for == number).nonzero().squeeze(1)
        if not len(rows):
            continue
        stream = noise.stream(number)

        def estimate_of(
            part: Tensor,
            number: int = number,
            stage: Stage = stage,
            noise: RowNoise = stream,
        ) -> _Staged:
            sampler = stage.proposal.sampler(model, x[part], noise[part])
            if len(stages) == 1:
                estimate = sampler.estimate(stage.budget)
                return _Staged(estimate, torch.ones_like(part))
            pilot = sampler.pilot(stage.budget)
            following = _following(pilot, closed_form[part], number, stages)
            settled = following == len(stages)
            estimate = sampler.fresh(pilot, settled)
            # A heavy tail may show only in pilot and fresh draws together. This is the
            # one decision that reads draws which are averaged; it is rare.
            share = closed_form[part].latent_share(estimate.log_density)
            heavy = estimate.heavy_tailed() & (share >= NEGLIGIBLE_SHARE)
            heavy &= estimate.n_draws >= MIN_DRAWS
            following = torch.where(settled & heavy, number + 1, following)
            return _Staged(estimate, following)

        parts = in_blocks(estimate_of, rows, stage.proposal.draws_at_once)
        estimate = concatenate([part.estimate for part in parts])
        if result is None:
            result = estimate
        else:
            result.update(rows, estimate)
        n_stages[rows] = number + 1
        waits_for[rows] = torch.cat([part.following for part in parts])
    assert result is not None, "there is no stage"
    return _finish(closed_form, result, n_stages)


@dataclass(frozen=True)
class _Staged:
    """Estimates of the rows of a block, and the stage that each waits for."""

    estimate: Estimate
    following: Tensor


def _following(
    pilot: Pilot, closed_form: ClosedFormPart, number: int, stages: Sequence[Stage]
) -> Tensor:
    """Return the stage that each row goes on to; beyond the last, it is settled.

    Parameters
    ----------
    pilot : Pilot
        What the draws of this stage say.
    closed_form : ClosedFormPart
        The closed-form part of the rows.
    number : int
        This stage.
    stages : sequence of Stage
        All stages.
    """
    share = closed_form.latent_share(pilot.estimate.log_density)
    poor = pilot.estimate.heavy_tailed()
    if not stages[number].budget.patient:
        poor |= ~pilot.enough
    doubtful = 1 - share > DOUBTFUL_SHARE
    if number:
        doubtful &= share >= HOPELESS_SHARE
        poor &= share >= NEGLIGIBLE_SHARE
    following = torch.where(poor, number + 1, len(stages))
    # The stages between improve the weights, but do not look for other modes.
    elsewhere = max(number + 1, len(stages) - 1) if number else 1
    return torch.where(doubtful, elsewhere, following).clamp(max=len(stages))


def _finish(
    closed_form: ClosedFormPart, latent: Estimate, n_stages: Tensor
) -> RowEvidence:
    share = closed_form.latent_share(latent.log_density)
    return RowEvidence(
        log_density=closed_form.mix(latent.log_density),
        standard_error=share * latent.standard_error,
        effective_sample_size=latent.effective_sample_size,
        pareto_k=latent.pareto_k,
        n_samples=latent.n_samples,
        n_stages=n_stages,
        background_share=1 - share,
        unreliable=latent.unreliable() & (share >= NEGLIGIBLE_SHARE),
    )
