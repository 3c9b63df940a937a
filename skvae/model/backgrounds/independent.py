"""The background of binary columns."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.model.backgrounds._base import BackgroundModule, BackgroundSpec
from skvae.model.context import BuildContext

__all__ = ["IndependentBackground"]


class IndependentBackground(BackgroundSpec):
    r"""Independent columns of zeros and ones, each with its frequency of ones.

    .. math:: p_0(x) = \prod_d r_d^{x_d} (1 - r_d)^{1 - x_d}

    with r the frequency after one half has been added to both counts.

    Parameters
    ----------
    weight : float, default=0.005
        ε, the share of rows that the background is expected to take.
    """

    alias = "independent"
    support: ClassVar[Literal["real", "binary"]] = "binary"

    def __init__(self, weight: float = 0.005) -> None:
        self.weight = weight

    def build(self, context: BuildContext) -> "IndependentBackgroundModule":
        """Return the module."""
        return IndependentBackgroundModule(self.checked_weight(), context)


class IndependentBackgroundModule(BackgroundModule):
    """A fixed logit per column."""

    logit: Tensor

    def __init__(self, weight: float, context: BuildContext) -> None:
        super().__init__(weight)
        self.register_buffer("logit", torch.zeros_like(context.scale_floor))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return Σ x f − log(1 + exp f)."""
        return (x * self.logit - F.softplus(self.logit)).sum(-1)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw zeros and ones."""
        uniform = self.logit.new_empty(n_samples, len(self.logit))
        uniform.uniform_(generator=generator)
        return (uniform < self.logit.sigmoid()).to(uniform.dtype)

    def initialise(self, x: Tensor, sample_weight: Tensor) -> None:
        """Count the ones."""
        w = sample_weight.double()
        self.logit.copy_(torch.logit((w @ x.double() + 0.5) / (w.sum() + 1)))
