"""The steps of a fit, from rows of numbers to a fitted model."""

from contextlib import closing
from dataclasses import dataclass, replace

import torch
from sklearn.exceptions import ConvergenceWarning

from skvae.arguments.devices import check_device
from skvae.arguments.seeds import seed_from
from skvae.arguments.warnings import warn_caller
from skvae.fitting.callbacks import FitCallbacks
from skvae.fitting.checkpoint import Checkpoints
from skvae.fitting.components import Specs, is_auto, resolve_specs
from skvae.fitting.job import FitJob, resumed_job
from skvae.fitting.parameters import Parameters
from skvae.fitting.plan import WeightedRows, plan_fit
from skvae.fitting.progress import FitProgress
from skvae.fitting.race import choose_job
from skvae.fitting.split import SplitRows, split_rows
from skvae.fitting.state import FittedState
from skvae.fitting.torch_state import training_state
from skvae.training import EpochRecord, Trainer, TrainingOutcome

__all__ = ["FitResult", "fit_model", "specs_to_fit"]


@dataclass(frozen=True)
class FitResult:
    """A fitted model, and how its training went."""

    state: FittedState
    outcome: TrainingOutcome

    def warn(self, learning_rate: float) -> None:
        """Say what went wrong, if anything did."""
        outcome = self.outcome
        if outcome.n_recoveries:
            warn_caller(
                f"Training met non-finite values {outcome.n_recoveries} time(s); each "
                f"time it went back to the last good weights and halved the learning "
                f"rate. Consider learning_rate < {learning_rate:g}.",
                ConvergenceWarning,
            )
        if outcome.interrupted:
            warn_caller(
                f"Training was interrupted in epoch {len(outcome.history) + 1}; the "
                f"estimator has the best weights so far, those of epoch "
                f"{outcome.best_epoch}.",
                ConvergenceWarning,
            )


def specs_to_fit(parameters: Parameters, previous: FittedState | None) -> Specs:
    """Return the components; of a previous fit its own, but for another objective.

    Parameters
    ----------
    parameters : Parameters
        The estimator's.
    previous : FittedState or None
        The fit that training goes on from.

    Raises
    ------
    ValueError
        If the number of latents is not that of the previous fit.
    """
    specs = resolve_specs(parameters)
    if previous is None:
        return specs
    levels, fitted = parameters.n_components, previous.latent_levels
    if not isinstance(levels, (str, tuple)):
        levels = (levels,)
    if levels != "auto" and tuple(levels) != fitted:
        shown = fitted if len(fitted) > 1 else fitted[0]
        raise ValueError(
            f"n_components={parameters.n_components} differs from the fitted model's "
            f"{shown}; a warm start cannot change it."
        )
    if is_auto(parameters.objective):
        return previous.specs
    return replace(previous.specs, objective=specs.objective)


def fit_model(
    parameters: Parameters,
    specs: Specs,
    table: WeightedRows,
    previous: FittedState | None,
    callbacks: FitCallbacks,
    *,
    partial: bool,
) -> FitResult:
    """Train a model on the rows of a table.

    Parameters
    ----------
    parameters : Parameters
        The estimator's.
    specs : Specs
        Components for these columns.
    table : WeightedRows
        Rows, distinct and weighted.
    previous : FittedState or None
        The fit that training goes on from; None for a new model.
    callbacks : FitCallbacks
        Told of every epoch after those by which decoder and margins were chosen.
    partial : bool
        Whether to train for one epoch, as `VAEDensity.partial_fit` does.
    """
    device = check_device(parameters.device)
    plan = plan_fit(parameters, specs, table, device, partial=partial)
    seed = seed_from(parameters.random_state)
    checkpoints = None
    if parameters.checkpoint is not None and not partial:
        checkpoints = Checkpoints.open(
            parameters.checkpoint, parameters, table, previous, seed
        )
        seed = checkpoints.seed
    generator = torch.Generator().manual_seed(seed)
    with training_state():
        split = split_rows(table, plan, generator)
        if previous is None:
            job = choose_job(plan, split, generator, checkpoints)
        else:
            checkpoint = None if checkpoints is None else checkpoints.of(0)
            job = resumed_job(plan, split, previous, generator, checkpoint)
        name, n_epochs = type(callbacks.estimator).__name__, plan.schedule.n_epochs
        n_done = len(job.trainer.outcome.history)
        callbacks.begin(n_epochs - n_done)
        enabled = bool(parameters.verbose)
        with closing(FitProgress(name, n_epochs, n_done, enabled=enabled)) as bar:

            def on_epoch(record: EpochRecord, trainer: Trainer) -> bool:
                bar.update(job.in_input_units(record))
                return callbacks.after_epoch(
                    lambda: _state_of(job, split, previous).attributes()
                )

            outcome = job.trainer.run(on_epoch)
        state = _state_of(job, split, previous)
        if partial:
            state = replace(state, optimiser_state=job.optimiser_state())
    return FitResult(state, outcome)


def _state_of(
    job: FitJob, split: SplitRows, previous: FittedState | None
) -> FittedState:
    """Return what the fit would leave behind if training ended now."""
    outcome = job.trainer.outcome
    before = [] if previous is None else previous.history
    records = (job.in_input_units(record) for record in outcome.history)
    return FittedState(
        model=job.snapshot(),
        schema=split.table.schema,
        columns=job.rows.columns,
        latent_levels=job.latent_levels,
        specs=job.specs,
        history=[
            *before,
            *(vars(replace(r, epoch=len(before) + r.epoch)) for r in records),
        ],
        best_iter=len(before) + outcome.best_epoch,
        pilots=job.pilots,
        companion=job.companion_beside(split),
    )
