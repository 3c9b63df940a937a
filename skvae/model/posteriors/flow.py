"""The flow posterior."""

from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import BentGaussian
from skvae.model.networks import SplineFlow
from skvae.model.posteriors._base import PosteriorModule, PosteriorSpec
from skvae.model.posteriors.full import FullPosterior, FullPosteriorModule
from skvae.model.spec import layer_sizes, positive_int

__all__ = ["FlowPosterior"]


class FlowPosterior(PosteriorSpec):
    r"""A full-covariance Gaussian, bent by a flow that depends on the row.

    .. math:: z = \mu(x) + T(x)\, f(\epsilon; x), \qquad \epsilon \sim N(0, I)

    The map f is a neural spline flow of couplings. It starts at the identity, so that q
    starts as `FullPosterior` does, and it can follow posteriors that are skewed, bent
    or have several modes. A draw with its density takes one evaluation of the flow's
    networks, the density of any other z three. The map f acts on standardised numbers
    and is the identity beyond ±5, so that tails are Gaussian. This posterior needs the
    package zuko (``pip install 'skvae[flows]'``).

    Parameters
    ----------
    n_transforms : int, default=2
        Number of maps in the chain.
    n_bins : int, default=8
        Pieces of a spline.
    flow_layer_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of the networks that set the knots.
    hidden_layer_sizes : tuple of int or None, default=None
        Widths of the hidden layers of the network for μ and T; None takes the
        estimator's.

    References
    ----------
    D. J. Rezende and S. Mohamed, 2015. Variational inference with normalizing flows.

    D. P. Kingma et al., 2016. Improved variational inference with inverse
    autoregressive flow.

    C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, 2019. Neural spline flows.

    Examples
    --------
    >>> from skvae import FlowPosterior, VAEDensity
    >>> VAEDensity(posterior=FlowPosterior())
    VAEDensity(posterior=FlowPosterior())
    """

    alias = "flow"

    def __init__(
        self,
        n_transforms: int = 2,
        n_bins: int = 8,
        flow_layer_sizes: tuple[int, ...] = (64, 64),
        hidden_layer_sizes: tuple[int, ...] | None = None,
    ) -> None:
        self.n_transforms = n_transforms
        self.n_bins = n_bins
        self.flow_layer_sizes = flow_layer_sizes
        self.hidden_layer_sizes = hidden_layer_sizes

    def build(self, context: BuildContext) -> "FlowPosteriorModule":
        """Return the module."""
        name = "of FlowPosterior"
        sizes = layer_sizes(
            self.hidden_layer_sizes,
            context.hidden_layer_sizes,
            f"hidden_layer_sizes {name}",
        )
        base = FullPosterior(hidden_layer_sizes=sizes).build(context)
        flow = SplineFlow(
            n_latents=context.n_components,
            n_context=context.n_inputs,
            n_transforms=positive_int(self.n_transforms, f"n_transforms {name}"),
            n_bins=positive_int(self.n_bins, f"n_bins {name}"),
            hidden_layer_sizes=layer_sizes(
                self.flow_layer_sizes, (64, 64), f"flow_layer_sizes {name}"
            ),
            n_passes=2,
            generator=context.generator,
        )
        return FlowPosteriorModule(base, flow)


class FlowPosteriorModule(PosteriorModule):
    """A network for μ and T, and a flow whose context is the row."""

    def __init__(self, base: FullPosteriorModule, flow: SplineFlow) -> None:
        super().__init__()
        self.base, self.flow = base, flow

    def forward(self, features: Tensor) -> BentGaussian:
        """Return q(z | x)."""
        return BentGaussian(self.base(features), self.flow, features)

    def initialise(self, start: LinearStart) -> None:
        """Move to the start's encoder."""
        self.base.initialise(start)
