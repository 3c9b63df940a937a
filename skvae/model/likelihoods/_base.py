"""The contract of a likelihood."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from skvae.model.cells import CellDistribution
from skvae.model.context import BuildContext, LinearStart
from skvae.model.features import Support
from skvae.model.spec import ComponentSpec

__all__ = ["LikelihoodModule", "LikelihoodSpec"]


class LikelihoodModule(nn.Module, ABC):
    """Density or mass of every column, given raw parameters from the decoder.

    Attributes
    ----------
    n_parameters : int
        Raw parameters per column, P.
    n_linear : int
        How many of them, the first ones, are locations: the decoder lets locations
        extrapolate linearly in z, while all other parameters stay bounded.
    reads_in_single : bool
        Whether single precision gives log-densities to 0.001 nats for rows within some
        hundred standard deviations. It does not where large terms cancel.
    """

    n_parameters: int
    n_linear: int
    reads_in_single: bool = False

    @abstractmethod
    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Log-density of each cell.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Rows, in model units.
        raw : Tensor of shape (K, B, P, D)
            Parameters from the decoder.

        Returns
        -------
        log_prob : Tensor of shape (K, B, D)
            Nats per cell.
        """

    @abstractmethod
    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one row for each set of parameters (..., P, D), shape (..., D)."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """Mean of each column, (..., P, D) to (..., D).

        For a column whose values have no order, the most probable value.
        """

    @abstractmethod
    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start at the linear model; return the decoder's slope and offset.

        Parameters
        ----------
        start : LinearStart
            The linear model of the features of the columns that have a density. Given
            features are among its inputs (`LinearStart.with_given_inputs`).

        Returns
        -------
        slope : Tensor of shape (n_linear, D, L + G)
            Slopes of the location parameters, over latents and given features.
        offset : Tensor of shape (P, D)
            Raw parameters where latents and given features are zero.
        """

    def log_prob(
        self, x: Tensor, raw: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        """Log-density of each row, the sum over its observed columns, shape (K, B).

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Rows, in model units.
        raw : Tensor of shape (K, B, P, D)
            Parameters from the decoder.
        observed : bool Tensor of shape (B, D), default=None
            Cells that count; the values of the other cells have no influence. None if
            all count.
        """
        if observed is None:
            return self.column_log_prob(x, raw).sum(-1)
        # Zero is in the support of every likelihood.
        log_prob = self.column_log_prob(x.where(observed, 0.0), raw)
        return log_prob.where(observed, 0.0).sum(-1)

    def shared_log_prob(
        self, x: Tensor, raw: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        """Log-density of each row under parameters that all rows share.

        Parameters
        ----------
        x, observed
            As for `log_prob`.
        raw : Tensor of shape (K, P, D)
            Parameters from the decoder.

        Returns
        -------
        log_prob : Tensor of shape (K, B)
            Nats per row.
        """
        return self.log_prob(x, raw[:, None].expand(-1, len(x), -1, -1), observed)

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> CellDistribution:
        """Return the distributions of one cell of each row, mixed over draws.

        Parameters
        ----------
        raw : Tensor of shape (K, B, P, D)
            Parameters from the decoder, for K draws of each row's latents.
        log_weight : Tensor of shape (K, B)
            Log-weights of the draws; those of a row sum to one.
        column : int
            Which cell.

        Returns
        -------
        cell : CellDistribution
            Σ_k w_k p(x_column | z_k), for B rows.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not say how a single cell is distributed: "
            f"it has no method `cell`."
        )

    def floor_share(self, raw: Tensor, factor: float) -> Tensor | None:
        """Probability that a cell's standard deviation is near its floor, given z.

        Parameters
        ----------
        raw : Tensor of shape (..., P, D)
            Parameters from the decoder.
        factor : float
            A standard deviation is near its floor if it is at most so many times as
            large.

        Returns
        -------
        share : Tensor of shape (..., D) or None
            Between 0 and 1; None where standard deviations have no floor.
        """
        return None


class LikelihoodSpec(ComponentSpec, ABC):
    """Hyper-parameters of a likelihood p(x | z).

    Attributes
    ----------
    support : {"real", "binary", "count", "category"}
        The values that a column may have: real numbers (standardised before the model
        sees them), zeros and ones, whole numbers from zero, or codes of categories.
    """

    family: ClassVar[str] = "likelihood"
    support: ClassVar[Support] = "real"

    def supports(
        self, names: tuple[str, ...], natural: Callable[[int], Support]
    ) -> tuple[Support, ...]:
        """Return what each column of a table holds: `support`, unless it is mixed.

        Parameters
        ----------
        names : tuple of str
            The columns' names.
        natural : callable
            Maps the index of a column to what its values suggest that it holds.
        """
        return (self.support,) * len(names)

    @abstractmethod
    def build(self, context: BuildContext) -> LikelihoodModule:
        """Return the module for tables of these sizes."""
