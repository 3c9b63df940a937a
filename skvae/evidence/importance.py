"""Importance sampling: from weights to a log-density and its error."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.evidence.pareto import pareto_k

__all__ = ["Estimate", "summarise"]


@dataclass(frozen=True)
class Estimate:
    """Log-densities of B rows with their diagnostics; all of shape (B,).

    Attributes
    ----------
    log_density : Tensor
        log p̂(x), nats, in model units.
    standard_error : Tensor
        Standard error of `log_density`, nats.
    effective_sample_size : Tensor
        (Σ w)² / Σ w², between 1 and the number of samples.
    pareto_k : Tensor
        Tail shape of the weights.
    n_samples : Tensor of int64
        Samples that the row got.
    """

    log_density: Tensor
    standard_error: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    n_samples: Tensor


def summarise(log_w: Tensor) -> Estimate:
    r"""Average importance weights.

    .. math:: \log\hat p = \log \frac1K \sum_k w_k, \qquad
              \mathrm{se}^2 = \frac{1}{K-1}
              \left(\frac{K \sum_k w_k^2}{(\sum_k w_k)^2} - 1\right)

    The standard error is the delta method's, for independent draws; quasi-random
    draws usually do better.

    Parameters
    ----------
    log_w : Tensor of shape (K, B)
        Log weights, float64.
    """
    n_samples = log_w.shape[0]
    log_sum = log_w.logsumexp(0)
    log_square = (2 * log_w).logsumexp(0)
    size = (2 * log_sum - log_square).exp().clamp(1, n_samples)
    if n_samples > 1:
        error = ((n_samples / size - 1).clamp(min=0) / (n_samples - 1)).sqrt()
    else:
        error = torch.full_like(log_sum, torch.nan)
    return Estimate(
        log_density=log_sum - math.log(n_samples),
        standard_error=error,
        effective_sample_size=size,
        pareto_k=pareto_k(log_w),
        n_samples=torch.full_like(log_sum, n_samples, dtype=torch.int64),
    )
