"""The contract of a background."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor, nn

from skvae.model.cells import CellDistribution
from skvae.model.context import BuildContext
from skvae.model.features import Support
from skvae.model.spec import ComponentSpec

__all__ = ["BackgroundModule", "BackgroundSpec"]


class BackgroundModule(nn.Module, ABC):
    r"""A broad density p₀ in closed form, for the rows that no latent explains.

    .. math:: p(x) = (1 - \epsilon) \int p(x \mid z)\, p(z)\, dz + \epsilon\, p_0(x)

    Parameters
    ----------
    weight : float
        ε, the prior probability that a row comes from the background.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density log p₀ of rows (B, D), shape (B,), nats.

        A cell that is NaN is missing: the density is that of the other cells of the
        row. It is exactly one, and its logarithm zero, where no cell is observed.
        """

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows from p₀, shape (n_samples, D)."""

    @abstractmethod
    def initialise(self, x: Tensor, sample_weight: Tensor) -> None:
        """Fit p₀ to rows (N, D) with positive weights (N,), by their observed cells."""

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw the missing cells of rows, given their observed cells.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Rows; NaN where a cell is missing.
        generators : sequence of B torch.Generator
            Source of randomness of each row, which alone decides about its draw.

        Returns
        -------
        completed : Tensor of shape (B, D)
            With observed cells as they are.
        """
        raise NotImplementedError(self._says_nothing_of_cells())

    def cell(self, x: Tensor, column: int) -> CellDistribution:
        """Return the distribution of a cell of each row, given the row's others.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Rows; NaN where a cell is missing. What is in the column does not matter.
        column : int
            The cell's column.
        """
        raise NotImplementedError(self._says_nothing_of_cells())

    def _says_nothing_of_cells(self) -> str:
        return (
            f"{type(self).__name__} has no conditional distributions of cells. Tables "
            f"with missing cells need a background with `complete` and `cell`."
        )

    def typicality(self, x: Tensor) -> Tensor:
        """Return how much each row (B, D) counts in the linear start, shape (B,).

        A factor of its weight, from 0 to 1; by default 1 for all rows.
        """
        return torch.ones_like(x[:, 0])


class BackgroundSpec(ComponentSpec, ABC):
    """Hyper-parameters of a background p₀(x).

    Attributes
    ----------
    supports : tuple of str
        The kinds of columns that it takes, in the words of `LikelihoodSpec.support`.
    weight : float
        ε, between 0 and 1.
    """

    family: ClassVar[str] = "background"
    supports: ClassVar[tuple[Support, ...]] = ("real",)
    weight: float

    @abstractmethod
    def build(self, context: BuildContext) -> BackgroundModule:
        """Return the module for tables of these sizes."""

    def checked_weight(self) -> float:
        """Return `weight`; raise a ValueError unless it is between 0 and 1."""
        weight = self.weight
        if isinstance(weight, Real) and 0 < weight < 1:
            return float(weight)
        raise ValueError(
            f"weight of {type(self).__name__} must be a number between 0 and 1, "
            f"both excluded, got {weight!r}."
        )
