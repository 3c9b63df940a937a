"""Thresholds on scores: ranks among reference scores, weighted and exact."""

from dataclasses import dataclass

import numpy as np

from skvae.typing import Array

__all__ = ["ReferenceScores"]

ROUNDING = 1e-9  # of a rank; 0.29 · 100 rows are 29, not 28.999999999999996


@dataclass(frozen=True)
class ReferenceScores:
    """The scores that a new row's score is compared with.

    Attributes
    ----------
    score : ndarray of shape (n,)
        Scores in ascending order.
    mass : ndarray of shape (n + 1,)
        Total weight of the scores before each, and last that of all.
    """

    score: Array
    mass: Array

    @classmethod
    def of(cls, score: Array, weight: Array | None = None) -> "ReferenceScores":
        """Sort scores; weights count repetitions, None is one each."""
        order = np.argsort(score, kind="stable")
        each = np.ones(len(score)) if weight is None else weight[order]
        return cls(score[order], np.concatenate([[0.0], np.cumsum(each)]))

    @property
    def total(self) -> float:
        """The weight of all scores."""
        return float(self.mass[-1])

    def share_below(self, threshold: float) -> float:
        """Return the share of the scores that are smaller than a threshold."""
        k = np.searchsorted(self.score, threshold, side="left")
        return float(self.mass[k]) / self.total

    def quantile(self, share: float) -> float:
        """Return the threshold below which this share of the scores lies.

        It is the smallest score that has at least this share below it and itself,
        and more with itself: 30 of 300 different scores are below that of 0.1.
        """
        return self._after(share * self.total)

    def conformal_threshold(self, rate: float) -> float:
        r"""Return the threshold that a row from the same source falls below at a rate.

        It is the k-th smallest score, k = ⌊rate (n + 1)⌋: a row is below it if and
        only if its `p_values` are at most the rate.

        Raises
        ------
        ValueError
            If there are fewer than 1/rate − 1 scores: no threshold will do.
        """
        rank = rate * (self.total + 1)
        if rank < 1 - ROUNDING:
            least = int(np.ceil(1 / rate - 1 - ROUNDING))
            raise ValueError(
                f"A false-alarm rate of {rate:g} needs at least {least} reference "
                f"rows, got {self.total:g}."
            )
        return self._after(np.floor(rank + ROUNDING) - 1)

    def p_values(self, score: Array) -> Array:
        """Return (1 + number of reference scores ≤ s) / (1 + n) of each score s."""
        below = self.mass[np.searchsorted(self.score, score, side="right")]
        return (1 + below) / (1 + self.total)

    def _after(self, mass: float) -> float:
        """Return the smallest score whose weight and all before exceed a mass."""
        k = np.searchsorted(self.mass[1:], mass + ROUNDING * self.total, side="right")
        return float(self.score[min(int(k), len(self.score) - 1)])
