"""The contract of a decoder."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from skvae.model.context import BuildContext
from skvae.model.spec import ComponentSpec

__all__ = ["DecoderModule", "DecoderSpec"]


class DecoderModule(nn.Module, ABC):
    """Latents in, raw likelihood parameters of every column out.

    Attributes
    ----------
    order : Tensor of shape (D,) or None
        Columns in the order in which the decoder reads them: the parameters of one
        depend on those before it. None for columns that are independent given z.
    """

    order: Tensor | None = None

    @abstractmethod
    def forward(self, z: Tensor, features: Tensor) -> Tensor:
        """Map z (K, B, L) to raw parameters (K, B, P, D).

        Parameters
        ----------
        z : Tensor of shape (K, B, L) or (K, 1, L)
            Latents, of each row or for all rows.
        features : Tensor of shape (B, F)
            What networks read of the rows. Given columns are for every decoder, the
            others for one with an `order`.

        Returns
        -------
        raw : Tensor of shape (K, B, P, D) or (K, 1, P, D)
            Parameters; for all rows where neither latents nor rows tell them apart.
        """

    @abstractmethod
    def initialise(self, slope: Tensor, offset: Tensor) -> None:
        """Move to raw = slope [z, g] + offset, where g are the given features.

        Parameters
        ----------
        slope : Tensor of shape (P_linear, D, L + G)
            Slopes of the first P_linear parameters over latents and given features;
            the others move with neither.
        offset : Tensor of shape (P, D)
            Values at zero.
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
