"""Thresholds on scores and p-values, by the ranks of weighted reference scores."""

from dataclasses import dataclass

import numpy as np

from skvae.typing import Array

__all__ = ["ReferenceScores"]

# Relative, of a rank. In floating point, a share of 0.29 of 100 rows is
# 28.999999999999996, but it means 29.
ROUNDING = 1e-9


@dataclass(frozen=True)
class ReferenceScores:
    """The scores that a new row's score is compared with.

    Attributes
    ----------
    score : ndarray of shape (n,)
        Scores in ascending order.
    mass : ndarray of shape (n + 1,)
        Total weight of the scores before each score; last, that of all scores.
    """

    score: Array
    mass: Array

    @classmethod
    def of(cls, score: Array, weight: Array | None = None) -> "ReferenceScores":
        """Return these scores, sorted.

        Parameters
        ----------
        score : ndarray of shape (n,)
            Scores.
        weight : ndarray of shape (n,), default=None
            How often each score counts; None is once.

        Returns
        -------
        reference : ReferenceScores
        """
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

        It is the smallest score such that the scores up to and including it make up
        more than this share. For 0.1, 30 of 300 distinct scores are below it.
        """
        return self._after(share * self.total)

    def conformal_threshold(self, rate: float) -> float:
        """Return the threshold whose rate of false alarms is at most this one.

        It is the k-th smallest score, with k = ⌊rate (n + 1)⌋. A row is below it if and
        only if its p-value is at most the rate. For a new row from the same source, the
        probability of that is at most the rate.

        Parameters
        ----------
        rate : float
            Between 0 and 1.

        Returns
        -------
        threshold : float

        Raises
        ------
        ValueError
            If there are fewer than 1/rate − 1 scores. No threshold has the rate then.
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
        """Return (1 + number of reference scores ≤ s) / (1 + n) for each score s."""
        below = self.mass[np.searchsorted(self.score, score, side="right")]
        return (1 + below) / (1 + self.total)

    def _after(self, mass: float) -> float:
        """Return the smallest score with which the weights so far exceed a mass."""
        k = np.searchsorted(self.mass[1:], mass + ROUNDING * self.total, side="right")
        return float(self.score[min(int(k), len(self.score) - 1)])
