"""Which margins and decoder a fit takes: all are trained, and the worse ones leave."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from skvae.fitting.checkpoint import Checkpoints
from skvae.fitting.components import has_real
from skvae.fitting.job import FitJob, new_job
from skvae.fitting.plan import FitPlan
from skvae.fitting.split import SplitRows
from skvae.fitting.state import Pilots
from skvae.typing import Array

__all__ = ["choose_job"]

# Of the training's epochs, after which one candidate is left. An autoregressive
# decoder takes longer to show what the columns that it reads are worth.
RACE_SHARE = 0.1
AUTOREGRESSIVE_RACE_SHARE = 0.2
# … and of a small table, no more steps than this.
SMALL_RACE_STEPS = 100
FIRST_STEPS = 25  # after which candidates are compared first
EARLY_STEPS = 400  # before which slow starters are safe from the others
# Standard errors of the difference.
LEAVING_ERRORS = 2.0
WINNING_ERRORS = 0.5


@dataclass(eq=False)
class _Candidate:
    """A training that may turn out to be the fit.

    Attributes
    ----------
    job : FitJob
        The training.
    decoder : str
        The decoder's alias, or its class where it has none.
    margins : {"normal", "whitened"} or None
        What happens to real columns.
    reads_columns : bool
        Whether the decoder is autoregressive.
    lead, lead_error : float
        Mean difference of the validation rows' bounds from those of a better
        candidate, when this one left, and its standard error.
    """

    job: FitJob
    decoder: str
    margins: str | None
    reads_columns: bool
    lead: float = math.nan
    lead_error: float = math.nan

    def bounds(self) -> Array:
        """Return the bound of each validation row, in the units of the input."""
        return self.job.validation_log_p()

    def latent_bounds(self) -> Array:
        """Return the same without the companion."""
        return self.job.validation_latent_log_p()

    def starts_after(self, other: "_Candidate") -> bool:
        """Whether this one starts as slowly as another one, or more slowly."""
        return self.reads_columns >= other.reads_columns and (
            self.margins != "normal" or other.margins == "normal"
        )

    def leaves(self, lead: float, error: float) -> None:
        """Take note of how far it was behind."""
        self.lead, self.lead_error = lead, error

    def record(self, *, chosen: bool) -> dict[str, object]:
        """Return the entry of `pilots_`."""
        trainer = self.job.trainer
        history = trainer.outcome.history[: trainer.n_epochs]
        evidence, error = _mean_and_error(self.bounds(), self.job.validation_weight)
        return {
            "decoder": self.decoder,
            "margins": self.margins,
            "evidence": evidence,
            "error": error,
            "lead": self.lead,
            "lead_error": self.lead_error,
            "n_epochs": len(history),
            "seconds": sum(record.seconds for record in history),
            "chosen": chosen,
        }


def choose_job(
    plan: FitPlan,
    split: SplitRows,
    generator: torch.Generator,
    checkpoints: Checkpoints | None = None,
) -> FitJob:
    """Prepare a new model; where there are several candidates, the best one.

    Candidates are the decoders and the margins that "auto" stands for. Each of them is
    trained as if it had been asked for by name, all from the same seed, until it is
    left behind. The training of the last one goes on: it is the fit.

    Parameters
    ----------
    plan : FitPlan
        What to train.
    split : SplitRows
        Rows to train and to validate on.
    generator : torch.Generator
        Source of the seed.
    checkpoints : Checkpoints, default=None
        Where the candidates' trainings are kept.

    Raises
    ------
    KeyboardInterrupt
        If ^C comes while there are several: which one is the fit is not known yet.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    others = (replace(plan.specs, decoder=other) for other in plan.other_decoders)
    plans = [plan, *(replace(plan, specs=specs) for specs in others)]
    tables = []
    for margins in _margins(plan, split):
        columns = split.columns(margins, smoothing=plan.settings.smoothing)
        tables.append((margins, split.mapped(columns, plan.device)))
    candidates = []
    pairs = itertools.product(plans, tables)
    for number, (each, (margins, rows)) in enumerate(pairs):
        decoder = each.specs.decoder
        own = torch.Generator().manual_seed(seed)
        checkpoint = None if checkpoints is None else checkpoints.of(number)
        job = new_job(each, split, rows, own, checkpoint)
        name = decoder.alias or type(decoder).__name__
        candidates.append(_Candidate(job, name, margins, decoder.autoregressive))
    if len(candidates) == 1:
        return candidates[0].job
    some_read = any(each.specs.decoder.autoregressive for each in plans)
    share = AUTOREGRESSIVE_RACE_SHARE if some_read else RACE_SHARE
    n_epochs = math.ceil(share * plan.schedule.n_epochs)
    most_epochs = plan.schedule.n_epochs
    if plan.settings.short_race:
        steps = candidates[0].job.trainer.steps_per_epoch
        n_epochs = most_epochs = min(n_epochs, math.ceil(SMALL_RACE_STEPS / steps))
    best, pilots = _race(candidates, n_epochs, most_epochs)
    return replace(best.job, pilots=pilots)


def _margins(plan: FitPlan, split: SplitRows) -> tuple[str | None, ...]:
    """Return the margins to try, the simpler ones first."""
    kinds = split.table.schema.kinds
    choice = plan.marginal_transform if has_real(kinds) else None
    if choice == "whitened" and not all(kind.support == "real" for kind in kinds):
        raise ValueError(
            "marginal_transform='whitened' needs a table of real columns alone: it "
            "adds columns up. Use 'auto', 'normal' or None."
        )
    if choice != "auto":
        return (choice,)
    if not plan.settings.race:
        # A companion is better at plain margins than a training on so few rows.
        return (None,) if plan.companion is None else ("normal",)
    return (None, "normal", *(("whitened",) if split.has_thin_direction() else ()))


def _race(
    candidates: Sequence[_Candidate], n_epochs: int, most_epochs: int
) -> tuple[_Candidate, Pilots]:
    """Train until one candidate is left, for so many epochs; return it, and all.

    Candidates are compared whenever the epochs have doubled. One of them leaves if it
    is behind where another one was after half as many epochs, by more than chance: it
    learns less than half as fast. In the first few hundred steps, only a candidate
    that starts slowly itself may drive others out. Autoregressive decoders start
    slowly, and so do plain margins on a table with narrow peaks, such as repeated
    values; but both may be better in the end by far.

    At the end the simplest candidate, which comes first, stays, unless a later one is
    ahead by half a standard error. Only then are bounds compared with the companion:
    beside it, a slow start would look like nothing learnt. Where the comparisons with
    and without it find another candidate best, these two go on, up to `most_epochs`:
    the one that is better by itself may still learn to be the better one beside the
    companion.
    """
    trainer = candidates[0].job.trainer
    weight = candidates[0].job.validation_weight
    left = list(candidates)
    before: list[tuple[_Candidate, Array]] = []  # bounds at half of the epochs
    epoch = max(1, round(FIRST_STEPS / trainer.steps_per_epoch))
    while True:
        epoch = min(epoch, n_epochs)
        for candidate in left:
            candidate.job.trainer.advance(epoch)
        early = epoch * trainer.steps_per_epoch < EARLY_STEPS
        staying = []
        for candidate in left:
            for other, bounds in before:
                if other is candidate or (early and not other.starts_after(candidate)):
                    continue
                difference = candidate.latent_bounds() - bounds
                lead, error = _mean_and_error(difference, weight)
                if lead < -LEAVING_ERRORS * error:
                    candidate.leaves(lead, error)
                    break
            else:
                staying.append(candidate)
        left = staying
        if len(left) == 1:
            break
        if epoch == n_epochs:
            alone = _best_of(left, _Candidate.latent_bounds, weight)
            beside = _best_of(left, _Candidate.bounds, weight)
            if alone is beside or epoch == most_epochs:
                break
            for candidate in left:
                if candidate not in (alone, beside):
                    candidate.leaves(*_lead_of(candidate, beside, weight))
            left = [each for each in left if each in (alone, beside)]
            n_epochs = min(2 * n_epochs, most_epochs)
        before = [(candidate, candidate.latent_bounds()) for candidate in left]
        epoch *= 2
    best = _best_of(left, _Candidate.bounds, weight)
    for candidate in left:
        if candidate is not best:
            candidate.leaves(*_lead_of(candidate, best, weight))
    return best, [each.record(chosen=each is best) for each in candidates]


def _best_of(
    candidates: Sequence[_Candidate],
    bounds_of: Callable[[_Candidate], Array],
    weight: Array,
) -> _Candidate:
    """Return the first candidate, or a later one that is ahead by more than chance."""
    best = candidates[0]
    for candidate in candidates[1:]:
        lead, error = _mean_and_error(bounds_of(candidate) - bounds_of(best), weight)
        if lead > WINNING_ERRORS * error:
            best = candidate
    return best


def _lead_of(
    candidate: _Candidate, best: _Candidate, weight: Array
) -> tuple[float, float]:
    """Return how far a candidate is ahead of the best one, and the error of that."""
    return _mean_and_error(candidate.bounds() - best.bounds(), weight)


def _mean_and_error(values: Array, weight: Array) -> tuple[float, float]:
    """Return a weighted mean over rows and its standard error."""
    with np.errstate(invalid="ignore"):  # a candidate may have diverged
        mean = float(np.average(values, weights=weight))
        variance = float(np.average(np.square(values - mean), weights=weight))
    if math.isinf(mean):
        return mean, 0.0
    return mean, math.sqrt(variance / weight.sum())
