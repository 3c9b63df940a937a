"""Importance sampling: from weights to a log-density and its error."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from skvae.evidence.blocks import filled_rows
from skvae.evidence.pareto import pareto_k, pareto_k_error, pareto_k_limit

__all__ = ["Estimate", "summarise"]

N_BATCHES = 8  # of draws, whose means give a second standard error
MANY_DRAWS = 1000  # whose k̂ is taken at its word


@dataclass(frozen=True)
class Estimate:
    """Log-densities of the latent part for B rows, with diagnostics, all (B,).

    Attributes
    ----------
    log_density : Tensor
        log p̂(x), nats, in model units.
    standard_error : Tensor
        Standard error of `log_density`, nats.
    bias : Tensor
        Estimate of E log p̂(x) − log p(x), nats: not positive, but for its error.
    effective_sample_size : Tensor
        (Σ w)² / Σ w², between 1 and the number of samples.
    pareto_k : Tensor
        Tail shape of the weights.
    n_samples : Tensor of int64
        Number of draws that the estimate is made of.
    """

    log_density: Tensor
    standard_error: Tensor
    bias: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    n_samples: Tensor

    @classmethod
    def empty(cls, n_rows: int, device: torch.device) -> "Estimate":
        """Return a record of so many rows, to be filled by `update`."""
        dtypes = {column.name: torch.float64 for column in fields(cls)}
        dtypes["n_samples"] = torch.int64
        return cls(
            **{
                name: torch.empty(n_rows, dtype=dtype, device=device)
                for name, dtype in dtypes.items()
            }
        )

    def __getitem__(self, rows: Tensor | slice) -> "Estimate":
        """Return the estimates of some rows."""
        return Estimate(**{name: values[rows] for name, values in vars(self).items()})

    def unreliable(self) -> Tensor:
        """Whether k̂ of each row is surely above its limit, or cannot be told."""
        error = pareto_k_error(self.pareto_k, self.n_samples)
        sure = self.pareto_k - error.where(self.n_samples < MANY_DRAWS, 0.0)
        return ~(sure <= pareto_k_limit(self.n_samples))

    def update(self, rows: Tensor, other: "Estimate") -> None:
        """Replace the estimates of some rows, in place."""
        for name, values in vars(other).items():
            getattr(self, name)[rows] = values


def summarise(log_w: Tensor) -> Estimate:
    r"""Average importance weights.

    .. math:: \log\hat p = \log \frac1K \sum_k w_k, \qquad
              \mathrm{se}^2 = \frac{1}{K-1}
              \left(\frac{K \sum_k w_k^2}{(\sum_k w_k)^2} - 1\right)

    The standard error is the larger of two. The first, se, is that of the delta method
    for independent draws. The second is computed from the means of eight batches of
    consecutive draws, each of which is a randomised point set by itself. Together the
    batches cover the latents more evenly than independent batches would, so that the
    spread of their means overstates the error rather than understates it. The bias of
    the logarithm is −se²/2.

    Parameters
    ----------
    log_w : Tensor of shape (K, B)
        Log weights, float64.

    References
    ----------
    A. B. Owen, 2013. Monte Carlo theory, methods and examples, chapter 9.
    """
    n_rows = log_w.shape[1]
    log_w = log_w[:, filled_rows(n_rows, log_w.device)]
    n_samples = log_w.shape[0]
    log_sum = log_w.logsumexp(0)
    log_square = (2 * log_w).logsumexp(0)
    size = (2 * log_sum - log_square).exp().clamp(1, n_samples)
    if n_samples > 1:
        error = ((n_samples / size - 1).clamp(min=0) / (n_samples - 1)).sqrt()
        error = torch.maximum(error, _batch_error(log_w))
    else:
        error = torch.full_like(log_sum, torch.nan)
    count = torch.full_like(log_sum, n_samples, dtype=torch.int64)
    return Estimate(
        log_density=log_sum - math.log(n_samples),
        standard_error=error,
        bias=-0.5 * error.square(),
        effective_sample_size=size,
        pareto_k=pareto_k(log_w),
        n_samples=count,
    )[:n_rows]


def _batch_error(log_w: Tensor) -> Tensor:
    """Return the standard error of log mean w from the spread of batch means.

    It is 0 where a batch would have fewer than two draws.
    """
    size = len(log_w) // N_BATCHES
    if size < 2:
        return torch.zeros_like(log_w[0])
    log_means = log_w[: size * N_BATCHES].unflatten(0, (N_BATCHES, size)).logsumexp(1)
    relative = (log_means - log_means.logsumexp(0)).exp() * N_BATCHES
    return relative.std(0) / math.sqrt(N_BATCHES)
