"""Thresholds on scores and p-values, by the ranks of weighted reference scores."""

from dataclasses import dataclass

import numpy as np

from skvae.typing import Array

__all__ = ["ReferenceScores", "numbers_of_rows"]

# Relative, of a rank. In floating point, a share of 0.29 of 100 rows is
# 28.999999999999996, but it means 29.
ROUNDING = 1e-9
MAX_DENOMINATOR = 1000


@dataclass(frozen=True)
class ReferenceScores:
    """The scores that a new row's score is compared with.

    Attributes
    ----------
    score : ndarray of shape (n,)
        Scores in ascending order.
    mass : ndarray of shape (n + 1,)
        For how many rows the scores before each score count; last, all scores. Only
        the ratios of weights matter for this, not their scale.
    """

    score: Array
    mass: Array

    @classmethod
    def of(
        cls, score: Array, weight: Array | None = None, *, repeated: bool = False
    ) -> "ReferenceScores":
        r"""Return these scores, sorted.

        Parameters
        ----------
        score : ndarray of shape (n,)
            Scores.
        weight : ndarray of shape (n,), default=None
            Positive; None is one for each score.
        repeated : bool, default=False
            Whether weights say how often a row is there; see `numbers_of_rows`. If
            not, all scores together count for :math:`(\sum w)^2 / \sum w^2` rows,
            the effective number: rows of unequal weights say less than as many of
            equal ones.

        Returns
        -------
        reference : ReferenceScores
        """
        order = np.argsort(score, kind="stable")
        each = np.ones(len(score))
        if weight is not None:
            count = numbers_of_rows(weight) if repeated else None
            each = (_effective(weight) if count is None else count)[order]
        return cls(score[order], np.concatenate([[0.0], np.cumsum(each)]))

    @property
    def total(self) -> float:
        """For how many rows all scores count."""
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

        It is the k-th smallest score, with k = ⌊rate (n + 1)⌋; with weights, the
        smallest one such that the scores up to and including it count for more than
        rate (n + 1) − 1 rows. A row is below it if and only if its p-value is at most
        the rate. For a new row from the same source, the probability of that is at most
        the rate.

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
            message = (
                f"A false-alarm rate of {rate:g} needs at least {least} reference "
                f"rows, got {len(self.score)}"
            )
            if not np.isclose(self.total, len(self.score)):
                message += f", which count for {self.total:.4g} by their weights"
            raise ValueError(f"{message}.")
        return self._after(rank - 1)

    def p_values(self, score: Array) -> Array:
        """Return (1 + number of reference scores ≤ s) / (1 + n) for each score s."""
        below = self.mass[np.searchsorted(self.score, score, side="right")]
        return (1 + below) / (1 + self.total)

    def middle_ranks(self, score: Array) -> Array:
        """Return ranks between 0 and 1; of equal scores, those in the middle."""
        before = self.mass[np.searchsorted(self.score, score, side="left")]
        upto = self.mass[np.searchsorted(self.score, score, side="right")]
        return np.asarray(((before + upto) / 2 + 0.5) / (self.total + 1))

    def _after(self, mass: float) -> float:
        """Return the smallest score with which the weights so far exceed a mass."""
        k = np.searchsorted(self.mass[1:], mass + ROUNDING * self.total, side="right")
        return float(self.score[min(int(k), len(self.score) - 1)])


def numbers_of_rows(weight: Array) -> Array | None:
    """Return how often each row is there, by weights in ratios of whole numbers.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Positive.

    Returns
    -------
    count : ndarray of shape (n,) or None
        The smallest whole numbers with the same ratios. None if there are none with a
        smallest number of at most 1,000.
    """
    distinct, code = np.unique(weight / weight.min(), return_inverse=True)
    for smallest in range(1, MAX_DENOMINATOR + 1):
        count = smallest * distinct
        if (np.abs(count - np.round(count)) <= ROUNDING * count).all():
            return np.asarray(np.round(count)[code])
    return None


def _effective(weight: Array) -> Array:
    """Return weights whose sum is the effective number of rows."""
    share = weight / weight.max()
    return share * (share.sum() / np.square(share).sum())
