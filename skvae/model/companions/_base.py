"""The contract of a companion: a density in closed form beside the latent part."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from skvae.model.companions._rows import in_row_blocks
from skvae.model.features import ColumnKind, Support
from skvae.model.spec import ComponentSpec

__all__ = [
    "BlockScorer",
    "Companion",
    "CompanionFit",
    "CompanionSpec",
    "CompanionTable",
]

BlockScorer: TypeAlias = Callable[[Tensor], Tensor]


class Companion(nn.Module, ABC):
    """A density in closed form, fitted once and then fixed."""

    @abstractmethod
    def scorer(self) -> BlockScorer:
        """Return a function of rows that returns their log-densities, nats.

        It is called for blocks of rows (48, D), and prepares once what all of them
        need.
        """

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of rows (B, D), shape (B,), nats.

        Its bits depend on the row alone.
        """
        return in_row_blocks(self.scorer(), x)

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows, shape (n_samples, D)."""


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
            Rows, in model units, float64.
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
