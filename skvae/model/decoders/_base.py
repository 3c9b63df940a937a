"""The contract of a decoder."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.spec import ComponentSpec

__all__ = ["DecoderModule", "DecoderSpec"]


class DecoderModule(nn.Module, ABC):
    """Latents in, raw likelihood parameters of every column out.

    Attributes
    ----------
    order : Tensor of shape (D,) or None
        Columns in the order in which the decoder reads them: the parameters of a column
        depend on the columns before it. None if columns are independent given z.
    reads_latents : bool
        Whether the parameters depend on z. If not, the posterior is the prior.
    """

    order: Tensor | None
    reads_latents: bool = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", None)

    @abstractmethod
    def forward(self, z: Tensor, features: Tensor) -> Tensor:
        """Map z (K, B, L) to raw parameters (K, B, P, D).

        Parameters
        ----------
        z : Tensor of shape (K, B, L) or (K, 1, L)
            Latents, of each row or for all rows.
        features : Tensor of shape (B, F)
            What networks read of the rows. Every decoder reads the given columns;
            only a decoder with an `order` reads the others.

        Returns
        -------
        raw : Tensor of shape (K, B, P, D)
            Parameters. K is 1 where the decoder does not read latents. B is 1 where
            all rows share the latents and the decoder reads nothing else of a row.
        """

    def regress(self, start: LinearStart) -> LinearStart:
        """Return the linear model that the decoder starts at.

        Its `z` (N, I) holds all I inputs of the decoder, by default the latents and the
        given features. Its `decoder_weight` (F, I), `decoder_bias` and `residual_scale`
        describe the regression of the features on these inputs.
        """
        return start.with_given_inputs()

    @abstractmethod
    def initialise(self, slope: Tensor, offset: Tensor) -> None:
        """Move to raw = slope u + offset, where u are the I inputs of `regress`.

        Parameters
        ----------
        slope : Tensor of shape (P_linear, D, I)
            Slopes of the first P_linear parameters; the others do not move with u.
        offset : Tensor of shape (P, D)
            Values at u = 0.
        """


class DecoderSpec(ComponentSpec, ABC):
    """Hyper-parameters of a decoder.

    Attributes
    ----------
    autoregressive : bool
        Whether its modules have an order.
    """

    family: ClassVar[str] = "decoder"
    autoregressive: ClassVar[bool] = False

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
            Raw parameters per column, P, that the likelihood needs.
        n_linear : int
            How many of them, the first ones, are locations, which extrapolate linearly
            in z.
        """
