"""Noise that depends on a row's values alone.

A score must not depend on the batch, the order, the thread or the call. Each row
therefore gets the same Sobol points, shifted modulo one by numbers that are hashed
from the row itself: errors of different rows are about independent, errors of one
row always the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RowNoise", "SobolPoints", "row_hash"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(h: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words (the finaliser of SplitMix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def row_hash(rows: NDArray[np.float64], seed: int = 0) -> NDArray[np.uint64]:
    """Hash every row to a 64-bit word.

    Parameters
    ----------
    rows : ndarray of shape (B, D)
        Rows as the user gave them, as float64.
    seed : int, default=0
        Another seed gives an unrelated hash.

    References
    ----------
    G. L. Steele, D. Lea and C. H. Flood, 2014. Fast splittable pseudorandom number
    generators.
    """
    bits = np.ascontiguousarray(rows + 0.0).view(np.uint64)  # −0.0 becomes 0.0
    with np.errstate(over="ignore"):
        h = np.full(len(rows), seed % 2**64, dtype=np.uint64)
        for column in bits.T:
            h = _mix((h + GOLDEN) ^ column)
    return h


class SobolPoints:
    """Scrambled Sobol points, the same for all rows; drawn once for all blocks.

    Parameters
    ----------
    n_dims : int
        Numbers per point.

    References
    ----------
    I. M. Sobol, 1967. On the distribution of points in a cube and the approximate
    evaluation of integrals.
    """

    def __init__(self, n_dims: int) -> None:
        self.n_dims = n_dims
        self._drawn: dict[tuple[int, int], Tensor] = {}

    def between(self, begin: int, end: int) -> Tensor:
        """Return points number `begin` to `end`, shape (K, n_dims), in [0, 1)."""
        if (begin, end) not in self._drawn:
            sobol = torch.quasirandom.SobolEngine(self.n_dims, scramble=True, seed=0)
            points = sobol.fast_forward(begin).draw(end - begin, dtype=torch.float64)
            self._drawn[begin, end] = points
        return self._drawn[begin, end]


@dataclass(frozen=True)
class RowNoise:
    """Standard-normal points of a block of rows.

    Attributes
    ----------
    sobol : SobolPoints
        Points before the shift.
    shift : Tensor of shape (B, n_dims)
        Each row's shift, in [0, 1).

    References
    ----------
    R. Cranley and T. N. L. Patterson, 1976. Randomization of number theoretic
    methods for multiple integration.
    """

    sobol: SobolPoints
    shift: Tensor

    @classmethod
    def of(cls, row_hash: NDArray[np.uint64], sobol: SobolPoints) -> "RowNoise":
        """Return the noise of rows with these hashes."""
        with np.errstate(over="ignore"):
            steps = np.arange(1, sobol.n_dims + 1, dtype=np.uint64) * GOLDEN
            words = _mix(row_hash[:, None] + steps)
        return cls(sobol, torch.from_numpy((words >> np.uint64(11)) * 2.0**-53))

    def select(self, rows: Tensor) -> "RowNoise":
        """Return the noise of some of the rows."""
        return RowNoise(self.sobol, self.shift[rows.cpu()])

    def points(self, begin: int, end: int, like: Tensor) -> Tensor:
        """Return points number `begin` to `end` of every row.

        Parameters
        ----------
        begin, end : int
            Which points.
        like : Tensor
            Has the dtype and the device of the result.

        Returns
        -------
        points : Tensor of shape (end - begin, B, n_dims)
            Standard-normal numbers.
        """
        uniform = (self.sobol.between(begin, end)[:, None] + self.shift) % 1.0
        # Half a step of the hash away from 0 and 1, where the quantile is infinite.
        uniform = uniform.clamp(2.0**-54, 1 - 2.0**-53)
        return torch.special.ndtri(uniform).to(like)
