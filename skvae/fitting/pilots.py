"""Which margins and decoder a fit takes: the better ones in short trainings."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from skvae.fitting.components import has_real
from skvae.fitting.job import FitJob, new_job
from skvae.fitting.plan import FitPlan
from skvae.fitting.split import SplitRows

__all__ = ["choose_job"]

# Of the training's epochs, for each candidate. An autoregressive decoder takes longer
# to show what the columns that it reads are worth.
PILOT_SHARE = 0.1
AUTOREGRESSIVE_PILOT_SHARE = 0.2


def choose_job(plan: FitPlan, split: SplitRows, generator: torch.Generator) -> FitJob:
    """Prepare a new model; where there are several candidates, the best one.

    Candidates are the decoders and the margins that "auto" stands for. All of them
    start from the same seed, so that the fit is that of the chosen one by name.

    Parameters
    ----------
    plan : FitPlan
        What to train.
    split : SplitRows
        Rows to train and to validate on.
    generator : torch.Generator
        Source of the seed.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    others = (replace(plan.specs, decoder=other) for other in plan.other_decoders)
    plans = [plan, *(replace(plan, specs=specs) for specs in others)]
    tables = [
        split.columns(
            normal_margins=margin == "normal", smoothing=plan.settings.smoothing
        )
        for margin in _margins(plan, split)
    ]
    candidates = list(itertools.product(plans, tables))
    best, interrupted = 0, False
    if len(candidates) > 1:
        some_read = any(plan.specs.decoder.autoregressive for plan in plans)
        share = AUTOREGRESSIVE_PILOT_SHARE if some_read else PILOT_SHARE
        best, interrupted = _best_pilot(
            new_job(plan.pilot(share), split, columns, _generator(seed))
            for plan, columns in candidates
        )
    plan, columns = candidates[best]
    job = new_job(plan, split, columns, _generator(seed))
    if interrupted:
        job.trainer.interrupt()
    return job


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _margins(plan: FitPlan, split: SplitRows) -> tuple[str | None, ...]:
    """Return the margins to try, the simpler ones first."""
    choice = plan.marginal_transform if has_real(split.table.schema.kinds) else None
    if choice != "auto":
        return (choice,)
    return (None, "normal") if plan.settings.n_valid else (None,)


def _best_pilot(pilots: Iterable[FitJob]) -> tuple[int, bool]:
    """Train pilots; return the best one's number, and whether ^C ended one of them.

    The simplest pilot comes first. A later one has to win by one standard error of
    the paired difference over validation rows, for two reasons: chance should not
    choose the more flexible model, and a short training favours the model that learns
    faster, which need not be the better one in the end.
    """
    best, best_log_p = 0, np.empty(0)
    for number, job in enumerate(pilots):
        if job.trainer.run().interrupted:
            return best, True
        log_p = job.validation_log_p()
        if number == 0:
            best_log_p = log_p
        elif np.isfinite([log_p, best_log_p]).all():
            lead = log_p - best_log_p
            weight = job.validation_weight
            mean = float(np.average(lead, weights=weight))
            variance = float(np.average(np.square(lead - mean), weights=weight))
            if mean > math.sqrt(variance / weight.sum()):
                best, best_log_p = number, log_p
    return best, False
