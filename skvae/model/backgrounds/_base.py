"""The contract of a background."""

from abc import ABC, abstractmethod
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor, nn

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
        """Log-density log p₀ of rows (B, D), shape (B,), nats."""

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows from p₀, shape (n_samples, D)."""

    @abstractmethod
    def initialise(self, x: Tensor, sample_weight: Tensor) -> None:
        """Fit p₀ to rows (N, D) with positive weights (N,)."""

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
