"""From rows to a trained model: the part of `fit` that speaks torch."""

import copy
import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from skvae.fitting.components import Specs, has_real, other_decoders, posterior_scale
from skvae.fitting.defaults import FitSettings, fit_settings
from skvae.model import VAE, BuildContext
from skvae.model.decoders import DecoderSpec
from skvae.model.threads import one_thread
from skvae.tables.columns import RowMap, fit_columns
from skvae.tables.given import ConditionalColumns, GivenColumns
from skvae.tables.large import LargeTable, RowsOnDemand, in_float32
from skvae.tables.schema import TableSchema
from skvae.training import (
    EpochRecord,
    RowSource,
    Schedule,
    Trainer,
    TrainingData,
    linear_start,
    split_weights,
)
from skvae.training.objectives import ELBO
from skvae.typing import Array, Index

__all__ = [
    "FitJob",
    "FitPlan",
    "begin",
    "plan_fit",
    "resume",
    "training_settings",
]

MAX_DRAWS = 100_000
# Model units. Wider noise than the column's own is the background's part; without
# this, the decoder keeps latents for it, and their modes are hard to find.
SCALE_CEILING = 1.5
# Of the training's steps, for each candidate. Where columns are read, it shows later
# what they are worth.
PILOT_SHARE = 0.1
AUTOREGRESSIVE_PILOT_SHARE = 0.2


@dataclass(frozen=True)
class FitPlan:
    """All that a fit needs to know before it sees torch.

    Attributes
    ----------
    specs : Specs
        Components.
    schema : TableSchema
        What the columns hold, and their names.
    settings : FitSettings
        Sizes and rates, every "auto" resolved.
    schedule : Schedule
        Steps and rates.
    hidden_layer_sizes : tuple of int
        Widths of the networks.
    marginal_transform : {"auto", "normal"} or None
        The estimator's parameter.
    n_draws : int
        Rows per epoch, validation rows included.
    device : torch.device
        Where to train.
    other_decoders : tuple of DecoderSpec
        What "auto" may put in the place of the specs' decoder.
    given : GivenColumns or None
        The last columns of the rows, which the density is conditional on.
    """

    specs: Specs
    schema: TableSchema
    settings: FitSettings
    schedule: Schedule
    hidden_layer_sizes: tuple[int, ...]
    marginal_transform: str | None
    n_draws: int
    device: torch.device
    other_decoders: tuple[DecoderSpec, ...] = ()
    given: GivenColumns | None = None

    @property
    def n_given(self) -> int:
        """How many columns of the rows are given."""
        return 0 if self.given is None else len(self.given.columns)


def plan_fit(
    estimator: Any,
    specs: Specs,
    schema: TableSchema,
    rows: Array | LargeTable,
    sample_weight: Array,
    device: torch.device,
    *,
    partial: bool,
    given: GivenColumns | None = None,
) -> FitPlan:
    """Resolve an estimator's parameters for a table of distinct, weighted rows.

    An epoch is one pass, but weights may count populations: it is never longer than
    100,000 rows or the table, and of a large table never longer than the former.
    """
    n_given = 0 if given is None else len(given.columns)
    large = isinstance(rows, LargeTable)
    most = MAX_DRAWS if large else max(MAX_DRAWS, len(rows))
    n_draws = round(min(max(float(sample_weight.sum()), len(rows)), most))
    settings = fit_settings(
        n_rows=len(rows),
        n_draws=n_draws,
        n_features=rows.shape[1] - n_given,
        n_given=n_given,
        batch_size=estimator.batch_size,
        n_components=estimator.n_components,
        max_iter=1 if partial else estimator.max_iter,
        early_stopping=False if partial else estimator.early_stopping,
        validation_fraction=estimator.validation_fraction,
        n_iter_no_change=estimator.n_iter_no_change,
        dropout=estimator.dropout,
        weight_decay=estimator.weight_decay,
        smoothing=estimator.smoothing,
    )
    schedule = Schedule(
        n_epochs=settings.n_epochs,
        batch_size=estimator.batch_size,
        learning_rate=estimator.learning_rate,
        weight_decay=settings.weight_decay,
        patience=settings.patience,
        tol=estimator.tol,
    )
    if partial:
        schedule = replace(schedule, decay=False, averaging=0.0)
    return FitPlan(
        specs=specs,
        schema=schema,
        settings=settings,
        schedule=schedule,
        hidden_layer_sizes=tuple(estimator.hidden_layer_sizes),
        marginal_transform=estimator.marginal_transform,
        n_draws=n_draws,
        device=device,
        other_decoders=(
            other_decoders(estimator, schema.kinds)
            if settings.few_rows and settings.n_valid
            else ()
        ),
        given=given,
    )


@dataclass(frozen=True)
class FitJob:
    """A model that is ready to train, in the model units of some columns.

    Attributes
    ----------
    columns : RowMap
        The map between table and model units.
    trainer : Trainer
        Holds the model and its rows.
    log_jacobian : float
        Mean log |det du/dx| of the training rows.
    log_jacobian_valid : ndarray of shape (n_valid,)
        log |det du/dx| of each validation row.
    latent_levels : tuple of int
        Number of latents of every level, bottom first.
    specs : Specs
        The model's components.
    """

    columns: RowMap
    trainer: Trainer
    log_jacobian: float
    log_jacobian_valid: Array
    latent_levels: tuple[int, ...]
    specs: Specs

    def in_input_units(self, record: EpochRecord) -> EpochRecord:
        """Return the record with log-densities in the units of the input."""
        return replace(
            record,
            objective=record.objective + self.log_jacobian,
            bound=record.bound + self.log_jacobian,
            reconstruction=record.reconstruction + self.log_jacobian,
            evidence=record.evidence + self._mean_log_jacobian_valid,
        )

    @cached_property
    def _mean_log_jacobian_valid(self) -> float:
        if not len(self.log_jacobian_valid):
            return 0.0
        weight = self.trainer.data.weight_valid.numpy()
        return float(np.average(self.log_jacobian_valid, weights=weight))

    def validation_log_p(self) -> Array:
        """Return each validation row's bound, in the units of the input."""
        return self.trainer.validation_log_p().numpy() + self.log_jacobian_valid

    def snapshot(self) -> VAE:
        """Return a copy of the model with its best weights, float64, on the CPU."""
        model = copy.deepcopy(self.trainer.model)
        model.load_state_dict(self.trainer.best_state())
        return model.to("cpu", torch.float64)

    def optimiser_state(self) -> dict:
        """Return a copy of the optimiser's state, on the CPU."""
        state = copy.deepcopy(self.trainer.optimiser.state_dict())
        for slot in state["state"].values():
            slot.update({name: value.cpu() for name, value in slot.items()})
        return state


def begin(
    plan: FitPlan,
    rows: Array | LargeTable,
    sample_weight: Array,
    generator: torch.Generator,
) -> FitJob:
    """Prepare a new model: columns, split, components, start."""
    split = _split(plan, sample_weight, generator)
    kinds = plan.schema.kinds
    choice = plan.marginal_transform if has_real(kinds) else None
    if choice == "auto" and not plan.settings.n_valid:
        choice = None
    seed = int(torch.randint(2**62, (), generator=generator))

    # Validation rows take no part: margins that had seen them would flatter.
    used = _rows_to_start_from(rows, split[0])
    sample, weight = rows[used], split[0][used]
    n_features = rows.shape[1] - plan.n_given

    def columns_for(margin: str | None) -> RowMap:
        columns = fit_columns(
            sample[:, :n_features],
            weight,
            kinds,
            normal_margins=margin == "normal",
            smoothing=plan.settings.smoothing,
        )
        if plan.given is None:
            return columns
        given = plan.given.standardised(sample[:, n_features:], weight)
        return ConditionalColumns(columns, given)

    margins = (None, "normal") if choice == "auto" else (choice,)
    tables = [columns_for(margin) for margin in margins]
    others = (replace(plan.specs, decoder=other) for other in plan.other_decoders)
    plans = [plan, *(replace(plan, specs=specs) for specs in others)]
    candidates = list(itertools.product(plans, tables))

    def job_of(plan: FitPlan, columns: RowMap) -> FitJob:
        generator = torch.Generator().manual_seed(seed)
        return _job(plan, columns, rows, split, generator)

    best, interrupted = 0, False
    if len(candidates) > 1:
        some_read = any(plan.specs.decoder.autoregressive for plan in plans)
        share = AUTOREGRESSIVE_PILOT_SHARE if some_read else PILOT_SHARE
        best, interrupted = _best_pilot(
            job_of(_pilot(plan, share), columns) for plan, columns in candidates
        )
    job = job_of(*candidates[best])
    if interrupted:
        job.trainer.interrupt()
    return job


def resume(
    plan: FitPlan,
    estimator: Any,
    rows: Array | LargeTable,
    sample_weight: Array,
    generator: torch.Generator,
) -> FitJob:
    """Prepare to train a fitted estimator's model further, in its model units."""
    split = _split(plan, sample_weight, generator)
    model = copy.deepcopy(estimator.model_).to(plan.device, torch.float32)
    return _job(plan, estimator.columns_, rows, split, generator, model, estimator)


def _split(
    plan: FitPlan, sample_weight: Array, generator: torch.Generator
) -> tuple[Array, Array]:
    """Divide weights, scaled to `n_draws` in all, into training and validation."""
    weight = torch.from_numpy(sample_weight * (plan.n_draws / sample_weight.sum()))
    train, valid = split_weights(weight, plan.settings.n_valid, generator)
    if len(weight) > plan.n_draws:
        # Of many rows, some were chosen by weight; each of them now counts as one.
        valid = torch.where(valid > 0, valid.clamp(min=1), 0)
    return train.numpy(), valid.numpy()


def _rows_to_start_from(rows: Array | LargeTable, weight: Array) -> Index:
    """Return the training rows; of a large table, some of them, the same every time."""
    used = np.flatnonzero(weight > 0)
    if not isinstance(rows, LargeTable) or len(used) <= MAX_DRAWS:
        return used
    choice = np.random.default_rng(0).integers(len(used), size=MAX_DRAWS)
    return used[np.unique(choice)]


def _pilot(plan: FitPlan, share: float) -> FitPlan:
    """Return the plan of a short training for the same model."""
    n_epochs = max(1, math.ceil(share * plan.schedule.n_epochs))
    return replace(
        plan,
        specs=replace(plan.specs, objective=ELBO()),
        schedule=replace(plan.schedule, n_epochs=n_epochs, n_validations=4),
    )


def _best_pilot(pilots: Iterable[FitJob]) -> tuple[int, bool]:
    """Train pilots; return the best one's number, and whether ^C ended one of them.

    The simplest come first. One of the others has to win by one standard error of
    the paired difference over validation rows: a pilot flatters what is quicker to
    learn, not what is better in the end, and chance should not choose the more
    flexible one.
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
            weight = job.trainer.data.weight_valid.numpy()
            mean = float(np.average(lead, weights=weight))
            variance = float(np.average(np.square(lead - mean), weights=weight))
            if mean > math.sqrt(variance / weight.sum()):
                best, best_log_p = number, log_p
    return best, False


def _job(
    plan: FitPlan,
    columns: RowMap,
    rows: Array | LargeTable,
    split: tuple[Array, Array],
    generator: torch.Generator,
    model: VAE | None = None,
    resumed: Any = None,
) -> FitJob:
    used = _rows_to_start_from(rows, split[0])
    x, log_jacobian = _in_model_units(columns, rows[used])
    weight = torch.from_numpy(split[0][used])
    valid = np.flatnonzero(split[1] > 0)
    x_valid, log_jacobian_valid = _in_model_units(columns, rows[valid])
    if model is None:
        model = _new_model(plan, columns, x, weight, generator)
    source: RowSource = x.to(plan.device)
    if isinstance(rows, LargeTable):
        source = RowsOnDemand(rows, columns, plan.device)
        weight = torch.from_numpy(split[0])
    data = TrainingData(
        x=source,
        weight=weight,
        x_valid=x_valid.to(plan.device),
        weight_valid=torch.from_numpy(split[1][valid]),
        n_draws=max(1, round(float(split[0].sum()))),
    )
    trainer = Trainer(
        model,
        plan.specs.objective,
        data,
        plan.schedule,
        generator,
        getattr(resumed, "_optimiser_state", None),
    )
    latent_levels = plan.settings.latent_levels
    if resumed is not None:
        latent_levels = resumed.latent_levels_
    return FitJob(
        columns=columns,
        trainer=trainer,
        log_jacobian=float(np.average(log_jacobian, weights=split[0][used])),
        log_jacobian_valid=log_jacobian_valid,
        latent_levels=latent_levels,
        specs=plan.specs,
    )


def _in_model_units(columns: RowMap, rows: Array) -> tuple[torch.Tensor, Array]:
    """Return rows as training reads them and log |det du/dx| of each."""
    u, log_jacobian = columns.to_model(rows)
    return in_float32(u), log_jacobian


def _new_model(
    plan: FitPlan,
    columns: RowMap,
    x: torch.Tensor,
    weight: torch.Tensor,
    generator: torch.Generator,
) -> VAE:
    """Build the components and move them to the linear start of the rows."""
    specs = plan.specs
    floor = torch.from_numpy(columns.floor).float()
    n_features = len(floor)
    context = BuildContext(
        n_features=n_features,
        n_components=plan.settings.n_components,
        n_rows=len(x),
        hidden_layer_sizes=plan.hidden_layer_sizes,
        dropout=plan.settings.dropout,
        scale_floor=floor,
        column_scale=torch.from_numpy(columns.scale).float(),
        generator=generator,
        scale_ceiling=math.inf if specs.background is None else SCALE_CEILING,
        kinds=columns.kinds,
        names=plan.schema.names,
    )
    # Our components draw first weights from the context's generator; a user's own
    # may use torch's global one, whose state is put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(generator.initial_seed())
        model = VAE.build(
            context,
            specs.prior,
            specs.posterior,
            specs.decoder,
            specs.likelihood,
            specs.background,
        )
    if model.background is not None:
        # What only the background explains does not bend the start.
        modelled = x[:, :n_features]
        model.background.initialise(modelled, weight)
        weight = weight * model.background.typicality(modelled)
    bottom, *above = plan.settings.latent_levels
    owner = model.features.owner
    model.initialise(
        linear_start(
            model.features(x),
            weight,
            bottom,
            floor[owner[owner < n_features]],
            generator,
            posterior_scale=posterior_scale(specs, columns.kinds),
            n_above=sum(above),
            n_given=context.n_given_inputs,
        )
    )
    return model.to(plan.device)


@contextmanager
def training_settings() -> Iterator[None]:
    """Let torch use one thread, and float32 unless told otherwise, within the block."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with one_thread():
            yield
    finally:
        torch.set_default_dtype(dtype)
