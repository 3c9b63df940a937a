"""ComparisonDisplay: which density is better, and whether that may be luck."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from skvae.arguments.checks import check_number
from skvae.display._columns import numbers_of
from skvae.display._style import BLUE, GREY, LIGHT, axes_for, merged, shortened
from skvae.members.paired import HeldOutScores
from skvae.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ComparisonDisplay"]

N_ERRORS = 2.0  # standard errors; a smaller difference may be luck


class Comparison(Protocol):
    """What a display reads of a `DensityComparison`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the densities."""

    @property
    def reference(self) -> str:
        """Name of the one that the others are compared with."""

    @property
    def mean(self) -> Array:
        """Mean log-densities."""

    @property
    def difference(self) -> Array:
        """Mean differences to the reference."""

    @property
    def difference_error(self) -> Array:
        """Standard errors of the differences."""

    @property
    def scores(self) -> HeldOutScores:
        """Log-densities of rows and folds."""


class ComparisonDisplay:
    """Paired differences of densities to a reference, with intervals.

    Make it by `from_comparison` or `from_predictions`.

    Parameters
    ----------
    names : tuple of str
        Names of M densities, from top to bottom.
    difference, difference_error : ndarray of shape (M,)
        Mean of log p(x) − log p_reference(x) over rows, and its standard error, nats.
    reference : str
        Name of the density that the others are compared with.
    fold_difference : ndarray of shape (n_folds, M), default=None
        Mean differences of single folds.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    errorbar_ : matplotlib ErrorbarContainer
        Differences and intervals.
    fold_points_ : list of matplotlib Line2D
        The differences of the densities in each fold.
    text_ : list of matplotlib Text
        Marks of infinite differences.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import ComparisonDisplay, compare_densities
    >>> mixtures = {"one mode": GaussianMixture(1), "two modes": GaussianMixture(2)}
    >>> comparison = compare_densities(mixtures, load_iris().data, random_state=0)
    >>> display = ComparisonDisplay.from_comparison(comparison)
    >>> display.names
    ('two modes', 'one mode')
    """

    def __init__(
        self,
        names: tuple[str, ...],
        difference: Array,
        difference_error: Array,
        *,
        reference: str,
        fold_difference: Array | None = None,
    ) -> None:
        self.names = names
        self.difference = difference
        self.difference_error = difference_error
        self.reference = reference
        self.fold_difference = fold_difference

    @classmethod
    def from_comparison(
        cls, comparison: Comparison, *, ax: "Axes | None" = None, **kwargs: Any
    ) -> "ComparisonDisplay":
        """Draw a comparison, the best density at the top.

        Parameters
        ----------
        comparison : DensityComparison
            What `compare_densities` has returned.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : ComparisonDisplay
        """
        if not hasattr(comparison, "scores"):
            raise TypeError(
                f"comparison must be a DensityComparison, as compare_densities returns "
                f"it, got {comparison!r}."
            )
        order = np.argsort(-comparison.mean, kind="stable")
        reference = comparison.names.index(comparison.reference)
        return cls(
            tuple(comparison.names[m] for m in order),
            comparison.difference[order],
            comparison.difference_error[order],
            reference=comparison.reference,
            fold_difference=comparison.scores.fold_difference(reference)[:, order],
        ).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        names: Sequence[str],
        difference: ArrayLike,
        difference_error: ArrayLike,
        *,
        reference: str,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "ComparisonDisplay":
        """Draw differences that are known already.

        Parameters
        ----------
        names : sequence of M str
            Names of the densities, from top to bottom.
        difference, difference_error : array-like of shape (M,)
            Mean differences to the reference and their standard errors, nats.
        reference : str
            Name of the reference.
        ax, **kwargs
            As for `from_comparison`.

        Returns
        -------
        display : ComparisonDisplay
        """
        mean = numbers_of(difference, "difference", len(names))
        error = numbers_of(difference_error, "difference_error", len(names))
        return cls(tuple(names), mean, error, reference=reference).plot(ax, **kwargs)

    def plot(
        self, ax: "Axes | None" = None, *, n_errors: float = N_ERRORS, **kwargs: Any
    ) -> "ComparisonDisplay":
        """Draw differences and intervals; small dots are single folds.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        n_errors : float, default=2.0
            Half the length of an interval, in standard errors.
        **kwargs
            Properties of points and intervals, for ``Axes.errorbar``.

        Returns
        -------
        display : ComparisonDisplay
            This object, with `ax_`, `figure_` and the artists. Infinite differences
            are marked by arrows at the edge.
        """
        check_number(n_errors, "n_errors", low=0)
        ax = axes_for(ax, (6, 1.2 + 0.4 * len(self.names)))
        place = -np.arange(len(self.names))
        ax.axvline(0, color=LIGHT, linewidth=0.8, zorder=0)
        folds = () if self.fold_difference is None else self.fold_difference
        self.fold_points_ = [
            ax.plot(_finite(fold), place, linestyle="", marker="o", color=GREY, ms=2.5)[
                0
            ]
            for fold in folds
        ]
        style = {"color": BLUE, "linestyle": "", "marker": "o", "capsize": 3}
        self.errorbar_ = ax.errorbar(
            _finite(self.difference),
            place,
            xerr=n_errors * self.difference_error,
            **merged("lines.Line2D", style, kwargs),
        )
        self.text_ = [
            ax.text(
                0.01 if self.difference[m] < 0 else 0.99,
                place[m],
                "← −∞" if self.difference[m] < 0 else "∞ →",
                transform=ax.get_yaxis_transform(),
                ha="left" if self.difference[m] < 0 else "right",
                va="center",
            )
            for m in np.flatnonzero(np.isinf(self.difference))
        ]
        ax.set_yticks(place, [shortened(name) for name in self.names])
        ax.set_ylim(place[-1] - 0.5, 0.5)
        ax.set_xlabel(
            f"held-out log-density minus {shortened(self.reference)},\nnats per row"
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)
