"""Colours, line styles and axes that all displays share.

Curves are told apart by colour and by line style or marker, so that they can be told
apart in grey, too. No setting of matplotlib's is changed: a display only sets what it
draws.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skvae.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLACK",
    "BLUE",
    "COLOR_MAP",
    "GREY",
    "LIGHT",
    "ORANGE",
    "SKY",
    "add_legend",
    "axes_for",
    "bin_edges",
    "color_limits",
    "draw_stairs",
    "line_style",
    "marker_style",
    "merged",
    "number_text",
    "shortened",
]

# M. Okabe and K. Ito, 2008. Color universal design.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
AMBER, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
GREY, LIGHT = "#6E6E6E", "#BDBDBD"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, BLACK)
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (1, 1)),
    (0, (6, 1.5, 1, 1.5, 1, 1.5)),
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
COLOR_MAP = "cividis"  # for which red and green are no different, and in grey a ramp
SIZE = (5.2, 3.6)  # inches
LONGEST = 28  # letters of a label


def axes_for(ax: "Axes | None", figsize: tuple[float, float] = SIZE) -> "Axes":
    """Return the axes to draw on, without a frame above and at the right.

    Parameters
    ----------
    ax : matplotlib Axes or None
        None makes a new figure.
    figsize : tuple of float, default=(5.2, 3.6)
        Width and height of the new figure, inches.

    Raises
    ------
    ImportError
        Where matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError(
            "plot needs the package matplotlib: pip install 'skvae[plot]'."
        ) from error
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    elif not hasattr(ax, "get_xlim"):
        raise TypeError(
            f"ax must be a matplotlib Axes or None, got {ax!r}. Of several axes, as "
            f"plt.subplots(1, 2) returns them, pass one."
        )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def merged(artist: str, defaults: dict[str, Any], given: dict[str, Any]) -> Any:
    """Return the style of an artist: what the user gave, and defaults for the rest.

    Parameters
    ----------
    artist : {"lines.Line2D", "patches.Patch", "collections.Collection"}
        Its class in matplotlib, which knows that "c" and "color" are one.
    defaults, given : dict
        Properties by name.
    """
    from matplotlib import cbook, collections, lines, patches

    modules = {"lines": lines, "patches": patches, "collections": collections}
    module, name = artist.split(".")
    known = cbook.normalize_kwargs(given, getattr(modules[module], name))
    return {**defaults, **known}


def color_limits(low: float, high: float, given: dict[str, Any]) -> dict[str, float]:
    """Return the ends of a scale of colours, unless the user gave a scale."""
    return {} if "norm" in given else {"vmin": low, "vmax": high}


def line_style(index: int) -> dict[str, Any]:
    """Return colour and dashes of the curve of this number."""
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def marker_style(index: int) -> dict[str, Any]:
    """Return colour and marker of the points of this number."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def bin_edges(low: float, high: float, n_bins: int) -> Array:
    """Return the edges of bins of one width, also where all values are equal."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, n_bins + 1)


def draw_stairs(
    ax: "Axes", series: Mapping[str, Array], edges: Array, style: dict[str, Any]
) -> list[Any]:
    """Draw the histogram of each series, as shares of its values; return the artists.

    Parameters
    ----------
    ax : matplotlib Axes
        Where to draw.
    series : mapping of str to ndarray
        Values by name; those outside of the bins are counted in the outer ones.
    edges : ndarray of shape (n_bins + 1,)
        Edges of the bins, ascending.
    style : dict
        What the user gave for all of them.
    """
    drawn = []
    for index, (name, values) in enumerate(series.items()):
        counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
        own = {**line_style(index), "linewidth": 1.5, "label": name}
        share = counts / max(len(values), 1)
        drawn.append(ax.stairs(share, edges, **merged("patches.Patch", own, style)))
    return drawn


def add_legend(ax: "Axes", n_entries: int) -> Any:
    """Add a legend where it hides least; beside the axes if it is long."""
    if n_entries > 8:
        return ax.legend(
            frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1)
        )
    legend = ax.legend(fontsize="small", loc="best", framealpha=0.8)
    legend.get_frame().set_linewidth(0)
    return legend


def number_text(value: float) -> str:
    """Return a number in four digits, with the minus sign of matplotlib's axes."""
    return f"{value:.4g}".replace("-", "−")


def shortened(text: object, longest: int = LONGEST) -> str:
    """Return a label that is short enough to be printed beside a figure.

    Its end stays, because names of many categories often differ there alone.
    """
    name, n_last = str(text), longest // 3
    if len(name) <= longest:
        return name
    return f"{name[: longest - n_last - 1]}…{name[-n_last:]}"
