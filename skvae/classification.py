"""DensityClassifier: Bayes' rule over a density for each class."""

from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import Tags, assert_all_finite
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skvae.arguments.checks import check_positive_int
from skvae.arguments.seeds import generator_from
from skvae.arguments.staging import staged_fit
from skvae.arguments.warnings import warn_caller
from skvae.density import VAEDensity
from skvae.members.drawing import draw_mixture
from skvae.members.evidence import knows_errors, loose_scores
from skvae.members.member import (
    allow_what_members_allow,
    check_density,
    fit_member,
    score_member,
    score_members,
    seed_members,
    weight_argument,
)
from skvae.members.mixing import log_joint
from skvae.members.rows import check_member_table
from skvae.persistence import ArrayState
from skvae.tables.checks import check_sample_weight
from skvae.tables.rows import take_rows
from skvae.typing import Array, Density, RandomState, Table

__all__ = ["DensityClassifier"]

# Nats. The probability of such a class is below 10⁻⁸.
FAR_BEHIND = 20.0


def _can_sample(classifier: "DensityClassifier") -> bool:
    """Whether the densities have `sample`."""
    members = getattr(classifier, "densities_", None)
    density = members[0] if members else classifier._density()
    return callable(getattr(density, "sample", None))


class DensityClassifier(ArrayState, ClassifierMixin, BaseEstimator):
    r"""Classes by Bayes' rule, from a density for each class.

    .. math:: p(c \mid x) = \frac{\pi_c\, p(x \mid c)}{\sum_k \pi_k\, p(x \mid k)}

    The density is any estimator with `fit` and a `score_samples` of log-densities:
    `VAEDensity`, ``GaussianMixture``, ``KernelDensity``, or a pipeline that ends in
    one. A clone of it is fitted to the rows of each class.

    Parameters
    ----------
    density : estimator, default=None
        Density to clone for each class; None is ``VAEDensity()``. The transformers of a
        pipeline would be fitted to each class by itself, and the log-densities would
        leave out their Jacobians, which then differ between classes: scale the rows
        outside of the classifier.
    priors : array-like of shape (n_classes,), default=None
        Probabilities π of the classes, in the order of `classes_`. None takes their
        shares of the rows, or of the weights.
    n_jobs : int, default=None
        Classes fitted or scored at a time, as joblib takes it.
    random_state : int, RandomState instance or None, default=None
        Seed of `sample` if it is an int. Unless it is None, every clone gets a seed of
        its own, drawn from this one: all its parameters `random_state` are set to it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    class_prior_ : ndarray of shape (n_classes,)
        π.
    class_count_ : ndarray of shape (n_classes,)
        Rows of each class, or their total weight.
    densities_ : list of estimators
        The density of each class, fitted.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where `fit` saw a DataFrame with string names.

    See Also
    --------
    ConditionalVAEDensity : One model for all classes.
    sklearn.naive_bayes.GaussianNB : Bayes' rule with independent Gaussian columns.

    Notes
    -----
    The probabilities of a row are the priors if its density is zero in every class, as
    it is far from all rows for a kernel density of bounded support.

    Densities with `evidence` are first read by few draws. A class that is then more
    than 20 nats behind the best one is not read further: its log-probability is rough,
    and may be far too low.

    A class of a single row is handed to its density as two equal rows, because many
    densities ask for at least two. How wide such a class is cannot be learnt from one
    row: it is the guess of the density, and a warning says so.

    References
    ----------
    T. Hastie, R. Tibshirani and J. Friedman, 2009. The elements of statistical
    learning, section 6.6.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import DensityClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = DensityClassifier(GaussianMixture(random_state=0)).fit(X, y)
    >>> classifier.predict(X[:3])
    array([0, 0, 0])
    >>> bool(classifier.score(X, y) > 0.95)
    True
    """

    def __init__(
        self,
        density: Density | None = None,
        *,
        priors: ArrayLike | None = None,
        n_jobs: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.density = density
        self.priors = priors
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "DensityClassifier":
        """Fit a density to the rows of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table that the density can read.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. They count for the class priors and for
            the densities; rows of weight zero are left out.

        Returns
        -------
        self : DensityClassifier
            The fitted classifier. If fitting fails, it stays as it was.

        Raises
        ------
        TypeError
            If the density is no estimator with `fit` and `score_samples`.
        ValueError
            If weights are given but the `fit` of the density does not take any.
        """
        density = self._density()
        check_density(density, "density")
        with staged_fit(self) as staged:
            table = check_member_table(staged, X, reset=True, y=y)
            labels = column_or_1d(y, warn=True)
            assert_all_finite(labels, input_name="y")
            check_consistent_length(table, labels)
            check_classification_targets(labels)
            weighted = sample_weight is not None
            weight = check_sample_weight(sample_weight, len(labels))
            argument = weight_argument(density) if weighted else None
            used = np.flatnonzero(weight > 0)
            classes, code = np.unique(labels[used], return_inverse=True)
            count = np.bincount(code, weight[used]).astype(np.float64)
            prior = self._check_priors(classes, count)
            members = [clone(density) for _ in classes]
            if self.random_state is not None:
                seed_members(members, generator_from(self.random_state))
            rows = [used[code == c] for c in range(len(classes))]
            for label, index in zip(classes.tolist(), rows, strict=True):
                if len(index) == 1:
                    warn_caller(
                        f"There is one row of class {label!r}: how wide its density "
                        f"is, is a guess."
                    )
            staged.densities_ = Parallel(n_jobs=self.n_jobs)(
                delayed(fit_member)(
                    member,
                    take_rows(table, index),
                    f"class {label!r}",
                    argument,
                    weight[index] if weighted else None,
                )
                for member, index, label in zip(
                    members, rows, classes.tolist(), strict=True
                )
            )
            staged.classes_, staged.class_count_ = classes, count
            staged.class_prior_ = prior
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Class labels.
        """
        check_is_fitted(self)
        return self.classes_[self.predict_log_proba(X).argmax(1)]

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the log-probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            log p(c | x), in the order of `classes_`.
        """
        joint = self._log_joint(X)
        return joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            p(c | x), in the order of `classes_`.
        """
        return np.exp(self.predict_log_proba(X))

    def decision_function(self, X: ArrayLike) -> Array:
        """Return log-odds, or log-probabilities of more than two classes.

        They differ between rows even where their probabilities all round to one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, log p(second | x) − log p(first | x); else log p(c | x) of
            each class.
        """
        log_proba = self.predict_log_proba(X)
        return np.diff(log_proba)[:, 0] if log_proba.shape[1] == 2 else log_proba

    def score_samples(self, X: ArrayLike) -> Array:
        """Return the log-density of each row, whatever its class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log Σ_c π_c p(x | c), nats.
        """
        joint = self._log_joint(X, or_priors=False)
        return np.logaddexp.reduce(joint, axis=1)

    @available_if(_can_sample)
    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
    ) -> tuple[Array, NDArray[Any]]:
        """Draw rows and their classes; the method exists if the densities have it.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed; None takes that of the classifier.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows.
        y : ndarray of shape (n_samples,)
            Class labels.
        """
        check_is_fitted(self)
        check_positive_int(n_samples, "n_samples")
        state = self.random_state if random_state is None else random_state
        rows, code = draw_mixture(
            self.densities_, self.class_prior_, n_samples, generator_from(state)
        )
        return rows, self.classes_[code]

    def _density(self) -> Density:
        return VAEDensity() if self.density is None else self.density

    def _log_joint(self, X: ArrayLike, *, or_priors: bool = True) -> Array:
        """Return log π_c p(x | c), shape (n, n_classes).

        With `or_priors`, rows whose density is zero in every class get log π_c.
        """
        check_is_fitted(self)
        table = check_member_table(self, X, reset=False)
        labels = [f"class {label!r}" for label in self.classes_.tolist()]
        log_density = self._log_density(table, labels)
        joint = log_joint(log_density, self.class_prior_)
        if or_priors:
            nowhere = (joint == -np.inf).all(1)
            joint[nowhere] = log_joint(np.zeros(1), self.class_prior_)
        return joint

    def _log_density(self, table: Table, labels: list[str]) -> Array:
        """Return log p(x | c), shape (n, n_classes).

        Densities that know their errors are read twice: all of them by few draws, and
        well where the class is not more than 20 nats behind the best one.
        """
        densities, n_jobs = self.densities_, self.n_jobs
        if len(densities) == 1 or not all(map(knows_errors, densities)):
            return score_members(densities, table, labels, n_jobs=n_jobs)
        loosely = Parallel(n_jobs=n_jobs)(
            delayed(loose_scores)(density, table, label)
            for density, label in zip(densities, labels, strict=True)
        )
        log_density = np.stack(loosely, axis=1)
        joint = log_joint(log_density, self.class_prior_)
        is_near = ~(joint < joint.max(1, keepdims=True) - FAR_BEHIND)
        rows = [np.flatnonzero(near) for near in is_near.T]
        read = [c for c, index in enumerate(rows) if len(index)]
        well = Parallel(n_jobs=n_jobs)(
            delayed(score_member)(densities[c], take_rows(table, rows[c]), labels[c])
            for c in read
        )
        for c, scores in zip(read, well, strict=True):
            log_density[rows[c], c] = scores
        return log_density

    def _check_priors(self, classes: NDArray[Any], count: Array) -> Array:
        if self.priors is None:
            return count / count.sum()
        try:
            priors = np.asarray(self.priors, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"priors must be None or an array of numbers, got {self.priors!r}."
            ) from None
        if priors.shape != classes.shape:
            raise ValueError(
                f"priors must have one entry for each of the {len(classes)} classes, "
                f"got shape {priors.shape}."
            )
        if not (priors >= 0).all() or not np.isclose(priors.sum(), 1):
            raise ValueError(
                f"priors must not be negative and must sum to 1, got {self.priors!r}."
            )
        return priors / priors.sum()

    def __sklearn_tags__(self) -> Tags:
        # Tags are asked for before `fit`, when the density may be no estimator at all.
        density = self._density()
        members = [density] if hasattr(density, "__sklearn_tags__") else []
        return allow_what_members_allow(super().__sklearn_tags__(), members)
