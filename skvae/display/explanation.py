"""ExplanationDisplay: which columns make a row strange."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skvae.arguments.checks import check_number, check_positive_int
from skvae.detection.explain import Explanation
from skvae.display._columns import table_of
from skvae.display._style import (
    BLACK,
    BLUE,
    ORANGE,
    add_legend,
    axes_for,
    merged,
    number_text,
    shortened,
)
from skvae.tables.rows import take_rows
from skvae.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ExplanationDisplay"]

HEIGHT = 0.38  # of a bar; a column has two


class ExplanationDisplay:
    """What each column of a row adds to its score, the strangest at the top.

    Make it by `from_estimator` or `from_explanation`.

    Parameters
    ----------
    feature_names : tuple of str
        Names of the D columns.
    value, usual : ndarray of shape (D,)
        The cells of the row, and those that would be usual in their place.
    given_others, alone : ndarray of shape (D,)
        How well each cell goes with the others of its row, and with ordinary rows,
        nats; see `Explanation`.
    score : float
        The score of the row, nats.
    row : int, default=0
        Its number.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    given_others_bars_, alone_bars_ : matplotlib BarContainer
        The bars, the strangest column first.
    text_ : list of matplotlib Text
        Marks of bars that have no end.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import DensityOutlierDetector, ExplanationDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = DensityOutlierDetector(GaussianMixture(), random_state=0).fit(X)
    >>> display = ExplanationDisplay.from_estimator(detector, [[0.0, 6.0, 0.0]])
    >>> display.feature_names[display.order()[0]]
    'x1'
    """

    def __init__(
        self,
        feature_names: tuple[str, ...],
        value: NDArray[Any],
        usual: NDArray[Any],
        given_others: Array,
        alone: Array,
        *,
        score: float,
        row: int = 0,
    ) -> None:
        self.feature_names = feature_names
        self.value = value
        self.usual = usual
        self.given_others = given_others
        self.alone = alone
        self.score = score
        self.row = row

    @classmethod
    def from_estimator(
        cls,
        detector: Any,
        X: ArrayLike,
        *,
        row: int = 0,
        n_background: int = 32,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "ExplanationDisplay":
        """Explain a row by a detector, and draw the explanation.

        Parameters
        ----------
        detector : DensityOutlierDetector
            Fitted; anything with `explain`.
        X : array-like of shape (n_samples, n_features)
            Rows, of which one is explained.
        row : int, default=0
            Which one.
        n_background : int, default=32
            Training rows to compare with.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : ExplanationDisplay
        """
        if not callable(getattr(detector, "explain", None)):
            raise TypeError(
                f"ExplanationDisplay needs a detector with explain, got {detector!r}. "
                f"Fit DensityOutlierDetector with this density."
            )
        table = table_of(X)
        _check_row(row, table.shape[0])
        chosen: Any = take_rows(table, np.array([row]))
        explained = detector.explain(chosen, n_background)
        return _of_row(explained, 0, row).plot(ax, **kwargs)

    @classmethod
    def from_explanation(
        cls,
        explanation: Explanation,
        *,
        row: int = 0,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "ExplanationDisplay":
        """Draw what is explained of a row already.

        Parameters
        ----------
        explanation : Explanation
            What `DensityOutlierDetector.explain` has returned.
        row : int, default=0
            Which of its rows.
        ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : ExplanationDisplay
        """
        if not isinstance(explanation, Explanation):
            raise TypeError(
                f"explanation must be an Explanation, as DensityOutlierDetector."
                f"explain returns it, got {explanation!r}."
            )
        _check_row(row, len(explanation.score))
        return _of_row(explanation, row, row).plot(ax, **kwargs)

    def order(self) -> NDArray[np.intp]:
        """Return the numbers of the columns, the strangest first, shape (D,)."""
        worst = np.minimum(self.given_others, self.alone)
        return np.argsort(worst, kind="stable")

    def plot(
        self, ax: "Axes | None" = None, *, max_features: int = 10, **kwargs: Any
    ) -> "ExplanationDisplay":
        """Draw two bars for each of the strangest columns.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        max_features : int, default=10
            Largest number of columns.
        **kwargs
            Properties of all bars, for ``Axes.barh``.

        Returns
        -------
        display : ExplanationDisplay
            This object, with `ax_`, `figure_` and the artists.
        """
        check_positive_int(max_features, "max_features")
        order = self.order()[:max_features]
        ax = axes_for(ax, (5.8, 1.4 + 0.42 * len(order)))
        place = np.arange(len(order), dtype=np.float64)
        shown = np.r_[self.given_others[order], self.alone[order]]
        finite = shown[np.isfinite(shown)]
        # A bar without an end is a little longer than the longest that has one.
        end = 1.15 * max(1.0, np.abs(finite).max() if len(finite) else 1.0)
        self.text_: list[Any] = []
        bars = []
        styles: tuple[dict[str, Any], ...] = (
            {"color": BLUE, "label": "given others"},
            {"color": ORANGE, "label": "alone", "hatch": "////"},
        )
        for values, side, own in zip(
            (self.given_others[order], self.alone[order]), (-1, 1), styles, strict=True
        ):
            at = place + side * HEIGHT / 2
            style = {"height": HEIGHT, "edgecolor": "white", "linewidth": 0.5, **own}
            length = np.nan_to_num(values, nan=0.0, posinf=end, neginf=-end)
            bars.append(ax.barh(at, length, **merged("patches.Patch", style, kwargs)))
            for k in np.flatnonzero(np.isinf(values)):
                sign, align = ("−∞ ", "right") if length[k] < 0 else (" ∞", "left")
                self.text_.append(
                    ax.text(length[k], at[k], sign, va="center", ha=align)
                )
        self.given_others_bars_, self.alone_bars_ = bars
        ax.axvline(0, color=BLACK, linewidth=0.8)
        labels = [
            f"{shortened(self.feature_names[j])} = {_shown(self.value[j])}\n"
            f"usual: {_shown(self.usual[j])}"
            for j in order
        ]
        ax.set_yticks(place, labels, fontsize="small")
        ax.invert_yaxis()
        ax.margins(x=0.2 if self.text_ else 0.08)
        ax.set_xlabel("contribution to the score, nats")
        ax.set_title(
            f"row {self.row}, score {number_text(self.score)}",
            loc="left",
            fontsize="medium",
        )
        add_legend(ax, 2)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _check_row(row: object, n_rows: int) -> None:
    check_number(row, "row", low=0, high=n_rows - 1, integer=True)


def _of_row(explanation: Explanation, i: int, row: int) -> ExplanationDisplay:
    return ExplanationDisplay(
        explanation.feature_names,
        explanation.value[i],
        explanation.usual[i],
        explanation.given_others[i],
        explanation.alone[i],
        score=float(explanation.score[i]),
        row=row,
    )


def _shown(cell: object) -> str:
    if isinstance(cell, (float, np.floating)):
        return number_text(float(cell))
    return shortened(cell, 16)
