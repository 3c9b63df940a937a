"""Distributions that can be drawn from and have no density."""

from torch import Tensor, nn

from skvae.model.distributions._base import LatentDistribution
from skvae.model.distributions.gaussian import CholeskyGaussian
from skvae.model.networks import Critic, detached_module
from skvae.model.networks.linear import matvec

__all__ = ["ImplicitDistribution"]


class ImplicitDistribution(LatentDistribution):
    r"""The distribution of μ + T g(ε; x), whose density a critic estimates.

    .. math:: \log q(z \mid x) \approx \log r(z \mid x) + c(u, x)

    The contrast r is a Gaussian with about the moments of q, u is z standardised by
    it, and c a critic that tells u from standard-normal numbers (adaptive contrast).
    Log-densities are estimates: they give training a gradient, and nothing that is
    reported rests on them. Their gradients reach z alone, as the density's dependence
    on the parameters at fixed z is not known.

    Parameters
    ----------
    gaussian : CholeskyGaussian
        μ and T of B rows.
    network : nn.Module
        Maps noise (K, B, n_noise + L) and features to g (K, B, L).
    critic : Critic
        c.
    features : Tensor of shape (B, F)
        What the networks read of the rows.
    contrast : CholeskyGaussian
        r.
    n_noise : int
        Standard-normal numbers that the network reads, besides L that widen its draws.

    References
    ----------
    L. Mescheder, S. Nowozin and A. Geiger, 2017. Adversarial variational Bayes:
    unifying variational autoencoders and generative adversarial networks.
    """

    has_score = False

    def __init__(
        self,
        gaussian: CholeskyGaussian,
        network: nn.Module,
        critic: Critic,
        features: Tensor,
        contrast: CholeskyGaussian,
        n_noise: int,
    ) -> None:
        self.gaussian, self.network, self.critic = gaussian, network, critic
        self.features, self.n_noise = features, n_noise
        self.contrast = _detached(contrast)
        self.n_latents = gaussian.noise_dim
        # The last L numbers are not read by a draw: they are the critic's reference.
        self.noise_dim = n_noise + 2 * self.n_latents

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the estimate of its log-density."""
        shape = self.network(noise[..., : -self.n_latents], self.features)
        z = self.gaussian.mean + matvec(self.gaussian.tril, shape)
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the estimate of the log-density, out of reach of the parameters."""
        critic = detached_module(self.critic)
        ratio = critic(self.contrast.standardised(z), self.features)
        return self.contrast.log_prob(z) + ratio

    def critic_loss(self, z: Tensor, noise: Tensor) -> Tensor:
        """Return the logistic loss on draws and on reference draws by their noise."""
        drawn = self.contrast.standardised(z.detach())
        reference = noise[..., -self.n_latents :]
        return self.critic.loss(drawn, reference, self.features)

    @property
    def mean(self) -> Tensor:
        """The mean of the contrast."""
        return self.contrast.mean

    def select(self, rows: Tensor) -> "ImplicitDistribution":
        """Return the distributions of some of the rows."""
        return ImplicitDistribution(
            self.gaussian.select(rows),
            self.network,
            self.critic,
            self.features[rows],
            self.contrast.select(rows),
            self.n_noise,
        )

    def detached(self) -> "ImplicitDistribution":
        """Return a copy whose networks receive no gradients."""
        return ImplicitDistribution(
            _detached(self.gaussian),
            detached_module(self.network),
            detached_module(self.critic),
            self.features.detach(),
            self.contrast,
            self.n_noise,
        )


def _detached(gaussian: CholeskyGaussian) -> CholeskyGaussian:
    return CholeskyGaussian(gaussian.mean.detach(), gaussian.tril.detach())
