"""The scores of a table: the mean log-density of its rows, and which are unreliable."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skvae.arguments.warnings import warn_caller
from skvae.tables.checks import check_sample_weight
from skvae.typing import Array, Mask

__all__ = ["MeanScoreMixin", "mean_log_density", "warn_of_unreliable"]


def mean_log_density(log_density: Array, sample_weight: ArrayLike | None) -> float:
    """Return the weighted mean over rows, nats."""
    weight = check_sample_weight(sample_weight, len(log_density))
    return float(np.average(log_density, weights=weight))


def warn_of_unreliable(*unreliable: Mask) -> None:
    """Warn of the rows of which a log-density is unreliable, if there are any.

    Parameters
    ----------
    *unreliable : ndarray of bool of shape (n,)
        Which rows; for each of several log-densities of the same rows.
    """
    rows = np.logical_or.reduce(unreliable)
    if rows.any():
        warn_caller(
            f"The log-density of {rows.sum()} of {len(rows)} rows is best read "
            f"as a lower bound: their importance weights have too heavy a tail (see "
            f"`unreliable` and `pareto_k` of `evidence`). A larger "
            f"max_evidence_samples may help."
        )


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
