"""The full-covariance Gaussian posterior."""

import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import CholeskyGaussian
from skvae.model.networks import SkipMLP
from skvae.model.posteriors._base import PosteriorModule, PosteriorSpec
from skvae.model.spec import layer_sizes

__all__ = ["FullPosterior"]

SCALE_FLOOR = 1e-4
MAX_LOG_SCALE = 4.0


class FullPosterior(PosteriorSpec):
    r"""Gaussian with a covariance of its own for every row.

    .. math:: q(z \mid x) = N(z; \mu(x), T(x) T(x)^\top)

    with a lower-triangular T from the encoder. Unlike a mean-field encoder, it can
    follow posteriors whose latents are correlated, at a cost that grows with the square
    of the number of latents.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or None, default=None
        Widths of the hidden layers; None takes the estimator's.

    References
    ----------
    D. P. Kingma and M. Welling, 2019. An introduction to variational autoencoders,
    section 2.5.1.

    Examples
    --------
    >>> from skvae import FullPosterior, VAEDensity
    >>> VAEDensity(posterior=FullPosterior(hidden_layer_sizes=(64,)))
    VAEDensity(posterior=FullPosterior(hidden_layer_sizes=(64,)))
    """

    alias = "full"

    def __init__(self, hidden_layer_sizes: tuple[int, ...] | None = None) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes

    def build(self, context: BuildContext) -> "FullPosteriorModule":
        """Return the module."""
        sizes = layer_sizes(
            self.hidden_layer_sizes,
            context.hidden_layer_sizes,
            "hidden_layer_sizes of FullPosterior",
        )
        return FullPosteriorModule(context, sizes)


class FullPosteriorModule(PosteriorModule):
    """A network with L means, L log-diagonals and L(L−1)/2 other entries of T."""

    rows: Tensor
    columns: Tensor

    def __init__(self, context: BuildContext, sizes: tuple[int, ...]) -> None:
        super().__init__()
        n_latents = context.n_components
        self.n_latents = n_latents
        n_outputs = 2 * n_latents + n_latents * (n_latents - 1) // 2
        self.network = SkipMLP(
            context.n_inputs,
            sizes,
            n_outputs,
            n_latents,
            context.dropout,
            context.generator,
        )
        rows, columns = torch.tril_indices(n_latents, n_latents, offset=-1)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def forward(self, features: Tensor) -> CholeskyGaussian:
        """Return q(z | x)."""
        n = self.n_latents
        mean, log_diagonal, lower = self.network(features).tensor_split((n, 2 * n), -1)
        diagonal = log_diagonal.clamp(max=MAX_LOG_SCALE).exp() + SCALE_FLOOR
        tril = torch.diag_embed(diagonal)
        tril[..., self.rows, self.columns] = lower
        return CholeskyGaussian(mean, tril)

    def initialise(self, start: LinearStart) -> None:
        """Move to the start's encoder."""
        tril = start.encoder_tril
        with torch.no_grad():
            self.network.skip.copy_(start.encoder_weight)
            self.network.bias.copy_(
                torch.cat(
                    [
                        start.encoder_bias,
                        tril.diagonal().log(),
                        tril[self.rows, self.columns],
                    ]
                )
            )
