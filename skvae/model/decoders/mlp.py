"""The residual-network decoder."""

import torch
from torch import Tensor

from skvae.model.context import BuildContext
from skvae.model.decoders._base import DecoderModule, DecoderSpec
from skvae.model.networks import SkipMLP
from skvae.model.spec import layer_sizes

__all__ = ["MLPDecoder"]


class MLPDecoder(DecoderSpec):
    r"""Linear map plus residual network; columns are independent given z.

    .. math:: p(x \mid z) = \prod_d p(x_d \mid f_d(z))

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or None, default=None
        Widths of the hidden layers; None takes the estimator's, and an empty tuple
        is a linear decoder.

    References
    ----------
    D. P. Kingma and M. Welling, 2014. Auto-encoding variational Bayes.

    Examples
    --------
    >>> from skvae import MLPDecoder, VAEDensity
    >>> VAEDensity(decoder=MLPDecoder(hidden_layer_sizes=(64, 64)))
    VAEDensity(decoder=MLPDecoder(hidden_layer_sizes=(64, 64)))
    """

    alias = "mlp"

    def __init__(self, hidden_layer_sizes: tuple[int, ...] | None = None) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes

    def build(
        self, context: BuildContext, n_parameters: int, n_linear: int
    ) -> "MLPDecoderModule":
        """Return the module."""
        sizes = layer_sizes(
            self.hidden_layer_sizes,
            context.hidden_layer_sizes,
            "hidden_layer_sizes of MLPDecoder",
        )
        return MLPDecoderModule(
            context,
            sizes,
            n_parameters,
            n_linear,
        )


class MLPDecoderModule(DecoderModule):
    """One network, whose outputs are the raw parameters of all columns."""

    def __init__(
        self,
        context: BuildContext,
        sizes: tuple[int, ...],
        n_parameters: int,
        n_linear: int,
    ) -> None:
        super().__init__()
        n_features = context.n_features
        self.shape = (n_parameters, n_features)
        self.n_given = context.n_given_inputs
        self.network = SkipMLP(
            context.n_components + self.n_given,
            sizes,
            n_parameters * n_features,
            n_linear * n_features,
            context.dropout,
            context.generator,
        )

    def forward(self, z: Tensor, features: Tensor) -> Tensor:
        """Map z (K, B, L) to raw parameters (K, B, P, D)."""
        if self.n_given:
            given = features[:, -self.n_given :].expand(len(z), -1, -1)
            z = torch.cat([z.expand(-1, len(features), -1), given], -1)
        return self.network(z).unflatten(-1, self.shape)

    def initialise(self, slope: Tensor, offset: Tensor) -> None:
        """Move to raw = slope [z, g] + offset."""
        with torch.no_grad():
            self.network.skip.copy_(slope.flatten(0, 1))
            self.network.bias.copy_(offset.flatten())
