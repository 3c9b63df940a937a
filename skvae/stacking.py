"""StackedDensity: a mixture of densities, weighted by held-out rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import (
    check_choice,
    check_fraction,
    check_positive_int,
)
from skvae.arguments.seeds import generator_from
from skvae.arguments.staging import staged_fit
from skvae.arguments.warnings import warn_caller
from skvae.evidence import Evidence, Proposal
from skvae.members.drawing import draw_mixture
from skvae.members.evidence import knows_errors, member_evidence, mix_evidence
from skvae.members.folds import every_row_once, one_part
from skvae.members.held_out import clone_members, fit_members, score_held_out
from skvae.members.member import score_members
from skvae.members.mixing import log_mixture, mixing_weights
from skvae.members.named import NamedMembersMixin
from skvae.members.rows import check_member_table
from skvae.persistence import ArrayState
from skvae.scoring.score import MeanScoreMixin
from skvae.tables.checks import check_sample_weight
from skvae.typing import Array, CrossValidation, Density, RandomState

__all__ = ["StackedDensity"]

# If other weights might gain more than this many nats per row, a warning says so.
WARN_GAP = 1e-6


def _some_know_errors(stack: "StackedDensity") -> bool:
    """Whether a member that counts has `evidence`, or is a pipeline around one."""
    return any(map(knows_errors, stack._counting_members()))


def _all_can_sample(stack: "StackedDensity") -> bool:
    """Whether all members that count have `sample`."""
    members = stack._counting_members()
    return bool(members) and all(
        callable(getattr(member, "sample", None)) for member in members
    )


class StackedDensity(
    ArrayState, NamedMembersMixin, MeanScoreMixin, DensityMixin, BaseEstimator
):
    r"""Mixture of density estimators, with weights that fit held-out rows best.

    .. math:: p(x) = \sum_m \pi_m\, p_m(x)

    A member is any density estimator with `fit` and a `score_samples` of log-densities:
    `VAEDensity` with several seeds or orders of the columns, ``GaussianMixture``,
    ``KernelDensity``, a search over one of them, a pipeline that ends in one. Members
    are fitted to a part of the rows, and π maximises the mean log p(x) of the other
    rows. On these rows, the mixture is at least as good as its best member.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and density estimators. The estimators are cloned. `set_params` sets a
        parameter of a member as ``name__parameter``, and replaces a member by its
        name; ``"drop"`` in its place leaves it out.
    validation_fraction : float, default=0.1
        Share of the rows that are held out if `cv` is None; at most 5,000 are.
    cv : int, splitter or iterable, default=None
        None holds out one part. An int is a number of folds: each fold is held out
        once, and every member is fitted once for each, so that all rows count for the
        weights. Splitters and iterables are as for scikit-learn.
    refit : bool, default=True
        Whether members are fitted to all rows once π is known. False keeps the members
        that were fitted without the held-out part; with `cv`, without the first one.
    n_jobs : int, default=None
        Members fitted or scored at a time, as joblib takes it.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of held-out rows and, if it is an int, of `sample`. Unless it
        is None, every member gets a seed of its own, drawn from this one: all its
        parameters `random_state` are set to it.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members; those that were dropped are not among them.
    named_estimators_ : Bunch
        The same, by name.
    weights_ : ndarray of shape (n_members,)
        π. Members of weight zero cost no time when rows are scored.
    weights_gap_ : float
        Nats per row on the held-out rows. No other weights can gain more than this: it
        is an upper bound.
    member_scores_ : ndarray of shape (n_members,)
        Mean log-density of the held-out rows by each member, before `refit`.
    validation_score_ : float
        Mean log-density of the held-out rows by the mixture. Because π maximises it,
        expect a little less on new rows.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where `fit` saw a DataFrame with string names.

    See Also
    --------
    compare_densities : Tells which density is best, and whether its lead may be luck.
    sklearn.ensemble.StackingClassifier : The same idea for predictions.

    Notes
    -----
    *Units.* Densities can only be mixed in the same units. The `score_samples` of a
    pipeline leaves out the Jacobian of its transformers: scale the rows before the
    stack, not within a member. A warning says where a member has other units.
    Log-densities of continuous columns cannot be mixed with log-masses of discrete
    ones, either.

    *Weights.* The mean log p(x) is concave in π. It is maximised by steps of the EM
    algorithm and of Newton's method, until the bound on what is left to gain,
    :math:`\max_m \frac1n \sum_i p_m(x_i) / p(x_i) - 1`, is below 10⁻¹⁰ nats per row,
    or until a step gains nothing but rounding. Rows whose density is zero under all
    members do not count.

    *Equal rows* are held out together. If integer weights equal repeated rows for the
    members, they do so for the mixture, too.

    References
    ----------
    P. Smyth and D. Wolpert, 1999. Linearly combining density estimators via stacking.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.neighbors import KernelDensity
    >>> from skvae import StackedDensity
    >>> rng = np.random.default_rng(0)
    >>> X = np.r_[rng.normal(size=300), rng.uniform(5, 6, 300)][:, None]
    >>> stack = StackedDensity(
    ...     [("mixture", GaussianMixture(2)), ("kernel", KernelDensity(bandwidth=0.1))],
    ...     cv=5,
    ...     random_state=0,
    ... ).fit(X)
    >>> bool(stack.validation_score_ >= stack.member_scores_.max())
    True
    >>> stack.weights_.shape
    (2,)
    """

    def __init__(
        self,
        estimators: Sequence[tuple[str, Density | str]],
        *,
        validation_fraction: float = 0.1,
        cv: CrossValidation | None = None,
        refit: bool = True,
        n_jobs: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.estimators = estimators
        self.validation_fraction = validation_fraction
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> "StackedDensity":
        """Fit the members to a part of the rows, and their weights to the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table that the members can read, with at least two different rows.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. They count for the members and for π.

        Returns
        -------
        self : StackedDensity
            The fitted estimator. If fitting fails, it stays as it was.

        Raises
        ------
        ValueError
            If weights are given but the `fit` of a member does not take any.
        """
        named = self._check_members()
        self._check_parameters()
        with staged_fit(self) as staged:
            table = check_member_table(staged, X, reset=True, min_samples=2)
            weight = check_sample_weight(sample_weight, table.shape[0])
            random = generator_from(self.random_state)
            if self.cv is None:
                folds = one_part(table, weight, self.validation_fraction, random)
            else:
                folds = every_row_once(table, weight, self.cv, random)
            members = clone_members(
                named,
                "member",
                weighted=sample_weight is not None,
                random=None if self.random_state is None else random,
            )
            held_out = score_held_out(
                members, table, weight, folds, n_jobs=self.n_jobs, keep=not self.refit
            )
            of_member = ([part.log_density for part in parts] for parts in held_out)
            log_density = np.stack(list(map(np.concatenate, of_member)), axis=1)
            valid_weight = np.concatenate([weight[fold.valid] for fold in folds])
            mixing = mixing_weights(log_density, valid_weight)
            if self.refit:
                staged.estimators_ = fit_members(
                    members, table, weight, n_jobs=self.n_jobs
                )
            else:
                staged.estimators_ = [parts[0].density for parts in held_out]
            names = (name for name, _ in named)
            pairs = zip(names, staged.estimators_, strict=True)
            staged.named_estimators_ = Bunch(**dict(pairs))
            staged.weights_, staged.weights_gap_ = mixing.weights, mixing.gap
            staged.member_scores_ = np.average(
                log_density, axis=0, weights=valid_weight
            )
            mixed = log_mixture(log_density, mixing.weights)
            staged.validation_score_ = float(np.average(mixed, weights=valid_weight))
        if mixing.gap > WARN_GAP:
            warn_caller(
                f"Other weights might gain up to {mixing.gap:.1g} nats per row on the "
                f"held-out rows: their search stopped after {mixing.n_iter} steps.",
                ConvergenceWarning,
            )
        return self

    def score_samples(self, X: ArrayLike) -> Array:
        """Return the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log Σ_m π_m p_m(x), nats.
        """
        check_is_fitted(self)
        table = check_member_table(self, X, reset=False)
        counts = np.flatnonzero(self.weights_).tolist()
        members = [self.estimators_[m] for m in counts]
        labels = [self._label(m) for m in counts]
        log_density = score_members(members, table, labels, n_jobs=self.n_jobs)
        return log_mixture(log_density, self.weights_[counts])

    @available_if(_some_know_errors)
    def evidence(
        self,
        X: ArrayLike,
        *,
        tol: float | None = None,
        max_samples: int | None = None,
        proposal: str | Proposal | None = None,
        random_state: int | None = None,
    ) -> Evidence:
        """Return the log-density of each row and its error.

        The method exists if a member has it, or is a pipeline or a search around a
        density that has it. Log-densities of other members are taken as exact.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        tol, max_samples, proposal, random_state
            As for `VAEDensity.evidence`; they are handed to the members that have it.

        Returns
        -------
        evidence : Evidence
            The log-densities of `score_samples`. The standard error of a row is the
            mean of those of the members, weighted by the probability that the row
            comes from the member. It is an upper bound, because all members get the
            same noise for the same row, which makes their errors correlated.
            `effective_sample_size` is that of all importance weights together, and
            infinite if all members are exact. `pareto_k` and `unreliable` are the
            worst ones of the members that make up at least 5 % of the row's density.
            `n_samples` is the sum over members, `n_stages` the maximum.
        """
        check_is_fitted(self)
        table = check_member_table(self, X, reset=False)
        counts = np.flatnonzero(self.weights_).tolist()
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(member_evidence)(
                self.estimators_[m],
                table,
                self._label(m),
                tol=tol,
                max_samples=max_samples,
                proposal=proposal,
                random_state=random_state,
            )
            for m in counts
        )
        return mix_evidence(self.weights_[counts], parts)

    @available_if(_all_can_sample)
    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
    ) -> Array:
        """Draw rows from the density; the method exists if the members have it.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed. None takes that of the estimator; if both are None, every call draws
            other rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows.
        """
        check_is_fitted(self)
        check_positive_int(n_samples, "n_samples")
        state = self.random_state if random_state is None else random_state
        rows, _ = draw_mixture(
            self.estimators_, self.weights_, n_samples, generator_from(state)
        )
        return rows

    def _label(self, m: int) -> str:
        """Return what errors call a fitted member."""
        return f"member {list(self.named_estimators_)[m]!r}"

    def _counting_members(self) -> list[Density]:
        """Return the members with a positive weight, or before `fit` all of them."""
        if hasattr(self, "weights_"):
            return [self.estimators_[m] for m in np.flatnonzero(self.weights_)]
        return [member for _, member in self._kept()]

    def _check_parameters(self) -> None:
        check_fraction(self.validation_fraction, "validation_fraction")
        check_choice(self.refit, "refit", (True, False))
