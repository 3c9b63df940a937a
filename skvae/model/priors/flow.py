"""The flow prior."""

import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import PulledBackNormal
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.networks import SplineFlow
from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.spec import layer_sizes, positive_int

__all__ = ["FlowPrior"]


class FlowPrior(PriorSpec):
    r"""Normalising flow: a learnt invertible map makes latents standard normal.

    .. math:: p(z) = N(f(z); 0, I)\, |\det \partial f / \partial z|

    The map f is an autoregressive neural spline flow. It starts at the identity, so
    that p starts as the standard normal density, and it is the identity beyond ±5, so
    that tails stay Gaussian. A density takes one evaluation of its networks, a draw one
    for every latent. This prior needs the package zuko
    (``pip install 'skvae[flows]'``).

    Parameters
    ----------
    n_transforms : int, default=3
        Number of maps in the chain.
    n_bins : int, default=8
        Pieces of a spline.
    hidden_layer_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of the networks that set the knots.

    References
    ----------
    C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, 2019. Neural spline flows.

    X. Chen et al., 2017. Variational lossy autoencoder.

    Examples
    --------
    >>> from skvae import FlowPrior, VAEDensity
    >>> VAEDensity(prior=FlowPrior())
    VAEDensity(prior=FlowPrior())
    """

    alias = "flow"

    def __init__(
        self,
        n_transforms: int = 3,
        n_bins: int = 8,
        hidden_layer_sizes: tuple[int, ...] = (64, 64),
    ) -> None:
        self.n_transforms = n_transforms
        self.n_bins = n_bins
        self.hidden_layer_sizes = hidden_layer_sizes

    def build(self, context: BuildContext) -> "FlowPriorModule":
        """Return the module."""
        name = "of FlowPrior"
        flow = SplineFlow(
            n_latents=context.n_components,
            n_context=0,
            n_transforms=positive_int(self.n_transforms, f"n_transforms {name}"),
            n_bins=positive_int(self.n_bins, f"n_bins {name}"),
            hidden_layer_sizes=layer_sizes(
                self.hidden_layer_sizes, (64, 64), f"hidden_layer_sizes {name}"
            ),
            n_passes=context.n_components,
            generator=context.generator,
        )
        return FlowPriorModule(flow, context.n_components)


class FlowPriorModule(PriorModule):
    """The map from latents to standard-normal numbers."""

    zero: Tensor

    def __init__(self, flow: SplineFlow, n_components: int) -> None:
        super().__init__()
        self.flow = flow
        self.register_buffer("zero", torch.zeros(n_components, dtype=BUILD_DTYPE))

    def forward(self) -> PulledBackNormal:
        """Return p(z)."""
        return PulledBackNormal(self.flow, self.zero)

    def initialise(self, start: LinearStart) -> None:
        """Do nothing: the latents of the start have mean 0 and covariance I already."""
