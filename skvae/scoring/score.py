"""The score of a table: the mean log-density of its rows."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skvae.tables.checks import check_sample_weight
from skvae.typing import Array

__all__ = ["MeanScoreMixin", "mean_log_density"]


def mean_log_density(log_density: Array, sample_weight: ArrayLike | None) -> float:
    """Return the weighted mean over rows, nats."""
    weight = check_sample_weight(sample_weight, len(log_density))
    return float(np.average(log_density, weights=weight))


class MeanScoreMixin:
    """The `score` of an estimator is the mean of its `score_samples`."""

    score_samples: Any

    def score(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean log-density of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.

        Returns
        -------
        score : float
            Nats per row (the mean, as for GaussianMixture; KernelDensity sums).
        """
        return mean_log_density(self.score_samples(X), sample_weight)
