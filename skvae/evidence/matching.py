"""Batch and match: a Gaussian per row, fitted to a posterior by its gradients."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.distributions import HALF_LOG_2PI

__all__ = ["Gaussians", "match_gaussians"]

# Log-density and its gradient at latents (K, B, L): shapes (K, B) and (K, B, L).
LogDensity = Callable[[Tensor], tuple[Tensor, Tensor]]

JITTER = 1e-10
STEEPEST = 1e100  # beyond it, products overflow


@dataclass(frozen=True)
class Gaussians:
    """N(μ, T Tᵀ) for each of B rows, with how well they fit.

    Attributes
    ----------
    mean : Tensor of shape (B, L)
        μ.
    tril : Tensor of shape (B, L, L)
        T, lower triangular.
    log_mass : Tensor of shape (B,)
        Log of the target's integral as the last step's draws, weighted, see it;
        −inf before the first step.
    """

    mean: Tensor
    tril: Tensor
    log_mass: Tensor


def match_gaussians(
    log_density: LogDensity, gaussians: Gaussians, noise: Tensor, pull: float
) -> Gaussians:
    r"""Move each Gaussian so that its score matches the target's at its own draws.

    One step minimises

    .. math:: \lambda\, E_{z} \| \nabla\log q(z) - \nabla\log p(z)
              \|^2_{\mathrm{cov}(q)} + 2\, KL(q_t \,\|\, q)

    in closed form, with the expectation over draws from the present Gaussian. A
    quadratic log-density is matched exactly; elsewhere gradients are averaged over
    the width of the Gaussian, so that a rugged surface does not trap the search as
    it traps Newton's method at a point. A step that is not finite is not taken.

    Parameters
    ----------
    log_density : callable
        Latents (K, B, L) to log-densities (K, B) and gradients (K, B, L).
    gaussians : Gaussians
        Where to begin.
    noise : Tensor of shape (K, B, L)
        Standard-normal numbers.
    pull : float
        λ; the larger, the farther a step goes from the present Gaussian.

    References
    ----------
    D. Cai, C. Modi, L. Pillaud-Vivien, C. Margossian, R. Gower, D. Blei and L. Saul,
    2024. Batch and match: black-box variational inference with a score-based
    divergence.
    """
    mean, tril = gaussians.mean, gaussians.tril
    n_draws, _, n_latents = noise.shape
    z = mean + torch.einsum("bij,kbj->kbi", tril, noise)
    value, gradient = log_density(z)
    z_mean, g_mean = z.mean(0), gradient.mean(0)
    z_scatter, g_scatter = _covariance(z - z_mean), _covariance(gradient - g_mean)
    # A gradient that does not average out says that the mode is far: then the pull is
    # stronger, lest the gradient be taken for curvature and the Gaussian collapse.
    slope = (tril.mT @ g_mean[..., None]).square().sum((1, 2))
    strong = pull * (1 + slope)[:, None, None]
    near = strong / (1 + strong)
    offset = mean - z_mean
    u = strong * g_scatter + near * _outer(g_mean)
    v = tril @ tril.mT + strong * z_scatter + near * _outer(offset)
    # The covariance Σ solves Σ U Σ + Σ = V.
    root, failed = torch.linalg.cholesky_ex(v)
    inner = root.mT @ u @ root
    tame = inner.abs().amax((1, 2)) < STEEPEST  # not so if it is not a number
    values, vectors = torch.linalg.eigh(inner.where(tame[:, None, None], 0.0))
    shrunk = (2 / (1 + (1 + 4 * values.clamp(min=0)).sqrt())).sqrt()
    half = (root @ vectors) * shrunk[:, None, :]
    covariance = half @ half.mT
    near = near.squeeze(-1)
    new_mean = (1 - near) * mean + near * (
        (covariance @ g_mean[..., None]).squeeze(-1) + z_mean
    )
    size = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)
    eye = torch.eye(n_latents, dtype=mean.dtype, device=mean.device)
    jittered = covariance + JITTER * size[:, None, None] * eye
    new_tril, failed_too = torch.linalg.cholesky_ex(jittered)
    good = (failed == 0) & (failed_too == 0) & gradient.isfinite().all(-1).all(0)
    good &= tame & new_mean.isfinite().all(-1) & new_tril.isfinite().flatten(1).all(-1)
    log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_q = -0.5 * noise.square().sum(-1) - log_det - n_latents * HALF_LOG_2PI
    log_mass = (value - log_q).logsumexp(0) - math.log(n_draws)
    return Gaussians(
        torch.where(good[:, None], new_mean, mean),
        torch.where(good[:, None, None], new_tril, tril),
        log_mass,
    )


def _covariance(centred: Tensor) -> Tensor:
    """(K, B, L) to (B, L, L)."""
    rows = centred.transpose(0, 1)
    return rows.mT @ rows / len(centred)


def _outer(vector: Tensor) -> Tensor:
    return vector[:, :, None] * vector[:, None, :]
