"""DensityOutlierDetector: rows of low density are outliers, below a threshold."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import (
    check_choice,
    check_fraction,
    check_number,
    check_positive_int,
)
from skvae.arguments.seeds import generator_from
from skvae.arguments.staging import staged_fit
from skvae.committee import OutlierCommittee
from skvae.detection.decisions import ThresholdMixin
from skvae.detection.explain import Explanation, cell_surprise, explain_rows
from skvae.detection.thresholds import ReferenceScores
from skvae.detection.trimming import rows_to_fit
from skvae.fitting.row_counts import row_counts
from skvae.members.drawing import draw_from
from skvae.members.evidence import knows_errors, loose_scores, scores_to_decide
from skvae.members.member import (
    allow_what_members_allow,
    check_density,
    fit_member,
    score_member,
    seed_members,
    weight_argument,
)
from skvae.members.pipelines import last_step, rows_of_last_step
from skvae.members.rows import check_member_table, in_container_of
from skvae.persistence import ArrayState
from skvae.tables.batches import sampled
from skvae.tables.checks import check_sample_weight
from skvae.tables.names import column_names
from skvae.tables.rows import take_rows
from skvae.typing import Array, Density, Index, Mask, RandomState, Table

__all__ = ["DensityOutlierDetector"]

REFERENCES = ("training", "held_out", "model")
MAX_BACKGROUND_ROWS = 256


def _has_evidence(detector: "DensityOutlierDetector") -> bool:
    """Whether the density knows the errors of its log-densities."""
    fitted = getattr(detector, "density_", None)
    return knows_errors(detector._density() if fitted is None else fitted)


class DensityOutlierDetector(ArrayState, ThresholdMixin, OutlierMixin, BaseEstimator):
    r"""Outliers by low density: rows with log p(x) below a threshold.

    .. math:: \operatorname{decision}(x) = \log p(x) - t

    The density is any estimator with `fit` and a `score_samples` of log-densities:
    `VAEDensity`, ``GaussianMixture``, ``KernelDensity``, or a pipeline that ends in
    one. The threshold t is a quantile of the scores of reference rows. These are the
    training rows, rows that are held out of the fit, rows that are drawn from the
    fitted density, or, after `fit_threshold`, rows with known labels.

    Parameters
    ----------
    density : estimator, default=None
        Density to clone and fit. None is an `OutlierCommittee`, which ranks rows better
        than any single density, and reads missing cells and data frames with text and
        categories; see Notes.
    contamination : float or "auto", default="auto"
        Share of the reference rows to put below the threshold, in (0, 0.5]. "auto" is
        0.01. With reference "held_out", n held-out rows allow no rate below 1/(n + 1):
        if that is larger than 0.01, "auto" is this rate. With reference "training", it
        is the share of outliers that the rows give away, if they do (see Notes).
    reference : {"training", "held_out", "model"}, default="training"
        Which rows are the reference rows.

        - "training": the training rows, those that are trimmed included.
          `contamination` is the share of them that `predict` calls outliers: set it
          to the share of outliers among them. Of new rows, more are called outliers,
          in the worst case nearly all; see Notes.
        - "held_out": rows that are split off before the fit (split-conformal
          prediction). `contamination` bounds the rate of false alarms among new rows
          from the same source, in expectation over the held-out rows, however good
          or bad the density is. Choose it to judge new rows, from some hundred rows on.
        - "model": rows that are drawn from the fitted density. Inliers are the rows
          in its highest-density region of probability 1 − `contamination`, whatever
          the training rows are.
    calibration_fraction : float, default=0.2
        Share of the rows that are split off with reference "held_out".
    trim_fraction : float or "auto", default="auto"
        Share of the training rows that the density is not fitted to, in [0, 0.5]: those
        that are strangest to two simple models. Any share but 0 needs a table of
        finite numbers and of labels, without missing cells. "auto" is four times the
        share of outliers, at most 0.4. If `contamination` is a number and the reference
        is "training", that is the share; a table that cannot be trimmed is a warning.
        If `contamination` is "auto", it is the share that the rows give away.
    max_reference_rows : int, default=10_000
        Largest number of reference rows. If there are more, a random part of them is
        scored. With reference "model", this many rows are drawn.
    random_state : int, RandomState instance or None, default=None
        Seed of all random choices of rows. Unless it is None, the density gets a seed
        that is drawn from it: all its parameters `random_state` are set to it.

    Attributes
    ----------
    density_ : estimator
        The fitted density.
    offset_ : float
        The threshold t, nats.
    contamination_ : float
        Share of the reference rows, or rate of false alarms, that the threshold was
        chosen for.
    reference_scores_ : ndarray of shape (n_reference,)
        Scores of the reference rows, ascending.
    reference_is_unseen_ : bool
        Whether the reference rows are real rows that the density was not fitted to;
        p-values are valid then.
    support_ : ndarray of bool of shape (n_samples,)
        Which rows the density was fitted to.
    trimming_ : Trimming
        How many rows were trimmed, and why. Prints as a sentence.
    false_positive_rate_, true_positive_rate_ : float
        Set by `fit_threshold`: the shares of the labelled inliers and outliers that
        are below the threshold. The second is nan if there were no outliers.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where `fit` saw a DataFrame with string names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Faster, for a rough order.
    sklearn.neighbors.LocalOutlierFactor : Outliers among their neighbours.

    Notes
    -----
    *The default* is `OutlierCommittee()`: five views of a row, of which the strangest
    counts. Its scores are no log-densities but log-probabilities of scores as low,
    nats, and have no `evidence`: name a density if you want that. It also holds out a
    part of the rows that it is given. A category that the training rows do not have is
    rare; it is no error.

    *Outliers in the training rows.* A flexible density learns outliers that are alike
    as one more cluster. If there may be outliers among the training rows, set
    `contamination` to their share. The density is then not fitted to the rows whose
    numbers have a low density under a multivariate Student-t distribution, or that
    are far out or rare in several columns. Such simple models do not rank all outliers
    first, so four times as many rows are trimmed as there may be outliers. The
    threshold is still a quantile of the scores of all training rows.
    ``docs/benchmarks.md`` shows what trimming costs if all rows are inliers, and what
    it saves if they are not.

    *Outliers that rows give away.* With `contamination` "auto", the two halves of at
    least 200 rows are compared. Where rows of another source are mixed in, the
    distances of one half's rows from the typical rows of the other fall off a cliff at
    their share; without them, they fall more gently, in heavy tails, too. If both
    halves have the cliff, at a share of 2 to 10 %, rows are trimmed as if this share
    had been stated. Outliers that are near, or more, are not found. `trimming_` says
    what was.

    *New rows* score lower than training rows, which the density has seen. With
    reference "training", p-values are therefore too small, and without trimming there
    are more false alarms than `contamination`. Where 5 % were asked for, they were 8 %
    of new rows for a Gaussian mixture and for the default, and 49 % for a kernel
    density (``docs/outliers.md``). Trimmed rows are like new ones to a density:
    trimming brought all three to 4 to 6 %, but that is not guaranteed. Reference
    "held_out" guarantees the rate. Its p-values are valid, as they are after
    `fit_threshold` on rows that were not in `fit`. The default is "training" because
    scikit-learn defines `contamination` as a share of the training rows.

    *Weights.* Only their ratios matter for thresholds and p-values. With reference
    "training", `sample_weight` in ratios of whole numbers equal repeated rows, if they
    do so for the density: weights 1, 2 and 2, or 5, 10 and 10, are five rows. With
    reference "held_out", and for weights in other ratios, the reference rows count
    for their effective number :math:`n = (\sum w)^2 / \sum w^2` in p-values.

    References
    ----------
    R. Laxhammar and G. Falkman, 2010. Conformal prediction for distribution-
    independent anomaly detection in streaming vessel data.

    R. J. Hyndman, 1996. Computing and graphing highest density regions.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import DensityOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = DensityOutlierDetector(
    ...     GaussianMixture(), reference="held_out", random_state=0
    ... ).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, -6.0]])
    array([ 1, -1])
    >>> detector.p_values([[0.0, 0.0], [6.0, -6.0]]).round(2)
    array([0.98, 0.01])
    """

    def __init__(
        self,
        density: Density | None = None,
        *,
        contamination: float | str = "auto",
        reference: str = "training",
        calibration_fraction: float = 0.2,
        trim_fraction: float | str = "auto",
        max_reference_rows: int = 10_000,
        random_state: RandomState = None,
    ) -> None:
        self.density = density
        self.contamination = contamination
        self.reference = reference
        self.calibration_fraction = calibration_fraction
        self.trim_fraction = trim_fraction
        self.max_reference_rows = max_reference_rows
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> "DensityOutlierDetector":
        """Fit the density to the rows of a table, and choose the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or Batches
            Table of at least two rows that the density can read.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. They count for the density and for the
            threshold; rows of weight zero are left out.

        Returns
        -------
        self : DensityOutlierDetector
            The fitted detector. If fitting fails, it stays as it was.

        Raises
        ------
        TypeError
            If the density is no estimator with `fit` and `score_samples`.
        ValueError
            If weights are given but the `fit` of the density does not take any, if the
            density scores rows as NaN or +inf, or if there are too few held-out rows
            for `contamination`.
        """
        self._check_parameters()
        X, sample_weight = sampled(X, sample_weight, self.random_state)
        with staged_fit(self) as staged:
            table = check_member_table(staged, X, reset=True, min_samples=2)
            n_rows = table.shape[0]
            weighted = sample_weight is not None
            weight = check_sample_weight(sample_weight, n_rows)
            rows = np.flatnonzero(weight > 0)
            density = clone(staged._density())
            argument = weight_argument(density) if weighted else None
            random = generator_from(self.random_state)
            if self.random_state is not None:
                seed_members([density], random)
            held_out = rows[:0]
            if self.reference == "held_out":
                rows, held_out = self._split(rows, random)
            count = row_counts(weight)
            fitted_to, staged.trimming_ = rows_to_fit(
                staged,
                table,
                rows,
                count,
                self.trim_fraction,
                self._stated(),
                int(random.randint(2**31 - 1)),
                # The default density knows what to do with a category that it was not
                # fitted to. Others may fail.
                every_category=self.density is not None,
            )
            staged.support_ = np.zeros(n_rows, dtype=bool)
            staged.support_[fitted_to] = True
            staged.density_ = fit_member(
                density,
                take_rows(table, fitted_to),
                "the training rows",
                argument,
                weight[fitted_to] if weighted else None,
            )
            background = _some(fitted_to, MAX_BACKGROUND_ROWS, random)
            staged._background = take_rows(table, background)
            if self.reference == "model":
                scores = staged._scores_of_draws(int(random.randint(2**31 - 1)))
                reference = ReferenceScores.of(scores)
            else:
                used = held_out if self.reference == "held_out" else rows
                used = _some(used, self.max_reference_rows, random)
                scores = staged._score(take_rows(table, used))
                reference = ReferenceScores.of(
                    scores, weight[used], repeated=self.reference == "training"
                )
            contamination = self.contamination
            if self.reference == "training" and staged.trimming_.contamination:
                contamination = staged.trimming_.contamination
            staged._choose_threshold(
                reference, contamination, exact=self.reference == "held_out"
            )
            staged.reference_is_unseen_ = self.reference == "held_out"
        return self

    def score_samples(self, X: ArrayLike) -> Array:
        """Return the log-density of each row: the lower, the stranger.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            What the `score_samples` of the density returns, nats; by default the
            log-probability of a score as low (see `OutlierCommittee`).
        """
        check_is_fitted(self)
        return self._score(check_member_table(self, X, reset=False))

    @available_if(_has_evidence)
    def is_uncertain(self, X: ArrayLike, n_errors: float = 2.0) -> Mask:
        """Return which decisions the errors of the log-densities might reverse.

        The method exists if the density has `evidence`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_errors : float, default=2.0
            Number of standard errors.

        Returns
        -------
        uncertain : ndarray of bool of shape (n_samples,)
            Whether log p(x) is closer to the threshold than `n_errors` times its
            standard error.
        """
        check_is_fitted(self)
        check_number(n_errors, "n_errors", low=0)
        table = check_member_table(self, X, reset=False)
        density = last_step(self.density_)
        evidence = density.evidence(rows_of_last_step(self.density_, table))
        distance = np.abs(evidence.log_density - self.offset_)
        return distance < n_errors * evidence.standard_error

    def explain(
        self, X: ArrayLike, n_background: int = 32, *, surprise: bool = False
    ) -> Explanation:
        """Return which columns make rows strange, and by how much.

        Each column of a row, in turn, is replaced by the values of that column in
        training rows, and its value is put into the training rows. This takes about
        2 · n_features · `n_background` scores for each row. Densities with `evidence`
        give these scores with few draws, to some tenths of a nat.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_background : int, default=32
            Training rows to compare with, at most 256.
        surprise : bool, default=False
            Whether to add −log p(cell | rest of the row) of each cell, what was to be
            expected in its place, and how far out it is. The density has to have a
            method `surprise`, as `VAEDensity` has. This takes some tens of milliseconds
            for each cell.

        Returns
        -------
        explanation : Explanation
            Contributions of the columns to the log-density, and the values that would
            be usual in their place. Prints as a table; `to_frame` makes a DataFrame.

        Raises
        ------
        ValueError
            If `surprise` is asked of a density that does not have it, or of a pipeline
            whose transformers change the cells.
        """
        check_is_fitted(self)
        of_cells = cell_surprise(self.density_) if surprise else None
        check_number(
            n_background,
            "n_background",
            low=1,
            high=MAX_BACKGROUND_ROWS,
            integer=True,
        )
        rows = check_member_table(self, X, reset=False)
        n = min(n_background, len(self._background))
        background = take_rows(self._background, np.arange(n))
        score, loosely, names = self._score, self._score_loosely, column_names(self)
        return explain_rows(score, loosely, rows, background, names, of_cells)

    def _density(self) -> Density:
        return OutlierCommittee() if self.density is None else self.density

    def _check_parameters(self) -> None:
        check_density(self._density(), "density")
        check_number(
            self.contamination,
            "contamination",
            low=0,
            high=0.5,
            inclusive=False,
            also=("auto",),
        )
        check_choice(self.reference, "reference", REFERENCES)
        check_fraction(self.calibration_fraction, "calibration_fraction")
        check_number(
            self.trim_fraction, "trim_fraction", low=0, high=0.5, also=("auto",)
        )
        check_positive_int(self.max_reference_rows, "max_reference_rows")

    def _split(self, rows: Index, random: np.random.RandomState) -> tuple[Index, Index]:
        """Divide rows into those to fit and those to hold out, at least one of each."""
        n_held_out = round(self.calibration_fraction * len(rows))
        n_held_out = min(max(n_held_out, 1), len(rows) - 1, self.max_reference_rows)
        if not n_held_out:
            raise ValueError(
                "reference='held_out' needs at least 2 rows of positive weight, got 1."
            )
        shuffled = random.permutation(rows)
        return np.sort(shuffled[n_held_out:]), np.sort(shuffled[:n_held_out])

    def _stated(self) -> float | str | None:
        """Return the share of outliers in the training rows, as far as it is stated."""
        if self.contamination == "auto" or self.reference == "training":
            return self.contamination
        return None  # `contamination` is a rate of false alarms

    def _score(self, table: Table) -> Array:
        return score_member(self.density_, table, "the detector")

    def _scores_to_decide(self, X: ArrayLike) -> Array:
        """Return scores; far from the threshold, of few draws."""
        check_is_fitted(self)
        table = check_member_table(self, X, reset=False)
        return scores_to_decide(self.density_, table, "the detector", self.offset_)

    def _score_loosely(self, table: Table) -> Array:
        return loose_scores(self.density_, table, "the detector")

    def _scores_of_draws(self, seed: int) -> Array:
        """Return the scores of rows drawn from the fitted density."""
        # The last step draws transformed rows. It can score them without the
        # transformers, and the pipeline's own scores are its scores, too.
        density = last_step(self.density_)
        if not hasattr(density, "sample"):
            raise ValueError(
                f"reference='model' needs a density with sample; {density!r} has none."
            )
        drawn = draw_from(density, self.max_reference_rows, seed)
        # In the container that the last step was fitted to, as its column names say.
        drawn = in_container_of(
            rows_of_last_step(self.density_, self._background), drawn
        )
        return score_member(density, drawn, "the detector")

    def __sklearn_tags__(self) -> Tags:
        return allow_what_members_allow(super().__sklearn_tags__(), [self._density()])


def _some(rows: Index, most: int, random: np.random.RandomState) -> Index:
    """Return all rows, or a random choice of `most` of them if there are more."""
    if len(rows) <= most:
        return rows
    return np.sort(random.choice(rows, most, replace=False))
