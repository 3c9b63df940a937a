"""The public record of an evidence estimate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evidence"]


@dataclass(frozen=True)
class Evidence:
    """Log-densities of n rows, with what is known about their errors.

    Attributes
    ----------
    log_density : ndarray of shape (n,)
        log p̂(x) in nats, in the units of the input columns.
    standard_error : ndarray of shape (n,)
        Standard error of `log_density`, in nats.
    effective_sample_size : ndarray of shape (n,)
        (Σ w)² / Σ w² of the importance weights: how many equal weights would be as
        good.
    pareto_k : ndarray of shape (n,)
        Tail shape k̂ of the importance weights. Above min(1 − 1/log₁₀ n_samples, 0.7)
        the value is best read as a lower bound.
    n_samples : ndarray of int of shape (n,)
        Importance samples that the row got.
    """

    log_density: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    effective_sample_size: NDArray[np.float64]
    pareto_k: NDArray[np.float64]
    n_samples: NDArray[np.int64]
