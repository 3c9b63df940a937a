"""Mixtures of any distributions."""

import torch
from torch import Tensor

from skvae.model.distributions._base import LatentDistribution
from skvae.model.distributions._choice import choose

__all__ = ["MixtureOfDistributions", "MixtureOverRows"]


class MixtureOfDistributions(LatentDistribution):
    """A mixture of any distributions.

    Parameters
    ----------
    log_weight : Tensor of shape (J,)
        Log weights.
    parts : tuple of LatentDistribution
        Distributions that are mixed.
    """

    def __init__(
        self, log_weight: Tensor, parts: tuple[LatentDistribution, ...]
    ) -> None:
        self.log_weight, self.parts = log_weight, parts
        self.noise_dim = max(part.noise_dim for part in parts) + 1

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a part by the last number of the noise, draw by the others."""
        chosen = choose(self.log_weight, noise[..., -1])
        drawn = [part.rsample(noise[..., : part.noise_dim])[0] for part in self.parts]
        z = torch.zeros_like(drawn[0])
        for number, candidate in enumerate(drawn):
            z = torch.where((chosen == number).unsqueeze(-1), candidate, z)
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        parts = [part.log_prob(z) for part in self.parts]
        return (torch.stack(parts, -1) + self.log_weight).logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        """Weighted mean of the parts' means."""
        weights = self.log_weight.exp()
        total = weights[0] * self.parts[0].mean
        for weight, part in zip(weights[1:], self.parts[1:], strict=True):
            total = total + weight * part.mean
        return total

    def detached(self) -> "MixtureOfDistributions":
        """Return a mixture of detached parts."""
        parts = tuple(part.detached() for part in self.parts)
        return MixtureOfDistributions(self.log_weight.detach(), parts)

    def select(self, rows: Tensor) -> "MixtureOfDistributions":
        """Return the mixtures of some of the rows."""
        parts = tuple(part.select(rows) for part in self.parts)
        return MixtureOfDistributions(self.log_weight, parts)


class MixtureOverRows(LatentDistribution):
    """A mixture of the distributions of C rows, one and the same for all rows.

    Parameters
    ----------
    log_weight : Tensor of shape (C,)
        Log weights.
    parts : LatentDistribution
        Distributions of the C rows.
    """

    def __init__(self, log_weight: Tensor, parts: LatentDistribution) -> None:
        self.log_weight, self.parts = log_weight, parts
        self.noise_dim = parts.noise_dim + 1

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a row by the last number of the noise, draw by the others."""
        chosen = choose(self.log_weight, noise[..., -1])
        of_each = self.parts.select(chosen.flatten())
        z, _ = of_each.rsample(noise[..., :-1].flatten(0, 1)[None])
        z = z.unflatten(1, noise.shape[:2]).squeeze(0)
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        n_parts = len(self.log_weight)
        each = z.flatten(0, 1)[:, None].expand(-1, n_parts, -1)
        log_joint = self.parts.log_prob(each) + self.log_weight
        return log_joint.logsumexp(-1).unflatten(0, z.shape[:2])

    @property
    def mean(self) -> Tensor:
        """Weighted mean of the rows' means."""
        return self.log_weight.exp() @ self.parts.mean

    def gaussian_modes(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return the rows' Gaussians, if they are some."""
        known = self.parts.mean_and_tril()
        return None if known is None else (self.log_weight, *known)

    def select(self, rows: Tensor) -> "MixtureOverRows":
        """Return itself."""
        return self

    def detached(self) -> "MixtureOverRows":
        """Return a mixture of detached parts."""
        return MixtureOverRows(self.log_weight.detach(), self.parts.detached())
