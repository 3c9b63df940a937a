"""All that a fit needs to know before it sees torch."""

from dataclasses import dataclass, replace

import torch

from skvae.fitting.components import Specs, other_decoders
from skvae.fitting.defaults import FitSettings, TableSize, fit_settings
from skvae.fitting.parameters import Parameters
from skvae.model.companions import CompanionSpec
from skvae.model.decoders import DecoderSpec
from skvae.tables.given import GivenColumns
from skvae.tables.large import LargeTable
from skvae.tables.schema import TableSchema
from skvae.training import Schedule, parallel
from skvae.typing import Array

__all__ = ["MAX_DRAWS", "FitPlan", "WeightedRows", "plan_fit"]

MAX_DRAWS = 100_000  # rows per epoch, of a large table or of large weights


@dataclass(frozen=True)
class WeightedRows:
    """The rows of a fit: distinct, or some of a large table, as numbers alone.

    Attributes
    ----------
    rows : ndarray of shape (n, columns) or LargeTable
        Rows [x, given], in the units of the input.
    weight : ndarray of shape (n,)
        Their positive weights.
    schema : TableSchema
        What the columns of x hold, and their names.
    given : GivenColumns or None
        The columns that follow those of x; the density is conditional on them.
    """

    rows: Array | LargeTable
    weight: Array
    schema: TableSchema
    given: GivenColumns | None = None

    @property
    def n_given(self) -> int:
        """How many of the columns are given."""
        return 0 if self.given is None else len(self.given.kinds)

    @property
    def n_features(self) -> int:
        """How many of the columns have a density."""
        return self.rows.shape[1] - self.n_given


@dataclass(frozen=True)
class FitPlan:
    """What to train, how long, and where.

    Attributes
    ----------
    specs : Specs
        Components.
    settings : FitSettings
        Sizes and rates, every "auto" resolved.
    schedule : Schedule
        Steps and rates.
    marginal_transform : {"auto", "normal", "whitened"} or None
        The estimator's parameter.
    n_draws : int
        Rows per epoch, validation rows included.
    device : torch.device
        Where to train.
    other_decoders : tuple of DecoderSpec
        What "auto" may put in the place of the specs' decoder.
    companion : CompanionSpec or None
        What shares p(x) with the latent part, where its share can be found.
    """

    specs: Specs
    settings: FitSettings
    schedule: Schedule
    marginal_transform: str | None
    n_draws: int
    device: torch.device
    other_decoders: tuple[DecoderSpec, ...] = ()
    companion: CompanionSpec | None = None


def plan_fit(
    parameters: Parameters,
    specs: Specs,
    table: WeightedRows,
    device: torch.device,
    *,
    partial: bool,
) -> FitPlan:
    """Resolve an estimator's parameters for the rows of a fit.

    An epoch is one pass over the rows. Since weights may count whole populations, it
    is never longer than 100,000 rows or the table, and of a large table never longer
    than 100,000 rows.

    Parameters
    ----------
    parameters : Parameters
        The estimator's.
    specs : Specs
        Components for these columns.
    table : WeightedRows
        Rows.
    device : torch.device
        Where to train.
    partial : bool
        Whether to train for one epoch only, at a constant rate, without averaging.
    """
    n_rows = len(table.rows)
    most = MAX_DRAWS if isinstance(table.rows, LargeTable) else max(MAX_DRAWS, n_rows)
    n_draws = round(min(max(float(table.weight.sum()), n_rows), most))
    if partial:
        parameters = parameters.for_one_epoch()
    settings = fit_settings(
        parameters, TableSize(n_rows, n_draws, table.n_features, table.n_given)
    )
    schedule = Schedule(
        n_epochs=settings.n_epochs,
        batch_size=parameters.batch_size,
        learning_rate=parameters.learning_rate,
        weight_decay=settings.weight_decay,
        patience=settings.patience,
        patience_share=settings.patience_share,
        tol=parameters.tol,
    )
    if partial:
        schedule = replace(schedule, decay=False, averaging=0.0)
    processes = parallel()
    if processes is not None:
        n_training = n_draws - settings.n_valid
        schedule = schedule.for_processes(processes.size, n_training)
    others: tuple[DecoderSpec, ...] = ()
    if settings.race:
        others = other_decoders(
            parameters,
            table.schema.kinds,
            settings.few_rows_layers if settings.few_rows else None,
        )
    # Without validation rows nothing says how large its share should be, unless the
    # rows are so few that it should be large.
    judged = settings.n_valid > 0 or (settings.tiny and not partial)
    return FitPlan(
        specs=specs,
        settings=settings,
        schedule=schedule,
        marginal_transform=parameters.marginal_transform,
        n_draws=n_draws,
        device=device,
        other_decoders=others,
        companion=specs.companion if judged and not table.n_given else None,
    )
