"""The flow prior."""

import copy

import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.detached import detached_module
from skvae.model.distributions import LatentDistribution, StandardNormal
from skvae.model.fixed_noise import mean_over_fixed_noise
from skvae.model.flows import SplineFlow
from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.spec import layer_sizes, positive_int

__all__ = ["FlowPrior"]


class FlowPrior(PriorSpec):
    r"""Normalising flow: the density that a learnt invertible map makes normal.

    .. math:: p(z) = N(f(z); 0, I)\, |\det \partial f / \partial z|

    The map is an autoregressive neural spline flow, which starts at the identity: p
    starts as the standard normal. A density takes one evaluation of its networks, a
    draw one for every latent. Beyond five standard deviations p is standard normal
    again. It needs the package zuko (``pip install 'skvae[flows]'``).

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
        self.register_buffer("zero", torch.zeros(n_components))

    def forward(self) -> "PulledBackNormal":
        """Return p(z)."""
        return PulledBackNormal(self.flow, self.zero)

    def initialise(self, start: LinearStart) -> None:
        """Nothing to move: the start whitens its latents."""


class PulledBackNormal(LatentDistribution):
    """The distribution of f⁻¹(ε), ε standard normal, shared by all rows."""

    def __init__(self, flow: SplineFlow, like: Tensor) -> None:
        self.flow, self.base = flow, StandardNormal(like)
        self.noise_dim = self.base.noise_dim

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return f⁻¹(ε) and its log-density."""
        z, log_det = self.flow.inverse(noise, None)
        return z, self.base.log_prob(noise) - log_det

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(f(z); 0, I) + log |det df/dz|."""
        noise, log_det = self.flow(z, None)
        return self.base.log_prob(noise) + log_det

    @property
    def mean(self) -> Tensor:
        """The mean over 128 fixed points."""
        mean = mean_over_fixed_noise(
            lambda noise: self.flow.inverse(noise, None)[0],
            self.noise_dim,
            n_rows=1,
            like=self.base.mean,
        )
        return mean[0]

    def select(self, rows: Tensor) -> "PulledBackNormal":
        """Return itself."""
        return self

    def detached(self) -> "PulledBackNormal":
        """Return the same, the networks' parameters out of reach of gradients."""
        twin = copy.copy(self)
        twin.flow = detached_module(self.flow)
        return twin
