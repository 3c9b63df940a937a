"""The flow posterior."""

from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.detached import detached_module
from skvae.model.distributions import CholeskyGaussian, LatentDistribution
from skvae.model.fixed_noise import mean_over_fixed_noise
from skvae.model.flows import SplineFlow
from skvae.model.posteriors._base import PosteriorModule, PosteriorSpec
from skvae.model.posteriors.full import FullPosterior, FullPosteriorModule
from skvae.model.spec import layer_sizes, positive_int

__all__ = ["FlowPosterior"]


class FlowPosterior(PosteriorSpec):
    r"""A full-covariance Gaussian, bent by a flow that depends on the row.

    .. math:: z = \mu(x) + T(x)\, f(\epsilon; x), \qquad \epsilon \sim N(0, I)

    The map f is a neural spline flow of couplings, which starts at the identity: q
    starts as `FullPosterior` does. It follows posteriors that are skewed, bent or
    have several modes. A draw with its density takes one evaluation of the flow's
    networks, the density of any other z three; f acts on standardised numbers, and
    beyond ±5 it is the identity, so that tails are Gaussian. It needs the package
    zuko (``pip install 'skvae[flows]'``).

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

    def forward(self, features: Tensor) -> "BentGaussian":
        """Return q(z | x)."""
        return BentGaussian(self.base(features), self.flow, features)

    def initialise(self, start: LinearStart) -> None:
        """Move to the start's encoder."""
        self.base.initialise(start)


class BentGaussian(LatentDistribution):
    """The distribution of μ + T f(ε; c), one per row.

    Parameters
    ----------
    gaussian : CholeskyGaussian
        μ and T of B rows.
    flow : SplineFlow
        f.
    context : Tensor of shape (B, n_context)
        c.
    """

    def __init__(
        self, gaussian: CholeskyGaussian, flow: SplineFlow, context: Tensor
    ) -> None:
        self.gaussian, self.flow, self.context = gaussian, flow, context
        self.noise_dim = gaussian.noise_dim

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and its log-density."""
        bent, log_det = self.flow(noise, self.context)
        z, log_gaussian = self.gaussian.rsample(bent)
        return z, log_gaussian + _log_ratio(noise, bent) - log_det

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density, by the inverse of the flow."""
        bent = self.gaussian.standardised(z)
        noise, log_det = self.flow.inverse(bent, self.context)
        return self.gaussian.log_prob(z) + _log_ratio(noise, bent) + log_det

    @property
    def mean(self) -> Tensor:
        """μ + T times the mean of f(ε) over 128 fixed points."""
        mean = self.gaussian.mean
        bent = mean_over_fixed_noise(
            lambda noise: self.flow(noise, self.context)[0],
            self.noise_dim,
            n_rows=len(mean),
            like=mean,
        )
        return mean + (self.gaussian.tril @ bent[..., None]).squeeze(-1)

    def select(self, rows: Tensor) -> "BentGaussian":
        """Return the distributions of some of the rows."""
        return BentGaussian(self.gaussian.select(rows), self.flow, self.context[rows])

    def detached(self) -> "BentGaussian":
        """Return the same, its parameters and networks out of reach of gradients."""
        gaussian = self.gaussian
        return BentGaussian(
            CholeskyGaussian(gaussian.mean.detach(), gaussian.tril.detach()),
            detached_module(self.flow),
            self.context.detach(),
        )


def _log_ratio(noise: Tensor, bent: Tensor) -> Tensor:
    """Return log N(ε; 0, I) − log N(f(ε); 0, I)."""
    return 0.5 * (bent.square() - noise.square()).sum(-1)
