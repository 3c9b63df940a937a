"""A chain of levels of latents, each distributed given the level above it."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from skvae.model.distributions._base import LatentDistribution
from skvae.model.distributions.fixed_noise import mean_over_fixed_noise
from skvae.model.distributions.gaussian import HALF_LOG_2PI, DiagonalGaussian
from skvae.model.networks import LevelModule, detached_module
from skvae.model.networks.linear import matvec, solve_tril

__all__ = ["Chain", "GaussianStep", "MergedStep", "Step"]


class Step(ABC):
    """The distribution of one level's latents, given those of the level above."""

    n_latents: int

    @abstractmethod
    def rsample(self, noise: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Turn noise (K, B, L) into z (K, B, L) and log-density (K, B)."""

    @abstractmethod
    def log_prob(self, z: Tensor, above: Tensor) -> Tensor:
        """Return the log-density of z (K, B, L), shape (K, B)."""

    @abstractmethod
    def mean(self, above: Tensor) -> Tensor:
        """Return the mean (K, B, L), given the level above."""

    @abstractmethod
    def select(self, rows: Tensor) -> "Step":
        """Return the step of some of the rows."""

    @abstractmethod
    def detached(self) -> "Step":
        """Return a copy whose parameters receive no gradients."""


class GaussianStep(Step):
    """The prior's step: a Gaussian whose moments the network of the level gives."""

    def __init__(self, level: LevelModule) -> None:
        self.level, self.n_latents = level, level.n_latents

    def rsample(self, noise: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ + σ ε and its log-density."""
        return DiagonalGaussian(*self.level(above)).rsample(noise)

    def log_prob(self, z: Tensor, above: Tensor) -> Tensor:
        """Return Σ log N(z; μ, σ²)."""
        return DiagonalGaussian(*self.level(above)).log_prob(z)

    def mean(self, above: Tensor) -> Tensor:
        """Return μ."""
        return self.level(above)[0]

    def select(self, rows: Tensor) -> "GaussianStep":
        """Return itself."""
        return self

    def detached(self) -> "GaussianStep":
        """Return a copy whose network receives no gradients."""
        return GaussianStep(detached_module(self.level))


class MergedStep(Step):
    r"""The encoder's step: the prior's step, merged with a message from the row.

    .. math:: z = \frac{\mu \sigma^{-2} + \eta}{\sigma^{-2} + \lambda}
              + (\sigma^{-2} + \lambda)^{-1/2} \odot R\, \epsilon

    Precisions add up, as those of a Gaussian prior N(μ, σ²) and of a Gaussian
    observation. The unit lower-triangular R correlates the latents of the level.

    Parameters
    ----------
    level : LevelModule
        μ and σ.
    natural_mean, precision : Tensor of shape (B, L)
        η and λ.
    tril : Tensor of shape (B, L, L)
        R.
    """

    def __init__(
        self,
        level: LevelModule,
        natural_mean: Tensor,
        precision: Tensor,
        tril: Tensor,
    ) -> None:
        self.level, self.n_latents = level, level.n_latents
        self.natural_mean, self.precision, self.tril = natural_mean, precision, tril

    def _moments(self, above: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, scale and log-normaliser."""
        mean, scale = self.level(above)
        from_above = scale.square().reciprocal()
        total = from_above + self.precision
        merged = (mean * from_above + self.natural_mean) / total
        log_normaliser = self.n_latents * HALF_LOG_2PI - 0.5 * total.log().sum(-1)
        return merged, total.rsqrt(), log_normaliser

    def rsample(self, noise: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and its log-density."""
        mean, scale, log_normaliser = self._moments(above)
        shift = matvec(self.tril, noise)
        z = torch.addcmul(mean, scale, shift)
        return z, -0.5 * noise.square().sum(-1) - log_normaliser

    def log_prob(self, z: Tensor, above: Tensor) -> Tensor:
        """Return the log-density."""
        mean, scale, log_normaliser = self._moments(above)
        centred = ((z - mean) / scale).permute(1, 2, 0)
        noise = solve_tril(self.tril, centred, unitriangular=True)
        return -0.5 * noise.square().sum(-2).T - log_normaliser

    def mean(self, above: Tensor) -> Tensor:
        """Return the merged mean."""
        return self._moments(above)[0]

    def select(self, rows: Tensor) -> "MergedStep":
        """Return the step of some of the rows."""
        return MergedStep(
            self.level, self.natural_mean[rows], self.precision[rows], self.tril[rows]
        )

    def detached(self) -> "MergedStep":
        """Return a copy whose network and messages receive no gradients."""
        return MergedStep(
            detached_module(self.level),
            self.natural_mean.detach(),
            self.precision.detach(),
            self.tril.detach(),
        )


class Chain(LatentDistribution):
    r"""All levels together, z = [z_1, …, z_T] with the bottom level first.

    .. math:: p(z) = p(z_T) \prod_{l<T} p(z_l \mid z_{l+1})

    Parameters
    ----------
    steps : tuple of Step
        p(z_l | z_{l+1}), bottom first.
    top : LatentDistribution
        p(z_T).
    n_top : int
        Number of latents of the top level.
    """

    def __init__(
        self, steps: tuple[Step, ...], top: LatentDistribution, n_top: int
    ) -> None:
        self.steps, self.top, self.n_top = steps, top, n_top
        self._sizes = [step.n_latents for step in steps]
        self.noise_dim = sum(self._sizes) + top.noise_dim
        self.has_score = top.has_score

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the top level, then each level given the one above."""
        *below, of_top = noise.split([*self._sizes, self.top.noise_dim], -1)
        above, log_density = self.top.rsample(of_top)
        levels = [above]
        for step, part in zip(self.steps[::-1], below[::-1], strict=True):
            above, log_step = step.rsample(part, above)
            log_density = log_density + log_step
            levels.append(above)
        z = torch.cat(levels[::-1], -1)
        return z, log_density if self.has_score else self.detached().log_prob(z)

    def critic_loss(self, z: Tensor, noise: Tensor) -> Tensor | None:
        """Return that of the top level, the only one that may have a critic."""
        n_below = sum(self._sizes)
        return self.top.critic_loss(z[..., n_below:], noise[..., n_below:])

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the sum of the levels' log-densities."""
        levels = z.split([*self._sizes, self.n_top], -1)
        log_density = self.top.log_prob(levels[-1])
        for step, level, above in zip(self.steps, levels[:-1], levels[1:], strict=True):
            log_density = log_density + step.log_prob(level, above)
        return log_density

    @property
    def mean(self) -> Tensor:
        """The mean, in closed form for the top level only.

        For a level below, it is the average of the mean given the level above, over 128
        fixed draws of that level.
        """
        top = self.top.mean
        n_rows = len(top) if top.dim() > 1 else 1
        below = mean_over_fixed_noise(
            self._means_below, self.noise_dim, n_rows, like=top
        )
        return torch.cat([below.view(*top.shape[:-1], -1), top], -1)

    def _means_below(self, noise: Tensor) -> Tensor:
        """Return the mean of every level but the top, given a draw of those above."""
        *below, of_top = noise.split([*self._sizes, self.top.noise_dim], -1)
        above, _ = self.top.rsample(of_top)
        means = []
        for step, part in zip(self.steps[::-1], below[::-1], strict=True):
            means.append(step.mean(above))
            above, _ = step.rsample(part, above)
        return torch.cat(means[::-1], -1)

    def select(self, rows: Tensor) -> "Chain":
        """Return the distributions of some of the rows."""
        steps = tuple(step.select(rows) for step in self.steps)
        return Chain(steps, self.top.select(rows), self.n_top)

    def detached(self) -> "Chain":
        """Return a copy whose parameters, at all levels, receive no gradients."""
        steps = tuple(step.detached() for step in self.steps)
        return Chain(steps, self.top.detached(), self.n_top)
