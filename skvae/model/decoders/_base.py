"""The contract of a decoder."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from skvae.model.context import BuildContext
from skvae.model.spec import ComponentSpec

__all__ = ["DecoderModule", "DecoderSpec"]


class DecoderModule(nn.Module, ABC):
    """Latents in, raw likelihood parameters of every column out."""

    @abstractmethod
    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        """Map z (K, B, L) to raw parameters (K, B, P, D).

        Only an autoregressive decoder reads the row x (B, D).
        """

    @abstractmethod
    def initialise(self, slope: Tensor, offset: Tensor) -> None:
        """Move to raw = slope z + offset.

        Parameters
        ----------
        slope : Tensor of shape (P_linear, D, L)
            Slopes of the first P_linear parameters; the others do not move with z.
        offset : Tensor of shape (P, D)
            Values at z = 0.
        """


class DecoderSpec(ComponentSpec, ABC):
    """Hyper-parameters of a decoder."""

    family: ClassVar[str] = "decoder"

    @abstractmethod
    def build(
        self, context: BuildContext, n_parameters: int, n_linear: int
    ) -> DecoderModule:
        """Return the module.

        Parameters
        ----------
        context : BuildContext
            Sizes of the table.
        n_parameters : int
            Raw parameters per column, P, that the likelihood asks for.
        n_linear : int
            How many of them, counted from the first, are locations that extrapolate
            linearly in z.
        """
