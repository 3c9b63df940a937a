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
STEEPEST = 1e100  # entries of a matrix; products of larger ones overflow


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
        Estimate of the log of the target's integral, from the importance weights of
        the last step's draws; −inf before the first step.
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

    in closed form, where q_t is the present Gaussian and the expectation is over draws
    from it. If the target's log-density is quadratic, it is matched exactly. If not,
    gradients are averaged over the width of the Gaussian, so that small bumps do not
    trap the search, as they trap Newton's method, which looks at one point. A row whose
    step is not finite keeps its Gaussian.

    Parameters
    ----------
    log_density : callable
        Takes latents (K, B, L); returns log-densities (K, B) and gradients (K, B, L).
    gaussians : Gaussians
        The present Gaussians.
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
    # A large mean gradient says that the mode is far away. A weak pull would take it
    # for curvature and make the Gaussian collapse, so the pull grows with the gradient.
    slope = (tril.mT @ g_mean[..., None]).square().sum((1, 2))
    strong = pull * (1 + slope)[:, None, None]
    near = strong / (1 + strong)
    offset = mean - z_mean
    u = strong * g_scatter + near * _outer(g_mean)
    v = tril @ tril.mT + strong * z_scatter + near * _outer(offset)
    # The covariance Σ solves Σ U Σ + Σ = V. With V = R Rᵀ and S = Rᵀ U R it is
    # Σ = R f(S) Rᵀ, where f(s) = 2 / (1 + √(1 + 4 s)) solves s f² + f = 1.
    root, failed = torch.linalg.cholesky_ex(v)
    inner = root.mT @ u @ root
    tame = inner.abs().amax((1, 2)) < STEEPEST  # false for nan
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
    """Return the covariances (B, L, L) of K centred draws (K, B, L)."""
    rows = centred.transpose(0, 1)
    return rows.mT @ rows / len(centred)


def _outer(vector: Tensor) -> Tensor:
    """Return v vᵀ for vectors (B, L), shape (B, L, L)."""
    return vector[:, :, None] * vector[:, None, :]
