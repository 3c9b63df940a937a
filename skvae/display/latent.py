"""LatentDisplay: a map of rows by their latents."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skvae.arguments.checks import check_number
from skvae.display._columns import groups_of, numbers_of, table_of
from skvae.display._style import (
    COLOR_MAP,
    add_legend,
    axes_for,
    bin_edges,
    draw_stairs,
    marker_style,
    merged,
)
from skvae.members.pipelines import last_step, rows_of_last_step
from skvae.tables.labels import as_array, holds_labels
from skvae.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LatentDisplay"]

MAX_CLASSES = 10  # different numbers that are groups; more are a scale of colours
N_BINS = 30


class LatentDisplay:
    """Rows on a map of their latents, in the colours of their groups.

    Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    position : ndarray of shape (n, 2), or (n, 1) for a single latent
        Places of the rows.
    axis_names : tuple of str
        What each axis is.
    y : array-like of shape (n,), default=None
        Groups, or numbers that are shown by a scale of colours.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    points_ : list of matplotlib PathCollection
        The points of each group; empty for a single latent.
    stairs_ : list of matplotlib StepPatch
        The histogram of each group, for a single latent.
    colorbar_ : matplotlib Colorbar or None
        The scale, where y holds numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import LatentDisplay
    >>> Z = np.random.default_rng(0).normal(size=(50, 3))
    >>> display = LatentDisplay.from_predictions(Z, np.repeat(["a", "b"], 25))
    >>> display.position.shape
    (50, 2)
    """

    def __init__(
        self,
        position: Array,
        axis_names: tuple[str, ...],
        *,
        y: ArrayLike | None = None,
    ) -> None:
        self.position = position
        self.axis_names = axis_names
        self.y = y

    @classmethod
    def from_estimator(
        cls,
        density: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        latents: tuple[int, int] | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "LatentDisplay":
        """Draw the map of rows by the posterior means of a density.

        Parameters
        ----------
        density : VAEDensity
            Fitted; also a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Groups of the rows, or numbers; the density need not have seen them.
        latents : pair of int, default=None
            Which latents to draw. None draws the two principal directions of all.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : LatentDisplay
        """
        inner = last_step(density)
        if not callable(getattr(inner, "transform", None)):
            raise ValueError(
                f"LatentDisplay needs a density with transform, as VAEDensity has; "
                f"{inner!r} has none. Of a ConditionalVAEDensity, hand what encode "
                f"returns to from_predictions."
            )
        latent = np.asarray(inner.transform(rows_of_last_step(density, table_of(X))))
        if latent.dtype.kind in "iu" or _has_codes(inner):
            raise ValueError(
                "The latents are codes, which have no order: count them instead, by "
                "numpy.unique(density.transform(X), axis=0, return_counts=True)."
            )
        return cls.from_predictions(latent, y, latents=latents, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        Z: ArrayLike,
        y: ArrayLike | None = None,
        *,
        latents: tuple[int, int] | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "LatentDisplay":
        """Draw the map of latents.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Latents.
        y, latents, ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : LatentDisplay
        """
        latent = table_of(Z, "Z").astype(np.float64)
        if not np.isfinite(latent).all():
            raise ValueError("Z must be finite, and has NaN or infinity.")
        position, names = _on_the_map(latent, latents)
        return cls(position, names, y=y).plot(ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, **kwargs: Any) -> "LatentDisplay":
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            Properties of the points, for ``Axes.scatter``; of the histograms, for
            ``Axes.stairs``, where there is a single latent.

        Returns
        -------
        display : LatentDisplay
            This object, with `ax_`, `figure_` and the artists.
        """
        ax = axes_for(ax)
        self.points_: list[Any] = []
        self.stairs_: list[Any] = []
        self.colorbar_: Any = None
        n_rows, n_axes = self.position.shape
        scale = _as_scale(self.y, n_rows)
        groups = {"": np.ones(n_rows, dtype=bool)}
        if scale is None or n_axes == 1:
            groups = groups_of(self.y, n_rows)
        ax.set_xlabel(self.axis_names[0])
        if n_axes == 1:
            series = {name: self.position[rows, 0] for name, rows in groups.items()}
            low, high = self.position.min(), self.position.max()
            edges = bin_edges(float(low), float(high), N_BINS)
            self.stairs_ = draw_stairs(ax, series, edges, kwargs)
            ax.set_ylabel("share of rows")
        else:
            self._scatter(ax, groups, scale, kwargs)
            ax.set_ylabel(self.axis_names[1])
        if len(groups) > 1:
            add_legend(ax, len(groups))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _scatter(
        self,
        ax: "Axes",
        groups: dict[str, NDArray[np.bool_]],
        scale: Array | None,
        kwargs: dict[str, Any],
    ) -> None:
        size = float(np.clip(4000 / len(self.position), 4, 20))
        alpha = float(np.clip(1500 / len(self.position), 0.25, 0.75))
        for index, (name, rows) in enumerate(groups.items()):
            own = {**marker_style(index), "s": size, "linewidth": 0, "alpha": alpha}
            own["label"] = name or None
            if scale is not None:
                del own["color"]
                own |= {"c": scale, "cmap": COLOR_MAP}
            style = merged("collections.Collection", own, kwargs)
            self.points_.append(ax.scatter(*self.position[rows].T, **style))
        if scale is not None:
            self.colorbar_ = ax.figure.colorbar(
                self.points_[0], ax=ax, label=getattr(self.y, "name", None) or "y"
            )


def _has_codes(density: Any) -> bool:
    model = getattr(density, "model_", None)
    return getattr(getattr(model, "prior", None), "n_codes", None) is not None


def _on_the_map(
    latent: Array, latents: tuple[int, int] | None
) -> tuple[Array, tuple[str, ...]]:
    """Return the places of rows, and what the axes are called."""
    n_latents = latent.shape[1]
    if latents is not None:
        if len(latents) != 2:
            raise ValueError(f"latents must be a pair of int, got {latents!r}.")
        for number in latents:
            check_number(
                number, "each of latents", low=0, high=n_latents - 1, integer=True
            )
        return latent[:, list(latents)], tuple(f"z{number}" for number in latents)
    if n_latents <= 2:
        return latent, tuple(f"z{number}" for number in range(n_latents))
    centred = latent - latent.mean(0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    # The sign of a direction is arbitrary: its largest entry is positive.
    largest = np.abs(directions[:2]).argmax(1)
    directions = directions[:2] * np.sign(directions[[0, 1], largest])[:, None]
    share = spread**2 / max(float(np.square(spread).sum()), np.finfo(float).tiny)
    names = tuple(
        f"{which} principal direction ({share[k]:.0%})"
        for k, which in enumerate(("first", "second"))
    )
    return centred @ directions.T, names


def _as_scale(y: ArrayLike | None, n: int) -> Array | None:
    """Return numbers that are shown by a scale of colours; None for groups."""
    if y is None:
        return None
    cells = as_array(y)
    if holds_labels(cells) or len(np.unique(cells)) <= MAX_CLASSES:
        return None
    return numbers_of(y, "y", n)
