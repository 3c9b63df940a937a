"""The diagonal Gaussian posterior."""

import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import DiagonalGaussian
from skvae.model.networks import SkipMLP
from skvae.model.posteriors._base import PosteriorModule, PosteriorSpec
from skvae.model.spec import layer_sizes

__all__ = ["DiagonalPosterior"]

SCALE_FLOOR = 1e-4
MAX_LOG_SCALE = 4.0


class DiagonalPosterior(PosteriorSpec):
    r"""Gaussian with independent latents, the mean-field encoder.

    .. math:: q(z \mid x) = N(z; \mu(x), \operatorname{diag} \sigma^2(x))

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or None, default=None
        Widths of the hidden layers; None takes the estimator's.

    References
    ----------
    D. P. Kingma and M. Welling, 2014. Auto-encoding variational Bayes.

    Examples
    --------
    >>> from skvae import DiagonalPosterior, VAEDensity
    >>> VAEDensity(posterior=DiagonalPosterior())
    VAEDensity(posterior=DiagonalPosterior())
    """

    alias = "diagonal"

    def __init__(self, hidden_layer_sizes: tuple[int, ...] | None = None) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes

    def build(self, context: BuildContext) -> "DiagonalPosteriorModule":
        """Return the module."""
        sizes = layer_sizes(
            self.hidden_layer_sizes,
            context.hidden_layer_sizes,
            "hidden_layer_sizes of DiagonalPosterior",
        )
        return DiagonalPosteriorModule(context, sizes)


class DiagonalPosteriorModule(PosteriorModule):
    """A network with L means and L log-scales."""

    def __init__(self, context: BuildContext, sizes: tuple[int, ...]) -> None:
        super().__init__()
        n_latents = context.n_components
        self.network = SkipMLP(
            context.n_inputs,
            sizes,
            2 * n_latents,
            n_latents,
            context.dropout,
            context.generator,
        )

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """Return q(z | x)."""
        mean, log_scale = self.network(features).chunk(2, -1)
        return DiagonalGaussian(
            mean, log_scale.clamp(max=MAX_LOG_SCALE).exp() + SCALE_FLOOR
        )

    def initialise(self, start: LinearStart) -> None:
        """Move to the mean-field Gaussian nearest to the start's encoder."""
        covariance = start.encoder_tril @ start.encoder_tril.T
        # Minimising KL(q ‖ p) over diagonal q matches the precisions, not the
        # variances.
        scale = torch.linalg.inv(covariance).diagonal().rsqrt()
        with torch.no_grad():
            self.network.skip.copy_(start.encoder_weight)
            self.network.bias.copy_(torch.cat([start.encoder_bias, scale.log()]))
