"""CalibrationDisplay: whether probabilities hold what they promise."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from skvae.arguments.checks import (
    check_choice,
    check_number,
    check_positive_int,
)
from skvae.arguments.seeds import seed_from
from skvae.display._columns import cells_of, names_of, numbers_of, table_of
from skvae.display._style import (
    BLACK,
    LIGHT,
    add_legend,
    axes_for,
    bin_edges,
    draw_stairs,
    line_style,
    merged,
)
from skvae.members.drawing import draw_from
from skvae.members.member import check_density, score_member
from skvae.members.pipelines import last_step, rows_of_last_step
from skvae.members.rows import in_container_of
from skvae.queries.columns import column_numbers
from skvae.queries.conditional import ConditionalDistribution
from skvae.tables.labels import is_frame, is_series
from skvae.typing import Array, RandomState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CalibrationDisplay"]

WHOLE_ROWS = "whole rows"
LEVELS = np.linspace(0, 1, 101)


class CalibrationDisplay:
    r"""Probability integral transforms, and the coverage of the regions they imply.

    .. math:: u_i = P(Y \le y_i), \qquad
              \text{uniform in } [0, 1] \text{ if the density is right.}

    For a column, Y is its distribution given the other columns, or for a
    `ConditionalVAEDensity` that of the target. For whole rows, Y is the log-density of
    a row that is drawn from the density, and the regions are those of highest density.
    Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    pit : dict of str to ndarray of shape (n,)
        Transforms u by the name of the column.
    regions : {"central", "highest density"}, default="central"
        Which regions of probability c the coverage is of: the values with
        abs(2u − 1) ≤ c, or those with u ≥ 1 − c.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    stairs_ : list of matplotlib StepPatch
        Histograms of the transforms; empty for coverage.
    lines_ : list of matplotlib Line2D
        Curves of coverage; empty for histograms.
    band_ : matplotlib PolyCollection
        Where a density that is right stays with the probability that was asked for, at
        each place of the horizontal axis.

    References
    ----------
    A. P. Dawid, 1984. Present position and potential developments: some personal views:
    statistical theory: the prequential approach.

    R. J. Hyndman, 1996. Computing and graphing highest density regions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import CalibrationDisplay
    >>> X = load_iris().data
    >>> mixture = GaussianMixture(3, random_state=0).fit(X[::2])
    >>> display = CalibrationDisplay.from_estimator(mixture, X[1::2])
    >>> bool(display.coverage(0.9)["whole rows"] > 0.6)
    True
    """

    def __init__(self, pit: Mapping[str, Array], *, regions: str = "central") -> None:
        self.pit = pit
        self.regions = regions

    @classmethod
    def from_estimator(
        cls,
        density: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        columns: str | int | Sequence[str | int] | None = None,
        n_draws: int = 1000,
        random_state: RandomState = 0,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "CalibrationDisplay":
        """Compute the transforms of held-out rows by a density, and draw them.

        Parameters
        ----------
        density : estimator
            Fitted. Any density with `sample` answers for whole rows, and one with
            `conditional`, as `VAEDensity` has, for its columns.
        X : array-like of shape (n_samples, n_features)
            Rows, best held-out ones.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Targets, for a `ConditionalVAEDensity`; each of them is a column.
        columns : str, int or sequence of them, default=None
            Names or numbers of columns, each of which is looked at given all others.
            None looks at whole rows; with y, at all targets. Categories have no order
            and no such transform.
        n_draws : int, default=1000
            Rows that are drawn, for whole rows.
        random_state : int, RandomState instance or None, default=0
            Seed of these draws, and of where within its mass the transform of a count
            is.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : CalibrationDisplay
        """
        check_positive_int(n_draws, "n_draws")
        check_density(density, "density")
        table, seed = table_of(X), seed_from(random_state)
        if y is None and columns is None:
            ranks = _ranks_of_rows(density, table, n_draws, seed)
            display = cls({WHOLE_ROWS: ranks}, regions="highest density")
            return display.plot(ax, **kwargs)
        inner = last_step(density)
        if not callable(getattr(inner, "conditional", None)):
            raise ValueError(
                f"columns and y need a density with conditional, as VAEDensity and "
                f"ConditionalVAEDensity have; {inner!r} has none. Leave them out to "
                f"look at whole rows."
            )
        rows = rows_of_last_step(density, table)
        if y is None:
            names, of_y = names_of(inner, rows), rows
            asked: Any = columns
        else:
            names = inner.schema_.names
            of_y = _as_table(y)
            asked = range(len(names)) if columns is None else columns
        random = np.random.default_rng(seed)
        pit = {
            names[j]: _transforms(inner.conditional(rows, j), cells_of(of_y, j), random)
            for j in column_numbers(names, asked, "columns")
        }
        return cls(pit).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        pit: ArrayLike | Mapping[str, ArrayLike],
        *,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "CalibrationDisplay":
        """Draw transforms that are known already, as by `cdf` of a conditional.

        Parameters
        ----------
        pit : array-like of shape (n,), or dict of str to such
            Values of cumulative distribution functions, between 0 and 1.
        ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : CalibrationDisplay
        """
        given = pit if isinstance(pit, Mapping) else {"": pit}
        checked = {}
        for name, values in given.items():
            array = numbers_of(values, f"pit {name!r}" if name else "pit")
            if not ((array >= 0) & (array <= 1)).all():
                raise ValueError(f"pit must lie between 0 and 1, got {array!r}.")
            checked[name] = array
        if not checked:
            raise ValueError("pit is an empty dict; give at least one column.")
        return cls(checked).plot(ax, **kwargs)

    def coverage(self, level: float) -> dict[str, float]:
        """Return the share of the rows that lie in their region of some probability.

        Parameters
        ----------
        level : float
            Probability of the region, between 0 and 1.

        Returns
        -------
        coverage : dict of str to float
            By the name of the column; `level` itself if the density is right.
        """
        check_number(level, "level", low=0, high=1)
        return {
            name: float(np.mean(self._depth(u) <= level))
            for name, u in self.pit.items()
        }

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        kind: str = "histogram",
        n_bins: int = 10,
        level: float = 0.95,
        **kwargs: Any,
    ) -> "CalibrationDisplay":
        """Draw a histogram of the transforms, or the coverage of regions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        kind : {"histogram", "coverage"}, default="histogram"
            A histogram is flat if the density is right. It is a valley where the
            density is too narrow, and a hill where it is too broad. Coverage is then
            below the diagonal, or above.
        n_bins : int, default=10
            Number of bins of the histogram.
        level : float, default=0.95
            Probability of the band, at each place for itself, if the rows are
            independent.
        **kwargs
            Properties of the histograms, for ``Axes.stairs``, or of the curves, for
            ``Axes.plot``.

        Returns
        -------
        display : CalibrationDisplay
            This object, with `ax_`, `figure_` and the artists.
        """
        check_choice(kind, "kind", ("histogram", "coverage"))
        check_positive_int(n_bins, "n_bins")
        check_number(level, "level", low=0, high=1, inclusive=False)
        ax = axes_for(ax, (4.4, 3.6))
        self.stairs_: list[Any] = []
        self.lines_: list[Any] = []
        # One band is drawn for all columns: that of the one with the fewest rows.
        n_rows = min(len(u) for u in self.pit.values())
        if kind == "histogram":
            self._plot_histogram(ax, n_rows, n_bins, level, kwargs)
        else:
            self._plot_coverage(ax, n_rows, level, kwargs)
        ax.set_xlim(0, 1)
        ax.set_ylim(bottom=0)
        if any(self.pit):
            add_legend(ax, len(self.pit))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _depth(self, u: Array) -> Array:
        """Return the probability of the smallest region that holds each value."""
        return np.abs(2 * u - 1) if self.regions == "central" else 1 - u

    def _plot_histogram(
        self,
        ax: "Axes",
        n_rows: int,
        n_bins: int,
        level: float,
        kwargs: dict[str, Any],
    ) -> None:
        share = 1 / n_bins
        low, high = _band(n_rows, np.array([share]), level)
        self.band_ = ax.fill_between([0, 1], low[[0, 0]], high[[0, 0]], **_of_band())
        ax.axhline(share, color=BLACK, linewidth=0.8, linestyle="--")
        self.stairs_ = draw_stairs(ax, self.pit, bin_edges(0, 1, n_bins), kwargs)
        rows = "share of drawn rows with a lower log-density"
        ax.set_xlabel(
            "probability integral transform" if self.regions == "central" else rows
        )
        ax.set_ylabel("share of rows")

    def _plot_coverage(
        self, ax: "Axes", n_rows: int, level: float, kwargs: dict[str, Any]
    ) -> None:
        self.band_ = ax.fill_between(
            LEVELS, *_band(n_rows, LEVELS, level), **_of_band()
        )
        ax.plot([0, 1], [0, 1], color=BLACK, linewidth=0.8, linestyle="--")
        for index, (name, u) in enumerate(self.pit.items()):
            depth = np.sort(self._depth(u))
            covered = np.searchsorted(depth, LEVELS, side="right") / len(depth)
            style = {**line_style(index), "linewidth": 1.5, "label": name}
            self.lines_ += ax.plot(
                LEVELS, covered, **merged("lines.Line2D", style, kwargs)
            )
        ax.set_ylim(top=1)
        regions = "intervals" if self.regions == "central" else "regions"
        ax.set_xlabel(f"probability of {self.regions} {regions}")
        ax.set_ylabel("share of rows inside")


def _of_band() -> dict[str, Any]:
    return {"color": LIGHT, "alpha": 0.6, "linewidth": 0}


def _band(n_rows: int, share: Array, level: float) -> tuple[Array, Array]:
    """Return the range of shares of n rows, where each is one with this chance."""
    tail = (1 - level) / 2
    low, high = (binom.ppf(q, n_rows, share) / n_rows for q in (tail, 1 - tail))
    # SciPy's quantile of a chance of zero is −1.
    return low.clip(0, 1), high.clip(0, 1)


def _as_table(y: Any) -> Any:
    """Return targets as a table, also of one column."""
    if is_series(y):
        return np.asarray(y)[:, None]
    table = y if is_frame(y) else np.asarray(y)
    return table[:, None] if table.ndim == 1 else table


def _ranks_of_rows(density: Any, table: Any, n_draws: int, seed: int) -> Array:
    """Return the share of drawn rows that have a lower log-density than each row.

    As ranks among n draws, they are uniform on 0, …, n if rows and draws have one
    distribution; a random place within the rank makes them uniform in [0, 1].
    """
    inner = last_step(density)
    if not callable(getattr(inner, "sample", None)):
        raise ValueError(
            f"CalibrationDisplay of whole rows needs a density with sample; {inner!r} "
            f"has none."
        )
    rows = rows_of_last_step(density, table)
    drawn = in_container_of(rows, draw_from(inner, n_draws, seed))
    of_draws = np.sort(score_member(inner, drawn, "the drawn rows"))
    scores = score_member(inner, rows, "X")
    below = np.searchsorted(of_draws, scores, "left")
    up_to = np.searchsorted(of_draws, scores, "right")
    place = np.random.default_rng(seed).random(len(scores))
    return (below + place * (1 + up_to - below)) / (1 + n_draws)


def _transforms(
    given: ConditionalDistribution, cells: Any, random: np.random.Generator
) -> Array:
    """Return P(Y < y) + v P(Y = y), with v uniform, of each observed cell y."""
    try:
        values = np.asarray(cells, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"column {given.columns[0]!r} holds categories, which have no order and no "
            f"probability integral transform. Leave columns out to look at whole rows."
        ) from None
    observed = np.isfinite(values)
    at = np.where(observed, values, 0.0)
    up_to = given.cdf(at)
    if given.is_discrete:
        up_to = up_to - random.random(len(at)) * given.pdf(at)
    if not observed.any():
        raise ValueError(f"column {given.columns[0]!r} of X has no observed cell.")
    return up_to[observed].clip(0, 1)
