"""On which side of a threshold a row is, by as few draws as that takes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from skvae.evidence.adaptive import SURELY, RowEvidence, Stage, estimate_evidence
from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals import EncoderProposal
from skvae.evidence.sampling import Budget
from skvae.model import VAE, ClosedFormPart

__all__ = ["estimate_sides"]

FEW_DRAWS = 16


@torch.no_grad()
def estimate_sides(
    model: VAE,
    x: Tensor,
    noise: RowNoise,
    stages: Sequence[Stage],
    closed_form: ClosedFormPart,
    threshold: Tensor,
) -> RowEvidence:
    r"""Estimate log p(x), no better than it takes to compare it with a threshold.

    The mean of importance weights is positive and has the mean p(x). By Markov's
    inequality, it exceeds a threshold above p(x) a thousandfold with a probability of
    0.001 at most, however bad the proposal is and however few the draws:

    .. math:: P(\hat p \ge 1000\, t) \le \frac{p(x)}{1000\, t} \le 0.001

    Rows for which a few draws from the encoder say so are above the threshold. All
    others are read as usual, but for the tolerance: a fifth of the distance from the
    threshold is enough. Rows that are a thousandfold below it by a proposal that was
    fitted to them are below: for them, no other modes are searched for.

    Parameters
    ----------
    model, x, noise, stages, closed_form
        As for `estimate_evidence`.
    threshold : Tensor of shape (B,)
        Of log p(x), in model units.
    """
    budget = Budget(FEW_DRAWS, FEW_DRAWS, math.inf)
    if not stages:
        return estimate_evidence(model, x, noise, stages, closed_form)
    first = [Stage(EncoderProposal(), budget)]
    screened = estimate_evidence(model, x, noise, first, closed_form)
    sure = screened.log_density >= threshold + SURELY
    screened.unreliable[sure] = False
    rows = (~sure).nonzero().squeeze(1)
    if len(rows):
        others = estimate_evidence(
            model, x[rows], noise[rows], stages, closed_form[rows], threshold[rows]
        )
        for name, values in vars(others).items():
            getattr(screened, name)[rows] = values
        below = screened.log_density < threshold - SURELY
        screened.unreliable[below] = False
    return screened
