"""The contract of a distribution over the latents.

Randomness never comes from a global generator: a distribution turns noise that it
is given into latents, so that training, sampling and row-keyed evidence share one
code path.
"""

import copy
from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["LatentDistribution"]


class LatentDistribution(ABC):
    """A distribution over z with event shape (L,) and batch shape () or (B,).

    Attributes
    ----------
    noise_dim : int
        Number of standard-normal numbers that one latent vector is made from.
    has_score : bool
        Whether gradients of log-densities reach the parameters at fixed latents. If
        not, log-densities are a critic's estimates, which serve training alone.
    """

    noise_dim: int
    has_score: bool = True

    @abstractmethod
    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Turn noise (K, B, noise_dim) into z (K, B, L) and log-density (K, B)."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (K, B, L), shape (K, B), nats."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Mean, shape (L,) or (B, L)."""

    @property
    def mode(self) -> Tensor:
        """The value that stands for the distribution, shape (L,) or (B, L): its mean.

        Where values are separate points, it is the most probable one.
        """
        return self.mean

    @abstractmethod
    def select(self, rows: Tensor) -> "LatentDistribution":
        """Return the distributions of some rows; itself, if all rows share it."""

    def detached(self) -> "LatentDistribution":
        """Return a copy whose parameters receive no gradients."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(twin, name, value.detach())
        return twin

    def critic_loss(self, z: Tensor, noise: Tensor) -> Tensor | None:
        """Return what the distribution's critic minimises; None where there is none.

        Parameters
        ----------
        z : Tensor of shape (K, B, L)
            Draws from the distribution.
        noise : Tensor of shape (K, B, noise_dim)
            The noise that they were made from.

        Returns
        -------
        loss : Tensor of shape () or None
            Its gradients reach the critic alone.
        """
        return None

    def mean_and_tril(self) -> tuple[Tensor, Tensor] | None:
        """Mean (B, L) and Cholesky factor (B, L, L) of Gaussians; None for others."""
        return None

    def gaussian_modes(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Log-weights (C,), means (C, L) and Cholesky factors (C, L, L).

        They are those of the mixture of Gaussians that all rows share; None where the
        distribution is none, or is a row's own.
        """
        return None

    def entropy(self) -> Tensor | None:
        """Entropy in nats, shape () or (B,); None where there is no closed form."""
        return None

    def second_moment(self) -> Tensor | None:
        """E[z²] per latent; None where there is no closed form."""
        return None

    def expected_log_prob(self, q: "LatentDistribution") -> Tensor | None:
        """E_q[log p(z)] under this distribution p; None without a closed form."""
        return None

    def kl_from(self, q: "LatentDistribution") -> Tensor | None:
        """KL(q ‖ p) with p this distribution; None without a closed form."""
        entropy, cross = q.entropy(), self.expected_log_prob(q)
        return None if entropy is None or cross is None else -entropy - cross
