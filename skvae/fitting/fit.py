"""The steps of `VAEDensity.fit`, from checks to fitted attributes."""

import copy
import warnings
from dataclasses import replace
from numbers import Integral
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning

from skvae.arguments.checks import (
    check_device,
    check_parameters,
    seed_from,
)
from skvae.fitting.callbacks import FitCallbacks
from skvae.fitting.components import Specs, resolve_specs, specs_for_columns
from skvae.fitting.job import FitJob, begin, plan_fit, resume, training_settings
from skvae.fitting.progress import FitProgress
from skvae.tables.checks import check_sample_weight
from skvae.tables.columns import merge_duplicates
from skvae.tables.given import Given
from skvae.tables.large import LargeTable, choose_rows, is_large
from skvae.tables.schema import fit_schema, read_table
from skvae.training import EpochRecord, Trainer, TrainingOutcome
from skvae.typing import Array

__all__ = ["fit_estimator"]


def fit_estimator(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    warm: bool,
    partial: bool,
    given: Given | None = None,
) -> Any:
    """Fit an estimator, or leave it as it was.

    Parameters
    ----------
    estimator : VAEDensity
        Changed only when training has ended.
    X, y, sample_weight
        As `VAEDensity.fit` takes them.
    warm : bool
        Whether to go on from the fitted model.
    partial : bool
        Whether to train for one epoch, as `VAEDensity.partial_fit` does.
    given : Given, default=None
        What the rows' density is conditional on, y coded; None for nothing.
    """
    check_parameters(estimator)
    specs = _specs(estimator, warm=warm)
    device = check_device(estimator.device)
    # Checks record the columns' names on a copy: a failure leaves no trace.
    staged = copy.copy(estimator)
    raw = read_table(staged, X, reset=not warm, min_samples=2)
    weight = check_sample_weight(sample_weight, len(raw.numbers))
    if warm:
        schema = estimator.schema_
    else:
        schema = fit_schema(staged, raw, weight, specs.likelihood)
        specs = specs_for_columns(estimator, specs, schema.kinds)
    table = schema.encode(staged, raw, used=weight > 0)
    if given is not None:
        table = given.beside(table)
    rows: Array | LargeTable
    if is_large(table):
        # Perhaps on a disk: its rows are neither sorted nor merged.
        rows, weight = choose_rows(table, weight)
    else:
        rows, weight = merge_duplicates(table, weight)
    plan = plan_fit(
        estimator,
        specs,
        schema,
        rows,
        weight,
        device,
        partial=partial,
        given=None if given is None else given.columns,
    )
    generator = torch.Generator().manual_seed(seed_from(estimator.random_state))
    with training_settings(), torch.enable_grad():
        if warm:
            job = resume(plan, estimator, rows, weight, generator)
        else:
            job = begin(plan, rows, weight, generator)
        fitted: dict[str, Any] = {
            "n_features_in_": staged.n_features_in_,
            "schema_": schema,
            "columns_": job.columns,
            "n_components_": sum(job.latent_levels),
            "latent_levels_": job.latent_levels,
            **{f"{family}_": spec for family, spec in vars(job.specs).items()},
        }
        if hasattr(staged, "feature_names_in_"):
            fitted["feature_names_in_"] = staged.feature_names_in_
        data = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        callbacks = FitCallbacks(estimator, plan.schedule.n_epochs, data)
        outcome = _train(job, estimator.verbose, callbacks, fitted)
    n_before = len(estimator.history_) if warm else 0
    records = (job.in_input_units(record) for record in outcome.history)
    history = [vars(replace(r, epoch=n_before + r.epoch)) for r in records]
    fitted["model_"] = job.snapshot()
    fitted["history_"] = [*(estimator.history_ if warm else []), *history]
    fitted["n_iter_"] = len(fitted["history_"])
    fitted["best_iter_"] = n_before + outcome.best_epoch
    fitted["_optimiser_state"] = job.optimiser_state() if partial else None
    if not warm and hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
    estimator.__dict__.update(fitted)
    callbacks.finish()
    _warn(outcome, estimator.learning_rate)
    return estimator


def _specs(estimator: Any, *, warm: bool) -> Specs:
    """Return the components; the fitted model's, but for the objective, if warm."""
    specs = resolve_specs(estimator)
    if not warm:
        return specs
    levels, fitted = estimator.n_components, estimator.latent_levels_
    if isinstance(levels, Integral):
        levels = (levels,)
    if levels != "auto" and tuple(levels) != fitted:
        shown = fitted if len(fitted) > 1 else fitted[0]
        raise ValueError(
            f"n_components={estimator.n_components} differs from the fitted model's "
            f"{shown}; a warm start cannot change it."
        )
    return Specs(
        prior=estimator.prior_,
        posterior=estimator.posterior_,
        decoder=estimator.decoder_,
        likelihood=estimator.likelihood_,
        objective=specs.objective,
        background=estimator.background_,
    )


def _train(
    job: FitJob, verbose: int, callbacks: FitCallbacks, fitted: dict[str, Any]
) -> TrainingOutcome:
    n_epochs = job.trainer.schedule.n_epochs
    with FitProgress(n_epochs, enabled=bool(verbose)) as progress:

        def on_epoch(record: EpochRecord, trainer: Trainer) -> bool:
            progress.update(job.in_input_units(record))
            return callbacks.after_epoch(lambda: {**fitted, "model_": job.snapshot()})

        return job.trainer.run(on_epoch)


def _warn(outcome: TrainingOutcome, learning_rate: float) -> None:
    """Say what went wrong, in warnings that point at the caller of `fit`."""
    if outcome.n_recoveries:
        warnings.warn(
            f"Training met non-finite values {outcome.n_recoveries} time(s); each time "
            f"it went back to the last good weights and halved the learning rate. "
            f"Consider learning_rate < {learning_rate:g}.",
            ConvergenceWarning,
            stacklevel=5,
        )
    if outcome.interrupted:
        warnings.warn(
            f"Training was interrupted in epoch {len(outcome.history) + 1}; the "
            f"estimator has the best weights so far, those of epoch "
            f"{outcome.best_epoch}.",
            ConvergenceWarning,
            stacklevel=5,
        )
