"""Which rows train and which validate, and how they look in model units."""

from dataclasses import dataclass

import numpy as np
import torch

from skvae.fitting.plan import MAX_DRAWS, FitPlan, WeightedRows
from skvae.tables.columns import RowMap, fit_columns
from skvae.tables.given import ConditionalColumns
from skvae.tables.large import LargeTable, RowsOnDemand, in_float32
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
    """

    table: WeightedRows
    train: Array
    valid: Array

    def to_start_from(self) -> Index:
        """Return which training rows scaling and start are fitted to.

        Of a large table these are some rows only, the same at every call.
        """
        used = np.flatnonzero(self.train > 0)
        if not isinstance(self.table.rows, LargeTable) or len(used) <= MAX_DRAWS:
            return used
        choice = np.random.default_rng(0).integers(len(used), size=MAX_DRAWS)
        return used[np.unique(choice)]

    def columns(self, *, normal_margins: bool, smoothing: float) -> RowMap:
        """Fit scaling, margins and floors to training rows.

        Validation rows take no part: margins that had seen them would flatter.

        Parameters
        ----------
        normal_margins : bool
            Whether to map real columns to normal scores.
        smoothing : float
            Least floor, in spreads of the column.
        """
        used, table = self.to_start_from(), self.table
        rows, weight = table.rows[used], self.train[used]
        columns = fit_columns(
            rows[:, : table.n_features],
            weight,
            table.schema.kinds,
            normal_margins=normal_margins,
            smoothing=smoothing,
        )
        if table.given is None:
            return columns
        given = table.given.standardised(rows[:, table.n_features :], weight)
        return ConditionalColumns(columns, given)

    def mapped(self, columns: RowMap, device: torch.device) -> "MappedRows":
        """Map rows to model units.

        Parameters
        ----------
        columns : RowMap
            The map.
        device : torch.device
            Where the rows that are trained on go.
        """
        rows, used = self.table.rows, self.to_start_from()
        x, log_jacobian = columns.to_model(rows[used])
        x_start = in_float32(x)
        weight_start = torch.from_numpy(self.train[used])
        valid = np.flatnonzero(self.valid > 0)
        x_valid, log_jacobian_valid = columns.to_model(rows[valid])
        source: RowSource = x_start.to(device)
        weight = weight_start
        if isinstance(rows, LargeTable):
            source = RowsOnDemand(rows, columns, device)
            weight = torch.from_numpy(self.train)
        data = TrainingData(
            x=source,
            weight=weight,
            x_valid=in_float32(x_valid).to(device),
            weight_valid=torch.from_numpy(self.valid[valid]),
            n_draws=max(1, round(float(self.train.sum()))),
        )
        return MappedRows(
            columns=columns,
            data=data,
            x_start=x_start,
            weight_start=weight_start,
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
        Training rows that a new model is started from, on the CPU.
    weight_start : Tensor of shape (N,)
        Their weights.
    log_jacobian : float
        Mean log |det du/dx| of these rows.
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
    return SplitRows(table, train.numpy(), valid.numpy())
