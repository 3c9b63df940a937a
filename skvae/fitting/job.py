"""A model that is ready to train, with the rows that it is trained on."""

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from skvae.fitting.build import new_model
from skvae.fitting.checkpoint import Checkpoint
from skvae.fitting.components import Specs
from skvae.fitting.plan import FitPlan
from skvae.fitting.split import MappedRows, SplitRows
from skvae.fitting.state import FittedState, OptimiserState, Pilots
from skvae.model import VAE
from skvae.tables.companion import CompanionDensity
from skvae.training import EpochRecord, Trainer
from skvae.typing import Array

__all__ = ["FitJob", "new_job", "resumed_job"]


@dataclass(frozen=True)
class FitJob:
    """A trainer, and what its numbers mean in the units of the input.

    Attributes
    ----------
    trainer : Trainer
        Holds the model and its rows.
    rows : MappedRows
        The rows, and the map between their units and the model's.
    latent_levels : tuple of int
        Number of latents of every level, bottom first.
    specs : Specs
        The model's components.
    pilots : list of dict
        One record per training that chose these components or margins.
    """

    trainer: Trainer
    rows: MappedRows
    latent_levels: tuple[int, ...]
    specs: Specs
    pilots: Pilots = field(default_factory=list)

    def in_input_units(self, record: EpochRecord) -> EpochRecord:
        """Return the record with log-densities in the units of the input."""
        log_jacobian = self.rows.log_jacobian
        return replace(
            record,
            objective=record.objective + log_jacobian,
            bound=record.bound + log_jacobian,
            reconstruction=record.reconstruction + log_jacobian,
            evidence=record.evidence + self._mean_log_jacobian_valid,
        )

    @cached_property
    def _mean_log_jacobian_valid(self) -> float:
        log_jacobian = self.rows.log_jacobian_valid
        if not len(log_jacobian):
            return 0.0
        return float(np.average(log_jacobian, weights=self.validation_weight))

    @property
    def validation_weight(self) -> Array:
        """Weight of each validation row."""
        return self.rows.data.weight_valid.numpy()

    def validation_log_p(self) -> Array:
        """Return each validation row's bound under the best weights so far.

        It is in the units of the input.
        """
        return self.trainer.best_log_p.numpy() + self.rows.log_jacobian_valid

    def validation_latent_log_p(self) -> Array:
        """Return the same without the companion."""
        return self.trainer.best_latent_log_p.numpy() + self.rows.log_jacobian_valid

    def companion_beside(self, split: SplitRows) -> CompanionDensity | None:
        """Return the companion, with the share that it has beside the best weights."""
        if split.companion is None:
            return None
        latent = self.trainer.latent_log_p().numpy() + self.rows.log_jacobian_valid
        return split.companion.beside(latent, split.validating, self.validation_weight)

    def snapshot(self) -> VAE:
        """Return a copy of the model with its best weights, float64, on the CPU."""
        model = copy.deepcopy(self.trainer.model)
        model.load_state_dict(self.trainer.best_state())
        return model.to("cpu", torch.float64)

    def optimiser_state(self) -> OptimiserState:
        """Return a copy of the optimiser's state, on the CPU."""
        state = copy.deepcopy(self.trainer.optimiser.state_dict())
        for slot in state["state"].values():
            slot.update({name: value.cpu() for name, value in slot.items()})
        return state


def new_job(
    plan: FitPlan,
    split: SplitRows,
    rows: MappedRows,
    generator: torch.Generator,
    checkpoint: Checkpoint | None,
) -> FitJob:
    """Prepare to train a new model on rows in the model units of some columns."""
    model = new_model(plan, rows, split.table.schema.names, generator)
    trainer = Trainer(model, plan.specs.objective, rows.data, plan.schedule, generator)
    if checkpoint is not None:
        checkpoint.attach(trainer)
    return FitJob(trainer, rows, plan.settings.latent_levels, plan.specs)


def resumed_job(
    plan: FitPlan,
    split: SplitRows,
    fitted: FittedState,
    generator: torch.Generator,
    checkpoint: Checkpoint | None,
) -> FitJob:
    """Prepare to train a fitted model further, in its model units."""
    rows = split.mapped(fitted.columns, plan.device)
    trainer = Trainer(
        copy.deepcopy(fitted.model).to(plan.device, torch.float32),
        plan.specs.objective,
        rows.data,
        plan.schedule,
        generator,
        fitted.optimiser_state,
    )
    if checkpoint is not None:
        checkpoint.attach(trainer)
    return FitJob(trainer, rows, fitted.latent_levels, plan.specs, fitted.pilots)
