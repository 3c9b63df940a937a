"""EvidenceDisplay: how well log p(x) is read, by bounds and by errors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skvae.arguments.checks import check_choice
from skvae.diagnostics import Diagnosis
from skvae.display._columns import table_of
from skvae.display._style import (
    BLACK,
    BLUE,
    ORANGE,
    add_legend,
    axes_for,
    merged,
)
from skvae.evidence import Bounds, Evidence
from skvae.members.evidence import knows_errors
from skvae.members.pipelines import last_step, rows_of_last_step
from skvae.typing import Array, Mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["EvidenceDisplay"]

BOUND_SAMPLES = (1, 2, 5, 10, 20, 50, 100)
N_ERRORS = 2.0
LEAST_RATIO = 1.5  # of two numbers on an axis of logarithms
LEAST_ERROR = 1e-4  # nats; smaller ones are drawn there


class EvidenceDisplay:
    """How far bounds are below log p(x), or which error each row has.

    Make it by `from_estimator`, `from_evidence` or `from_diagnosis`.

    Parameters
    ----------
    n_samples : tuple of int, default=()
        Numbers K of the importance-weighted bounds; K = 1 is the ELBO.
    bound_gap, bound_gap_error : ndarray of shape (len(n_samples),), default=None
        Mean over rows of log p(x) minus the bound, and its standard error, nats.
    evidence : Evidence, default=None
        Standard errors, numbers of samples and reliability of rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.
    errorbar_ : matplotlib ErrorbarContainer or None
        The bounds.
    points_, unreliable_points_ : matplotlib Line2D or None
        The rows by numbers of samples and standard errors: those that can be trusted,
        and those whose value is a lower bound.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import EvidenceDisplay, VAEDensity
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> density = VAEDensity(max_iter=3, hidden_layer_sizes=(8,), random_state=0)
    >>> display = EvidenceDisplay.from_diagnosis(density.fit(X).diagnose(X))
    >>> display.n_samples
    (1, 5, 25, 100)
    """

    def __init__(
        self,
        n_samples: tuple[int, ...] = (),
        bound_gap: Array | None = None,
        bound_gap_error: Array | None = None,
        *,
        evidence: Evidence | None = None,
    ) -> None:
        self.n_samples = n_samples
        self.bound_gap = bound_gap
        self.bound_gap_error = bound_gap_error
        self.evidence = evidence

    @classmethod
    def from_estimator(
        cls,
        density: Any,
        X: ArrayLike,
        *,
        n_samples: Sequence[int] = BOUND_SAMPLES,
        random_state: int | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "EvidenceDisplay":
        """Read rows by a density, and draw bounds or errors.

        Parameters
        ----------
        density : estimator
            Fitted, with `evidence`, as `VAEDensity` and stacks of it have; also at the
            end of a pipeline. Bounds need the method `bounds`.
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_samples : sequence of int, default=(1, 2, 5, 10, 20, 50, 100)
            Numbers K of the bounds.
        random_state : int, default=None
            Each integer gives independent draws.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        display : EvidenceDisplay
        """
        inner = last_step(density)
        if not knows_errors(density):
            raise ValueError(
                f"EvidenceDisplay needs a density with evidence, as VAEDensity has; "
                f"{inner!r} has none."
            )
        rows = rows_of_last_step(density, table_of(X))
        evidence = inner.evidence(rows, random_state=random_state)
        bounds = None
        if callable(getattr(inner, "bounds", None)):
            bounds = inner.bounds(rows, tuple(n_samples), random_state=random_state)
        return cls.from_evidence(evidence, bounds, ax=ax, **kwargs)

    @classmethod
    def from_evidence(
        cls,
        evidence: Evidence,
        bounds: Bounds | None = None,
        *,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> "EvidenceDisplay":
        """Draw what is known of rows already.

        Parameters
        ----------
        evidence : Evidence
            What `evidence` of a density has returned.
        bounds : Bounds, default=None
            What `bounds` has returned for the same rows.
        ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : EvidenceDisplay
        """
        if not isinstance(evidence, Evidence):
            raise TypeError(
                f"evidence must be an Evidence, as VAEDensity.evidence returns it, got "
                f"{evidence!r}."
            )
        if bounds is None:
            return cls(evidence=evidence).plot(ax, **kwargs)
        n_rows = len(evidence.log_density)
        if bounds.iwae.shape[1] != n_rows:
            raise ValueError(
                f"bounds must be of the {n_rows} rows of evidence, and is of "
                f"{bounds.iwae.shape[1]}."
            )
        gap = evidence.unbiased() - bounds.iwae
        error = gap.std(1, ddof=1) / np.sqrt(n_rows) if n_rows > 1 else gap[:, 0] * 0
        display = cls(bounds.n_samples, gap.mean(1), error, evidence=evidence)
        return display.plot(ax, **kwargs)

    @classmethod
    def from_diagnosis(
        cls, diagnosis: Diagnosis, *, ax: "Axes | None" = None, **kwargs: Any
    ) -> "EvidenceDisplay":
        """Draw the bounds of a diagnosis.

        Parameters
        ----------
        diagnosis : Diagnosis
            What `VAEDensity.diagnose` has returned.
        ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : EvidenceDisplay
        """
        if not isinstance(diagnosis, Diagnosis):
            raise TypeError(
                f"diagnosis must be a Diagnosis, as VAEDensity.diagnose returns it, "
                f"got {diagnosis!r}."
            )
        gap, error = np.array([diagnosis.bound_gap, diagnosis.bound_gap_error])
        return cls(diagnosis.bound_samples, gap, error).plot(ax, **kwargs)

    def plot(
        self, ax: "Axes | None" = None, *, kind: str = "auto", **kwargs: Any
    ) -> "EvidenceDisplay":
        """Draw bounds or errors.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        kind : {"auto", "bounds", "errors"}, default="auto"
            "bounds" draws how far the mean bound is below log p(x), against K, with
            bars of two standard errors of the paired difference. "errors" draws the
            standard error of each row against the number of samples that it took.
            "auto" is "bounds" if there are any.
        **kwargs
            Properties of the bounds, for ``Axes.errorbar``, or of the points, for
            ``Axes.plot``.

        Returns
        -------
        display : EvidenceDisplay
            This object, with `ax_`, `figure_` and the artists.
        """
        check_choice(kind, "kind", ("auto", "bounds", "errors"))
        has_bounds = self.bound_gap is not None
        if kind == "auto":
            kind = "bounds" if has_bounds else "errors"
        if kind == "bounds" and not has_bounds:
            raise ValueError(
                "kind='bounds' needs bounds, and there are none: pass those of a "
                "density with the method bounds to from_evidence."
            )
        if kind == "errors" and self.evidence is None:
            raise ValueError(
                "kind='errors' needs the evidence of rows, which a Diagnosis does not "
                "have: use from_estimator or from_evidence."
            )
        ax = axes_for(ax)
        self.errorbar_: Any = None
        self.points_: Any = None
        self.unreliable_points_: Any = None
        (self._plot_bounds if kind == "bounds" else self._plot_errors)(ax, kwargs)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _plot_bounds(self, ax: "Axes", kwargs: dict[str, Any]) -> None:
        assert self.bound_gap is not None and self.bound_gap_error is not None
        ax.axhline(0, color=BLACK, linewidth=1, linestyle="--", label="log p(x)")
        style = {"color": BLUE, "marker": "o", "markersize": 4, "capsize": 3}
        style["label"] = "importance-weighted bound"
        self.errorbar_ = ax.errorbar(
            self.n_samples,
            -self.bound_gap,
            yerr=N_ERRORS * self.bound_gap_error,
            **merged("lines.Line2D", style, kwargs),
        )
        ax.set_xscale("log")
        ax.set_xticks(self.n_samples, [str(k) for k in self.n_samples])
        ax.minorticks_off()
        ax.set_xlabel("samples K of the bound (K = 1: ELBO)")
        ax.set_ylabel("bound minus log p(x),\nnats per row")
        ax.margins(y=0.25)  # for the legend
        add_legend(ax, 2)

    def _plot_errors(self, ax: "Axes", kwargs: dict[str, Any]) -> None:
        assert self.evidence is not None
        n_samples = np.maximum(self.evidence.n_samples, 1)
        error = np.nan_to_num(self.evidence.standard_error, nan=np.inf)
        error = error.clip(LEAST_ERROR)
        drawn = np.isfinite(error)
        bad = self.evidence.unreliable

        def points(rows: Mask, marker: str, color: str, label: str) -> Any:
            style: dict[str, Any] = {"linestyle": "", "markersize": 4, "alpha": 0.7}
            style |= {"marker": marker, "color": color, "label": label}
            (line,) = ax.plot(
                n_samples[rows & drawn],
                error[rows & drawn],
                **merged("lines.Line2D", style, kwargs),
            )
            return line

        self.points_ = points(~bad, "o", BLUE, "reliable")
        self.unreliable_points_ = points(bad, "x", ORANGE, "lower bound only")
        ax.set_xscale("log")
        ax.set_yscale("log")
        # There are few different numbers, often one: each is a tick, if there is room.
        ticks: list[int] = []
        for number in np.unique(n_samples).tolist():
            if not ticks or number > LEAST_RATIO * ticks[-1]:
                ticks.append(number)
        ax.set_xticks(ticks, [f"{number:,}" for number in ticks])
        ax.minorticks_off()
        ax.set_xlim(ticks[0] / LEAST_RATIO, LEAST_RATIO * n_samples.max())
        ax.set_xlabel("importance samples of the row")
        ax.set_ylabel("standard error of log p(x), nats")
        if bad.any():
            add_legend(ax, 2)
