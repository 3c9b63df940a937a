"""compare_densities: held-out log-densities of several estimators, with a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from skvae.arguments.seeds import generator_from
from skvae.display.comparison import ComparisonDisplay
from skvae.members.folds import every_row_once
from skvae.members.held_out import HeldOut, clone_members, score_held_out
from skvae.members.member import check_density
from skvae.members.named import NamedMembersMixin
from skvae.members.paired import HeldOutScores, collect
from skvae.members.rows import check_member_table
from skvae.reports import html_report, html_table, html_text, pandas_for_frames
from skvae.tables.checks import check_sample_weight
from skvae.typing import Array, CrossValidation, Density, Index, Mask, RandomState

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["DensityComparison", "compare_densities"]

N_ERRORS = 2  # standard errors; a smaller difference may be luck
WIDTH = 79
# Fields of a comparison that do not hold one number for each estimator.
NO_NUMBERS = {"names", "reference", "scores"}


@dataclass(frozen=True, repr=False, eq=False)
class DensityComparison:
    r"""Held-out log-densities of M estimators, and their paired differences.

    Printing the comparison gives a table and a verdict. Log-densities are in nats per
    row. Arrays of shape (M,) are in the order of `names`.

    Attributes
    ----------
    names : tuple of str
        Names of the estimators.
    reference : str
        Name of the estimator that the others are compared with.
    mean, standard_error : ndarray of shape (M,)
        Mean log-density of the held-out rows, and its standard error.
    difference, difference_error : ndarray of shape (M,)
        Mean of log p(x) − log p_reference(x) over rows, and its standard error. It is
        negative if the estimator is worse than the reference.
    separated : ndarray of bool of shape (M,)
        Whether the difference is larger than two standard errors. With five folds or
        more, this happens to less than one in 20 pairs of equally good estimators.
    fit_seconds, score_seconds : ndarray of shape (M,)
        Wall-clock time per fold.
    scores : HeldOutScores
        What the other numbers are computed from: `log_density` of every row while it
        was held out, of shape (n_samples, M); `fold_mean`, of shape (n_folds, M);
        `sample_weight` and `fold_ratio`.

    Notes
    -----
    *Standard errors* are the larger of two. The error over rows takes the fitted
    estimators as given: it says how much the mean would change with other rows to
    score. But all rows of a fold are scored by the same fitted estimator, which other
    training rows would have made better or worse. The error over folds includes this.
    It is :math:`s \sqrt{1/F + r}` for F folds, with the standard deviation s of their
    means. The term r, the number of held-out rows per training row, corrects for the
    training rows that folds have in common (Nadeau and Bengio). With few folds, this
    error is rough. No unbiased estimate exists (Bengio and Grandvalet). The larger of
    the two is cautious: if only rows vary, it is 40 % too large.

    *Several comparisons.* The best of many estimators looks a little better than it is.
    Each entry of `separated` is about one pair of estimators.

    *Minus infinity.* If the density of a held-out row is zero, the mean is −inf, which
    is worse than any finite mean. A row whose density is zero under both estimators of
    a pair counts as a tie.

    References
    ----------
    C. Nadeau and Y. Bengio, 2003. Inference for the generalization error.

    Y. Bengio and Y. Grandvalet, 2004. No unbiased estimator of the variance of k-fold
    cross-validation.
    """

    names: tuple[str, ...]
    reference: str
    mean: Array
    standard_error: Array
    difference: Array
    difference_error: Array
    separated: Mask
    fit_seconds: Array
    score_seconds: Array
    scores: HeldOutScores

    def against(self, reference: str) -> "DensityComparison":
        """Return the same comparison with another reference.

        Parameters
        ----------
        reference : str
            Name of an estimator.

        Returns
        -------
        comparison : DensityComparison
        """
        if reference not in self.names:
            raise ValueError(
                f"reference must be one of {', '.join(map(repr, self.names))}, got "
                f"{reference!r}."
            )
        mean, error = self.scores.difference_and_error(self.names.index(reference))
        with np.errstate(invalid="ignore"):
            separated = np.isinf(mean) | (np.abs(mean) > N_ERRORS * error)
        return replace(
            self,
            reference=reference,
            difference=mean,
            difference_error=error,
            separated=separated,
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with a row for each estimator.

        Returns
        -------
        frame : pandas.DataFrame
            The columns are the attributes of shape (M,), the index is `names`.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        pd = pandas_for_frames()
        numbers = [f.name for f in fields(self) if f.name not in NO_NUMBERS]
        index = pd.Index(self.names, name="estimator")
        return pd.DataFrame({name: getattr(self, name) for name in numbers}, index)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the differences to the reference, with bars of two standard errors.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None makes a new figure.

        Returns
        -------
        ax : matplotlib Axes
            The best estimator is at the top. Small dots are the differences in single
            folds, arrows infinite differences.

        Raises
        ------
        ImportError
            Where matplotlib is not installed.
        """
        return ComparisonDisplay.from_comparison(self, ax=ax).ax_

    def __str__(self) -> str:
        names, *others = zip(*self._table(), strict=True)
        width = max(11, *map(len, self.names))
        room = max(20, len(others[1][0]) + 2)
        widths = (20, room, 9, 9)
        lines = [self._title()]
        for name, *cells in zip(names, *others, strict=True):
            padded = zip(cells, widths, strict=True)
            line = "".join(f"{cell:>{size}}" for cell, size in padded)
            lines.append(f"  {name:<{width}}{line}")
        return "\n".join([*lines, "", fill(self.verdict, WIDTH)])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        table = html_table(self._title(), head, rows)
        return html_report(table, html_text(self.verdict))

    def _title(self) -> str:
        n_rows = int(self.scores.used.sum())
        n_folds = len(self.scores.fold_mean)
        folds = "1 fold" if n_folds == 1 else f"{n_folds} folds"
        return f"Held-out log-density, nats per row ({n_rows:,} rows, {folds})"

    def _table(self) -> list[tuple[str, ...]]:
        """Return the lines of the table, its head first, then the best estimator."""
        versus = f"minus {self.reference} ± error"
        head = ("estimator", "mean ± error", versus, "fit s", "score s")
        lines: list[tuple[str, ...]] = [head]
        for m in self._best_first():
            difference = "-"
            if self.names[m] != self.reference:
                difference = _with_error(self.difference[m], self.difference_error[m])
            lines.append(
                (
                    self.names[m],
                    _with_error(self.mean[m], self.standard_error[m]),
                    difference,
                    f"{self.fit_seconds[m]:.2f}",
                    f"{self.score_seconds[m]:.2f}",
                )
            )
        return lines

    @property
    def verdict(self) -> str:
        """Which estimators are better or worse than the reference, in words."""
        worse: list[str] = []
        better: list[str] = []
        close: list[str] = []
        for name, difference, separated in zip(
            self.names, self.difference, self.separated, strict=True
        ):
            if name != self.reference:
                kind = (worse if difference < 0 else better) if separated else close
                kind.append(repr(name))
        own = repr(self.reference)
        parts = []
        if worse:
            parts.append(f"{own} is better than {_in_words(worse)}")
        if better:
            are = "is" if len(better) == 1 else "are"
            parts.append(f"{_in_words(better)} {are} better than {own}")
        if close:
            parts.append(
                f"the data cannot separate {own} from {_in_words(close)}, within two "
                f"standard errors of the difference"
            )
        sentence = "; ".join(parts) or "there is nothing to compare"
        return sentence[0].upper() + sentence[1:] + "."

    def _best_first(self) -> Index:
        return np.argsort(-self.mean, kind="stable")


def compare_densities(
    estimators: Mapping[str, Density],
    X: ArrayLike,
    *,
    cv: CrossValidation = 5,
    reference: str | None = None,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
    random_state: RandomState = None,
) -> DensityComparison:
    r"""Compare density estimators by the log-density of rows that they have not seen.

    .. math:: \bar d_m = \frac1n \sum_i \left( \log p_m^{(-i)}(x_i)
              - \log p_r^{(-i)}(x_i) \right)

    Every estimator is fitted to the same parts of the table and scores the same
    held-out rows, so that differences can be taken row by row. A row that is hard for
    one estimator is hard for the others, and this cancels: the mean difference has a
    smaller standard error than the means, and shows whether a lead may be luck.

    Parameters
    ----------
    estimators : dict of str to estimator
        Density estimators with `fit` and `score_samples`, by name; clones are fitted.
        The log-density of a pipeline leaves out the Jacobian of its transformers:
        scale the rows beforehand. A warning says which figures are in other units, or
        are of other columns, as after a ``PCA`` that keeps few.
    X : array-like of shape (n_samples, n_features)
        Table that the estimators can read.
    cv : int, splitter or iterable, default=5
        An int is a number of folds. The rows are shuffled first, and equal rows are in
        the same fold. Splitters and iterables are as for scikit-learn.
    reference : str, default=None
        Name of the estimator that the others are compared with. None is the estimator
        with the highest mean.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights, not all zero, of the rows in fits and means. For the
        standard errors, a row is one observation, whatever its weight.
    n_jobs : int, default=None
        Fits at a time, as joblib takes it. Fits at the same time take longer.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds. Unless it is None, every clone gets a seed of its own, drawn
        from this one: all its parameters `random_state` are set to it.

    Returns
    -------
    comparison : DensityComparison
        Prints as a table with a verdict; `to_frame` and `plot` show the same. Its Notes
        say how the standard errors are computed.

    Raises
    ------
    ValueError
        If an estimator fails; the message says which one. Also if weights are given
        but an estimator does not take any.

    References
    ----------
    C. Nadeau and Y. Bengio, 2003. Inference for the generalization error.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import compare_densities
    >>> comparison = compare_densities(
    ...     {
    ...         "one mode": GaussianMixture(1, random_state=0),
    ...         "two modes": GaussianMixture(2, random_state=0),
    ...         "diagonal": GaussianMixture(1, covariance_type="diag"),
    ...     },
    ...     load_iris().data,
    ...     random_state=0,
    ... )
    >>> comparison.reference
    'two modes'
    >>> comparison.against("diagonal").verdict
    "'one mode' and 'two modes' are better than 'diagonal'."
    """
    if not isinstance(estimators, Mapping) or not estimators:
        raise TypeError(
            f"estimators must be a non-empty dict of names to estimators, got "
            f"{estimators!r}."
        )
    named = list(estimators.items())
    for name, estimator in named:
        if not isinstance(name, str):
            raise TypeError(f"Names of estimators must be str, got {name!r}.")
        check_density(estimator, f"Estimator {name!r}")
    names = tuple(name for name, _ in named)
    if reference is not None and reference not in names:
        raise ValueError(
            f"reference must be None or one of {', '.join(map(repr, names))}, got "
            f"{reference!r}."
        )
    table = check_member_table(_Table(named), X, reset=True)
    weight = check_sample_weight(sample_weight, table.shape[0])
    random = generator_from(random_state)
    folds = every_row_once(table, weight, cv, random)
    members = clone_members(
        named,
        "estimator",
        weighted=sample_weight is not None,
        random=None if random_state is None else random,
    )
    held_out = score_held_out(members, table, weight, folds, n_jobs=n_jobs)
    scores = collect(held_out, folds, weight)
    mean, error = scores.mean_and_error()
    best = names[int(mean.argmax())]
    unknown = np.full(len(names), np.nan)
    comparison = DensityComparison(
        names=names,
        reference=best,
        mean=mean,
        standard_error=error,
        difference=unknown,
        difference_error=unknown,
        separated=np.zeros(len(names), dtype=np.bool_),
        fit_seconds=_seconds(held_out, "fit_seconds"),
        score_seconds=_seconds(held_out, "score_seconds"),
        scores=scores,
    )
    return comparison.against(best if reference is None else reference)


class _Table(NamedMembersMixin):
    """Allows sparse tables and missing values if all estimators allow them."""

    def __init__(self, estimators: Sequence[tuple[str, Density]]) -> None:
        self.estimators = estimators


def _seconds(held_out: list[list[HeldOut]], name: str) -> Array:
    return np.array([[getattr(p, name) for p in parts] for parts in held_out]).mean(1)


def _with_error(value: float, error: float) -> str:
    style = ".3g" if abs(value) >= 1e6 else ".3f"
    return f"{value:{style}} ± {error:{style}}"


def _in_words(names: list[str]) -> str:
    """Return "a", "a and b", "a, b and c" and so on."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
