"""Distributions that an invertible map makes of Gaussians."""

import copy

from torch import Tensor

from skvae.model.distributions._base import LatentDistribution
from skvae.model.distributions.fixed_noise import mean_over_fixed_noise
from skvae.model.distributions.gaussian import CholeskyGaussian, StandardNormal
from skvae.model.networks import SplineFlow, detached_module

__all__ = ["BentGaussian", "PulledBackNormal"]


class PulledBackNormal(LatentDistribution):
    """The distribution of f⁻¹(ε) with ε standard normal, shared by all rows."""

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
        """Return a copy whose networks receive no gradients."""
        twin = copy.copy(self)
        twin.flow = detached_module(self.flow)
        return twin


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
        """Return a copy whose parameters and networks receive no gradients."""
        gaussian = self.gaussian
        return BentGaussian(
            CholeskyGaussian(gaussian.mean.detach(), gaussian.tril.detach()),
            detached_module(self.flow),
            self.context.detach(),
        )


def _log_ratio(noise: Tensor, bent: Tensor) -> Tensor:
    """Return log N(ε; 0, I) − log N(f(ε); 0, I)."""
    return 0.5 * (bent.square() - noise.square()).sum(-1)
