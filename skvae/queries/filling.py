"""The missing cells of rows, filled in: by what is expected, or by draws."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skvae.model.cells import CellDistribution, DiscreteCells
from skvae.queries.cells import beside_closed_form, cell_of
from skvae.scoring.conditionals import ConditionalRows
from skvae.scoring.reader import RowReader
from skvae.typing import Array

__all__ = ["draw_cells", "expected_cells"]

HALF = torch.tensor([0.5], dtype=torch.float64)


def expected_cells(reader: RowReader, table: Array, seed: int) -> Array:
    """Return rows whose missing cells are what is expected of them.

    That is the mean of a real column, the most probable of finitely many values, and
    the median of a count.

    Parameters
    ----------
    reader : RowReader
        The fitted model.
    table : ndarray of shape (n, columns)
        Rows, in the units of the input; missing cells are NaN.
    seed : int
        Each has draws of its own.

    Returns
    -------
    filled : ndarray of shape (n, D)
        Observed cells are as they were.
    """
    return _filled(reader, table, seed, _expected)


def draw_cells(reader: RowReader, table: Array, n_draws: int, seed: int) -> Array:
    """Return rows whose missing cells are drawn from p(missing | observed).

    Parameters
    ----------
    reader, table, seed
        As for `expected_cells`.
    n_draws : int
        How often each row is filled in.

    Returns
    -------
    filled : ndarray of shape (n_draws, n, D)
        Observed cells are as they were.
    """
    drawn = _filled(reader, table, seed, lambda rows: _drawn(rows, n_draws), n_draws)
    return np.moveaxis(drawn, 1, 0)


def _filled(
    reader: RowReader,
    table: Array,
    seed: int,
    fill: Callable[[ConditionalRows], Tensor],
    *more: int,
) -> Array:
    """Return the rows with all missing cells as `fill` has them, (n, *more, D)."""
    n_features = reader.model.n_features
    modelled = table[:, :n_features]
    incomplete = np.isnan(modelled).any(1)
    shape = (len(table), *more, n_features)
    places = (slice(None), *(None for _ in more))
    filled = np.broadcast_to(modelled[places], shape).copy()
    if incomplete.any():
        (cells,) = reader.ask(table[incomplete], seed, lambda rows: (fill(rows),))
        missing = np.isnan(filled[incomplete])
        filled[incomplete] = np.where(missing, cells, filled[incomplete])
    return filled


def _expected(rows: ConditionalRows) -> Tensor:
    missing = rows.missing
    filled = torch.full(missing.shape, torch.nan, dtype=torch.float64)
    for column in missing.any(0).nonzero().flatten().tolist():
        if rows.model.decoder.order is None:
            cell = cell_of(rows, column)
        else:
            cell = _drawn_cell(rows, column)
        if rows.columns.kinds[column].support == "count":
            filled[:, column] = cell.quantile(HALF)[:, 0].floor()
        else:
            filled[:, column] = cell.mean()
    return filled


@dataclass(frozen=True)
class _DrawnCells(CellDistribution):
    """Weighted draws of a cell, (B, K) each."""

    values: Tensor
    log_weight: Tensor

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-mass of draws that equal each value."""
        equal = t[:, :, None] == self.values[:, None]
        return (equal * self.log_weight.exp()[:, None]).sum(2).log()

    def cdf(self, t: Tensor) -> Tensor:
        """Return the mass of draws up to each value."""
        below = self.values[:, None] <= t[:, :, None]
        return (below * self.log_weight.exp()[:, None]).sum(2)

    def mean(self) -> Tensor:
        """Return the mean of the draws."""
        return (self.log_weight.exp() * self.values).sum(1)

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the draws."""
        return self.values, self.log_weight

    def log_mass(self) -> None:
        """Return None: which values there are is not known."""
        return None


def _drawn_cell(rows: ConditionalRows, column: int) -> CellDistribution:
    """Return the distribution of a cell by draws, where the decoder reads columns."""
    n_values = rows.n_values(column)
    values = rows.filled[..., column].double().T
    cell: CellDistribution = _DrawnCells(values, rows.draws.log_weight.T)
    if n_values is not None:
        codes = torch.arange(n_values, dtype=torch.float64).expand(len(values), -1)
        cell = DiscreteCells(cell.log_prob(codes))
    return beside_closed_form(rows, column, cell)


def _drawn(rows: ConditionalRows, n_draws: int) -> Tensor:
    """Draw the part that each filled row comes from, and the row from this part."""
    model, draws = rows.model, rows.draws
    index = draws.resampled(n_draws)[..., None]
    if model.decoder.order is None:
        z, cells = draws.z.take_along_dim(index, 0), draws.noise.stream(3).cells()
        u = model.fill_in(rows.x, z, cells)
    else:
        u = rows.filled.take_along_dim(index, 0)
    filled = rows.to_table(u)
    uniform = draws.noise.stream(4).uniform(0, n_draws, 1)[..., 0].to(u.device)
    part = (uniform > rows.shares().cumsum(0)[:, None]).sum(0).clamp(max=2)
    generators = draws.noise.generators(5)
    for draw, of_rows in enumerate(part):
        for number, complete in enumerate((rows.by_background, rows.by_companion), 1):
            some = (of_rows == number).nonzero().flatten()
            if len(some):
                own = [generators[row] for row in some.tolist()]
                filled[draw, some] = complete(some, own)
    return filled.transpose(0, 1)
