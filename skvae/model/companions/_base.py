"""The contract of a companion: a density in closed form beside the latent part."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from skvae.model.cells import CellDistribution
from skvae.model.companions._rows import BlockScorer, in_row_blocks
from skvae.model.features import ColumnKind, Support
from skvae.model.spec import ComponentSpec

__all__ = [
    "BlockScorer",
    "Companion",
    "CompanionFit",
    "CompanionSpec",
    "CompanionTable",
]


class Companion(nn.Module, ABC):
    """A density in closed form, fitted once and then fixed.

    A cell that is NaN is missing: the density is that of the other cells of the row.
    """

    @property
    @abstractmethod
    def by_pattern(self) -> bool:
        """Whether incomplete rows need a scorer of their own pattern.

        Else, a scorer that is made for one pattern takes all incomplete rows.
        """

    @abstractmethod
    def complete_scorer(self) -> BlockScorer:
        """Return a function of complete rows that returns their log-densities, nats.

        It is called for blocks of rows (48, D), and prepares once what all of them
        need.
        """

    @abstractmethod
    def marginal_scorer(self, observed: Tensor) -> BlockScorer:
        """Return the same for rows whose observed cells are those of a pattern.

        It is called for blocks of rows (n, D), which are NaN where a cell is missing.

        Parameters
        ----------
        observed : Tensor of bool of shape (D,)
            Neither all nor none; see `by_pattern`.
        """

    def scorer(self, observed: Tensor | None = None) -> BlockScorer:
        """Return a function of rows of one pattern that returns their log-densities.

        Parameters
        ----------
        observed : Tensor of bool of shape (D,) or None, default=None
            Which cells of the rows are observed; all by default.
        """
        if observed is None or observed.all():
            return self.complete_scorer()
        if not observed.any():
            return lambda rows: torch.zeros_like(rows[:, 0])
        return self.marginal_scorer(observed)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of rows (B, D), shape (B,), nats.

        Its bits depend on the row alone.
        """
        log_prob = in_row_blocks(self.scorer, x, self.by_pattern)
        return log_prob.where(~x.isnan().all(1), 0.0)

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows, shape (n_samples, D)."""

    @abstractmethod
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

    @abstractmethod
    def cell(self, x: Tensor, column: int) -> CellDistribution:
        """Return the distribution of a cell of each row, given the row's others.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Rows; NaN where a cell is missing. What is in the column does not matter.
        column : int
            The cell's column.
        """


class CompanionFit(ABC):
    """A way to fit a companion.

    Attributes
    ----------
    name : str
        What to call it in the report of a fit.
    """

    name: str

    @abstractmethod
    def fit(self, x: Tensor, weights: Tensor) -> Sequence[Companion]:
        """Fit one companion for each of several weightings of the same rows.

        Parameters
        ----------
        x : Tensor of shape (N, D)
            Rows, in model units, float64; NaN where a cell is missing.
        weights : Tensor of shape (F, N)
            Weights of the rows, at least 0; not all zero in any weighting.

        Returns
        -------
        companions : sequence of F Companion
            In float64.
        """


@dataclass(frozen=True)
class CompanionTable:
    """What a companion is told of the table before it is fitted.

    Attributes
    ----------
    n_rows : int
        Number of distinct rows.
    floor : Tensor of shape (D,)
        Smallest standard deviation of each column, in model units, float64.
    kinds : tuple of ColumnKind
        What the columns hold.
    """

    n_rows: int
    floor: Tensor
    kinds: tuple[ColumnKind, ...]


class CompanionSpec(ComponentSpec, ABC):
    """Hyper-parameters of a companion.

    Attributes
    ----------
    supports : tuple of str
        The kinds of columns that it takes, in the words of `LikelihoodSpec.support`.
    """

    family: ClassVar[str] = "companion"
    supports: ClassVar[tuple[Support, ...]] = ("real",)

    @abstractmethod
    def series(self, table: CompanionTable) -> Sequence[Sequence[CompanionFit]]:
        """Return what to fit, in series of growing flexibility.

        The rest of a series is left out once its scores of held-out rows fall.
        """
