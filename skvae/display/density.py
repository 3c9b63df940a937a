"""DensityDisplay: the density of one column or of two."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skvae.arguments.checks import check_number, check_positive_int
from skvae.display._columns import (
    AxisColumn,
    axis_column,
    cells_of,
    check_density_of_rows,
    names_of,
    table_of,
)
from skvae.display._curves import LogDensity, read_log_density
from skvae.display._style import (
    BLACK,
    BLUE,
    COLOR_MAP,
    LIGHT,
    ORANGE,
    SKY,
    axes_for,
    color_limits,
    merged,
    shortened,
)
from skvae.queries.columns import column_numbers
from skvae.tables.rows import take_rows
from skvae.typing import Array, Density

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DensityDisplay"]

N_ERRORS = 2.0
UNSURE = 0.5  # nats: standard errors above it are marked in a map
MAX_ROWS = 1000  # points of a map
N_BINS = 30
JITTER = 0.18  # of the distance of two categories, to either side


class DensityDisplay:
    """The density of one column as a curve, or of two as a map.

    Beside it are the rows. Make it by `from_estimator`.

    Parameters
    ----------
    axes : tuple of one or two AxisColumn
        The columns: their names, and the values at which the density is known.
    log_density : ndarray of shape (G,), or (G_y, G_x) for two columns
        Log-densities at these values, nats; of categories and counts log-masses.
    standard_error : ndarray of the same shape, default=None
        Their standard errors; None if there are none.
    rows : ndarray of shape (n, 1) or (n, 2), default=None
        Rows to draw, by their places on the axes.
    point : ndarray of shape (1,) or (2,), default=None
        The place of the row that the density is conditional on.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    line_ : matplotlib Line2D or None
        The curve of one column; of a discrete one, its masses.
    band_ : matplotlib PolyCollection or None
        Two standard errors around the curve; None where there are none.
    histogram_ : matplotlib artist or None
        The rows of one column.
    surface_ : matplotlib QuadContourSet, QuadMesh or None
        The map of two columns.
    unsure_ : matplotlib Line2D or None
        Where the standard error of the map is above half a nat; None where it has none.
    points_ : matplotlib Line2D or None
        The rows of two columns.
    point_ : matplotlib Line2D or None
        The row that the density is conditional on.
    colorbar_ : matplotlib Colorbar or None
        The scale of the map.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import DensityDisplay
    >>> X = load_iris().data[:, 2:]
    >>> mixture = GaussianMixture(3, random_state=0).fit(X)
    >>> display = DensityDisplay.from_estimator(mixture, X)
    >>> display.log_density.shape
    (40, 40)
    """

    def __init__(
        self,
        axes: tuple[AxisColumn, ...],
        log_density: Array,
        *,
        standard_error: Array | None = None,
        rows: Array | None = None,
        point: Array | None = None,
    ) -> None:
        self.axes = axes
        self.log_density = log_density
        self.standard_error = standard_error
        self.rows = rows
        self.point = point

    @classmethod
    def from_estimator(
        cls,
        density: Density,
        X: ArrayLike,
        columns: str | int | Sequence[str | int] | None = None,
        *,
        given: int | None = None,
        grid_resolution: int | None = None,
        n_draws: int = 100,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "DensityDisplay":
        """Read a density at the values of one or two columns, and draw it.

        Parameters
        ----------
        density : estimator
            Fitted, with `score_samples`.
        X : array-like of shape (n_samples, n_features)
            Rows. They say how far the axes reach, and are drawn beside the density.
        columns : str, int or sequence of one or two of them, default=None
            Names or numbers of the columns; None is all columns of a density of one or
            two.
        given : int, default=None
            Number of a row of X: the density of `columns` is then conditional on all
            other cells of this row. None draws the marginal density, whatever the other
            columns are.
        grid_resolution : int, default=None
            Number of values of each column of real numbers; None is 100 for one column
            and 40 for two.
        n_draws : int, default=100
            Rows that are drawn for marginals; see Notes.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : DensityDisplay

        Notes
        -----
        *Conditionals* of `VAEDensity` are its own, in closed form; those of two columns
        are p(a) p(b | a) and p(b) p(a | b), averaged, and half the difference of both
        is their error. The conditional of another density is p of the row with other
        values in the columns, scaled to sum to one.

        *Marginals* of one column are means of conditionals over rows that are drawn
        from the density, with the standard errors of these means; so are those of two
        columns, unless they are of a `VAEDensity`, which reads rows with missing cells.

        *Errors* of maps are marked by crosses, where they are above half a nat. Where
        a density knows its errors and all its columns are drawn, it is read by at most
        512 draws for each value, from a proposal that does not look for the best one.

        *Pipelines.* Log-densities are in the units of the last step's columns.
        """
        check_density_of_rows(density)
        check_positive_int(grid_resolution, "grid_resolution", None)
        check_positive_int(n_draws, "n_draws")
        table = table_of(X)
        names = names_of(density, table)
        if columns is None and len(names) > 2:
            raise ValueError(
                f"X has {len(names)} columns, and one or two can be drawn: name them, "
                f"as columns={list(names[:2])!r}."
            )
        asked = range(len(names)) if columns is None else columns
        chosen = column_numbers(names, asked, "columns")
        if len(chosen) > 2:
            raise ValueError(
                f"columns must be one or two columns, got {len(chosen)}: {columns!r}."
            )
        if given is not None:
            check_number(given, "given", low=0, high=table.shape[0] - 1, integer=True)
        resolution = grid_resolution or (100 if len(chosen) == 1 else 40)
        axes = tuple(
            axis_column(density, table, j, names[j], max(2, resolution)) for j in chosen
        )
        row: Any = None if given is None else take_rows(table, np.array([given]))
        found: LogDensity = read_log_density(density, table, chosen, axes, row, n_draws)
        places = np.column_stack(
            [a.placed(cells_of(table, j)) for a, j in zip(axes, chosen, strict=True)]
        )
        display = cls(
            axes,
            found.log_density,
            standard_error=found.standard_error,
            rows=places if given is None else None,
            point=None if given is None else places[given],
        )
        return display.plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        rows: bool = True,
        span: float = 10.0,
        colorbar: bool = True,
        **kwargs: Any,
    ) -> "DensityDisplay":
        """Draw the density.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        rows : bool, default=True
            Whether to draw the rows, too.
        span : float, default=10.0
            How many nats below its highest place a map is told apart.
        colorbar : bool, default=True
            Whether a map has a scale.
        **kwargs
            Properties of the curve, for ``Axes.plot``, or of the map, for
            ``Axes.contourf``; for ``Axes.pcolormesh`` where a column is discrete.

        Returns
        -------
        display : DensityDisplay
            This object, with `ax_`, `figure_` and the artists.
        """
        check_number(span, "span", low=0, inclusive=False)
        ax = axes_for(ax)
        self.line_: Any = None
        self.band_: Any = None
        self.histogram_: Any = None
        self.surface_: Any = None
        self.unsure_: Any = None
        self.points_: Any = None
        self.point_: Any = None
        self.colorbar_: Any = None
        shown = self.rows if rows else None
        if len(self.axes) == 1:
            self._plot_curve(ax, shown, kwargs)
        else:
            self.surface_ = surface = self._plot_map(ax, shown, span, kwargs)
            if colorbar:
                self.colorbar_ = ax.figure.colorbar(
                    surface, ax=ax, label=f"log {self._symbol}, nats"
                )
        of_ax: tuple[Any, Any] = (ax.xaxis, ax.yaxis)
        for axis, column in zip(of_ax, self.axes, strict=False):
            axis.set_label_text(column.name)
            if column.labels is not None:
                labels = [shortened(label, 16) for label in column.labels]
                # Names of many categories would be printed over one another.
                turned = 90 if axis is ax.xaxis and len(labels) > 6 else 0
                axis.set_ticks(column.places, labels, rotation=turned)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @property
    def _symbol(self) -> str:
        """What the density is called."""
        names = ", ".join(shortened(column.name, 20) for column in self.axes)
        return f"p({names})" if self.point is None else f"p({names} | others)"

    def _plot_curve(
        self, ax: "Axes", rows: Array | None, kwargs: dict[str, Any]
    ) -> None:
        (column,) = self.axes
        density = np.exp(self.log_density)
        error = self.standard_error
        style: dict[str, Any] = {"color": BLUE, "linewidth": 1.6, "zorder": 3}
        if column.is_discrete:
            style |= {"linestyle": "", "marker": "o", "markersize": 5}
        (self.line_,) = ax.plot(
            column.places, density, **merged("lines.Line2D", style, kwargs)
        )
        if error is not None:
            low, high = (
                np.exp(self.log_density + n * error) for n in (-N_ERRORS, N_ERRORS)
            )
            if column.is_discrete:
                self.band_ = ax.vlines(column.places, low, high, color=BLUE, zorder=2)
            else:
                self.band_ = ax.fill_between(
                    column.places, low, high, color=SKY, alpha=0.5, linewidth=0
                )
        if rows is not None:
            self.histogram_ = _draw_histogram(ax, column, rows[:, 0])
        if self.point is not None and np.isfinite(self.point[0]):
            self.point_ = ax.axvline(
                self.point[0], color=ORANGE, linestyle="--", linewidth=1.2
            )
        ax.set_ylim(bottom=0)
        kind = "probability" if column.is_discrete else "density"
        ax.set_ylabel(f"{kind}, {self._symbol}")

    def _plot_map(
        self, ax: "Axes", rows: Array | None, span: float, kwargs: dict[str, Any]
    ) -> Any:
        surface: Any
        x, y = self.axes
        top = float(np.max(self.log_density))
        top = np.ceil(top) if np.isfinite(top) else 0.0
        values = self.log_density.clip(top - span)
        if x.is_discrete or y.is_discrete:
            # Where a column has places of its own, there is nothing between them.
            style: dict[str, Any] = {"cmap": COLOR_MAP}
            style |= color_limits(top - span, top, kwargs) | kwargs
            surface = ax.pcolormesh(
                x.places, y.places, values, shading="nearest", rasterized=True, **style
            )
        else:
            levels = np.linspace(top - span, top, 11)
            style = {"cmap": COLOR_MAP, "levels": levels, "extend": "min", **kwargs}
            surface = ax.contourf(x.places, y.places, values, **style)
        error = self.standard_error
        limits = ax.get_xlim(), ax.get_ylim()
        if error is not None:
            unsure = (self.log_density > top - span) & (error > UNSURE)
            (self.unsure_,) = ax.plot(
                *(places[unsure] for places in np.meshgrid(x.places, y.places)),
                linestyle="",
                marker="x",
                markersize=3,
                markeredgewidth=0.6,
                color=LIGHT,
            )
        if rows is not None:
            places = _thinned(rows, self.axes)
            (self.points_,) = ax.plot(
                *places.T,
                linestyle="",
                marker="o",
                markersize=2.6,
                color="white",
                markeredgecolor=BLACK,
                markeredgewidth=0.4,
                alpha=0.8,
            )
        if self.point is not None and np.isfinite(self.point).all():
            (self.point_,) = ax.plot(
                *self.point[:, None],
                linestyle="",
                marker="*",
                markersize=12,
                color=ORANGE,
                markeredgecolor="white",
            )
        # Rows beyond the map do not move it.
        ax.set_xlim(limits[0])
        ax.set_ylim(limits[1])
        return surface


def _draw_histogram(ax: "Axes", column: AxisColumn, places: Array) -> Any:
    """Draw rows of one column in grey, in the units of its density."""
    places = places[np.isfinite(places)]
    if column.is_discrete:
        nearest = np.abs(places[:, None] - column.places).argmin(1)
        share = np.bincount(nearest, minlength=len(column.places)) / len(places)
        return ax.bar(column.places, share, width=0.8, color=LIGHT, zorder=1)
    low, high = column.places[[0, -1]]
    counts, edges = np.histogram(places, N_BINS, (low, high))
    height = counts / (len(places) * np.diff(edges))
    return ax.stairs(height, edges, fill=True, color=LIGHT, zorder=1)


def _thinned(rows: Array, axes: tuple[AxisColumn, ...]) -> Array:
    """Return at most 1,000 complete rows; those of discrete columns side by side."""
    rows = rows[np.isfinite(rows).all(1)]
    if len(rows) > MAX_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_ROWS).astype(np.intp)]
    aside = np.random.default_rng(0).uniform(-JITTER, JITTER, rows.shape)
    step = [
        float(np.diff(a.places).min()) if a.is_discrete and len(a.places) > 1 else 0.0
        for a in axes
    ]
    return rows + aside * step
