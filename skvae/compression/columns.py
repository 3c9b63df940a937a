"""The cells of rows as symbols, one column after the other.

What a column's cells are written under is their distribution given the latents of the
row, or given the cells of the columns before.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae.compression.stack import Channel, Codes, Flags
from skvae.model import VAE
from skvae.model.backgrounds import BackgroundModule
from skvae.model.cells import CellDistribution
from skvae.queries.cells import MappedCells
from skvae.tables.alphabets import Alphabet
from skvae.tables.alphabets import Codes as Values
from skvae.tables.columns import RowMap
from skvae.tables.companion import CompanionDensity
from skvae.typing import Array, Mask

__all__ = [
    "BackgroundColumns",
    "ColumnLaws",
    "CompanionColumns",
    "LatentColumns",
    "code_columns",
]

Places = NDArray[np.uint64]

# Of the probability of an interval: below, its distribution function has too few digits
# for shares of it.
LEAST_MASS = 1e-12


class ColumnLaws(ABC):
    """Distributions of cells, in the units of the table, for B rows.

    Attributes
    ----------
    order : sequence of int
        Columns, in the order in which they are asked for.
    """

    order: Sequence[int]

    @abstractmethod
    def cell(self, table: Array, column: int) -> CellDistribution:
        """Return the distribution of a column's cells.

        Parameters
        ----------
        table : ndarray of shape (B, D)
            Cells; NaN where they are missing or not known yet.
        column : int
            Which column.
        """

    def learn(self, table: Array, column: int) -> None:  # noqa: B027
        """Take note of a column's cells, which are known from now on."""


class LatentColumns(ColumnLaws):
    """Cells given the latents.

    Parameters
    ----------
    model : VAE
        The density.
    columns : RowMap
        Between table and model units.
    z : Tensor of shape (B, L)
        Latents.
    """

    def __init__(self, model: VAE, columns: RowMap, z: Tensor) -> None:
        self._model, self._columns, self._z = model, columns, z[None]
        self._x = z.new_zeros(len(z), model.n_features)
        order = model.decoder.order
        self.order = range(model.n_features) if order is None else order.tolist()
        # None where the decoder reads columns, after each of which it is another one.
        self._raw = self._decoded() if order is None else None
        self._log_weight = z.new_zeros(1, len(z))

    def _decoded(self) -> Tensor:
        """Return raw parameters (1, B, P, D), by the cells that are known."""
        return self._model.raw(self._x, self._z).expand(-1, len(self._x), -1, -1)

    def cell(self, table: Array, column: int) -> CellDistribution:
        """Return the likelihood's distribution."""
        raw = self._decoded() if self._raw is None else self._raw
        found = self._model.likelihood.cell(raw, self._log_weight, column)
        return MappedCells(found, self._columns.column(column))

    def learn(self, table: Array, column: int) -> None:
        """Take note of the cells, where the decoder reads them."""
        if self._raw is None:
            u, _ = self._columns.column(column).to_model(table[:, column])
            self._x[:, column] = torch.from_numpy(np.nan_to_num(u))


class BackgroundColumns(ColumnLaws):
    """Cells under the background, given the columns before.

    Parameters
    ----------
    background : BackgroundModule
        p₀.
    columns : RowMap
        Between table and model units.
    n_rows : int
        Number of rows.
    """

    def __init__(
        self, background: BackgroundModule, columns: RowMap, n_rows: int
    ) -> None:
        self._background, self._columns = background, columns
        n_columns = len(columns.floor)
        self.order = range(n_columns)
        self._x = torch.full((n_rows, n_columns), torch.nan, dtype=torch.float64)

    def cell(self, table: Array, column: int) -> CellDistribution:
        """Return the background's conditional distribution."""
        found = self._background.cell(self._x, column)
        return MappedCells(found, self._columns.column(column))

    def learn(self, table: Array, column: int) -> None:
        """Keep the cells in model units."""
        u, _ = self._columns.column(column).to_model(table[:, column])
        self._x[:, column] = torch.from_numpy(u)


class CompanionColumns(ColumnLaws):
    """Cells under the companion, given the columns before.

    Parameters
    ----------
    companion : CompanionDensity
        A density in closed form.
    n_columns : int
        Number of columns.
    """

    def __init__(self, companion: CompanionDensity, n_columns: int) -> None:
        self._companion = companion
        self.order = range(n_columns)

    def cell(self, table: Array, column: int) -> CellDistribution:
        """Return the companion's conditional distribution."""
        found = self._companion.cell(table, column)
        return MappedCells(found, self._companion.columns.column(column))


def code_columns(
    channel: Channel,
    laws: ColumnLaws,
    alphabets: Sequence[Alphabet],
    observed: Mask,
    table: Array | None,
) -> Array:
    """Write the observed cells of rows, or read them.

    Parameters
    ----------
    channel : Channel
        Where to.
    laws : ColumnLaws
        Distributions of the cells.
    alphabets : sequence of Alphabet
        The values of each column.
    observed : ndarray of bool of shape (B, D)
        Which cells are there.
    table : ndarray of shape (B, D) or None
        Rows, in the units of the table; None to read them.

    Returns
    -------
    table : ndarray of shape (B, D)
        The rows; NaN where a cell is missing.
    """
    found = np.full(observed.shape, np.nan)
    for column in laws.order:
        chosen, alphabet = observed[:, column], alphabets[column]
        if chosen.any():
            places = None
            if table is not None:
                places = alphabet.places(np.nan_to_num(table[:, column]))
            code = _code_masses if isinstance(alphabet, Values) else _code_numbers
            cell = laws.cell(found, column)
            places = code(channel, cell, alphabet, chosen, places)
            found[chosen, column] = alphabet.values(places[chosen])
        laws.learn(found, column)
    return found


def _code_masses(
    channel: Channel,
    cell: CellDistribution,
    alphabet: Alphabet,
    chosen: Mask,
    places: Places | None,
) -> Places:
    """Write or read values that have masses."""
    found = np.zeros(len(chosen), dtype=np.uint64)
    log_mass = cell.log_mass()
    if log_mass is None:
        return found
    law = Codes(log_mass.double().exp().numpy()[chosen])
    known = None if places is None else places[chosen].astype(np.int32)
    found[chosen] = channel.code(law, known).astype(np.uint64)
    return found


def _code_numbers(
    channel: Channel,
    cell: CellDistribution,
    alphabet: Alphabet,
    chosen: Mask,
    places: Places | None,
) -> Places:
    """Write or read places of an alphabet, by halving the interval that they are in.

    Each half has its share of the interval's probability, or where the distribution
    function does not have the digits for it, of the interval's places.
    """
    low = np.zeros(len(chosen), dtype=np.uint64)
    high = np.full(len(chosen), alphabet.size - 1, dtype=np.uint64)
    below, above = np.zeros(len(chosen)), np.ones(len(chosen))
    while (open_ := chosen & (high > low)).any():
        # The first place of the upper half.
        middle = low + (high - low) // np.uint64(2) + np.uint64(1)
        middle = np.where(open_, middle, np.uint64(1))
        edge = torch.from_numpy(alphabet.edges(middle))[:, None]
        value = cell.cdf(edge).double().numpy()[:, 0].clip(below, above)
        mass = above - below
        of_places = (high - middle + np.uint64(1)).astype(float)
        of_places /= (high - low).astype(float) + 1.0
        share = np.where(
            mass > LEAST_MASS, (above - value) / np.maximum(mass, LEAST_MASS), of_places
        )
        is_upper = np.zeros(len(chosen), dtype=bool)
        known = None if places is None else (places >= middle)[open_].astype(np.int32)
        is_upper[open_] = channel.code(Flags(share[open_]), known) > 0
        upper, lower = open_ & is_upper, open_ & ~is_upper
        low, below = np.where(upper, middle, low), np.where(upper, value, below)
        high = np.where(lower, middle - np.uint64(1), high)
        above = np.where(lower, value, above)
    return low
