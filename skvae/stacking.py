"""StackedDensity: a mixture of densities, weighted by held-out rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_choice, check_number, check_positive_int
from skvae.arguments.seeds import generator_from
from skvae.arguments.staging import staged_fit
from skvae.arguments.warnings import warn_caller
from skvae.evidence import Evidence, Proposal
from skvae.members.folds import every_row_once, one_part
from skvae.members.held_out import clone_members, fit_members, score_held_out
from skvae.members.member import check_member_table, draw_mixture, seed_members
from skvae.members.mixing import exact_evidence, mix_evidence, mixing_weights
from skvae.members.named import NamedMembersMixin
from skvae.members.units import warn_of_units
from skvae.scoring.score import mean_log_density
from skvae.tables.checks import check_sample_weight
from skvae.typing import Array, RandomState

__all__ = ["StackedDensity"]

# Nats per row that other weights may gain before a warning says so.
WARN_GAP = 1e-6


def _members_can(
    name: str, rule: Callable[[list[bool]], bool]
) -> Callable[["StackedDensity"], bool]:
    """Return a check of which members, of those that count, have a method."""

    def check(stack: "StackedDensity") -> bool:
        can = [callable(getattr(m, name, None)) for m in stack._counting_members()]
        return bool(can) and rule(can)

    return check


class StackedDensity(NamedMembersMixin, DensityMixin, BaseEstimator):
    r"""Mixture of density estimators, with weights that fit held-out rows best.

    .. math:: p(x) = \sum_m \pi_m\, p_m(x)

    Any density estimator will do that has `fit` and a `score_samples` of
    log-densities: `VAEDensity` with several seeds or orders of the columns,
    ``GaussianMixture``, ``KernelDensity``, a search over one of them, a pipeline that
    ends in one. Members are fitted to a part of the rows; π maximises the mean log
    p(x) of the others. There the mixture is at least as good as its best member.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and density estimators, which are cloned. Parameters of a member are set
        as ``name__parameter``, a whole member by its name, and ``"drop"`` leaves it
        out.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, where `cv` is None; at most 5,000 rows are.
    cv : int, splitter or iterable, default=None
        None holds out one part. An int is a number of folds: each is held out once,
        and every member is fitted as many times; the weights rest on all rows. All
        else is as for scikit-learn.
    refit : bool, default=True
        Whether members are fitted to all rows once π is known. False keeps those that
        were fitted without the held-out part, with `cv` without the first one.
    n_jobs : int, default=None
        Members fitted or scored at a time, as joblib takes it.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of held-out rows and, where it is an int, of `sample`. Where
        it is not None, every `random_state` of the clones is set to a seed drawn from
        it, a different one for each member.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members, without those that were dropped.
    named_estimators_ : Bunch
        The same, by name.
    weights_ : ndarray of shape (n_members,)
        π. Members of weight zero cost no time when rows are scored.
    weights_gap_ : float
        Proven bound on what any other weights could gain on the held-out rows, nats
        per row.
    member_scores_ : ndarray of shape (n_members,)
        Mean log-density of the held-out rows by each member, before `refit`.
    validation_score_ : float
        The same by the mixture. It was maximised over π: on new rows, expect a little
        less.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, where `fit` saw a DataFrame with string names.

    See Also
    --------
    compare_densities : Which of several densities is best, and is the lead luck?
    sklearn.ensemble.StackingClassifier : The same idea for predictions.

    Notes
    -----
    *Units.* Densities can only be mixed in the same units. A pipeline's `score_samples`
    leaves out the Jacobian of its transformers: scale the rows before the stack, not
    within a member (a warning says so). Log-densities of continuous columns and
    log-masses of discrete ones do not mix, either.

    *Weights.* The mean log p(x) is concave in π. It is maximised by steps of the EM
    algorithm and of Newton's method until the bound on what is left to gain,
    :math:`\max_m \frac1n \sum_i p_m(x_i) / p(x_i) - 1`, is below 10⁻¹⁰ nats per row,
    or nothing but rounding is left. Rows that no member gives any density do not count.

    *Equal rows* are held out together, so that integer `sample_weight` equal repeated
    rows, where the members' do.

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
        estimators: Sequence[tuple[str, Any]],
        *,
        validation_fraction: float = 0.1,
        cv: Any = None,
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
        """Fit the members, and their weights to rows that were held out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table, as the members take it; at least two different rows.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero, for the members and for π.

        Returns
        -------
        self : StackedDensity
            The fitted estimator. If fitting fails, it stays as it was.

        Raises
        ------
        ValueError
            If weights are given, but a member's `fit` does not take any.
        """
        named = self._check_members()
        self._check_parameters()
        with staged_fit(self) as staged:
            table = check_member_table(staged, X, reset=True)
            n_rows = table.shape[0]
            if n_rows < 2:
                raise ValueError(
                    f"Found array with {n_rows} sample(s) (shape={table.shape}) while "
                    f"a minimum of 2 is required by StackedDensity."
                )
            weight = check_sample_weight(sample_weight, n_rows)
            random = generator_from(self.random_state)
            if self.cv is None:
                folds = one_part(table, weight, self.validation_fraction, random)
            else:
                folds = every_row_once(table, weight, self.cv, random)
            members = clone_members(named, "member", weighted=sample_weight is not None)
            if self.random_state is not None:
                seed_members([member.density for member in members], random)
            held_out = score_held_out(
                members, table, weight, folds, n_jobs=self.n_jobs, keep=not self.refit
            )
            warn_of_units(
                (m.label, q[0].log_volume)
                for m, q in zip(members, held_out, strict=True)
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
            staged.named_estimators_ = Bunch(
                **{
                    name: m
                    for (name, _), m in zip(named, staged.estimators_, strict=True)
                }
            )
            staged.weights_, staged.weights_gap_ = mixing.weights, mixing.gap
            staged.member_scores_ = np.average(
                log_density, axis=0, weights=valid_weight
            )
            staged.validation_score_ = float(
                np.average(_mix(log_density, mixing.weights), weights=valid_weight)
            )
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
        counts = np.flatnonzero(self.weights_)
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(self.estimators_[m].score_samples)(table) for m in counts
        )
        log_density = np.stack(parts, axis=1).astype(np.float64)
        return _mix(log_density, self.weights_[counts])

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

    @available_if(_members_can("evidence", any))
    def evidence(
        self,
        X: ArrayLike,
        *,
        tol: float | None = None,
        max_samples: int | None = None,
        proposal: str | Proposal | None = None,
        random_state: int | None = None,
    ) -> Evidence:
        """Return the log-density of each row and its error, if a member has it.

        Members without `evidence` are taken as exact.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        tol, max_samples, proposal, random_state
            As for `VAEDensity.evidence`, handed to the members that have it.

        Returns
        -------
        evidence : Evidence
            The log-densities of `score_samples`. Standard errors are the means of the
            members', weighed by the probability that the row comes from the member:
            an upper bound, since members share the noise of a row and their errors
            are correlated. `effective_sample_size` is that of all importance weights
            together, infinite where all members are exact; `pareto_k` and
            `unreliable` are the worst of the members that make up at least 5 % of the
            row, `n_samples` is their sum, `n_stages` the largest.
        """
        check_is_fitted(self)
        table = check_member_table(self, X, reset=False)
        options = {
            "tol": tol,
            "max_samples": max_samples,
            "proposal": proposal,
            "random_state": random_state,
        }
        counts = np.flatnonzero(self.weights_)
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(_evidence_of)(self.estimators_[m], table, options) for m in counts
        )
        return mix_evidence(self.weights_[counts], parts)

    @available_if(_members_can("sample", all))
    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
    ) -> Array:
        """Draw rows from the density, if the members have `sample`.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed; None is the estimator's, and if that is None, too, every call draws
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

    def _counting_members(self) -> list[Any]:
        """Return the members with a positive weight; before `fit`, all."""
        if hasattr(self, "weights_"):
            return [self.estimators_[m] for m in np.flatnonzero(self.weights_)]
        return [member for _, member in self._kept()]

    def _check_parameters(self) -> None:
        check_number(
            self.validation_fraction,
            "validation_fraction",
            low=0,
            high=0.9,
            inclusive=False,
        )
        check_choice(self.refit, "refit", (True, False))


def _mix(log_density: Array, weights: Array) -> Array:
    """Return log Σ_m π_m p_m of rows, given log p_m of shape (n, M)."""
    with np.errstate(divide="ignore"):
        return np.logaddexp.reduce(log_density + np.log(weights), axis=1)


def _evidence_of(member: Any, table: Any, options: dict[str, Any]) -> Evidence:
    if hasattr(member, "evidence"):
        return member.evidence(table, **options)
    return exact_evidence(np.asarray(member.score_samples(table), dtype=np.float64))
