"""OutlierCommittee: several looks at a row, of which the strangest counts."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_fraction, check_positive_int
from skvae.arguments.devices import check_device
from skvae.arguments.seeds import generator_from
from skvae.arguments.staging import staged_fit
from skvae.density import VAEDensity
from skvae.detection.trimming import numbers_and_codes
from skvae.detection.views import (
    DensityView,
    MixtureView,
    RankUnits,
    TailProbability,
    TailView,
    View,
    n_values,
)
from skvae.evidence import row_hash
from skvae.fitting.row_counts import row_counts
from skvae.members.member import fit_member, seed_members
from skvae.members.rows import check_member_table
from skvae.model.likelihoods import LikelihoodSpec, MixedLikelihood
from skvae.persistence import ArrayState
from skvae.queries.records import Surprise
from skvae.tables.batches import sampled
from skvae.tables.checks import check_sample_weight
from skvae.tables.columns import merge_duplicates
from skvae.tables.raw import RawTable, read_table
from skvae.tables.rows import take_rows
from skvae.typing import Array, Index, RandomState, Table

__all__ = ["OutlierCommittee"]

# Training of the two densities: more steps do not rank outliers better.
N_STEPS, LEAST_EPOCHS, LAYERS = 600, 3, (64, 64, 64)
N_FEW_MODES, N_CONVOLVED = 5, 3  # mixtures of each kind
# Of few rows, more are held out: 25, but not more than a third.
FEW_HELD_OUT, MOST_HELD_OUT, LARGEST_SHARE = 25, 1000, 1 / 3
LEAST_DISTINCT = 6  # rows, below which none are held out


class OutlierCommittee(ArrayState, BaseEstimator):
    r"""How strange rows are, by several views, of which the strangest counts.

    .. math:: s(x) = \min_v \log P(S_v \le s_v(x))

    Outliers differ: one lies in a thin gap between columns that nearly determine one
    another, one is far out in many columns, one is merely where no other rows are. No
    density at one scale and in one unit sees all of them best. A committee reads each
    row in five views, and asks of each score how probable a score as low is among rows
    that the view was not fitted to. A row is as strange as its strangest view finds it.
    (The smallest of several p-values is the statistic of Tippett.)

    The views are

    - "density": a `VAEDensity` of the table;
    - "normal_scores": a `VAEDensity` of the columns' normal scores, in whose units no
      column has gaps, spikes or heavy tails;
    - "few_modes": mixtures of 5 Gaussians, fitted to five parts of the rows: stiff, and
      sure of what they see;
    - "convolved": mixtures of 20 Gaussians, fitted to three parts of the rows, and
      convolved with noise of 0.3 standard deviations of each column: is there any row
      nearby?
    - "tails": how far out the cells are, each in its own column, unless that has two
      values alone. It cannot learn outliers among the training rows.

    The last four see columns of numbers alone, and are left out if there are none.

    Parameters
    ----------
    max_iter : int or "auto", default="auto"
        Largest number of epochs of the two densities. "auto" is 600 steps, but 3
        epochs at least.
    calibration_fraction : float, default=0.15
        Share of the rows that are held out, by which the scores of views are compared;
        more of few rows, and at most 1,000.
    device : {"auto", "cpu", "cuda", "cuda:<index>"}, default="auto"
        Where the densities are trained and read.
    random_state : int, RandomState instance or None, default=None
        Seed of training, and of which rows are held out.

    Attributes
    ----------
    views_ : dict
        The fitted views, by name.
    tails_ : dict
        The `TailProbability` of each view.
    density_ : VAEDensity
        The density of the table, that of the view "density".
    calibrated_ : ndarray of bool of shape (n_samples,)
        Which rows were held out.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where `fit` saw a DataFrame with string names.

    See Also
    --------
    DensityOutlierDetector : Its default density is a committee.

    Notes
    -----
    *Calibration.* Scores of held-out rows give each view's probabilities: those of
    ranks above the lowest quarter, and an exponential tail below, so that rows that are
    stranger than all held-out ones still have an order. The held-out rows are chosen by
    what is in them, not by their place, and equal rows stay together.

    *Which columns are categories?* Text, categories and truth values, and columns of
    numbers that have two values alone. A category that `fit` has not seen is rare, not
    an error. Other whole numbers are taken as real: a detector has to score values
    that it has not seen.

    *The choice* of views was made by fifteen tables, and judged by leaving out each in
    turn (``docs/benchmarks.md``).

    References
    ----------
    L. H. C. Tippett, 1931. The methods of statistics.

    Z. Li, Y. Zhao, X. Hu, N. Botta, C. Ionescu and G. Chen, 2022. ECOD: unsupervised
    outlier detection using empirical cumulative distribution functions.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import OutlierCommittee
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> committee = OutlierCommittee(max_iter=5, random_state=0).fit(X)
    >>> usual, strange = committee.score_samples([[0.0, 0.0], [6.0, -6.0]])
    >>> bool(usual > strange)
    True
    """

    def __init__(
        self,
        *,
        max_iter: int | str = "auto",
        calibration_fraction: float = 0.15,
        device: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.max_iter = max_iter
        self.calibration_fraction = calibration_fraction
        self.device = device
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> "OutlierCommittee":
        """Fit all views to a part of the rows, and compare them by the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or Batches
            Table of at least two rows; cells may be missing (NaN). DataFrames may have
            columns of text, categories and truth values.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero; whole numbers count rows.

        Returns
        -------
        self : OutlierCommittee
            The fitted committee. If fitting fails, it stays as it was.
        """
        check_positive_int(self.max_iter, "max_iter", "auto")
        check_fraction(self.calibration_fraction, "calibration_fraction")
        check_device(self.device)
        X, sample_weight = sampled(X, sample_weight, self.random_state)
        with staged_fit(self) as staged:
            table = check_member_table(staged, X, reset=True, min_samples=2)
            raw = read_table(staged, table, reset=False)
            weight = check_sample_weight(sample_weight, table.shape[0])
            random = generator_from(self.random_state)
            numbers, codes = numbers_and_codes(raw)
            seed = int(random.randint(2**31 - 1))
            key = row_hash(np.column_stack([numbers, codes]), seed)
            fitted_to, held_out = self._split(key, weight)
            staged.calibrated_ = np.zeros(len(key), dtype=np.bool_)
            staged.calibrated_[held_out] = True
            if not len(held_out):
                held_out = fitted_to
            staged._fit_views(table, raw, numbers, fitted_to, weight, random, seed)
            scores = staged._scores(take_rows(table, held_out), numbers[held_out])
            staged.tails_ = {
                name: TailProbability.fit(score, weight[held_out])
                for name, score in scores.items()
            }
        return self

    def score_samples(self, X: ArrayLike) -> Array:
        """Return how usual each row is: the lower, the stranger.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Log-probability, nats, at most zero, of a score as low in the view that
            finds the row strangest. A row's value depends on the committee and that row
            alone.
        """
        return self.score_views(X).min(axis=1)

    def score_views(self, X: ArrayLike) -> Array:
        """Return how usual each row is in each view.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_views)
            Log-probabilities of scores as low, nats, in the order of `views_`.
        """
        check_is_fitted(self)
        table = check_member_table(self, X, reset=False)
        numbers = self._numbers(read_table(self, table, reset=False))
        scores = self._scores(table, numbers)
        return np.column_stack(
            [self.tails_[name].log_prob(score) for name, score in scores.items()]
        )

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> Array:
        """Draw rows from the density of the table.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed; as for `VAEDensity.sample`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows.
        """
        check_is_fitted(self)
        return self.density_.sample(n_samples, random_state)

    def surprise(self, X: ArrayLike) -> Surprise:
        """Return how surprising each cell is, as `VAEDensity.surprise` of the table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; cells may be missing.

        Returns
        -------
        surprise : Surprise
            Of shape (n_samples, n_features).
        """
        check_is_fitted(self)
        return self.density_.surprise(X)

    def _split(self, key: Any, weight: Array) -> tuple[Index, Index]:
        """Return the rows that views are fitted to, and those that are held out."""
        rows = np.flatnonzero(weight > 0)
        distinct, code = np.unique(key[rows], return_inverse=True)
        n_distinct = len(distinct)
        if n_distinct < LEAST_DISTINCT:
            return rows, rows[:0]
        few = min(FEW_HELD_OUT / n_distinct, LARGEST_SHARE)
        share = max(self.calibration_fraction, few)
        share = min(share, MOST_HELD_OUT / n_distinct)
        mass = np.cumsum(np.bincount(code, weight[rows]))
        n_held_out = int(np.searchsorted(mass, share * mass[-1], side="right"))
        n_held_out = min(max(n_held_out, 1), n_distinct - 2)
        chosen = code < n_held_out
        return rows[~chosen], rows[chosen]

    def _fit_views(
        self,
        table: Table,
        raw: RawTable,
        numbers: Array,
        in_order: Index,
        weight: Array,
        random: np.random.RandomState,
        seed: int,
    ) -> None:
        """Fit each view to these rows."""
        self._labels = tuple(raw.labels)
        two_valued = _two_valued(raw.numbers[in_order], raw.labels)
        likelihood: str | LikelihoodSpec = "mixture"
        if raw.labels or two_valued:
            categories = {*raw.labels, *two_valued}
            likelihood = MixedLikelihood(
                {
                    j: "categorical" if j in categories else "mixture"
                    for j in range(raw.numbers.shape[1])
                }
            )
        own = weight[in_order]
        count = row_counts(own)
        densities = [
            self._density(which, float(count.sum()))
            for which in (likelihood, "mixture")
        ]
        seed_members(densities, random)

        def fit_to(density: VAEDensity, rows: Table, of_rows: Array) -> Any:
            return fit_member(density, rows, "the committee", "sample_weight", of_rows)

        self.density_ = fit_to(densities[0], take_rows(table, in_order), own)
        self.views_: dict[str, View] = {"density": DensityView(self.density_)}
        observed = ~np.isnan(numbers[in_order]).all(1)
        if not observed.any():
            return
        # Equal rows are one row with their weights: neither the order of the rows nor
        # whether they are repeated or weighted changes units and mixtures.
        rows, of_rows = merge_duplicates(numbers[in_order][observed], count[observed])
        weighted = rows, of_rows
        normal = RankUnits.normal(*weighted)
        of_scores = fit_to(densities[1], normal(rows), of_rows)
        self.views_ |= {
            "normal_scores": DensityView(of_scores, normal),
            "few_modes": MixtureView.few_modes(*weighted, N_FEW_MODES, seed),
            "convolved": MixtureView.many_modes(*weighted, N_CONVOLVED, seed),
        }
        tails = TailView.fit(*weighted)
        if tails is not None:
            self.views_["tails"] = tails

    def _density(self, likelihood: str | LikelihoodSpec, n_rows: float) -> VAEDensity:
        """Return a density that is trained and read quickly, not fitted."""
        max_iter = self.max_iter
        if isinstance(max_iter, str):
            density = VAEDensity()
            n_train = (1 - density.validation_fraction) * n_rows
            per_epoch = max(1, math.ceil(n_train / density.batch_size))
            max_iter = max(LEAST_EPOCHS, N_STEPS // per_epoch)
        return VAEDensity(
            decoder="mlp",
            likelihood=likelihood,
            companion=None,
            hidden_layer_sizes=LAYERS,
            marginal_transform=None,
            smoothing="auto",
            unknown_category="other",
            max_iter=max_iter,
            device=self.device,
        )

    def _scores(self, table: Table, numbers: Array) -> dict[str, Array]:
        """Return the scores of n rows in each view, shape (n,)."""
        return {name: view.score(table, numbers) for name, view in self.views_.items()}

    def _numbers(self, raw: RawTable) -> Array:
        """Return the columns of numbers."""
        return np.delete(raw.numbers, list(self._labels), axis=1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _two_valued(numbers: Array, labels: Collection[int]) -> list[int]:
    """Return the columns of numbers that have two different values."""
    return [
        j
        for j, column in enumerate(numbers.T)
        if j not in labels and n_values(column) == 2
    ]
