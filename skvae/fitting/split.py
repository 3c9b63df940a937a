"""Which rows train and which validate, and how they look in model units."""

from dataclasses import dataclass

import numpy as np
import torch

from skvae.fitting.companion import CandidateCompanion, fit_companion
from skvae.fitting.plan import MAX_DRAWS, FitPlan, WeightedRows
from skvae.tables.columns import RowMap, fit_columns
from skvae.tables.given import ConditionalColumns
from skvae.tables.large import LargeTable, RowsOnDemand, in_float32
from skvae.tables.whitening import fit_whitened_columns, has_thin_direction
from skvae.training import RowSource, TrainingData, split_weights
from skvae.typing import Array, Index

__all__ = ["MappedRows", "SplitRows", "split_rows"]


@dataclass(frozen=True)
class SplitRows:
    """Rows with a part of their weight for training and a part for validation.

    Attributes
    ----------
    table : WeightedRows
        All rows.
    train, valid : ndarray of shape (n,)
        Weights, in units of one row.
    companion : CandidateCompanion or None
        What will share p(x) with the latent part.
    """

    table: WeightedRows
    train: Array
    valid: Array
    companion: CandidateCompanion | None = None

    @property
    def validating(self) -> Index:
        """Numbers of the rows that validate."""
        return np.flatnonzero(self.valid > 0)

    def to_scale_by(self) -> Index:
        """Return the training rows that scaling is fitted to: all, or some if large."""
        used = np.flatnonzero(self.train > 0)
        return _some(used) if isinstance(self.table.rows, LargeTable) else used

    def columns(self, margins: str | None, *, smoothing: float) -> RowMap:
        """Fit scaling, margins and floors to training rows.

        Validation rows take no part: margins that had seen them would flatter.

        Parameters
        ----------
        margins : {"normal", "whitened"} or None
            What happens to real columns.
        smoothing : float
            Least floor, in spreads of the column.
        """
        used, table = self.to_scale_by(), self.table
        rows, weight = table.rows[used], self.train[used]
        kinds, rows_of_x = table.schema.kinds, rows[:, : table.n_features]
        columns: RowMap
        if margins == "whitened":
            columns = fit_whitened_columns(
                rows_of_x, weight, kinds, smoothing=smoothing
            )
        else:
            columns = fit_columns(
                rows_of_x,
                weight,
                kinds,
                normal_margins=margins == "normal",
                smoothing=smoothing,
            )
        if table.given is None:
            return columns
        given = table.given.standardised(rows[:, table.n_features :], weight)
        return ConditionalColumns(columns, given)

    def has_thin_direction(self) -> bool:
        """Whether some columns that have a density nearly determine others."""
        used = self.to_scale_by()
        rows = self.table.rows[used][:, : self.table.n_features]
        return has_thin_direction(rows, self.train[used], self.table.schema.kinds)

    def mapped(self, columns: RowMap, device: torch.device) -> "MappedRows":
        """Map rows to model units.

        Parameters
        ----------
        columns : RowMap
            The map.
        device : torch.device
            Where the rows that are trained on go.
        """
        rows, used = self.table.rows, self.to_scale_by()
        u, log_jacobian = columns.to_model(rows[used])
        x, x_weight = in_float32(u), torch.from_numpy(self.train[used])
        start = _some(np.arange(len(used)))
        valid = self.validating
        x_valid, log_jacobian_valid = columns.to_model(rows[valid])
        source: RowSource = x.to(device)
        weight = x_weight
        if isinstance(rows, LargeTable):
            source = RowsOnDemand(rows, columns, device)
            weight = torch.from_numpy(self.train)
        data = TrainingData(
            x=source,
            weight=weight,
            x_valid=in_float32(x_valid).to(device),
            weight_valid=torch.from_numpy(self.valid[valid]),
            n_draws=max(1, round(float(self.train.sum()))),
            companion_log_p=(
                None
                if self.companion is None
                else torch.from_numpy(
                    self.companion.log_density(valid) - log_jacobian_valid
                )
            ),
        )
        return MappedRows(
            columns=columns,
            data=data,
            x_start=x[start],
            weight_start=x_weight[start],
            log_jacobian=float(np.average(log_jacobian, weights=self.train[used])),
            log_jacobian_valid=log_jacobian_valid,
        )


@dataclass(frozen=True)
class MappedRows:
    """The rows of a fit in the model units of some columns.

    Attributes
    ----------
    columns : RowMap
        The map between table and model units.
    data : TrainingData
        Rows to train and to validate on.
    x_start : Tensor of shape (N, columns)
        Training rows that a new model is started from, 100,000 at most, on the CPU.
    weight_start : Tensor of shape (N,)
        Their weights.
    log_jacobian : float
        Mean log |det du/dx| of the training rows, or of some of a large table.
    log_jacobian_valid : ndarray of shape (n_valid,)
        log |det du/dx| of each validation row.
    """

    columns: RowMap
    data: TrainingData
    x_start: torch.Tensor
    weight_start: torch.Tensor
    log_jacobian: float
    log_jacobian_valid: Array


def split_rows(
    table: WeightedRows, plan: FitPlan, generator: torch.Generator
) -> SplitRows:
    """Divide weights, scaled to `n_draws` in all, into training and validation."""
    scale = plan.n_draws / table.weight.sum()
    weight = torch.from_numpy(table.weight * scale)
    train, valid = split_weights(weight, plan.settings.n_valid, generator)
    if len(weight) > plan.n_draws:
        # Some of many rows were chosen by weight; each of them now counts as one.
        valid = torch.where(valid > 0, valid.clamp(min=1), 0)
    parts = train.numpy(), valid.numpy()
    return SplitRows(table, *parts, fit_companion(plan, table, *parts))


def _some(index: Index) -> Index:
    """Return at most 100,000 of the row numbers, the same at every call."""
    if len(index) <= MAX_DRAWS:
        return index
    choice = np.random.default_rng(0).integers(len(index), size=MAX_DRAWS)
    return index[np.unique(choice)]
