"""Which margins and decoder a fit takes: the better ones in short trainings."""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from skvae.fitting.components import has_real
from skvae.fitting.job import FitJob, new_job
from skvae.fitting.plan import FitPlan
from skvae.fitting.split import SplitRows
from skvae.fitting.state import Pilots
from skvae.tables.columns import RowMap
from skvae.typing import Array

__all__ = ["choose_job"]

# Of the training's epochs, for each candidate. An autoregressive decoder takes longer
# to show what the columns that it reads are worth.
PILOT_SHARE = 0.1
AUTOREGRESSIVE_PILOT_SHARE = 0.2


@dataclass(frozen=True)
class _Candidate:
    """What one pilot trains.

    Attributes
    ----------
    plan : FitPlan
        With the candidate's decoder.
    margins : {"normal"} or None
        What happens to the margins of real columns.
    columns : RowMap
        The rows' map to model units, with these margins.
    """

    plan: FitPlan
    margins: str | None
    columns: RowMap

    def job(self, split: SplitRows, seed: int) -> FitJob:
        """Prepare the whole training of a new model."""
        return new_job(self.plan, split, self.columns, _generator(seed))

    def pilot(self, split: SplitRows, seed: int, share: float) -> FitJob:
        """Prepare a training of a share of the epochs."""
        plan = self.plan.pilot(share)
        return new_job(plan, split, self.columns, _generator(seed))

    @property
    def decoder(self) -> str:
        """The decoder's alias, or its class where it has none."""
        spec = self.plan.specs.decoder
        return spec.alias or type(spec).__name__


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

    Raises
    ------
    KeyboardInterrupt
        If ^C ends a pilot: the model itself has not been trained at all.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    others = (replace(plan.specs, decoder=other) for other in plan.other_decoders)
    plans = [plan, *(replace(plan, specs=specs) for specs in others)]
    tables = [
        (
            margins,
            split.columns(
                normal_margins=margins == "normal", smoothing=plan.settings.smoothing
            ),
        )
        for margins in _margins(plan, split)
    ]
    candidates = [
        _Candidate(plan, *table) for plan, table in itertools.product(plans, tables)
    ]
    if len(candidates) == 1:
        return candidates[0].job(split, seed)
    best, pilots = _best_pilot(candidates, split, seed)
    return replace(candidates[best].job(split, seed), pilots=pilots)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _margins(plan: FitPlan, split: SplitRows) -> tuple[str | None, ...]:
    """Return the margins to try, the simpler ones first."""
    choice = plan.marginal_transform if has_real(split.table.schema.kinds) else None
    if choice != "auto":
        return (choice,)
    return (None, "normal") if plan.settings.n_valid else (None,)


def _best_pilot(
    candidates: Sequence[_Candidate], split: SplitRows, seed: int
) -> tuple[int, Pilots]:
    """Train all candidates for a short while; return the best one's number, and all.

    The simplest candidate comes first. A later one has to win by one standard error of
    the paired difference over validation rows, for two reasons: chance should not
    choose the more flexible model, and a short training favours the model that learns
    faster, which need not be the better one in the end.
    """
    some_read = any(c.plan.specs.decoder.autoregressive for c in candidates)
    share = AUTOREGRESSIVE_PILOT_SHARE if some_read else PILOT_SHARE
    pilots: Pilots = []
    best, best_log_p = 0, np.empty(0)
    for number, candidate in enumerate(candidates):
        began = time.perf_counter()
        job = candidate.pilot(split, seed, share)
        outcome = job.trainer.run()
        if outcome.interrupted:
            raise KeyboardInterrupt
        log_p, weight = job.validation_log_p(), job.validation_weight
        evidence, error = _mean_and_error(log_p, weight)
        lead, lead_error = math.nan, math.nan
        if number == 0:
            best_log_p = log_p
        elif np.isfinite([log_p, best_log_p]).all():
            lead, lead_error = _mean_and_error(log_p - best_log_p, weight)
            if lead > lead_error:
                best, best_log_p = number, log_p
        pilots.append(
            {
                "decoder": candidate.decoder,
                "margins": candidate.margins,
                "evidence": evidence,
                "error": error,
                "lead": lead,
                "lead_error": lead_error,
                "n_epochs": len(outcome.history),
                "seconds": time.perf_counter() - began,
                "chosen": False,
            }
        )
    pilots[best]["chosen"] = True
    return best, pilots


def _mean_and_error(values: Array, weight: Array) -> tuple[float, float]:
    """Return a weighted mean over rows and its standard error."""
    with np.errstate(invalid="ignore"):  # a pilot may have diverged
        mean = float(np.average(values, weights=weight))
        variance = float(np.average(np.square(values - mean), weights=weight))
    return mean, math.sqrt(variance / weight.sum())
