"""Noise that depends on a row's values alone.

A score must not depend on the batch, the order, the thread or the call. Each row
therefore gets the same Sobol points, shifted modulo one by numbers that are hashed
from the row itself: errors of different rows are about independent, errors of one
row always the same.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RowNoise", "row_hash"]

Words = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(h: Words) -> Words:
    """Scramble 64-bit words (the finaliser of SplitMix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def row_hash(rows: NDArray[np.float64], seed: int = 0) -> Words:
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


@lru_cache(maxsize=64)
def _sobol(n_dims: int, begin: int, end: int) -> Tensor:
    """Return scrambled Sobol points number `begin` to `end`, always the same.

    References
    ----------
    I. M. Sobol, 1967. On the distribution of points in a cube and the approximate
    evaluation of integrals.
    """
    sobol = torch.quasirandom.SobolEngine(n_dims, scramble=True, seed=0)
    return sobol.fast_forward(begin).draw(end - begin, dtype=torch.float64)


@dataclass(frozen=True)
class RowNoise:
    """Standard-normal points of a block of rows.

    Attributes
    ----------
    key : ndarray of shape (B,)
        Hashes of the rows.
    quasi : bool
        Whether a row's points are Sobol points, with a random shift of its own.
        Else they are independent.

    References
    ----------
    R. Cranley and T. N. L. Patterson, 1976. Randomization of number theoretic
    methods for multiple integration.
    """

    key: Words
    quasi: bool = True

    @classmethod
    def shared(cls) -> "RowNoise":
        """Return the noise of one row that stands for all."""
        return cls(np.zeros(1, dtype=np.uint64))

    def __getitem__(self, rows: slice | Tensor) -> "RowNoise":
        """Return the noise of some of the rows."""
        index = rows if isinstance(rows, slice) else rows.cpu().numpy()
        return replace(self, key=self.key[index])

    def stream(self, number: int) -> "RowNoise":
        """Return noise that is independent of this one, for another use."""
        with np.errstate(over="ignore"):
            key = _mix(self.key + np.uint64(number) * GOLDEN) ^ GOLDEN
        return replace(self, key=key)

    def points(self, n_dims: int, begin: int, end: int, like: Tensor) -> Tensor:
        """Return points number `begin` to `end` of every row.

        Parameters
        ----------
        n_dims : int
            Numbers per point.
        begin, end : int
            Which points.
        like : Tensor
            Has the dtype and the device of the result.

        Returns
        -------
        points : Tensor of shape (end - begin, B, n_dims)
            Standard-normal numbers.
        """
        if self.quasi:
            shift = self._uniform(0, 1, n_dims)
            uniform = (_sobol(n_dims, begin, end)[:, None] + shift) % 1.0
        else:
            uniform = self._uniform(begin, end, n_dims)
        # Half a step of the hash away from 0 and 1, where the quantile is infinite.
        uniform = uniform.clamp(2.0**-54, 1 - 2.0**-53)
        return torch.special.ndtri(uniform).to(like)

    def _uniform(self, begin: int, end: int, n_dims: int) -> Tensor:
        """Return the rows' own uniform numbers, shape (end - begin, B, n_dims)."""
        count = np.arange(1 + begin * n_dims, 1 + end * n_dims, dtype=np.uint64)
        with np.errstate(over="ignore"):
            steps = (count * GOLDEN).reshape(end - begin, 1, n_dims)
            words = _mix(self.key[:, None] + steps)
        return torch.from_numpy((words >> np.uint64(11)) * 2.0**-53)
