"""From rows to log-densities: cheap proposals first, better ones where needed."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.evidence.importance import Estimate
from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals import EncoderProposal, Proposal, RefinedProposal
from skvae.evidence.sampling import BLOCK_DRAWS, NEGLIGIBLE_SHARE, Budget
from skvae.model import VAE
from skvae.model.threads import one_thread

__all__ = ["RowEvidence", "Stage", "default_stages", "estimate_evidence"]

# The background's share of a row above which modes of the latent part may be missing.
DOUBTFUL_SHARE = 0.1
# How far, in nats, the latent part may lie below the background before a search for
# better modes is given up.
HOPELESS = 100.0


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


def default_stages(budget: Budget) -> list[Stage]:
    """Return proposals in order of their cost.

    The encoder; a Gaussian fitted to the row; a mixture adapted to the weights of its
    draws; the same with modes from the prior.
    """

    def impatient(max_samples: int) -> Budget:
        most = min(max_samples, budget.max_samples)
        return replace(budget, max_samples=most, patient=False)

    return [
        Stage(EncoderProposal(), impatient(4 * budget.n_samples)),
        Stage(RefinedProposal(), impatient(2048)),
        Stage(RefinedProposal(n_rounds=2), budget),
        Stage(RefinedProposal(n_rounds=2, n_annealed_steps=64), budget),
    ]


@torch.no_grad()
def estimate_evidence(
    model: VAE, x: Tensor, noise: RowNoise, stages: Sequence[Stage]
) -> RowEvidence:
    """Estimate log p(x), row by row, in blocks of bounded size, a thread each.

    All rows go through the first stage. Those that it leaves unsettled go on to the
    next: rows with heavy-tailed weights, rows that the background explains better,
    and, unless the stage's budget is patient, rows whose error is too large. All
    decisions read the row alone, so its value does not depend on the others.

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
    log_background = model.background_log_share(x).double()
    result: Estimate | None = None
    n_stages = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    for number, stage in enumerate(stages):
        stream = noise.stream(number)

        @torch.no_grad()  # once more: the setting belongs to a thread
        def estimate_of(
            part: Tensor, stage: Stage = stage, noise: RowNoise = stream
        ) -> Estimate:
            return stage.proposal.estimate(model, x[part], noise[part], stage.budget)

        estimate = _in_blocks(estimate_of, rows, stage.proposal.draws_at_once)
        n_stages[rows] += 1
        if result is None:
            result = estimate
        else:
            result.update(rows, estimate)
        share = model.latent_share(estimate.log_density, log_background[rows])
        settled = ~estimate.heavy_tailed() & (1 - share <= DOUBTFUL_SHARE)
        if not stage.budget.patient:
            settled &= share * estimate.standard_error <= stage.budget.tol
        if number:
            settled |= estimate.log_density < log_background[rows] - HOPELESS
        rows = rows[~settled]
        if not len(rows):
            break
    assert result is not None, "there is no stage"
    return _finish(model, x, result, log_background, n_stages)


def _in_blocks(
    function: Callable[[Tensor], Estimate], rows: Tensor, n_draws: int
) -> Estimate:
    """Apply a function to blocks of rows, in as many threads as torch may use."""
    parts = rows.split(max(1, BLOCK_DRAWS[rows.device.type] // n_draws))
    with one_thread() as n_threads:
        if n_threads == 1 or len(parts) == 1 or rows.device.type != "cpu":
            return Estimate.concatenate([function(part) for part in parts])
        with ThreadPoolExecutor(n_threads) as pool:
            return Estimate.concatenate(list(pool.map(function, parts)))


def _finish(
    model: VAE, x: Tensor, latent: Estimate, log_background: Tensor, n_stages: Tensor
) -> RowEvidence:
    share = model.latent_share(latent.log_density, log_background)
    return RowEvidence(
        log_density=model.with_background(latent.log_density, x),
        standard_error=share * latent.standard_error,
        effective_sample_size=latent.effective_sample_size,
        pareto_k=latent.pareto_k,
        n_samples=latent.n_samples,
        n_stages=n_stages,
        background_share=1 - share,
        unreliable=latent.heavy_tailed() & (share >= NEGLIGIBLE_SHARE),
    )
