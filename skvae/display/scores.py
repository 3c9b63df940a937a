"""ScoreDisplay: how the scores of densities, or of groups of rows, are distributed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skvae.arguments.checks import check_number, check_positive_int
from skvae.display._columns import (
    check_density_of_rows,
    groups_of,
    numbers_of,
    table_of,
)
from skvae.display._style import (
    BLACK,
    DASHES,
    add_legend,
    axes_for,
    bin_edges,
    draw_stairs,
    number_text,
)
from skvae.members.member import score_member
from skvae.typing import Array, Density

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ScoreDisplay"]

N_BINS = (10, 30)
SHARE_BELOW = 0.02  # of the scores of a group that the first bin may hide


class ScoreDisplay:
    """Distributions of scores: of several densities, or of groups of rows.

    Make it by `from_estimator`, `from_estimators` or `from_predictions`.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n,)
        Scores by the name of the density or of the group. They may be −inf.
    thresholds : dict of str to float, default=None
        Thresholds by name, in the units of the scores.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    stairs_ : list of matplotlib StepPatch
        The histograms, in the order of `scores`.
    threshold_lines_ : list of matplotlib Line2D
        The thresholds.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import ScoreDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> mixture = GaussianMixture(2, random_state=0).fit(X[y < 2])
    >>> display = ScoreDisplay.from_estimator(mixture, X, y)
    >>> list(display.scores)
    ['0', '1', '2']
    """

    def __init__(
        self,
        scores: Mapping[str, Array],
        *,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        self.scores = scores
        self.thresholds = thresholds

    @classmethod
    def from_estimator(
        cls,
        density: Density,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        thresholds: Mapping[str, float] | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "ScoreDisplay":
        """Score rows by a density or a detector, and draw a histogram of each group.

        Parameters
        ----------
        density : estimator
            Fitted, with `score_samples`.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Groups of the rows, as classes or "inlier" and "outlier"; None is one group.
        thresholds : dict of str to float, default=None
            Thresholds by name. None is that of a detector, `offset_`, if it has one.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : ScoreDisplay
        """
        name = type(density).__name__
        scores = _scores({name: density}, X, y)
        offset = getattr(density, "offset_", None)
        if thresholds is None and offset is not None:
            thresholds = {"threshold": float(offset)}
        return cls(scores, thresholds=thresholds).plot(ax, **kwargs)

    @classmethod
    def from_estimators(
        cls,
        densities: Mapping[str, Density],
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        thresholds: Mapping[str, float] | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "ScoreDisplay":
        """Score rows by several densities, and draw a histogram for each of them.

        Parameters
        ----------
        densities : dict of str to estimator
            Fitted densities by name; their scores are of the same units.
        X, y, thresholds, ax, **kwargs
            As for `from_estimator`; with groups, each density has one histogram for
            each group.

        Returns
        -------
        display : ScoreDisplay
        """
        if not isinstance(densities, Mapping) or not densities:
            raise TypeError(
                f"densities must be a non-empty dict of names to fitted estimators, "
                f"got {densities!r}."
            )
        scores = _scores(densities, X, y)
        return cls(scores, thresholds=thresholds).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        scores: ArrayLike | Mapping[str, ArrayLike],
        y: ArrayLike | None = None,
        *,
        thresholds: Mapping[str, float] | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "ScoreDisplay":
        """Draw scores that are known already.

        Parameters
        ----------
        scores : array-like of shape (n_samples,), or dict of str to such
            Scores, of one density or of several by name.
        y : array-like of shape (n_samples,), default=None
            Groups of the rows.
        thresholds, ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : ScoreDisplay
        """
        given = scores if isinstance(scores, Mapping) else {"scores": scores}
        checked = {name: _checked(value, name) for name, value in given.items()}
        if not checked:
            raise ValueError("scores is an empty dict; give at least one density.")
        return cls(_by_group(checked, y), thresholds=thresholds).plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        n_bins: int | None = None,
        lowest: float | None = None,
        **kwargs: Any,
    ) -> "ScoreDisplay":
        """Draw the histograms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        n_bins : int, default=None
            Number of bins; None is 10 to 30, by the number of rows in the smallest
            group.
        lowest : float, default=None
            Lower scores are counted in the first bin. None is the score above which
            98 % of each group are, and at most any threshold: a few rows that are
            hundreds of nats lower would squeeze all others into one bin.
        **kwargs
            Properties of the histograms, for ``Axes.stairs``.

        Returns
        -------
        display : ScoreDisplay
            This object, with `ax_`, `figure_` and the artists.
        """
        check_positive_int(n_bins, "n_bins", None)
        check_number(lowest, "lowest", low=-np.inf, also=(None,))
        ax = axes_for(ax)
        marks = dict(self.thresholds or {})
        finite = [scores[np.isfinite(scores)] for scores in self.scores.values()]
        ends = [(np.quantile(s, SHARE_BELOW), s.max()) for s in finite if len(s)]
        # Without a single finite score, there is nothing but the first bin.
        low = min((float(end[0]) for end in ends), default=0.0)
        high = max((float(end[1]) for end in ends), default=0.0)
        span = [value for value in marks.values() if np.isfinite(value)]
        low = min([low, *span]) if lowest is None else lowest
        if n_bins is None:
            fewest = min(map(len, self.scores.values()))
            n_bins = int(np.clip(2 * np.sqrt(fewest), *N_BINS))
        edges = bin_edges(float(low), max([high, low, *span]), n_bins)
        self.stairs_ = draw_stairs(ax, self.scores, edges, kwargs)
        self.threshold_lines_ = [
            ax.axvline(
                value,
                color=BLACK,
                linewidth=1,
                linestyle=DASHES[(1 + place) % len(DASHES)],
                label=f"{name}, {number_text(value)}",
            )
            for place, (name, value) in enumerate(marks.items())
        ]
        hides = any((scores < edges[0]).any() for scores in self.scores.values())
        ax.set_xlabel("score, nats" + (" (first bin: all below)" if hides else ""))
        ax.set_ylabel("share of rows")
        ax.set_ylim(bottom=0)
        n_entries = len(self.stairs_) + len(marks)
        if n_entries > 1:
            add_legend(ax, n_entries)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _scores(
    densities: Mapping[str, Density], X: ArrayLike, y: ArrayLike | None
) -> dict[str, Array]:
    table = table_of(X)
    for density in densities.values():
        check_density_of_rows(density)
    scores = {
        name: score_member(density, table, name) for name, density in densities.items()
    }
    return _by_group(scores, y)


def _by_group(scores: Mapping[str, Array], y: ArrayLike | None) -> dict[str, Array]:
    """Return the scores of each density and group, by names that tell them apart."""
    parts = {}
    for name, values in scores.items():
        for group, rows in groups_of(y, len(values)).items():
            both = f"{name}, {group}" if len(scores) > 1 else group
            parts[both if group else name] = values[rows]
    return parts


def _checked(values: ArrayLike, name: str) -> Array:
    array = numbers_of(values, name)
    if np.isnan(array).any() or (array == np.inf).any():
        raise ValueError(f"{name} must be finite or −inf, and has NaN or +inf.")
    return array
