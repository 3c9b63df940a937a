"""What a fit leaves behind, as a record and as an estimator's attributes."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from skvae.fitting.components import Specs
from skvae.model import VAE
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.companions import CompanionSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.tables.columns import RowMap
from skvae.tables.companion import CompanionDensity
from skvae.tables.schema import TableSchema
from skvae.training.objectives import ObjectiveSpec

__all__ = ["Fitted", "FittedState", "History", "OptimiserState", "Pilots"]

History: TypeAlias = list[dict[str, float]]
Pilots: TypeAlias = list[dict[str, Any]]  # numbers, names and truth values
OptimiserState: TypeAlias = dict[str, Any]  # torch's, of tensors and numbers


class Fitted(Protocol):
    """An estimator with the attributes that a fit leaves behind."""

    model_: VAE
    schema_: TableSchema
    columns_: RowMap
    latent_levels_: tuple[int, ...]
    history_: History
    pilots_: Pilots
    best_iter_: int
    prior_: PriorSpec
    posterior_: PosteriorSpec
    decoder_: DecoderSpec
    likelihood_: LikelihoodSpec
    objective_: ObjectiveSpec
    background_: BackgroundSpec | None
    companion_: CompanionSpec | None
    companion_density_: CompanionDensity | None
    _optimiser_state: OptimiserState | None


@dataclass(frozen=True)
class FittedState:
    """A fitted model with its map to the table, its components and its history.

    Attributes
    ----------
    model : VAE
        In float64, on the CPU.
    schema : TableSchema
        What the columns hold.
    columns : RowMap
        Between the table and model units.
    latent_levels : tuple of int
        Number of latents of every level, bottom first.
    specs : Specs
        Components.
    history : list of dict
        One record per epoch, in the units of the input.
    best_iter : int
        Epoch whose weights the model has.
    pilots : list of dict
        One record per training that chose margins or decoder.
    companion : CompanionDensity or None
        What shares p(x) with the model.
    optimiser_state : dict or None
        For a training that goes on; None where it does not.
    """

    model: VAE
    schema: TableSchema
    columns: RowMap
    latent_levels: tuple[int, ...]
    specs: Specs
    history: History
    best_iter: int
    pilots: Pilots
    companion: CompanionDensity | None = None
    optimiser_state: OptimiserState | None = None

    @classmethod
    def of(cls, estimator: Fitted) -> "FittedState":
        """Return the state of a fitted estimator."""
        return cls(
            model=estimator.model_,
            schema=estimator.schema_,
            columns=estimator.columns_,
            latent_levels=estimator.latent_levels_,
            specs=Specs(
                prior=estimator.prior_,
                posterior=estimator.posterior_,
                decoder=estimator.decoder_,
                likelihood=estimator.likelihood_,
                objective=estimator.objective_,
                background=estimator.background_,
                companion=estimator.companion_,
            ),
            history=estimator.history_,
            best_iter=estimator.best_iter_,
            pilots=estimator.pilots_,
            companion=estimator.companion_density_,
            optimiser_state=estimator._optimiser_state,
        )

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that say so on an estimator, by name."""
        return {
            "model_": self.model,
            "schema_": self.schema,
            "columns_": self.columns,
            "n_components_": sum(self.latent_levels),
            "latent_levels_": self.latent_levels,
            **{f"{family}_": spec for family, spec in vars(self.specs).items()},
            "history_": self.history,
            "n_iter_": len(self.history),
            "best_iter_": self.best_iter,
            "pilots_": self.pilots,
            "companion_density_": self.companion,
            "_optimiser_state": self.optimiser_state,
        }
