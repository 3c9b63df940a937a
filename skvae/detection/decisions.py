"""Decisions by a threshold on scores: labels, distances to it, p-values."""

from abc import abstractmethod
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skvae.arguments.checks import check_number
from skvae.detection.thresholds import ReferenceScores
from skvae.typing import Array

__all__ = ["ThresholdMixin"]

Self = TypeVar("Self", bound="ThresholdMixin")

AUTO_RATE = 0.01


class ThresholdMixin:
    """The methods of a detector whose threshold is a quantile of reference scores."""

    offset_: float
    contamination_: float
    reference_scores_: Array
    _reference: ReferenceScores

    @abstractmethod
    def score_samples(self, X: ArrayLike) -> Array:
        """Return the score of each row: the lower, the stranger."""

    def decision_function(self, X: ArrayLike) -> Array:
        """Return how far above the threshold each row's score is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            `score_samples` minus `offset_`, nats; negative for outliers.
        """
        scores = self.score_samples(X)
        with np.errstate(invalid="ignore"):
            # For densities that can be zero, both may be −∞: on the threshold, too.
            return np.where(scores == self.offset_, 0.0, scores - self.offset_)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return 1 for inliers and −1 for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            −1 where `decision_function` is negative.
        """
        return np.where(self._scores_to_decide(X) < self.offset_, -1, 1)

    def _scores_to_decide(self, X: ArrayLike) -> Array:
        """Return scores that are on the right side of the threshold."""
        return self.score_samples(X)

    def p_values(self, X: ArrayLike) -> Array:
        r"""Return how unusual each row is among the reference rows.

        .. math:: p(x) = \frac{1 + \#\{i : s_i \le s(x)\}}{n + 1}

        Here sᵢ are the scores of the n reference rows. If the reference rows were held
        out, a new row from the same source has p ≤ α with a probability of at most α,
        for every α.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            Between 1/(n + 1) and 1.
        """
        scores = self.score_samples(X)
        return self._reference.p_values(scores)

    def fit_threshold(
        self: Self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        false_positive_rate: float | None = None,
    ) -> Self:
        r"""Choose the threshold by rows with known labels; the density stays as it is.

        .. math:: t = s_{(k)}, \qquad k = \lfloor \alpha\, (n + 1) \rfloor

        Here s₍₁₎ ≤ s₍₂₎ ≤ … are the scores of n inliers. This is a point of the ROC
        curve: the one with the most detections among those whose rate of false alarms
        is at most α, both for these inliers and, in expectation, for new ones. From
        then on, these inliers are the reference rows of `p_values`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, not those of `fit`.
        y : array-like of shape (n_samples,), default=None
            1 for inliers and −1 for outliers, as `predict` returns them. None means
            that all rows are inliers.
        false_positive_rate : float, default=None
            The rate α, in (0, 0.5]; None is `contamination_`.

        Returns
        -------
        self : DensityOutlierDetector
            The detector.

        Raises
        ------
        ValueError
            If there are fewer than 1/α − 1 inliers.
        """
        check_is_fitted(self)
        check_number(
            false_positive_rate,
            "false_positive_rate",
            low=0,
            high=0.5,
            inclusive=False,
            also=(None,),
        )
        scores = self.score_samples(X)
        inlier = np.ones(len(scores), dtype=bool)
        if y is not None:
            labels = np.asarray(y)
            check_consistent_length(scores, labels)
            if labels.ndim != 1 or not np.isin(labels, (1, -1)).all():
                raise ValueError(
                    "y must be 1D and hold 1 for inliers and -1 for outliers, got "
                    f"shape {labels.shape} and {np.unique(labels)[:5].tolist()}."
                )
            inlier = labels == 1
        reference = ReferenceScores.of(scores[inlier])
        rate = self.contamination_
        if false_positive_rate is not None:
            rate = float(false_positive_rate)
        self._set_threshold(reference, reference.conformal_threshold(rate), rate)
        self.false_positive_rate_ = reference.share_below(self.offset_)
        self.reference_is_unseen_ = True
        found = scores[~inlier] < self.offset_
        self.true_positive_rate_ = float(found.mean()) if len(found) else np.nan
        return self

    def _choose_threshold(
        self, reference: ReferenceScores, contamination: float | str, *, exact: bool
    ) -> None:
        """Put a share of the reference rows below the threshold.

        Parameters
        ----------
        reference : ReferenceScores
            Their scores.
        contamination : float or "auto"
            The share; "auto" is 0.01.
        exact : bool
            Whether the share bounds the rate of false alarms. "auto" is then the
            smallest rate that the rows allow, if that is larger than 0.01.
        """
        rate = AUTO_RATE if isinstance(contamination, str) else float(contamination)
        if exact and isinstance(contamination, str):
            rate = min(max(rate, 1 / (reference.total + 1)), 0.5)
        threshold = (
            reference.conformal_threshold(rate) if exact else reference.quantile(rate)
        )
        self._set_threshold(reference, threshold, rate)

    def _set_threshold(
        self, reference: ReferenceScores, threshold: float, rate: float
    ) -> None:
        self._reference, self.reference_scores_ = reference, reference.score
        self.offset_, self.contamination_ = threshold, rate
