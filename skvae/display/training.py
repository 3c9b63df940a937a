"""TrainingDisplay: how the training of a density went."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_choice
from skvae.display._style import BLUE, GREY, ORANGE, add_legend, axes_for, merged
from skvae.members.pipelines import last_step
from skvae.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TrainingDisplay"]

KEYS = ("epoch", "bound", "evidence", "seconds")
AXES = {"epoch": "epoch", "seconds": "seconds of training"}
# The first epochs may be thousands of nats lower: the axis shows what lies within so
# many times the rise of the second half.
REACH = 6.0


class TrainingDisplay:
    """Bounds on the training rows and on the validation rows, epoch by epoch.

    Make it by `from_estimator` or `from_history`.

    Parameters
    ----------
    epoch : ndarray of shape (n_epochs,)
        Numbers of the epochs.
    bound : ndarray of shape (n_epochs,)
        Importance-weighted bound of the training rows, nats per row.
    evidence : ndarray of shape (n_epochs,)
        That of the validation rows; NaN where it was not computed. It is that of the
        whole density, with the companion; the other is of the latent part alone.
    seconds : ndarray of shape (n_epochs,)
        Time since the training began, at the end of each epoch.
    best_iter : int, default=None
        Epoch whose weights were kept; 0 is the start.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    bound_line_, evidence_line_ : matplotlib Line2D
        The curves; the second is None without validation rows.
    best_line_ : matplotlib Line2D or None
        The epoch whose weights were kept.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import TrainingDisplay, VAEDensity
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> density = VAEDensity(max_iter=3, hidden_layer_sizes=(8,), random_state=0)
    >>> display = TrainingDisplay.from_estimator(density.fit(X))
    >>> display.epoch
    array([1., 2., 3.])
    """

    def __init__(
        self,
        epoch: Array,
        bound: Array,
        evidence: Array,
        seconds: Array,
        *,
        best_iter: int | None = None,
    ) -> None:
        self.epoch = epoch
        self.bound = bound
        self.evidence = evidence
        self.seconds = seconds
        self.best_iter = best_iter

    @classmethod
    def from_estimator(
        cls, density: Any, *, ax: "Axes | None" = None, **kwargs: Any
    ) -> "TrainingDisplay":
        """Draw the training of a fitted density.

        Parameters
        ----------
        density : VAEDensity or ConditionalVAEDensity
            Fitted; also a pipeline that ends in one, or a search that has chosen one.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : TrainingDisplay
        """
        check_is_fitted(density)
        inner = last_step(density)
        if not hasattr(inner, "history_"):
            raise ValueError(
                f"TrainingDisplay needs a density with history_, as VAEDensity has; "
                f"{inner!r} has none."
            )
        return cls.from_history(
            inner.history_, best_iter=inner.best_iter_, ax=ax, **kwargs
        )

    @classmethod
    def from_history(
        cls,
        history: Sequence[Mapping[str, float]],
        *,
        best_iter: int | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "TrainingDisplay":
        """Draw a history.

        Parameters
        ----------
        history : list of dict
            One record per epoch, with "epoch", "bound", "evidence" and "seconds", as
            `VAEDensity.history_` has them.
        best_iter : int, default=None
            Epoch whose weights were kept.
        ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : TrainingDisplay
        """
        missing = [key for key in KEYS if any(key not in r for r in history)]
        if missing or not len(history):
            raise ValueError(
                f"history must be a non-empty list of records with "
                f"{', '.join(KEYS)}; "
                + (f"{', '.join(missing)} is missing." if missing else "it is empty.")
            )
        epoch, bound, evidence, seconds = (
            np.array([record[key] for record in history], dtype=np.float64)
            for key in KEYS
        )
        display = cls(epoch, bound, evidence, seconds.cumsum(), best_iter=best_iter)
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: "Axes | None" = None, *, x: str = "epoch", **kwargs: Any
    ) -> "TrainingDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        x : {"epoch", "seconds"}, default="epoch"
            What is on the horizontal axis.
        **kwargs
            Properties of both curves, for ``Axes.plot``.

        Returns
        -------
        display : TrainingDisplay
            This object, with `ax_`, `figure_` and the artists.
        """
        check_choice(x, "x", tuple(AXES))
        ax = axes_for(ax)
        place = getattr(self, x)
        style = {"color": GREY, "linewidth": 1.2, "label": "training rows"}
        (self.bound_line_,) = ax.plot(
            place, self.bound, **merged("lines.Line2D", style, kwargs)
        )
        known = np.isfinite(self.evidence)
        self.evidence_line_ = self.best_line_ = None
        if known.any():
            style = {
                "color": BLUE,
                "linewidth": 1.5,
                "marker": "o",
                "markersize": 3,
                "label": "validation rows",
            }
            (self.evidence_line_,) = ax.plot(
                place[known],
                self.evidence[known],
                **merged("lines.Line2D", style, kwargs),
            )
        if self.best_iter is not None:
            at = np.r_[0.0, place][int(self.best_iter - self.epoch[0] + 1)]
            self.best_line_ = ax.axvline(
                at, color=ORANGE, linestyle="--", linewidth=1, label="weights kept"
            )
        _set_limits(ax, np.r_[self.bound, self.evidence[known]])
        ax.set_xlabel(AXES[x])
        ax.set_ylabel("lower bound on log p(x),\nnats per row")
        add_legend(ax, 3)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _set_limits(ax: "Axes", values: Array) -> None:
    """Leave out first epochs that are far lower than all the others."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return
    high = finite.max()
    rise = high - np.median(finite)
    low = max(finite.min(), high - REACH * max(rise, 1e-3))
    if low > finite.min():
        ax.set_ylim(low, high + 0.05 * (high - low))
