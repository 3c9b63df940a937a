"""Means of held-out log-densities, paired differences, and their standard errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skvae.members.folds import Fold
from skvae.members.held_out import HeldOut
from skvae.typing import Array, Mask

__all__ = ["HeldOutScores", "collect"]


@dataclass(frozen=True, repr=False, eq=False)
class HeldOutScores:
    """Log-densities of held-out rows by M estimators, nats.

    All errors are standard errors. They are the larger of two: that over rows, and
    that over folds; see `DensityComparison`.

    Attributes
    ----------
    log_density : ndarray of shape (n_samples, M)
        Of each row while it was held out. It is the mean over folds if several hold
        the row out, and nan if none does.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    fold_mean : ndarray of shape (n_folds, M)
        Mean over each fold's held-out rows.
    fold_ratio : float
        Weight of the held-out rows per weight of the training rows, mean over folds.
    """

    log_density: Array
    sample_weight: Array
    fold_mean: Array
    fold_ratio: float

    @property
    def used(self) -> Mask:
        """Whether a row was held out by any fold, shape (n_samples,)."""
        return ~np.isnan(self.log_density[:, 0])

    def mean_and_error(self) -> tuple[Array, Array]:
        """Return the mean over rows and its standard error, shape (M,) each."""
        return self._mean_and_error(self.log_density[self.used], self.fold_mean)

    def difference_and_error(self, reference: int) -> tuple[Array, Array]:
        """Return the mean difference to one estimator and its standard error.

        Parameters
        ----------
        reference : int
            Index of that estimator.

        Returns
        -------
        mean, error : ndarray of shape (M,)
        """
        values = self.log_density[self.used]
        difference = _minus_column(values, reference)
        return self._mean_and_error(difference, self.fold_difference(reference))

    def fold_difference(self, reference: int) -> Array:
        """Return every fold's mean difference to one estimator, (n_folds, M)."""
        return _minus_column(self.fold_mean, reference)

    def _mean_and_error(self, values: Array, of_folds: Array) -> tuple[Array, Array]:
        weight = self.sample_weight[self.used]
        share = weight / weight.sum()
        n_rows, n_folds = len(values), len(of_folds)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = share @ values
            # The rows are independent, given the fitted densities.
            squares = (share[:, None] * (values - mean)) ** 2
            error = np.sqrt(squares.sum(0) * n_rows / (n_rows - 1))
            if n_folds > 1:
                # Nadeau and Bengio (2003): folds share most of their training rows.
                spread = of_folds.std(0, ddof=1)
                spread *= np.sqrt(1 / n_folds + self.fold_ratio)
                error = np.maximum(error, spread)
        return mean, np.where(np.isfinite(mean), error, np.nan)


def _minus_column(values: Array, column: int) -> Array:
    """Subtract one column from all; where both are −inf, the difference is zero."""
    other = values[:, [column]]
    with np.errstate(invalid="ignore"):
        difference = values - other
    return np.where(np.isneginf(values) & np.isneginf(other), 0.0, difference)


def collect(
    held_out: Sequence[Sequence[HeldOut]], folds: Sequence[Fold], weight: Array
) -> HeldOutScores:
    """Put the log-densities of M estimators over F folds together.

    Parameters
    ----------
    held_out : sequence of M sequences of F HeldOut
        What `score_held_out` returns.
    folds : sequence of F Fold
        The held-out rows.
    weight : ndarray of shape (n_samples,)
        Weights of the rows.
    """
    total = np.zeros((len(weight), len(held_out)))
    times = np.zeros((len(weight), 1))
    fold_mean = np.empty((len(folds), len(held_out)))
    ratio = 0.0
    for f, fold in enumerate(folds):
        values = np.stack([parts[f].log_density for parts in held_out], axis=1)
        total[fold.valid] += values
        times[fold.valid] += 1
        fold_mean[f] = np.average(values, axis=0, weights=weight[fold.valid])
        ratio += weight[fold.valid].sum() / weight[fold.train].sum() / len(folds)
    with np.errstate(invalid="ignore"):
        log_density = np.where(times > 0, total / np.maximum(times, 1), np.nan)
    return HeldOutScores(log_density, weight, fold_mean, float(ratio))
