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
    EncoderProposal,
    Proposal,
    QuadratureProposal,
    RefinedProposal,
)
from skvae.evidence.sampling import NEGLIGIBLE_SHARE, Budget
from skvae.model import VAE, ClosedFormPart

__all__ = ["RowEvidence", "Stage", "default_stages", "estimate_evidence"]

# If the background has a larger share of a row, the proposal may have missed modes of
# the latent part.
DOUBTFUL_SHARE = 0.1
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
    of its draws, a grid (for one latent), and a mixture that has modes found from the
    prior.
    """

    def impatient(max_samples: int) -> Budget:
        most = min(max_samples, budget.max_samples)
        return replace(budget, max_samples=most, patient=False)

    n_annealed_steps = min(12 * n_latents, 64)
    # A single latent follows a table of several columns along a curve of many turns, so
    # that its posteriors have many modes. A grid misses none of them.
    grid = QuadratureProposal(n_points=budget.max_samples)
    return [
        Stage(EncoderProposal(), impatient(4 * budget.n_samples)),
        Stage(RefinedProposal(), impatient(2048)),
        Stage(RefinedProposal(n_rounds=2), budget),
        *([Stage(grid, budget)] if n_latents == 1 else []),
        Stage(RefinedProposal(n_rounds=2, n_annealed_steps=n_annealed_steps), budget),
    ]


@torch.no_grad()
def estimate_evidence(
    model: VAE, x: Tensor, noise: RowNoise, stages: Sequence[Stage]
) -> RowEvidence:
    """Estimate log p(x), row by row, in blocks of bounded size, a thread each.

    All rows go through the first stage. A row goes on to the next stage if its weights
    have a heavy tail. If the stage's budget is not patient, it also goes on if its
    error is above the tolerance.

    A row of which the background explains more than a tenth may have lost a mode of the
    latent part. It goes from the first stage to the second, and from there straight to
    the last, which searches for modes. It stops at the second stage if the latent part
    is then so far below the background that a search is hopeless.

    All decisions read the row alone, so that its value does not depend on other rows.

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
            part: Tensor, stage: Stage = stage, noise: RowNoise = stream
        ) -> Estimate:
            return stage.proposal.estimate(model, x[part], noise[part], stage.budget)

        parts = in_blocks(estimate_of, rows, stage.proposal.draws_at_once)
        estimate = concatenate(parts)
        if result is None:
            result = estimate
        else:
            result.update(rows, estimate)
        n_stages[rows] = number + 1
        share = closed_form[rows].latent_share(estimate.log_density)
        poor = estimate.heavy_tailed()
        if not stage.budget.patient:
            poor |= ~(share * estimate.standard_error <= stage.budget.tol)
        doubtful = 1 - share > DOUBTFUL_SHARE
        if number:
            doubtful &= share >= HOPELESS_SHARE
            poor &= share >= NEGLIGIBLE_SHARE
        following = torch.where(poor, number + 1, len(stages))
        # The stages between improve the weights, but do not look for other modes.
        elsewhere = max(number + 1, len(stages) - 1) if number else 1
        waits_for[rows] = torch.where(doubtful, elsewhere, following)
    assert result is not None, "there is no stage"
    return _finish(closed_form, result, n_stages)


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
        unreliable=latent.heavy_tailed() & (share >= NEGLIGIBLE_SHARE),
    )
