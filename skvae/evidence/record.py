"""The public records of an evidence estimate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds", "Evidence"]


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
        Tail shape k̂ of the importance weights.
    n_samples : ndarray of int of shape (n,)
        Importance samples that the value is made of.
    n_stages : ndarray of int of shape (n,)
        Number of the proposal that the value comes from: 1 the encoder, 2 a Gaussian
        fitted to the row, 3 a mixture adapted to it, 4 the same with modes searched
        for from the prior; with one latent, 4 is a grid and 5 the search.
    background_share : ndarray of shape (n,)
        Probability that the row comes from the background, given the row; 0 without
        a background.
    unreliable : ndarray of bool of shape (n,)
        Whether k̂ is above min(1 − 1/log₁₀ n_samples, 0.7) and the background does
        not make up for it: then the value is a lower bound.
    """

    log_density: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    effective_sample_size: NDArray[np.float64]
    pareto_k: NDArray[np.float64]
    n_samples: NDArray[np.int64]
    n_stages: NDArray[np.int64]
    background_share: NDArray[np.float64]
    unreliable: NDArray[np.bool_]


@dataclass(frozen=True)
class Bounds:
    """Lower bounds on the log-densities of n rows, in nats.

    Each is estimated without bias from independent draws of the encoder. In
    expectation, ELBO = IWAE₁ ≤ IWAE₂ ≤ … ≤ log p(x); one estimate need not be
    monotone.

    Attributes
    ----------
    n_samples : tuple of int
        The numbers K.
    elbo : ndarray of shape (n,)
        Evidence lower bound, in the units of the input columns.
    iwae : ndarray of shape (len(n_samples), n)
        Importance-weighted bound for each K.
    """

    n_samples: tuple[int, ...]
    elbo: NDArray[np.float64]
    iwae: NDArray[np.float64]
