"""Means without a closed form, from the same few points every time."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["fixed_noise", "mean_over_fixed_noise"]

N_PAIRS = 64
BLOCK_DRAWS = 2048


def mean_over_fixed_noise(
    draw: Callable[[Tensor], Tensor], noise_dim: int, n_rows: int, like: Tensor
) -> Tensor:
    """Estimate a mean from 128 quasi-random points, the same at every call.

    The points are 64 Sobol points and their reflections, scaled to unit variance. The
    mean of a function is therefore exact if the function is a sum of linear and
    quadratic terms of single numbers of the noise.

    Parameters
    ----------
    draw : callable
        Maps noise (K, B, noise_dim) to values (K, B, L).
    noise_dim : int
        Number of standard-normal numbers that a draw is made from.
    n_rows : int
        B.
    like : Tensor
        Has the dtype and the device of the noise.

    Returns
    -------
    mean : Tensor of shape (B, L)
        Mean over the points.

    References
    ----------
    I. M. Sobol, 1967. On the distribution of points in a cube and the approximate
    evaluation of integrals.
    """
    points = fixed_noise(noise_dim).to(like)
    at_once = max(1, BLOCK_DRAWS // n_rows)
    sums = [
        draw(block[:, None].expand(-1, n_rows, -1)).sum(0)
        for block in points.split(at_once)
    ]
    return torch.stack(sums).sum(0) / len(points)


@lru_cache(maxsize=16)
def fixed_noise(noise_dim: int, n_pairs: int = N_PAIRS) -> Tensor:
    """Return Sobol points and their reflections, with mean 0 and variance 1.

    Parameters
    ----------
    noise_dim : int
        Standard-normal numbers of a point.
    n_pairs : int, default=64
        Number of points that are reflected.

    Returns
    -------
    points : Tensor of shape (2 n_pairs, noise_dim)
        A point is followed by its reflection. Float64, not to be changed.
    """
    sobol = torch.quasirandom.SobolEngine(noise_dim)
    # Sobol's first point is the corner 0. Half a cell further, no point is at an edge
    # of the cube, where the normal quantile is infinite.
    uniform = sobol.draw(n_pairs, dtype=torch.float64) + 0.5 / n_pairs
    noise = torch.special.ndtri(uniform)
    noise = noise / noise.square().mean(0).sqrt()
    return torch.stack([noise, -noise], 1).flatten(0, 1)
