"""Pareto k̂: how heavy the tail of the importance weights is."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["pareto_k", "pareto_k_error", "pareto_k_limit"]

PRIOR_WEIGHTS = 10  # by which k̂ is shrunk towards 0.5
ROUNDING = 1e-6  # of the logarithm of a weight: smaller differences have no tail


def pareto_k_limit(n_samples: Tensor) -> Tensor:
    """Return the k̂ above which an estimate from this many weights is not reliable.

    References
    ----------
    A. Vehtari, D. Simpson, A. Gelman, Y. Yao and J. Gabry, 2024. Pareto smoothed
    importance sampling.
    """
    return (1 - 1 / n_samples.double().clamp(min=2).log10()).clamp(max=0.7)


def pareto_k_error(k: Tensor, n_samples: Tensor) -> Tensor:
    """Return the standard error of k̂ from so many weights, shrunk as it is.

    References
    ----------
    R. L. Smith, 1987. Estimating tails of probability distributions.
    """
    n_samples = n_samples.double()
    n_tail = torch.minimum(0.2 * n_samples, 3 * n_samples.sqrt())
    error = (1 + k).clamp(min=0) / n_tail.sqrt()
    return (error * n_tail / (n_tail + PRIOR_WEIGHTS)).nan_to_num(posinf=0.0)


def pareto_k(log_w: Tensor) -> Tensor:
    r"""Return the shape of a generalised Pareto distribution of the largest weights.

    Weights whose tail has the shape k have finite moments of order below 1/k. If k̂ is
    above min(1 − 1/log₁₀ K, 0.7), an estimate from K weights cannot be trusted.

    Parameters
    ----------
    log_w : Tensor of shape (K, B)
        Log importance weights.

    Returns
    -------
    k : Tensor of shape (B,)
        k̂; −inf where all weights are equal, up to rounding in single precision, else
        nan with fewer than 25 weights. Weights of which some are equal, as those of
        discrete latents, are spread evenly up to the next larger one: a weight that was
        drawn often is no outlier.

    References
    ----------
    J. Zhang and M. A. Stephens, 2009. A new and efficient estimation method for the
    generalized Pareto distribution.
    A. Vehtari, D. Simpson, A. Gelman, Y. Yao and J. Gabry, 2024. Pareto smoothed
    importance sampling.
    """
    n_samples = len(log_w)
    n_tail = int(min(0.2 * n_samples, 3 * n_samples**0.5))
    if n_tail < 5:
        even = (log_w.amax(0) - log_w.amin(0) <= ROUNDING) & (n_samples > 1)
        return torch.full_like(log_w[0], torch.nan).where(~even, -torch.inf)
    top = log_w.topk(n_tail + 1, dim=0).values.flip(0)
    distinct = top[1:] - top[:-1] > ROUNDING
    weights = _without_ties((top - top[-1]).exp(), distinct)
    excess = weights[1:] - weights[0]  # (T, B), ascending
    flat = excess[-1] <= ROUNDING
    excess = torch.where(flat, torch.ones_like(excess), excess)
    # Posterior mean of θ = −k/σ under Zhang and Stephens' empirical prior, on a grid.
    n_grid = 30 + int(n_tail**0.5)
    j = torch.arange(1, n_grid + 1, dtype=log_w.dtype, device=log_w.device)
    quartile = excess[int(n_tail / 4 + 0.5) - 1].clamp(min=1e-300)
    spread = (1 - (n_grid / (j - 0.5)).sqrt())[:, None] / 3 / quartile
    theta = 1 / excess[-1] + spread  # (G, B)
    k_of = torch.log1p(-theta[:, None] * excess).mean(1)
    log_likelihood = n_tail * ((-theta / k_of).log() - k_of - 1)
    weight = log_likelihood.nan_to_num(-torch.inf).softmax(0)
    theta_mean = (weight * theta).sum(0)
    k = torch.log1p(-theta_mean * excess).mean(0)
    # Shrink towards 0.5, as if ten more weights had that shape.
    k = (k * n_tail + 0.5 * PRIOR_WEIGHTS) / (n_tail + PRIOR_WEIGHTS)
    return torch.where(flat, torch.full_like(k, -torch.inf), k)


def _without_ties(weights: Tensor, distinct: Tensor) -> Tensor:
    """Spread weights that are equal evenly up to the next larger one.

    The largest ones stay equal: beyond them there is nothing.

    Parameters
    ----------
    weights : Tensor of shape (T + 1, B)
        Ascending.
    distinct : Tensor of bool of shape (T, B)
        Whether each but the first is larger than the one before.
    """
    if distinct.all():
        return weights
    place = torch.arange(len(weights), device=weights.device)[:, None]
    begins = F.pad(distinct, (0, 0, 1, 0), value=True)
    first = place.where(begins, 0).cummax(0).values
    end = len(weights)
    ends = place.roll(-1, 0).where(F.pad(distinct, (0, 0, 0, 1)), end)
    following = ends.flip(0).cummin(0).values.flip(0)
    share = (place - first) / (following - first)
    above = weights.gather(0, following.clamp(max=end - 1))
    spread = weights + share.to(weights) * (above - weights)
    return spread.where(following < end, weights)
