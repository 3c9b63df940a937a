"""Rows of categories as codes and as indicators."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skvae.model.cells import DiscreteCells
from skvae.model.features import ColumnKind
from skvae.model.missing import choose

__all__ = ["Categories"]


class Categories(nn.Module):
    """The values of every column; zeros and ones are two categories.

    The indicators of all columns, side by side, are V numbers. A value that is none of
    the known ones has no indicator.

    Parameters
    ----------
    kinds : tuple of ColumnKind, one per column
        Binary columns and categories.

    Attributes
    ----------
    n_values : Tensor of int of shape (D,)
        Number of values of each column, which is the code of an unknown value.
    begin : Tensor of int of shape (D,)
        First indicator of each column.
    owner, value : Tensor of int of shape (V,)
        Column and value of each indicator.
    log_known, log_other : Tensor of shape (D,)
        Log-mass of the known values together, and of all others.
    """

    n_values: Tensor
    begin: Tensor
    owner: Tensor
    value: Tensor
    log_known: Tensor
    log_other: Tensor

    def __init__(self, kinds: tuple[ColumnKind, ...]) -> None:
        super().__init__()
        sizes = [2 if kind.support == "binary" else kind.n_values for kind in kinds]
        n_values = torch.tensor(sizes)
        other = torch.tensor([kind.other for kind in kinds], dtype=torch.float64)
        self.register_buffer("n_values", n_values)
        self.register_buffer("begin", n_values.cumsum(0) - n_values)
        owner = torch.arange(len(kinds)).repeat_interleave(n_values)
        self.register_buffer("owner", owner)
        self.register_buffer("value", torch.arange(len(owner)) - self.begin[owner])
        self.register_buffer("log_known", (-other).log1p())
        self.register_buffer("log_other", other.log())

    def codes(self, x: Tensor) -> Tensor:
        """Return the codes of rows (B, D), unknown values and NaN as `n_values`."""
        missing = x.isnan()
        codes = x.masked_fill(missing, 0).long().clamp(min=0).minimum(self.n_values)
        return codes.where(~missing, self.n_values)

    def indicators(self, x: Tensor) -> Tensor:
        """Return the indicators of rows, shape (B, V)."""
        return (self.codes(x)[:, self.owner] == self.value).to(x.dtype)

    def log_mass_of_known(self, x: Tensor) -> Tensor:
        """Return the log-mass of which values of a row are known, shape (B,).

        For unknown values, this is all of their log-mass. Missing cells add nothing.
        """
        known = self.codes(x) < self.n_values
        log_mass = torch.where(known, self.log_known, self.log_other)
        return log_mass.where(~x.isnan(), 0.0).sum(1)

    def sums(self, values: Tensor) -> Tensor:
        """Sum over the values of each column: (..., V) to (..., D)."""
        total = values.new_zeros(*values.shape[:-1], len(self.n_values))
        return total.index_add(-1, self.owner, values)

    def frequencies(self, indicators: Tensor, weight: Tensor) -> Tensor:
        """Return the share of each value, shape (V,), none of them zero.

        One more row is taken to have been seen, spread over all values alike.
        """
        count = weight @ indicators + 1 / self.n_values[self.owner]
        return count / self.sums(count)[self.owner]

    def draw(self, log_mass: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a value of each column, (B, V) to (B, D)."""
        cells = self._by_column(log_mass)
        gumbel = -torch.empty_like(cells).exponential_(generator=generator).log()
        return (cells + gumbel).argmax(2).to(log_mass.dtype)

    def choose(self, log_mass: Tensor, uniform: Tensor) -> Tensor:
        """Return the values that numbers (B, D) from [0, 1) choose, given (B, V)."""
        cells = self._by_column(log_mass)
        chosen = choose(cells.flatten(0, 1), uniform.flatten())
        return chosen.reshape(uniform.shape).to(log_mass.dtype)

    def _by_column(self, log_mass: Tensor) -> Tensor:
        """Return log-masses (B, V) as (B, D, W), with minus infinity beside them."""
        shape = len(log_mass), len(self.n_values), int(self.n_values.max())
        cells = log_mass.new_full(shape, -torch.inf)
        cells[:, self.owner, self.value] = log_mass
        return cells

    def cell(
        self, log_prob: Callable[[Tensor], Tensor], x: Tensor, column: int
    ) -> DiscreteCells:
        """Return the distribution of a column given the others, by all of its values.

        Parameters
        ----------
        log_prob : callable
            Returns the log-masses of rows.
        x : Tensor of shape (B, D)
            Rows; NaN where a cell is missing.
        column : int
            The column.
        """
        n_values = int(self.n_values[column])
        every = x.repeat_interleave(n_values + 1, 0)
        every[:, column] = torch.arange(n_values + 1).repeat(len(x)).to(x)
        log_mass = log_prob(every).reshape(len(x), -1).log_softmax(1)
        has_other = self.log_other[column] > -torch.inf
        return DiscreteCells(log_mass[:, :-1], log_mass[:, -1] if has_other else None)
