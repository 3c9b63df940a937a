"""DependenceDisplay: how much each column tells of each other one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_positive_int
from skvae.display._style import COLOR_MAP, axes_for, color_limits, shortened
from skvae.members.pipelines import last_step
from skvae.typing import Array, RandomState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DependenceDisplay"]

MAX_WITH_NUMBERS = 8  # columns of a table whose cells have room for numbers
MAX_WITH_NAMES = 40
LEAST_INFORMATION = 0.01  # nats, at the end of the scale of colours


class DependenceDisplay:
    """Mutual information of each pair of columns.

    It is zero where two columns are independent, whatever their units and the shape of
    their dependence. Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    information : ndarray of shape (D, D)
        Mutual information, nats; the diagonal is not drawn.
    feature_names : tuple of str
        Names of the columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    image_ : matplotlib AxesImage
        The table of colours.
    text_ : list of matplotlib Text
        The numbers in the table; empty for more than eight columns.
    colorbar_ : matplotlib Colorbar or None
        The scale.

    Examples
    --------
    >>> from skvae import DependenceDisplay
    >>> display = DependenceDisplay.from_predictions([[0.0, 0.3], [0.3, 0.0]])
    >>> display.feature_names
    ('x0', 'x1')
    """

    def __init__(self, information: Array, feature_names: tuple[str, ...]) -> None:
        self.information = information
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        density: Any,
        *,
        n_samples: int = 200,
        random_state: RandomState = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "DependenceDisplay":
        """Draw the dependence that a density has learnt.

        Parameters
        ----------
        density : VAEDensity
            Fitted; any density with `dependence`, also at the end of a pipeline.
        n_samples : int, default=200
            Number of draws that the information is estimated by.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws; None is that of the density.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : DependenceDisplay
        """
        check_is_fitted(density)
        inner = last_step(density)
        if not callable(getattr(inner, "dependence", None)):
            raise ValueError(
                f"DependenceDisplay needs a density with dependence, as VAEDensity "
                f"has; {inner!r} has none. Hand a table of your own to "
                f"from_predictions."
            )
        information = inner.dependence(n_samples, random_state)
        names = inner.schema_.names
        return cls(information, tuple(names)).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        information: ArrayLike,
        feature_names: Sequence[str] | None = None,
        *,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "DependenceDisplay":
        """Draw a table of dependences.

        Parameters
        ----------
        information : array-like of shape (D, D)
            Mutual information, nats, or another measure that is zero where columns are
            independent.
        feature_names : sequence of str, default=None
            Names of the columns; None is "x0", "x1", ….
        ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : DependenceDisplay
        """
        table = np.asarray(information, dtype=np.float64)
        if table.ndim != 2 or table.shape[0] != table.shape[1] or not len(table):
            raise ValueError(
                f"information must have shape (D, D), got shape {table.shape}."
            )
        names = feature_names
        if names is None:
            names = [f"x{j}" for j in range(len(table))]
        if len(names) != len(table):
            raise ValueError(
                f"feature_names has {len(names)} names, and information is of "
                f"{len(table)} columns."
            )
        return cls(table, tuple(map(str, names))).plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        max_features: int | None = None,
        colorbar: bool = True,
        **kwargs: Any,
    ) -> "DependenceDisplay":
        """Draw the table.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        max_features : int, default=None
            If given, only so many columns are drawn: those that depend most on a
            single other one, in the order of the table.
        colorbar : bool, default=True
            Whether to draw the scale.
        **kwargs
            Properties of the image, for ``Axes.imshow``.

        Returns
        -------
        display : DependenceDisplay
            This object, with `ax_`, `figure_` and the artists.
        """
        check_positive_int(max_features, "max_features", None)
        shown = self._strongest(max_features)
        n = len(shown)
        side = min(3.2 + 0.18 * n, 9.0)
        ax = axes_for(ax, (side + 1.0, side))
        table = self.information[np.ix_(shown, shown)].copy()
        np.fill_diagonal(table, np.nan)
        # Square cells would let constrained layouts cut off labels below the table.
        style: dict[str, Any] = {"cmap": COLOR_MAP, "aspect": "auto"}
        # Estimates of no information at all may be negative, by chance.
        strongest = max(np.nan_to_num(table).max(), LEAST_INFORMATION)
        style |= color_limits(0.0, strongest, kwargs)
        self.image_ = ax.imshow(table, **{**style, **kwargs})
        self.text_ = self._numbers(ax, table) if n <= MAX_WITH_NUMBERS else []
        # A label for each of very many columns would be unreadable.
        step = 1 + (n - 1) // MAX_WITH_NAMES
        places = range(0, n, step)
        labels = [shortened(self.feature_names[shown[j]]) for j in places]
        size = "small" if n <= 20 else 6
        ax.set_xticks(places, labels, rotation=90, fontsize=size)
        ax.set_yticks(places, labels, fontsize=size)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        self.colorbar_: Any = None
        if colorbar:
            self.colorbar_ = ax.figure.colorbar(
                self.image_, ax=ax, shrink=0.85, label="mutual information, nats"
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _strongest(self, most: int | None) -> list[int]:
        """Return the numbers of the columns that are drawn, ascending."""
        n = len(self.feature_names)
        if most is None or n <= most:
            return list(range(n))
        others = np.where(np.eye(n, dtype=bool), -np.inf, self.information)
        strength = np.nan_to_num(others, nan=-np.inf).max(1)
        return sorted(np.argsort(-strength, kind="stable")[:most].tolist())

    def _numbers(self, ax: "Axes", table: Array) -> list[Any]:
        """Write the numbers, in the one of black and white that can be read there."""
        dark: Any = self.image_.norm(table)
        dark = np.asarray(dark) < 0.5
        return [
            ax.text(
                j,
                i,
                # Noise about zero is no negative information.
                f"{max(table[i, j], 0.0):.2f}",
                ha="center",
                va="center",
                fontsize="small",
                color="white" if dark[i, j] else "black",
            )
            for i, j in np.argwhere(np.isfinite(table))
        ]
