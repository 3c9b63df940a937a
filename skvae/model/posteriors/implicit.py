"""The implicit posterior."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import (
    CholeskyGaussian,
    CholeskyGaussianMixture,
    ImplicitDistribution,
    fixed_noise,
)
from skvae.model.networks import Critic, SkipMLP
from skvae.model.networks.linear import matvec, multiple
from skvae.model.posteriors._base import PosteriorModule, PosteriorSpec
from skvae.model.posteriors.full import FullPosterior, FullPosteriorModule
from skvae.model.spec import layer_sizes, positive_int

__all__ = ["ImplicitPosterior"]

N_PAIRS = 8  # of fixed values of ε: kernels, by which moments are computed, too
KERNEL_SHARE = 0.9  # of the density; the rest is the contrast
SCALE_FLOOR = 0.02  # of a kernel, in the units of T
MAX_LOG_SCALE = 1.0  # T gives larger ones


class ImplicitPosterior(PosteriorSpec):
    r"""A network of the row and of noise, which has no density.

    .. math:: z = \mu(x) + T(x)\, \bigl[h(\epsilon, x) + s(\epsilon, x) \odot
              \epsilon'\bigr], \qquad \epsilon, \epsilon' \sim N(0, I)

    It starts at h = 0 and s = 1, as `FullPosterior` does. The network for h and s need
    not be invertible, so that z can follow posteriors of any shape, also in several
    separate parts. The price is that log q(z | x), which the bound needs, is the
    logarithm of an integral. Training replaces it by log r(z | x) + c(z, x), as in
    adversarial variational Bayes with adaptive contrast: r is the Gaussian with the
    moments of q, and c a critic, which learns beside the model to tell draws of q from
    those of r.

    Nothing but training reads the critic. Wherever a density is asked for, as by
    validation, bounds, evidence or a `VampPrior`, a mixture of Gaussians stands for q.
    Nine tenths of it are the distributions of z for 16 fixed values of ε. The rest is
    r, which covers what these leave out where they are too narrow or too few.

    Parameters
    ----------
    n_noise : int or "auto", default="auto"
        Size of ε. "auto" is twice the number of latents, at least 4.
    noise_layer_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of the network for h and s.
    critic_layer_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of the critic.
    hidden_layer_sizes : tuple of int or None, default=None
        Widths of the hidden layers of the network for μ and T; None takes the
        estimator's.

    References
    ----------
    L. Mescheder, S. Nowozin and A. Geiger, 2017. Adversarial variational Bayes:
    unifying variational autoencoders and generative adversarial networks.

    M. Yin and M. Zhou, 2018. Semi-implicit variational inference. (The mixture over
    fixed values of the noise.)
    """

    alias = "implicit"

    def __init__(
        self,
        n_noise: int | str = "auto",
        noise_layer_sizes: tuple[int, ...] = (64, 64),
        critic_layer_sizes: tuple[int, ...] = (64, 64),
        hidden_layer_sizes: tuple[int, ...] | None = None,
    ) -> None:
        self.n_noise = n_noise
        self.noise_layer_sizes = noise_layer_sizes
        self.critic_layer_sizes = critic_layer_sizes
        self.hidden_layer_sizes = hidden_layer_sizes

    def build(self, context: BuildContext) -> "ImplicitPosteriorModule":
        """Return the module."""
        name, n_latents = "of ImplicitPosterior", context.n_components
        if self.n_noise == "auto":
            n_noise = max(4, 2 * n_latents)
        else:
            n_noise = positive_int(self.n_noise, f"n_noise {name}", also=" or 'auto'")
        sizes = layer_sizes(
            self.hidden_layer_sizes,
            context.hidden_layer_sizes,
            f"hidden_layer_sizes {name}",
        )
        base = FullPosterior(hidden_layer_sizes=sizes).build(context)
        shape = ShapeModule(
            n_noise,
            n_latents,
            context,
            layer_sizes(self.noise_layer_sizes, (64, 64), f"noise_layer_sizes {name}"),
        )
        critic = Critic(
            n_latents,
            context.n_inputs,
            layer_sizes(
                self.critic_layer_sizes, (64, 64), f"critic_layer_sizes {name}"
            ),
            context.generator,
        )
        return ImplicitPosteriorModule(base, shape, critic)


class ShapeModule(nn.Module):
    """A network that turns a row and noise into standardised latents.

    There is no dropout: draws and their moments are evaluated by separate calls, which
    have to use the same map.
    """

    def __init__(
        self,
        n_noise: int,
        n_latents: int,
        context: BuildContext,
        sizes: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.n_noise, self.n_latents = n_noise, n_latents
        self.network = SkipMLP(
            n_noise + context.n_inputs,
            sizes,
            2 * n_latents,
            n_latents,
            0.0,
            context.generator,
        )
        self.straighten()

    def straighten(self) -> None:
        """Set h to zero and s to one, whatever noise and row are."""
        network = self.network
        with torch.no_grad():
            network.skip.zero_()
            network.bias.zero_()
            network.bias[self.n_latents :].fill_(math.log(1 - SCALE_FLOOR))
            if network.output is not None:
                network.output.zero_()

    def kernel(self, noise: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return h and s, (K, B, L) each, for noise (K, B, n_noise)."""
        features = features.expand(*noise.shape[:-1], -1)
        mean, log_scale = self.network(torch.cat([noise, features], -1)).chunk(2, -1)
        return mean, log_scale.clamp(max=MAX_LOG_SCALE).exp() + SCALE_FLOOR

    def forward(self, noise: Tensor, features: Tensor) -> Tensor:
        """Return h + s ε' (K, B, L), for noise (K, B, n_noise + L)."""
        noise, of_kernel = noise.split([self.n_noise, self.n_latents], -1)
        mean, scale = self.kernel(noise, features)
        return torch.addcmul(mean, scale, of_kernel)


class ImplicitPosteriorModule(PosteriorModule):
    """A network for μ and T, one for h and s, and a critic."""

    def __init__(
        self, base: FullPosteriorModule, shape: ShapeModule, critic: Critic
    ) -> None:
        super().__init__()
        self.base, self.shape, self.critic = base, shape, critic

    def forward(self, features: Tensor) -> CholeskyGaussianMixture:
        """Return the mixture that stands for q(z | x) where a density is needed."""
        base = self.base(features)
        mean, scale = self._kernels(features)
        contrast = _standing_for(base, mean, scale)
        kernels = base.mean + matvec(base.tril, mean)
        means = torch.cat([kernels, contrast.mean[None]])
        tril = torch.cat([base.tril * scale[:, :, None, :], contrast.tril[None]])
        share = mean.new_full((len(means),), KERNEL_SHARE / len(mean))
        share[-1] = 1 - KERNEL_SHARE
        one = mean.new_ones(1)
        return CholeskyGaussianMixture(
            share.log().expand(len(features), -1),
            means.transpose(0, 1),
            tril.transpose(0, 1),
            one,
            one,
        )

    def for_training(self, features: Tensor) -> ImplicitDistribution:
        """Return q(z | x), with its critic."""
        base = self.base(features)
        with torch.no_grad():
            contrast = _standing_for(base, *self._kernels(features))
        n_noise = self.shape.n_noise
        return ImplicitDistribution(
            base, self.shape, self.critic, features, contrast, n_noise
        )

    def initialise(self, start: LinearStart) -> None:
        """Move to the start's encoder, a Gaussian."""
        self.base.initialise(start)
        self.shape.straighten()

    def _kernels(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return h and s at the fixed values of ε, (16, B, L) each."""
        points = fixed_noise(self.shape.n_noise, N_PAIRS).to(features)
        points = points[:, None].expand(-1, len(features), -1)
        return self.shape.kernel(points, features)


def _standing_for(
    base: CholeskyGaussian, mean: Tensor, scale: Tensor
) -> CholeskyGaussian:
    """Return the Gaussian with the moments of μ + T (h + s ε').

    Parameters
    ----------
    base : CholeskyGaussian
        μ and T of B rows.
    mean, scale : Tensor of shape (K, B, L)
        h and s at K equally weighted points.
    """
    n_latents = mean.shape[-1]
    centre = mean.mean(0)
    # For sizes that are multiples, sums are rounded alike at every place.
    centred = F.pad(mean - centre, (0, multiple(n_latents) - n_latents))
    covariance = torch.einsum("kbi,kbj->bij", centred, centred) / len(mean)
    covariance = covariance[:, :n_latents, :n_latents]
    covariance = covariance + torch.diag_embed(scale.square().mean(0))
    inner, _ = torch.linalg.cholesky_ex(covariance)
    columns = matvec(base.tril, inner.permute(2, 0, 1))
    return CholeskyGaussian(
        base.mean + matvec(base.tril, centre[None])[0], columns.permute(1, 2, 0)
    )
