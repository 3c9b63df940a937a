"""Distributions over the latents, driven by standard-normal noise from outside.

Randomness never comes from a global generator: a distribution turns noise that it
is given into latents, so that training, sampling and row-keyed evidence share one
code path.
"""

import copy
import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "HALF_LOG_2PI",
    "CholeskyGaussian",
    "CholeskyGaussianMixture",
    "DiagonalGaussian",
    "DiagonalGaussianMixture",
    "LatentDistribution",
    "MixtureOfDistributions",
    "MixtureOverRows",
    "SharedDistribution",
    "StandardNormal",
]

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class LatentDistribution(ABC):
    """A distribution over z with event shape (L,) and batch shape () or (B,).

    Attributes
    ----------
    noise_dim : int
        Number of standard-normal numbers that one latent vector is made from.
    """

    noise_dim: int

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

    @abstractmethod
    def select(self, rows: Tensor) -> "LatentDistribution":
        """Return the distribution of some of the rows; all, if they share one."""

    def detached(self) -> "LatentDistribution":
        """Return the same distribution, its parameters out of reach of gradients."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(twin, name, value.detach())
        return twin

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


class StandardNormal(LatentDistribution):
    """N(0, I) in L dimensions."""

    def __init__(self, like: Tensor) -> None:
        self._zero = torch.zeros_like(like)
        self.noise_dim = like.shape[-1]

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise itself."""
        return noise, self.log_prob(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return Σ log N(z; 0, 1)."""
        return -0.5 * z.square().sum(-1) - self.noise_dim * HALF_LOG_2PI

    @property
    def mean(self) -> Tensor:
        """Zero."""
        return self._zero

    def select(self, rows: Tensor) -> "StandardNormal":
        """Return itself."""
        return self

    def expected_log_prob(self, q: LatentDistribution) -> Tensor | None:
        """Return −½ Σ E_q[z²] − ½ L log 2π."""
        moment = q.second_moment()
        if moment is None:
            return None
        return -0.5 * moment.sum(-1) - self.noise_dim * HALF_LOG_2PI


class DiagonalGaussian(LatentDistribution):
    """N(μ, diag σ²), one per row."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self._mean, self.scale = mean, scale
        self.noise_dim = mean.shape[-1]
        self._log_normaliser = scale.log().sum(-1) + self.noise_dim * HALF_LOG_2PI

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ + σ ε and its log-density."""
        z = torch.addcmul(self._mean, self.scale, noise)
        return z, -0.5 * noise.square().sum(-1) - self._log_normaliser

    def log_prob(self, z: Tensor) -> Tensor:
        """Return Σ log N(z; μ, σ²)."""
        standard = (z - self._mean) / self.scale
        return -0.5 * standard.square().sum(-1) - self._log_normaliser

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self._mean

    def select(self, rows: Tensor) -> "DiagonalGaussian":
        """Return the Gaussians of some of the rows."""
        if self._mean.dim() == 1:
            return self
        return DiagonalGaussian(self._mean[rows], self.scale[rows])

    def entropy(self) -> Tensor:
        """Return Σ log σ + ½ L (1 + log 2π)."""
        return self._log_normaliser + 0.5 * self.noise_dim

    def second_moment(self) -> Tensor:
        """Return μ² + σ²."""
        return self._mean.square() + self.scale.square()


class CholeskyGaussian(LatentDistribution):
    """N(μ, T Tᵀ) with lower-triangular T, one per row."""

    def __init__(self, mean: Tensor, tril: Tensor) -> None:
        self._mean, self.tril = mean, tril
        self.noise_dim = mean.shape[-1]
        log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        self._log_normaliser = log_det + self.noise_dim * HALF_LOG_2PI

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ + T ε and its log-density."""
        shift = torch.einsum("bij,kbj->kbi", self.tril, noise)
        return (
            self._mean + shift,
            -0.5 * noise.square().sum(-1) - self._log_normaliser,
        )

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; μ, T Tᵀ)."""
        squared = self.standardised(z).square().sum(-1)
        return -0.5 * squared - self._log_normaliser

    def standardised(self, z: Tensor) -> Tensor:
        """Return T⁻¹ (z − μ), shape (K, B, L)."""
        centred = (z - self._mean).permute(1, 2, 0)
        standard = torch.linalg.solve_triangular(self.tril, centred, upper=False)
        return standard.permute(2, 0, 1)

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self._mean

    def select(self, rows: Tensor) -> "CholeskyGaussian":
        """Return the Gaussians of some of the rows."""
        return CholeskyGaussian(self._mean[rows], self.tril[rows])

    def entropy(self) -> Tensor:
        """Return log det T + ½ L (1 + log 2π)."""
        return self._log_normaliser + 0.5 * self.noise_dim

    def second_moment(self) -> Tensor:
        """Return μ² + diag(T Tᵀ)."""
        return self._mean.square() + self.tril.square().sum(-1)


class DiagonalGaussianMixture(LatentDistribution):
    """Σ_c π_c N(μ_c, diag σ_c²), shared by all rows."""

    def __init__(self, log_weight: Tensor, mean: Tensor, scale: Tensor) -> None:
        self.log_weight, self._means, self.scale = log_weight, mean, scale
        self.n_latents = mean.shape[-1]
        self.noise_dim = self.n_latents + 1

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a mode by the last number of the noise, move it by the others."""
        uniform = torch.special.ndtr(noise[..., -1].contiguous())
        edges = self.log_weight.exp().cumsum(0)
        last = self.log_weight.shape[0] - 1
        mode = torch.searchsorted(edges, uniform).clamp(max=last)
        z = torch.addcmul(self._means[mode], self.scale[mode], noise[..., :-1])
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density, the exponents of all modes as two products.

        −½ Σ (z − μ_c)² / σ_c² is expanded in z² and z, so that nothing of shape
        (K, B, C, L) is ever formed.
        """
        precision = self.scale.square().reciprocal()
        constant = (
            self.log_weight
            - self.scale.log().sum(-1)
            - self.n_latents * HALF_LOG_2PI
            - 0.5 * (self._means.square() * precision).sum(-1)
        )
        features = torch.cat([z.square(), z], -1)
        weight = torch.cat([-0.5 * precision, self._means * precision], -1)
        return F.linear(features, weight, constant).logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        """Σ_c π_c μ_c."""
        return self.log_weight.exp() @ self._means

    def select(self, rows: Tensor) -> "DiagonalGaussianMixture":
        """Return itself."""
        return self


class CholeskyGaussianMixture(LatentDistribution):
    r"""A few Gaussians per row, each at several widths.

    .. math:: \sum_j w_j \sum_f a_f\, N(\mu_j, s_f^2\, T_j T_j^\top)

    Parameters
    ----------
    log_weight : Tensor of shape (B, J)
        log w.
    means : Tensor of shape (B, J, L)
        μ.
    tril : Tensor of shape (B, J, L, L)
        T, lower triangular.
    widths, shares : Tensor of shape (F,)
        s and a, the same for all.
    """

    def __init__(
        self,
        log_weight: Tensor,
        means: Tensor,
        tril: Tensor,
        widths: Tensor,
        shares: Tensor,
    ) -> None:
        self.log_weight, self._means, self.tril = log_weight, means, tril
        self.widths, self.shares = widths, shares
        n_latents = means.shape[-1]
        self.noise_dim = n_latents + 1
        eye = torch.eye(n_latents, dtype=tril.dtype, device=tril.device)
        self._inverse = torch.linalg.solve_triangular(
            tril, eye.expand_as(tril), upper=False
        )
        log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_width = widths.log() * n_latents - shares.log()
        self._constant = (
            (log_weight - log_det)[..., None] - log_width - n_latents * HALF_LOG_2PI
        )  # (B, J, F)

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose Gaussian and width by the last number, move it by the others."""
        share = self.log_weight.exp()[..., None] * self.shares  # (B, J, F)
        edges = share.flatten(1).cumsum(1)
        uniform = torch.special.ndtr(noise[..., -1]).T.contiguous()  # (B, K)
        cell = torch.searchsorted(edges, uniform).clamp(max=edges.shape[1] - 1).T
        n_widths = len(self.widths)
        mode = cell.div(n_widths, rounding_mode="floor")
        row = torch.arange(len(edges), device=noise.device)
        step = noise[..., :-1] * self.widths[cell % n_widths].unsqueeze(-1)
        if self.tril.shape[1] == 1:
            shift = torch.einsum("bij,kbj->kbi", self.tril[:, 0], step)
        else:
            shift = (self.tril[row, mode] @ step.unsqueeze(-1)).squeeze(-1)
        z = self._means[row, mode] + shift
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        centred = z.unsqueeze(2) - self._means  # (K, B, J, L)
        standard = torch.einsum("bjil,kbjl->kbji", self._inverse, centred)
        distance = -0.5 * standard.square().sum(-1, keepdim=True)
        exponent = distance / self.widths.square() + self._constant
        return exponent.flatten(-2).logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        """Σ_j w_j μ_j."""
        return torch.einsum("bj,bjl->bl", self.log_weight.exp(), self._means)

    def select(self, rows: Tensor) -> "CholeskyGaussianMixture":
        """Return the mixtures of some of the rows."""
        return CholeskyGaussianMixture(
            self.log_weight[rows],
            self._means[rows],
            self.tril[rows],
            self.widths,
            self.shares,
        )


class MixtureOfDistributions(LatentDistribution):
    """A mixture of any distributions; a draw is weighed by all of them.

    Parameters
    ----------
    log_weight : Tensor of shape (J,)
        Log weights.
    parts : tuple of LatentDistribution
        What is mixed.
    """

    def __init__(
        self, log_weight: Tensor, parts: tuple[LatentDistribution, ...]
    ) -> None:
        self.log_weight, self.parts = log_weight, parts
        self.noise_dim = max(part.noise_dim for part in parts) + 1

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a part by the last number of the noise, draw by the others."""
        uniform = torch.special.ndtr(noise[..., -1].contiguous())
        edges = self.log_weight.exp().cumsum(0)
        chosen = torch.searchsorted(edges, uniform).clamp(max=len(edges) - 1)
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


class SharedDistribution(LatentDistribution):
    """The same distribution for each of some rows.

    Parameters
    ----------
    distribution : LatentDistribution
        Without a batch shape.
    n_rows : int
        Number of rows, B.
    """

    def __init__(self, distribution: LatentDistribution, n_rows: int) -> None:
        self.distribution, self.n_rows = distribution, n_rows
        self.noise_dim = distribution.noise_dim

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return draws and their log-density."""
        return self.distribution.rsample(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density."""
        return self.distribution.log_prob(z)

    @property
    def mean(self) -> Tensor:
        """The mean, once for each row."""
        return self.distribution.mean.expand(self.n_rows, -1)

    def detached(self) -> "SharedDistribution":
        """Share the detached distribution."""
        return SharedDistribution(self.distribution.detached(), self.n_rows)

    def select(self, rows: Tensor) -> "SharedDistribution":
        """Return the same for fewer rows."""
        return SharedDistribution(self.distribution, len(rows))


class MixtureOverRows(LatentDistribution):
    """A mixture of the distributions of C rows, itself shared by all rows.

    Parameters
    ----------
    log_weight : Tensor of shape (C,)
        Log weights.
    parts : LatentDistribution
        Of C rows.
    """

    def __init__(self, log_weight: Tensor, parts: LatentDistribution) -> None:
        self.log_weight, self.parts = log_weight, parts
        self.noise_dim = parts.noise_dim + 1

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a row by the last number of the noise, draw by the others."""
        uniform = torch.special.ndtr(noise[..., -1].contiguous())
        edges = self.log_weight.exp().cumsum(0)
        chosen = torch.searchsorted(edges, uniform).clamp(max=len(edges) - 1)
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

    def select(self, rows: Tensor) -> "MixtureOverRows":
        """Return itself."""
        return self

    def detached(self) -> "MixtureOverRows":
        """Return a mixture of detached parts."""
        return MixtureOverRows(self.log_weight.detach(), self.parts.detached())
