"""The distribution of one cell of each row, given the other observed cells."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skvae.model.cells import (
    CellDistribution,
    DiscreteCells,
    GaussianCells,
    MixtureCells,
)
from skvae.queries.grid import DrawnCells, GridCells
from skvae.scoring.conditionals import ConditionalRows
from skvae.tables.columns import ColumnMap

__all__ = ["MappedCells", "beside_closed_form", "cell_of", "drawn_cell"]

# Where a cell has to be tried at values: draws of each row's latents, for numbers and
# for categories; numbers at first, and where the mass is.
N_TRIED_DRAWS, N_DRAWS_OF_CATEGORIES = 96, 512
N_COARSE, N_FINE = 33, 65
NEGLIGIBLE = 1e-5  # mass beyond the fine values, on each side
N_INTERPOLATED, BEYOND_KNOTS = 1025, 0.1
SILVERMAN = 1.06
MARGIN = 0.5  # of the range of the draws, on each side, that the coarse values cover


@dataclass(frozen=True)
class MappedCells(CellDistribution):
    """Cells of a column in the units of the table.

    Attributes
    ----------
    part : CellDistribution
        In the units of a model.
    column : ColumnMap
        The map between both.
    """

    part: CellDistribution
    column: ColumnMap

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers."""
        return self.part.is_whole

    def _to_model(self, t: Tensor) -> tuple[Tensor, Tensor]:
        u, log_slope = self.column.to_model(t.double().numpy())
        return torch.from_numpy(u), torch.from_numpy(log_slope)

    def _to_table(self, u: Tensor) -> Tensor:
        return torch.from_numpy(self.column.to_table(u.double().numpy()))

    def log_prob(self, t: Tensor) -> Tensor:
        """Return the log-density or log-mass."""
        u, log_slope = self._to_model(t)
        return self.part.log_prob(u).double() + log_slope

    def cdf(self, t: Tensor) -> Tensor:
        """Return the distribution function."""
        return self.part.cdf(self._to_model(t)[0]).double()

    def mean(self) -> Tensor:
        """Return the mean, or the most probable value."""
        if self.column.is_linear or self.log_mass() is not None:
            return self._to_table(self.part.mean())
        values, log_weight = self.part.nodes()
        mapped = _interpolated(self.column, values.double())
        return (log_weight.double().exp() * mapped).sum(1)

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the nodes of the part, mapped."""
        values, log_weight = self.part.nodes()
        return self._to_table(values), log_weight.double()

    def quantile(self, q: Tensor) -> Tensor:
        """Return the quantiles of the part, mapped."""
        return self._to_table(self.part.quantile(q))

    def log_mass(self) -> Tensor | None:
        """Return the log-masses of discrete values, which have no units."""
        return self.part.log_mass()


def _interpolated(column: ColumnMap, u: Tensor) -> Tensor:
    """Return numbers in the units of the table, for a mean over very many of them.

    They are linear between 1,025 values that cover the knots of the column's map, and
    beyond, where the map is a straight line.
    """
    assert column.monotone is not None
    first, last = column.monotone.u[[0, -1]]
    grid = np.linspace(first - BEYOND_KNOTS, last + BEYOND_KNOTS, N_INTERPOLATED)
    value = torch.from_numpy(column.to_table(grid))
    place = (u - grid[0]) / (grid[1] - grid[0])
    left = place.floor().clamp(0, N_INTERPOLATED - 2)
    index = left.long()
    return value[index] + (place - left) * value.diff()[index]


def cell_of(rows: ConditionalRows, column: int) -> CellDistribution:
    """Return the distribution of the cells of a column, in the units of the table.

    Parameters
    ----------
    rows : ConditionalRows
        Rows. Where the cell is observed, the result means nothing.
    column : int
        Which column.
    """
    return beside_closed_form(rows, column, _latent_cell(rows, column))


def beside_closed_form(
    rows: ConditionalRows, column: int, latent: CellDistribution
) -> CellDistribution:
    """Return the mixture of what latent part, background and companion say of a cell.

    Parameters
    ----------
    rows, column
        As for `cell_of`.
    latent : CellDistribution
        What the latent part says, in model units; in those of the table where its draws
        are completed rows.
    """
    model, shares = rows.model, rows.shares().double()
    parts, chosen = [latent], [0]
    if rows.completed is None:
        own = rows.columns.column(column)
        parts = [MappedCells(latent, own)]
        if model.background is not None:
            of_background = model.background.cell(rows.x[:, : model.n_features], column)
            parts.append(MappedCells(of_background, own))
            chosen.append(1)
    if rows.companion is not None:
        of_companion = rows.companion.cell(rows.table, column)
        theirs = rows.companion.columns.column(column)
        parts.append(MappedCells(of_companion, theirs))
        chosen.append(2)
    return MixtureCells(shares[chosen].T.log(), parts) if len(parts) > 1 else parts[0]


def _latent_cell(rows: ConditionalRows, column: int) -> CellDistribution:
    """Return the distribution that the latent part has, in model units.

    It is a weighted mixture of the likelihood's own distributions. Only where the
    decoder reads columns, what later ones say of the cell is found by trying values, or
    for counts, of which there is no end, by the weights of those that were drawn.
    """
    model, draws = rows.model, rows.draws
    if rows.completed is not None:
        return _smoothed_cell(rows.completed[..., column].T, draws.log_weight.T)
    order = model.decoder.order
    if order is not None and int(order[-1]) != column:
        is_count = rows.columns.kinds[column].support == "count"
        return (drawn_cell if is_count else _tried_cell)(rows, column)
    return model.likelihood.cell(rows.raw, draws.log_weight, column)


def drawn_cell(rows: ConditionalRows, column: int) -> CellDistribution:
    """Return the latent part's distribution of a cell by the row's weighted draws.

    Parameters
    ----------
    rows, column
        As for `cell_of`; the decoder reads columns.
    """
    n_values = rows.n_values(column)
    values = rows.filled[..., column].double().T.contiguous()
    log_weight = rows.draws.log_weight.T.contiguous()
    are_counts = rows.columns.kinds[column].support == "count"
    cell = DrawnCells(values, log_weight, are_counts)
    if n_values is None:
        return cell
    codes = torch.arange(n_values, dtype=torch.float64).expand(len(values), -1)
    return DiscreteCells(cell.log_prob(codes))


def _smoothed_cell(values: Tensor, log_weight: Tensor) -> GaussianCells:
    """Return a Gaussian around each of the weighted values (B, K) of a cell.

    Their width is that of Silverman's rule, 1986 (Density estimation for statistics and
    data analysis), and the values are drawn towards their mean, so that mean and
    variance are those of the values.
    """
    weight = log_weight.exp()
    mean = (weight * values).sum(1, keepdim=True)
    spread = (weight * (values - mean).square()).sum(1, keepdim=True).sqrt()
    size = 1 / weight.square().sum(1, keepdim=True)
    width = (SILVERMAN * size**-0.2).clamp(max=1.0)
    location = mean + (1 - width.square()).sqrt() * (values - mean)
    least = torch.finfo(values.dtype).eps * mean.abs() + torch.finfo(values.dtype).tiny
    scale = torch.maximum(width * spread, least).expand_as(values)
    return GaussianCells(log_weight.contiguous(), location, scale)


def _tried_cell(rows: ConditionalRows, column: int) -> CellDistribution:
    r"""Return the distribution by the likelihood of the row at values of the cell.

    .. math:: p(v \mid o) \propto \sum_k \tilde w_k\, p(v \mid x_{<}, z_k) \prod_{j >}
              \frac{p(x_j \mid x_{<j}, v, z_k)}{p(x_j \mid x_{<j}, x_k, z_k)}

    The weights belong to rows that are filled in, with x_k in the place of v, as far as
    there are observed cells.
    """
    model, draws, n_values = rows.model, rows.draws, rows.n_values(column)
    n_draws = N_TRIED_DRAWS if n_values is None else N_DRAWS_OF_CATEGORIES
    index = draws.resampled(n_draws)[..., None]
    z = draws.z.take_along_dim(index, 0)
    filled = rows.filled.take_along_dim(index, 0)
    order = model.decoder.order
    assert order is not None
    rank = order.argsort()
    counted = ~rows.missing | model.drawn_cells(rows.x)
    counted &= rank > rank[column]

    def log_prob(x: Tensor) -> Tensor:
        """Return the log-density of every cell, (K, B, D)."""
        raw = model.raw_of_each(x, z).flatten(0, 1)[None]
        cells = x[..., : model.n_features]
        each = model.likelihood.column_log_prob(cells.flatten(0, 1), raw)
        return each.view(cells.shape).double()

    before = log_prob(filled)

    def log_density(values: Tensor) -> Tensor:
        """Return the log-density at values (B, G), up to a constant, (B, G)."""
        at = []
        for value in values.T:
            x = filled.clone()
            x[..., column] = value.to(x)
            found = log_prob(x)
            later = (found - before).where(counted, 0.0).sum(-1)
            at.append((found[..., column] + later).logsumexp(0))
        return torch.stack(at, 1)

    if n_values is not None:
        values = torch.arange(n_values, dtype=torch.float64).expand(len(rows.x), -1)
        return DiscreteCells(log_density(values).log_softmax(1))
    drawn = filled[..., column].double()
    low, high = drawn.amin(0), drawn.amax(0)
    margin = MARGIN * (high - low).clamp(min=1e-3)
    coarse = _between(low - margin, high + margin, N_COARSE)
    found = GridCells.of(coarse, log_density(coarse))
    ends = found.quantile(torch.tensor([NEGLIGIBLE, 1 - NEGLIGIBLE]).double())
    fine = _between(ends[:, 0], ends[:, 1], N_FINE)
    return GridCells.of(fine, log_density(fine))


def _between(low: Tensor, high: Tensor, n_values: int) -> Tensor:
    """Return evenly spaced values (B, n_values)."""
    share = torch.linspace(0, 1, n_values, dtype=torch.float64)
    return low[:, None] + (high - low)[:, None] * share
