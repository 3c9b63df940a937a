"""From rows to log-densities: cheap proposals first, better ones where needed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.evidence.blocks import (
    concatenate,
    equal_blocks,
    filled_rows,
    in_threads,
)
from skvae.evidence.exact import exact_estimate
from skvae.evidence.importance import Estimate
from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals import (
    DefensiveProposal,
    EncoderProposal,
    Proposal,
    QuadratureProposal,
    RefinedProposal,
    SlotwiseProposal,
    search_from_prior,
)
from skvae.evidence.sampling import (
    NEGLIGIBLE_SHARE,
    Budget,
    Halves,
    Sampler,
    merged,
    of_other_half,
    settle,
)
from skvae.model import VAE, ClosedFormPart

__all__ = [
    "SURELY",
    "RowEvidence",
    "Stage",
    "closed_form_of",
    "default_stages",
    "estimate_by",
    "estimate_evidence",
]

# If the background has a larger share of a row, the proposal may have missed modes of
# the latent part.
DOUBTFUL_SHARE = 0.1
# Of the draws of the first stage: for a single latent, and for codes.
PRIOR_SHARE, CODE_PRIOR_SHARE = 0.1, 0.05
COARSE_GRID = 512  # points
SURELY = math.log(1000)  # nats, off a threshold
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
    bias: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    n_samples: Tensor
    n_stages: Tensor
    background_share: Tensor
    companion_share: Tensor
    unreliable: Tensor

    @classmethod
    def of_nothing(cls, n_rows: int) -> "RowEvidence":
        """Return the evidence of rows without an observed cell: log p is 0."""
        zero = torch.zeros(n_rows, dtype=torch.float64)
        one = torch.ones_like(zero)
        return cls(
            log_density=zero,
            standard_error=zero,
            bias=zero,
            effective_sample_size=one,
            pareto_k=torch.full_like(one, -torch.inf),
            n_samples=one.long(),
            n_stages=one.long(),
            background_share=zero,
            companion_share=zero,
            unreliable=zero > 0,
        )

    def __getitem__(self, rows: slice) -> "RowEvidence":
        """Return the evidence of some rows."""
        return RowEvidence(**{name: value[rows] for name, value in vars(self).items()})


def default_stages(
    budget: Budget, n_latents: int, n_first: int | None = None, *, codes: bool = False
) -> list[Stage]:
    """Return proposals in order of their cost.

    They are the encoder, a Gaussian fitted to the row, a mixture adapted to the weights
    of its draws, and a mixture that has modes found from the prior. For a single latent
    they are the encoder mixed with the prior, two grids, and the last mixture.

    Parameters
    ----------
    budget : Budget
        What may be spent on a row.
    n_latents : int
        Number of latents.
    n_first : int, default=None
        Number of draws that a half of a row begins with, if it is not the budget's.
    codes : bool, default=False
        Whether latents are codes. The stages are then the encoder mixed with the prior,
        and two searches slot by slot.
    """
    usual = budget.n_samples
    first = usual if n_first is None else min(usual, n_first)

    def impatient(max_samples: int, n_samples: int) -> Budget:
        most = min(max_samples, budget.max_samples)
        return replace(budget, n_samples=n_samples, max_samples=most, patient=False)

    if codes:
        return [
            Stage(DefensiveProposal(CODE_PRIOR_SHARE), impatient(8 * usual, first)),
            Stage(SlotwiseProposal(1, 1), impatient(64 * usual, 2 * usual)),
            Stage(SlotwiseProposal(3, 4), budget),
        ]
    search = search_from_prior(n_latents)
    if n_latents == 1:
        # A single latent follows a table of several columns along a curve of many
        # turns, so that its posteriors have many modes. Draws from the prior notice
        # those that the encoder misses, and a grid misses none of them.
        coarse = QuadratureProposal(n_points=min(COARSE_GRID, budget.max_samples))
        fine = QuadratureProposal(n_points=budget.max_samples)
        return [
            Stage(DefensiveProposal(PRIOR_SHARE), impatient(4 * usual, first)),
            Stage(coarse, budget),
            Stage(fine, budget),
            Stage(search, budget),
        ]
    return [
        Stage(EncoderProposal(), impatient(4 * usual, first)),
        Stage(RefinedProposal(n_steps=2, n_draws=16), impatient(16 * usual, 2 * usual)),
        Stage(RefinedProposal(), impatient(64 * usual, 4 * usual)),
        Stage(RefinedProposal(n_rounds=2), budget),
        Stage(search, budget),
    ]


def closed_form_of(model: VAE, x: Tensor) -> ClosedFormPart:
    """Return the closed-form part of rows, to the last bit whatever the others are.

    It has some more rows at its end, which are to be ignored.
    """
    return model.closed_form(x[filled_rows(len(x), x.device)])


@torch.no_grad()
def estimate_evidence(
    model: VAE,
    x: Tensor,
    noise: RowNoise,
    stages: Sequence[Stage],
    closed_form: ClosedFormPart | None = None,
    threshold: Tensor | None = None,
) -> RowEvidence:
    """Estimate log p(x), row by row, in blocks of bounded size, a thread each.

    All rows go through the first stage. Rows with heavy-tailed weights and, unless
    the stage's budget is patient, rows whose error is too large go on to the next.
    So do rows that the background explains better, and from the second stage on they
    go to the last, unless the latent part is hopeless.

    All decisions read the row alone, so that its value does not depend on the others.
    The draws of a row are divided into two halves, and what happens to one half is
    decided by the other one, so that decisions do not bias the estimate. One half of a
    row may be settled by an earlier stage than the other one.

    Parameters
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, D)
        Rows, in model units.
    noise : RowNoise
        The rows' noise.
    stages : sequence of Stage
        Proposals, the cheapest first; none where `VAE.encoder_is_exact` holds and
        nothing has to be sampled.
    closed_form : ClosedFormPart, default=None
        The closed-form part of the rows, if it is known already.
    threshold : Tensor of shape (B,), default=None
        If given, all that is asked is on which side of it log p(x) is: rows that are
        far from it are settled by fewer draws. It needs several stages, or none.
    """
    if closed_form is None:
        closed_form = closed_form_of(model, x)
    n_rows = len(x)
    every = torch.arange(2 * n_rows, device=x.device)
    if not stages:
        estimate = exact_estimate(model, x)
        return _finish(closed_form, estimate, estimate.n_samples)
    if len(stages) == 1:
        (stage,) = stages

        def sampler(part: Tensor) -> Sampler:
            return stage.proposal.sampler(model, x[part], noise.stream(0)[part])

        blocks = equal_blocks(every[:n_rows], *stage.proposal.n_rows)
        return estimate_by(sampler, blocks, n_rows, stage.budget, closed_form)
    result = Estimate.empty(2 * n_rows, x.device)
    # Of each half: first of all first halves, then of all second ones.
    n_stages = torch.zeros_like(every)
    # The stage that each half waits for; beyond the last, it is settled.
    waits_for = torch.zeros_like(every)
    for number, stage in enumerate(stages):
        is_waiting = waits_for == number
        rows = is_waiting.view(2, -1).any(0).nonzero().squeeze(1)
        if not len(rows):
            continue
        stream = noise.stream(number)

        def estimate_of(
            part: Tensor,
            number: int = number,
            stage: Stage = stage,
            noise: RowNoise = stream,
            is_waiting: Tensor = is_waiting,
        ) -> _Staged:
            sampler = stage.proposal.sampler(model, x[part], noise[part])
            halves = sampler.halves(stage.budget)
            index = torch.cat([part, part + n_rows])
            own = None if threshold is None else threshold[part]
            following = _following(halves, closed_form[part], number, len(stages))
            below = _surely_below(halves, closed_form[part], own, number)
            following[below] = len(stages)
            waiting = is_waiting[index] & (following == len(stages))
            settled = settle(
                halves,
                waiting,
                stage.budget,
                closed_form[part],
                last=number == len(stages) - 1,
                threshold=own,
            )
            settled |= below
            following = torch.where(waiting & ~settled, number + 1, following)
            return _Staged(index, halves.estimate, following)

        blocks = equal_blocks(rows, *stage.proposal.n_rows)
        for staged in in_threads(estimate_of, blocks):
            chosen = is_waiting[staged.index]
            index = staged.index[chosen]
            result.update(index, staged.estimate[chosen])
            n_stages[index] = number + 1
            waits_for[index] = staged.following[chosen]
    return _finish(closed_form, merged(result), n_stages.view(2, -1).amax(0))


@torch.no_grad()
def estimate_by(
    sampler: Callable[[Tensor], Sampler],
    blocks: Sequence[Tensor],
    n_rows: int,
    budget: Budget,
    closed_form: ClosedFormPart,
) -> RowEvidence:
    """Estimate log p(x) by one sampler for each block of rows, a thread each.

    Parameters
    ----------
    sampler : callable
        Takes numbers of rows and returns what samples them.
    blocks : sequence of Tensor of int
        Numbers of the rows of each block, in their order; the last one may repeat the
        last row.
    n_rows : int
        Number of all rows.
    budget : Budget
        What may be spent on a row.
    closed_form : ClosedFormPart
        Of the rows.
    """

    def of_block(part: Tensor) -> Estimate:
        return sampler(part).estimate(budget, closed_form[part])

    estimate = concatenate(in_threads(of_block, blocks))[:n_rows]
    return _finish(closed_form, estimate, torch.ones_like(estimate.n_samples))


@dataclass(frozen=True)
class _Staged:
    """Halves of the rows of a block: numbers, estimates, and where each goes next."""

    index: Tensor
    estimate: Estimate
    following: Tensor


def _following(
    halves: Halves, closed_form: ClosedFormPart, number: int, n_stages: int
) -> Tensor:
    """Return the stage of each half after its first draws; n_stages for this one.

    Where the background explains a row better, the proposal may have missed modes of
    the latent part. The stages between improve the weights, but do not look for other
    modes.

    Parameters
    ----------
    halves : Halves
        First draws.
    closed_form : ClosedFormPart
        The closed-form part of the rows.
    number : int
        This stage.
    n_stages : int
        Number of all stages.
    """
    log_density = of_other_half(halves)
    doubtful = closed_form.is_doubtful(log_density, DOUBTFUL_SHARE).flatten()
    if number:
        share = closed_form.latent_share(log_density).flatten()
        doubtful &= share >= HOPELESS_SHARE
    elsewhere = max(number + 1, n_stages - 1) if number else 1
    return torch.where(doubtful, elsewhere, n_stages)


def _surely_below(
    halves: Halves, closed_form: ClosedFormPart, threshold: Tensor | None, number: int
) -> Tensor:
    """Return which halves (2B,) are so far below a threshold that no search is made.

    What a search finds in rows that were searched before, as after the first stage,
    adds tenths of a nat, and a thousandfold would be needed.
    """
    log_density = of_other_half(halves)
    if threshold is None or not number:
        return torch.zeros_like(log_density, dtype=torch.bool).flatten()
    return (closed_form.mix(log_density) < threshold - SURELY).flatten()


def _finish(
    closed_form: ClosedFormPart, latent: Estimate, n_stages: Tensor
) -> RowEvidence:
    n_rows = len(n_stages)
    rows = filled_rows(n_rows, n_stages.device)
    closed_form, latent, n_stages = closed_form[rows], latent[rows], n_stages[rows]
    share = closed_form.latent_share(latent.log_density)
    return RowEvidence(
        log_density=closed_form.mix(latent.log_density),
        standard_error=share * latent.standard_error,
        bias=share * latent.bias,
        effective_sample_size=latent.effective_sample_size,
        pareto_k=latent.pareto_k,
        n_samples=latent.n_samples,
        n_stages=n_stages,
        background_share=closed_form.background_share(latent.log_density),
        companion_share=closed_form.companion_share(latent.log_density),
        unreliable=latent.unreliable() & (share >= NEGLIGIBLE_SHARE),
    )[:n_rows]
