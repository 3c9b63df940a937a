"""Noise that depends on a row's values alone.

A score must not depend on the batch, the order, the thread or the call. Therefore the
noise of a row is computed from a hash of the row. All rows have the same Sobol points,
and each row shifts them, modulo one, by numbers made from its hash. The errors of
different rows are then about independent, and the error of a row is always the same.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae.model.cell_noise import GeneratorPerRow

__all__ = ["RowNoise", "row_hash", "seeds_of_repetitions"]

Words = NDArray[np.uint64]

LEAST_POINTS = 4096  # that are made at a time
MOST_NUMBERS = 2**20  # that are kept

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio, as in SplitMix64


def _mix(h: Words) -> Words:
    """Scramble 64-bit words (the finaliser of SplitMix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def row_hash(rows: NDArray[np.float64], seed: int | Words = 0) -> Words:
    """Hash every row to a 64-bit word.

    Parameters
    ----------
    rows : ndarray of shape (B, D)
        Rows as the user gave them, as float64; NaN where a cell is missing.
    seed : int or ndarray of uint64 of shape (B,), default=0
        One for all rows, or one for each. Another seed gives an unrelated hash.

    References
    ----------
    G. L. Steele, D. Lea and C. H. Flood, 2014. Fast splittable pseudorandom number
    generators.
    """
    with np.errstate(invalid="ignore"):  # that some NaN signal
        rows = np.ascontiguousarray(rows + 0.0)  # −0.0 becomes 0.0
    rows[np.isnan(rows)] = np.nan  # a NaN may have any sign and any of many bits
    bits = rows.view(np.uint64)
    with np.errstate(over="ignore"):
        h = _seed_of_each(seed, len(rows))
        for column in bits.T:
            h = _mix((h + GOLDEN) ^ column)
    return h


def _seed_of_each(seed: int | Words, n_rows: int) -> Words:
    if isinstance(seed, np.ndarray):
        return seed
    return np.full(n_rows, seed % 2**64, dtype=np.uint64)


def seeds_of_repetitions(rows: NDArray[np.float64], seed: int) -> Words:
    """Return a seed for every row, such that equal rows have noise of their own.

    The noise of a row is made from its cells and its seed: with one seed for all, the
    missing cells of equal rows would be drawn alike, and all their draws were one.

    Parameters
    ----------
    rows : ndarray of shape (B, D)
        Rows as the user gave them, as float64; NaN where a cell is missing.
    seed : int
        The seed of a row that no equal one stands before.

    Returns
    -------
    seeds : ndarray of uint64 of shape (B,)
        Depends on how many equal rows stand before a row, and on no other rows.
    """
    key = row_hash(rows)
    order = key.argsort(kind="stable")
    begins = np.r_[True, np.diff(key[order]) != 0]
    place = np.arange(len(key))
    n_before = np.empty(len(key), dtype=np.uint64)
    n_before[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    seeds = _seed_of_each(seed, len(key))
    with np.errstate(over="ignore"):
        return np.where(n_before == 0, seeds, _mix(seeds + n_before * GOLDEN))


def _sobol(n_dims: int, begin: int, end: int) -> Tensor:
    """Return scrambled Sobol points number `begin` to `end`, always the same."""
    n_points = max(LEAST_POINTS, 1 << (end - 1).bit_length())
    if n_points * n_dims > MOST_NUMBERS:
        return _new_sobol(n_dims, begin, end)
    return _first_sobol(n_dims, n_points)[begin:end]


@lru_cache(maxsize=32)
def _first_sobol(n_dims: int, n_points: int) -> Tensor:
    """Return the first points; they are made once."""
    return _new_sobol(n_dims, 0, n_points)


def _new_sobol(n_dims: int, begin: int, end: int) -> Tensor:
    """Make the points.

    References
    ----------
    I. M. Sobol, 1967. On the distribution of points in a cube and the approximate
    evaluation of integrals.
    """
    sobol = torch.quasirandom.SobolEngine(n_dims, scramble=True, seed=0)
    # The engine computes its first point in torch's default dtype, which is the user's.
    # Here it always has the precision of float32.
    first = (sobol.quasi.double() / 2**sobol.MAXBIT).float().double()
    points = sobol.fast_forward(begin).draw(end - begin, dtype=torch.float64)
    if begin == 0:
        points[0] = first
    return points


@dataclass(frozen=True)
class RowNoise:
    """Standard-normal points of a block of rows.

    Attributes
    ----------
    key : ndarray of shape (B,)
        Hashes of the rows.
    quasi : bool
        Whether a row's points are Sobol points with a random shift of the row's own.
        Otherwise they are independent.

    References
    ----------
    R. Cranley and T. N. L. Patterson, 1976. Randomization of number theoretic
    methods for multiple integration.
    """

    key: Words
    quasi: bool = True

    @classmethod
    def shared(cls) -> "RowNoise":
        """Return the noise of a single row, for draws that all rows share."""
        return cls(np.zeros(1, dtype=np.uint64))

    def __getitem__(self, rows: slice | Tensor) -> "RowNoise":
        """Return the noise of some of the rows."""
        index = rows if isinstance(rows, slice) else rows.cpu().numpy()
        return replace(self, key=self.key[index])

    def beside(self, other: "RowNoise") -> "RowNoise":
        """Return the noise of these rows, followed by that of others."""
        return replace(self, key=np.concatenate([self.key, other.key]))

    def stream(self, number: int) -> "RowNoise":
        """Return noise that is independent of this one, for another use."""
        with np.errstate(over="ignore"):
            key = _mix(self.key + np.uint64(number) * GOLDEN) ^ GOLDEN
        return replace(self, key=key)

    def cells(self, number: int = 0) -> GeneratorPerRow:
        """Return what missing cells of the rows are drawn by, for one use of many."""
        return GeneratorPerRow(lambda: self.generators(number))

    def generators(self, number: int = 0) -> list[torch.Generator]:
        """Return a generator for every row, for one use of many."""
        key = self.stream(number).key
        # A seed is a signed integer of 64 bits.
        return [torch.Generator().manual_seed(k >> 1) for k in key.tolist()]

    def points(self, n_dims: int, begin: int, end: int, like: Tensor) -> Tensor:
        """Return points number `begin` to `end` of every row.

        Parameters
        ----------
        n_dims : int
            Numbers per point.
        begin, end : int
            Numbers of the first point and of the one after the last.
        like : Tensor
            A tensor of the dtype and on the device that the result is to have.

        Returns
        -------
        points : Tensor of shape (end - begin, B, n_dims)
            Standard-normal numbers.
        """
        if self.quasi:
            shift = self.uniform(0, 1, n_dims)
            uniform = (_sobol(n_dims, begin, end)[:, None] + shift) % 1.0
        else:
            uniform = self.uniform(begin, end, n_dims)
        # The normal quantile is infinite at 0 and 1.
        uniform = uniform.clamp(2.0**-54, 1 - 2.0**-53)
        return torch.special.ndtri(uniform).to(like)

    def uniform(self, begin: int, end: int, n_dims: int) -> Tensor:
        """Return uniform numbers of the rows' own, shape (end - begin, B, n_dims)."""
        count = np.arange(1 + begin * n_dims, 1 + end * n_dims, dtype=np.uint64)
        with np.errstate(over="ignore"):
            steps = (count * GOLDEN).reshape(end - begin, 1, n_dims)
            words = _mix(self.key[:, None] + steps)
        # A float64 holds 53 of the 64 bits.
        return torch.from_numpy((words >> np.uint64(11)) * 2.0**-53)
