"""DistilledDensity: a fast, exact density that imitates a slow one."""

from operator import itemgetter
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_fraction, check_number, check_positive_int
from skvae.arguments.seeds import generator_from
from skvae.arguments.staging import staged_fit
from skvae.density import VAEDensity
from skvae.members.drawing import draw_from
from skvae.members.folds import one_part
from skvae.members.member import (
    allow_what_members_allow,
    check_density,
    fit_member,
    score_member,
    set_random_states,
    weight_argument,
)
from skvae.members.pipelines import last_step
from skvae.members.rows import check_member_table, in_container_of
from skvae.model.decoders import AutoregressiveDecoder
from skvae.persistence import ArrayState
from skvae.scoring.score import MeanScoreMixin
from skvae.tables.checks import check_sample_weight
from skvae.tables.labels import is_frame
from skvae.tables.rows import take_rows
from skvae.typing import Array, Density, RandomState, SamplingDensity, Table

__all__ = ["DistilledDensity"]

N_SAMPLES = 200_000
N_FRESH = 1000  # rows by which the divergence is measured
# Of the default student:
N_STEPS = 10_000
MOST_EPOCHS = 100
ROW_SHARES = (0.03, 0.3)


def _can_sample(distilled: "DistilledDensity") -> bool:
    """Whether the student can draw rows."""
    student = getattr(distilled, "student_", distilled.student)
    return student is None or callable(getattr(student, "sample", None))


class DistilledDensity(ArrayState, MeanScoreMixin, DensityMixin, BaseEstimator):
    r"""Fast and exact density that was taught by a slow one.

    A teacher is fitted to a table. A student is then fitted to rows drawn from the
    teacher, as many as it takes, together with the rows of the table. The default
    student is a masked autoregressive network: its log-density is a sum of conditional
    log-densities, exact and without any sampling, at a hundred times as many rows a
    second as `VAEDensity` reads. Fitted to the table alone, such a network is behind
    `VAEDensity`, because the table is too small for it.

    Parameters
    ----------
    teacher : estimator, default=None
        Density estimator with `sample`; None is ``VAEDensity()``. It is cloned. To use
        one that is fitted already, hand over ``FrozenEstimator(density)``.
    student : estimator, default=None
        Density estimator whose `fit` takes `sample_weight`; it is cloned. None is a
        `VAEDensity` with ``AutoregressiveDecoder(reads_latents=False)`` and, if the
        teacher is a `VAEDensity`, the teacher's likelihood.
    n_samples : int, default=200_000
        Number of rows to draw from the teacher.
    row_share : float or "auto", default="auto"
        Share of the rows of the table in what the student is fitted to, by weight, in
        [0, 1). The more of them, the less the student follows the teacher's mistakes,
        and the more easily it overfits to the table. "auto" fits a student with 0.03
        and one with 0.3, and takes the one with the higher mean log-density on the
        held-out rows.
    validation_fraction : float, default=0.1
        Share of the rows that are held out from teacher and student, to measure how
        well the one imitates the other; at most 5,000 are.
    random_state : int, RandomState instance or None, default=None
        Seed. Unless it is None, all parameters `random_state` of teacher and student
        are set to seeds drawn from it.

    Attributes
    ----------
    teacher_, student_ : estimators
        The fitted densities.
    row_share_ : float
        The share that the student was fitted with.
    gap_ : float
        Mean of log p(x) of the teacher minus that of the student, over the held-out
        rows, in nats per row. A frozen teacher may have seen these rows: the gap on new
        rows is then smaller.
    gap_error_ : float
        Standard error of `gap_`.
    gap_spread_ : float
        Standard deviation of the difference over the held-out rows: how far a single
        log-density of the student is from the teacher's.
    divergence_, divergence_error_ : float
        Kullback–Leibler divergence from the student to the teacher: the gap on 1,000
        fresh rows of the teacher. It is not negative, but for its standard error.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where `fit` saw a DataFrame with string names.

    See Also
    --------
    VAEDensity : The usual teacher, with latents, bounds and errors.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, 2015. Distilling the knowledge in a neural
    network.

    G. Papamakarios, 2015. Distilling model knowledge.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.neighbors import KernelDensity
    >>> from skvae import DistilledDensity, VAEDensity
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, 2 * np.pi, 500)
    >>> ring = np.c_[np.cos(angle), np.sin(angle)] + 0.1 * rng.normal(size=(500, 2))
    >>> density = VAEDensity(max_iter=20, random_state=0).fit(ring)
    >>> fast = DistilledDensity(
    ...     FrozenEstimator(density),
    ...     student=KernelDensity(bandwidth=0.1),  # quick to fit
    ...     n_samples=2000,
    ...     random_state=0,
    ... ).fit(ring)
    >>> bool(abs(fast.gap_) < 0.5)
    True
    """

    def __init__(
        self,
        teacher: SamplingDensity | None = None,
        *,
        student: Density | None = None,
        n_samples: int = N_SAMPLES,
        row_share: float | str = "auto",
        validation_fraction: float = 0.1,
        random_state: RandomState = None,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.n_samples = n_samples
        self.row_share = row_share
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> "DistilledDensity":
        """Fit the teacher to the rows, and the student to teacher and rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table that the teacher can read, with at least two different rows.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero, for teacher and student.

        Returns
        -------
        self : DistilledDensity
            The fitted estimator. If fitting fails, it stays as it was.

        Raises
        ------
        ValueError
            If the `fit` of the student takes no weights, or weights are given but that
            of the teacher does not take any.
        """
        self._check_parameters()
        teacher, student = clone(self._teacher()), clone(self._student())
        weighted = sample_weight is not None
        to_teacher = weight_argument(teacher, "teacher") if weighted else None
        to_student = weight_argument(student, "student")
        with staged_fit(self) as staged:
            table = check_member_table(staged, X, reset=True, min_samples=2)
            weight = check_sample_weight(sample_weight, table.shape[0])
            random = generator_from(self.random_state)
            (fold,) = one_part(table, weight, self.validation_fraction, random)
            seeds = random.randint(2**31 - 1, size=4).tolist()
            if self.random_state is not None:
                set_random_states(teacher, seeds[0])
                set_random_states(student, seeds[1])
            seen, seen_weight = take_rows(table, fold.train), weight[fold.train]
            fitted = fit_member(
                teacher,
                seen,
                "the teacher",
                to_teacher,
                seen_weight if weighted else None,
            )
            taught = staged.teacher_ = cast(SamplingDensity, fitted)
            drawn = draw_from(taught, self.n_samples, seeds[2])
            held_out, held_weight = take_rows(table, fold.valid), weight[fold.valid]
            gaps = []
            by_teacher = score_member(taught, held_out, "the teacher")
            for share in self._row_shares():
                rows, weights = _lesson(drawn, seen, seen_weight, share)
                candidate = fit_member(
                    clone(student), rows, "the student", to_student, weights
                )
                by_student = score_member(candidate, held_out, "the student")
                mean = float(np.average(by_student, weights=held_weight))
                gaps.append((mean, share, candidate, by_teacher - by_student))
            _, staged.row_share_, staged.student_, gap = max(gaps, key=itemgetter(0))
            staged.gap_, staged.gap_error_, staged.gap_spread_ = _moments(
                gap, held_weight
            )
            fresh = in_container_of(held_out, draw_from(taught, N_FRESH, seeds[3]))
            staged.divergence_, staged.divergence_error_, _ = _moments(
                score_member(taught, fresh, "the teacher")
                - score_member(staged.student_, fresh, "the student"),
                np.ones(N_FRESH),
            )
        return self

    def score_samples(self, X: ArrayLike) -> Array:
        """Return the log-density of each row by the student.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log p(x), nats, in the units of the columns.
        """
        check_is_fitted(self)
        table = check_member_table(self, X, reset=False)
        return score_member(self.student_, table, "the student")

    @available_if(_can_sample)
    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
    ) -> Array:
        """Draw rows from the student.

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
        seed = int(generator_from(state).randint(2**31 - 1))
        return draw_from(self.student_, n_samples, seed)

    def _teacher(self) -> SamplingDensity:
        return VAEDensity() if self.teacher is None else self.teacher

    def _student(self) -> Density:
        if self.student is not None:
            return self.student
        teacher = last_step(self._teacher())
        teacher = getattr(teacher, "estimator", teacher)  # inside a FrozenEstimator
        likelihood = getattr(teacher, "likelihood", "mixture")
        layers = (96,) * 6
        n_rows = max(self.n_samples, 1)
        return VAEDensity(
            1,
            decoder=AutoregressiveDecoder(layers, reads_latents=False),
            likelihood=likelihood,
            companion=None,
            hidden_layer_sizes=(4,),  # of an encoder that is never asked
            learning_rate=0.006,
            weight_decay=1e-4,
            dropout=0.0,
            max_iter=min(max(1, N_STEPS * 256 // n_rows), MOST_EPOCHS),
        )

    def _row_shares(self) -> tuple[float, ...]:
        if isinstance(self.row_share, str):
            return ROW_SHARES
        return (float(self.row_share),)

    def _check_parameters(self) -> None:
        check_density(self._teacher(), "teacher")
        if not callable(getattr(self._teacher(), "sample", None)):
            raise TypeError(f"teacher={self.teacher!r} has no sample.")
        check_density(self._student(), "student")
        check_positive_int(self.n_samples, "n_samples")
        check_number(self.row_share, "row_share", low=0, high=0.99, also=("auto",))
        check_fraction(self.validation_fraction, "validation_fraction")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags = allow_what_members_allow(tags, [self._teacher(), self._student()])
        tags.input_tags.sparse = False
        return tags


def _lesson(
    drawn: Array, table: Table, weight: Array, row_share: float
) -> tuple[Any, Array]:
    """Return what a student is fitted to, rows and weights.

    Parameters
    ----------
    drawn : ndarray of shape (n_samples, n_features)
        Rows from the teacher.
    table : array or data frame
        Rows of the user.
    weight : ndarray
        Their weights.
    row_share : float
        Share of their weight.
    """
    ones = np.ones(len(drawn))
    if not row_share:
        return _joined(drawn, take_rows(table, np.arange(0))), ones
    odds = row_share / (1 - row_share)
    weight = weight * (odds * len(drawn) / weight.sum())
    return _joined(drawn, table), np.concatenate([ones, weight])


def _moments(values: Array, weight: Array) -> tuple[float, float, float]:
    """Return the weighted mean over rows, its standard error, and the deviation."""
    mean = float(np.average(values, weights=weight))
    variance = float(np.average(np.square(values - mean), weights=weight))
    size = weight.sum() ** 2 / np.square(weight).sum()
    return mean, (variance / max(size - 1, 1)) ** 0.5, variance**0.5


def _joined(drawn: Array, table: Table) -> Any:
    """Return drawn rows and the rows of a table, one after the other."""
    if not is_frame(table):
        return np.concatenate([drawn, np.asarray(table)])
    cells = [np.asarray(part, dtype=object) for part in (drawn, table)]
    return in_container_of(table, np.concatenate(cells))
