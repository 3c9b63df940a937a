"""Diagnosis: the report on the health of a fitted density, as a record and as text."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from skvae.reports import (
    data_frame,
    html_list,
    html_report,
    html_table,
    html_text,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Diagnosis"]

WIDTH = 79
MAX_LINES = 20  # of the tables of latents and of columns
# The attributes that each table has one entry of for every line of it.
TABLES = {
    "columns": ("feature_names", "reconstruction_error", "floor_share"),
    "latents": ("latent_kl", "latent_activity"),
    "bounds": (
        "bound_samples",
        "bound",
        "bound_error",
        "bound_gap",
        "bound_gap_error",
    ),
    "evidence": ("quantiles", "effective_sample_size", "pareto_k"),
}


@dataclass(frozen=True, repr=False)
class Diagnosis:
    r"""Report on the health of a fitted density.

    Printing the report gives tables and advice; `to_dict` returns plain numbers.
    Log-densities are in nats per row and in the units of the columns.

    Attributes
    ----------
    n_rows, n_rows_used : int
        Numbers of rows that were given, and that the report is computed from.
    drawn_from_model : bool
        Whether rows were drawn from the model, because none were given. Such rows show
        how well log-densities are read, not how well the model fits a table.
    n_features, n_components : int
        Numbers of columns and latents.
    feature_names : tuple of str
        Names of the columns.
    log_density, log_density_error : float
        Mean of log p(x) over rows, and its standard error.
    log_likelihood : float
        Mean of log p(x | z) over rows and over latents from the encoder.
    kl : float
        Mean of KL(q(z | x) ‖ p(z)) over rows.
    latent_kl : tuple of float
        For each latent, the mean over rows of KL(q(z_l | x) ‖ r(z_l)). Here r is the
        Gaussian with the mean and the variance that the latent has over all rows. For
        a Gaussian encoder this is ½ (log Var z_l − E log Var[z_l | x]), an upper bound
        of the mutual information of latent and row. The KL from a mixture prior does
        not split into latents, so these numbers do not sum to `kl`.
    latent_activity : tuple of float
        For each latent, Var E[z_l | x] / Var z_l, between 0 (the encoder ignores the
        row) and 1.
    n_active : int
        Number of active latents: those with an activity above 0.01.
    reconstruction_error : tuple of float
        For each column, the root-mean-square difference between rows and the
        decoder's means at the encoder's means, in standard deviations of the column.
        An autoregressive decoder also reads the row's columns before it.
    floor_share : tuple of float
        For each column, the share of cells whose standard deviation, given the
        encoder's mean, is at most twice the floor, the smallest one that the model
        allows; nan for columns without a floor.
    quantiles : tuple of float
        Levels of the quantiles in `effective_sample_size` and `pareto_k`.
    effective_sample_size, pareto_k : tuple of float
        Quantiles over rows; see `Evidence`.
    stage_share : tuple of float
        Share of the rows that were settled by the first, second, ... proposal.
    unreliable_share : float
        Share of the rows whose log-density is only a lower bound.
    background_share : float
        Share of the rows that are more likely to come from the background than from
        the latent part. Latents and columns are checked on the remaining rows.
    n_bound_rows : int
        Number of rows that the bounds are computed on.
    bound_samples : tuple of int
        Numbers K of the importance-weighted bounds; K = 1 is the ELBO.
    bound, bound_error : tuple of float
        Mean bound for each K, and its standard error over rows.
    bound_gap, bound_gap_error : tuple of float
        How far each bound is below the log-density, and the standard error over rows
        of this paired difference.
    n_codes : int
        With a `CodebookPrior`, the number of codes of a slot; else 0.
    code_perplexity : tuple of float
        For each slot, the exponential of the entropy of the shares that the codes have
        as the most probable ones: as many codes, equally frequent, would be as varied.
    n_iter, best_iter : int
        Number of epochs, and the epoch whose weights the model has.
    training_bound, validation_evidence : float
        Importance-weighted bounds on the training rows and on the validation rows in
        the best epoch; nan where there is none.
    validation_gap : float
        `training_bound` minus `validation_evidence`; nan without validation rows. A
        gap below the differences between the bounds of different K says nothing,
        because the two have other numbers of importance samples, and because training
        uses dropout. A larger one is no fault of the kept weights: these are the best
        ones for the validation rows. It says that more rows would help.
    warnings : tuple of str
        What is not in order, and what can be done about it.

    References
    ----------
    Y. Burda, R. Grosse and R. Salakhutdinov, 2016. Importance weighted autoencoders.
    (Active units; the bounds.)

    M. D. Hoffman and M. J. Johnson, 2016. ELBO surgery: yet another way to carve up
    the variational evidence lower bound.

    S. R. Bowman et al., 2016. Generating sentences from a continuous space.
    (Posterior collapse.)

    A. Vehtari, D. Simpson, A. Gelman, Y. Yao and J. Gabry, 2024. Pareto smoothed
    importance sampling.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAEDensity
    >>> table = np.random.default_rng(0).normal(size=(200, 2))
    >>> density = VAEDensity(max_iter=2, hidden_layer_sizes=(8,), random_state=0)
    >>> diagnosis = density.fit(table).diagnose(table)
    >>> diagnosis.n_rows, diagnosis.n_features
    (200, 2)
    >>> len(diagnosis.to_dict()["latent_kl"])
    2
    """

    n_rows: int
    n_rows_used: int
    drawn_from_model: bool
    n_features: int
    n_components: int
    feature_names: tuple[str, ...]
    log_density: float
    log_density_error: float
    log_likelihood: float
    kl: float
    latent_kl: tuple[float, ...]
    latent_activity: tuple[float, ...]
    n_active: int
    reconstruction_error: tuple[float, ...]
    floor_share: tuple[float, ...]
    quantiles: tuple[float, ...]
    effective_sample_size: tuple[float, ...]
    pareto_k: tuple[float, ...]
    stage_share: tuple[float, ...]
    unreliable_share: float
    background_share: float
    n_bound_rows: int
    bound_samples: tuple[int, ...]
    bound: tuple[float, ...]
    bound_error: tuple[float, ...]
    bound_gap: tuple[float, ...]
    bound_gap_error: tuple[float, ...]
    n_iter: int
    best_iter: int
    training_bound: float
    validation_evidence: float
    validation_gap: float
    n_codes: int = 0
    code_perplexity: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists; None where a number is not finite.

        Returns
        -------
        values : dict
            Ready for ``json.dumps``; keys are the attributes.
        """
        return {name: _for_json(value) for name, value in asdict(self).items()}

    def to_frame(self, table: str = "columns") -> "pd.DataFrame":
        """Return one of the tables as a pandas DataFrame.

        Parameters
        ----------
        table : {"columns", "latents", "bounds", "evidence"}, default="columns"
            Which table: a row for each column, latent, number K of samples of a bound,
            or quantile over rows.

        Returns
        -------
        frame : pandas.DataFrame
            The columns are the attributes of that length.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        if table not in TABLES:
            allowed = ", ".join(map(repr, TABLES))
            raise ValueError(f"table must be one of {allowed}, got {table!r}.")
        columns = {name: list(getattr(self, name)) for name in TABLES[table]}
        return data_frame(columns)

    def __str__(self) -> str:
        sections = [
            self._summary(),
            self._bounds(),
            self._evidence(),
            self._latents(),
            self._columns(),
            self._training(),
            self._advice(),
        ]
        return "\n\n".join("\n".join(lines) for lines in sections)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        summary, nats = self._summary(), ("", "nats per row")
        n_first = summary.index("")
        means = [
            [part.strip() for part in line.strip().split("  ", 1)]
            for line in summary[n_first + 2 :]
        ]
        levels = [_percent(level, 0) for level in self.quantiles]
        columns, more_columns = _largest(self.reconstruction_error)
        latents, more_latents = _largest(self.latent_kl)
        advice = html_text("No warnings.")
        if self.warnings:
            advice = html_list("Warnings", self.warnings)
        return html_report(
            html_text(summary[0], strong=True),
            *(html_text(" ".join(line.split())) for line in summary[1:n_first]),
            advice,
            html_table(summary[n_first + 1], nats, means),
            html_table(
                f"Importance-weighted bounds ({self.n_bound_rows:,} rows)",
                ("K", "bound ± error", "below log p(x) ± error"),
                [
                    (str(k), _with_error(*bound), _with_error(*gap))
                    for k, bound, gap in zip(
                        self.bound_samples,
                        zip(self.bound, self.bound_error, strict=True),
                        zip(self.bound_gap, self.bound_gap_error, strict=True),
                        strict=True,
                    )
                ],
            ),
            html_table(
                "How log p(x) was read",
                ("quantile over rows", *levels),
                [
                    _cells("effective sample size", self.effective_sample_size, 1),
                    _cells("Pareto k̂", self.pareto_k, 2),
                ],
            ),
            html_text(
                f"{_percent(self.unreliable_share)} of the rows are unreliable, "
                f"{_percent(self.background_share)} are the background's."
            ),
            html_table(
                f"Columns{more_columns}",
                ("column", "error, in standard deviations", "at floor"),
                [
                    (
                        _short(self.feature_names[j]),
                        _number(self.reconstruction_error[j]),
                        _percent(self.floor_share[j]),
                    )
                    for j in columns
                ],
            ),
            html_table(
                f"Latents{more_latents}",
                ("latent", "KL, nats", "activity"),
                [
                    _cells(f"z{i}", (self.latent_kl[i], self.latent_activity[i]), 3)
                    for i in latents
                ],
            ),
            html_text(" · ".join(" ".join(line.split()) for line in self._training())),
        )

    def _summary(self) -> list[str]:
        rows = f"{self.n_rows:,}"
        if self.drawn_from_model:
            rows += " drawn from the model: pass X to see how it fits a table"
        elif self.n_rows_used < self.n_rows:
            rows = f"{self.n_rows_used:,}, drawn from the {rows} given"
        latents = f"{self.n_components}, of which {self.n_active} active"
        if self.n_codes:
            used = ", ".join(_number(value, digits=1) for value in self.code_perplexity)
            latents += f"; {self.n_codes} codes, of perplexity {used}"
        return [
            "Diagnosis of a density",
            f"  rows       {rows}",
            f"  columns    {self.n_features}",
            f"  latents    {latents}",
            "",
            "Nats per row, in the units of the columns",
            f"  log p(x)                {_number(self.log_density, 10)}"
            f" ± {_number(self.log_density_error)}",
            f"  log p(x | z)            {_number(self.log_likelihood, 10)}",
            f"  KL(q(z | x) ‖ p(z))     {_number(self.kl, 10)}",
        ]

    def _bounds(self) -> list[str]:
        columns = zip(
            self.bound_samples,
            self.bound,
            self.bound_error,
            self.bound_gap,
            self.bound_gap_error,
            strict=True,
        )
        return [
            f"Importance-weighted bounds ({self.n_bound_rows:,} rows, whose mean "
            f"log p(x) is {_number(self.bound[0] + self.bound_gap[0])})",
            "       K     bound ± error    below log p(x) ± error",
            *(
                f"  {k:>6}{_number(bound, 10)} ± {_number(error):<6}"
                f"{_number(gap, 14)} ± {_number(gap_error)}"
                for k, bound, error, gap, gap_error in columns
            ),
        ]

    def _evidence(self) -> list[str]:
        def line(name: str, values: Iterable[float], digits: int) -> str:
            return f"  {name:<24}" + "".join(_number(v, 10, digits) for v in values)

        stages = "".join(f"{_percent(share):>10}" for share in self.stage_share)
        numbers = "".join(f"{i + 1:>10}" for i in range(len(self.stage_share)))
        levels = "".join(f"{_percent(level, 0):>10}" for level in self.quantiles)
        return [
            "How log p(x) was read",
            f"  {'quantile over rows':<24}{levels}",
            line("effective sample size", self.effective_sample_size, 1),
            line("Pareto k̂".ljust(25), self.pareto_k, 2),
            f"  {'settled by proposal':<24}{numbers}",
            f"  {'share of rows':<24}{stages}",
            f"  {'unreliable rows':<24}{_percent(self.unreliable_share):>10}",
            f"  {'rows of the background':<24}{_percent(self.background_share):>10}",
        ]

    def _latents(self) -> list[str]:
        order, more = _largest(self.latent_kl)
        return [
            f"Latents{more}",
            "  latent           KL (nats)  activity",
            *(
                f"  {f'z{i}':<16}{_number(self.latent_kl[i], 10)}"
                f"{_number(self.latent_activity[i], 10)}"
                for i in order
            ),
        ]

    def _columns(self) -> list[str]:
        order, more = _largest(self.reconstruction_error)
        width = max(16, *(min(32, len(self.feature_names[j])) + 1 for j in order))
        return [
            f"Columns{more}",
            f"  {'column':<{width}}{'error':>10}{'at floor':>10}",
            *(
                f"  {_short(self.feature_names[j]):<{width}}"
                f"{_number(self.reconstruction_error[j], 10)}"
                f"{_percent(self.floor_share[j]):>10}"
                for j in order
            ),
            "  error: root mean square of the reconstruction's, in standard deviations",
        ]

    def _training(self) -> list[str]:
        return [
            "Training",
            f"  best epoch              {self.best_iter:>7} of {self.n_iter}",
            f"  training bound          {_number(self.training_bound, 10)}",
            f"  validation evidence     {_number(self.validation_evidence, 10)}",
            f"  gap                     {_number(self.validation_gap, 10)}",
        ]

    def _advice(self) -> list[str]:
        if not self.warnings:
            return ["No warnings."]
        lines = ["Warnings"]
        for warning in self.warnings:
            lines += wrap(
                warning, WIDTH, initial_indent="  - ", subsequent_indent="    "
            )
        return lines


def _for_json(value: object) -> object:
    """Return a list for a tuple, and None for a number that JSON does not have."""
    if isinstance(value, tuple):
        return [_for_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float, width: int = 0, digits: int = 3) -> str:
    if math.isnan(value):
        return f"{'-':>{width}}"
    style = "g" if abs(value) >= 1e6 else "f"
    return f"{value:>{width}.{digits}{style}}"


def _cells(name: str, values: Iterable[float], digits: int) -> tuple[str, ...]:
    return (name, *(_number(value, digits=digits) for value in values))


def _with_error(value: float, error: float) -> str:
    return f"{_number(value)} ± {_number(error)}"


def _percent(share: float, digits: int = 1) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.{digits}f} %"


def _short(name: str) -> str:
    return name if len(name) <= 32 else name[:31] + "…"


def _largest(values: Sequence[float]) -> tuple[list[int], str]:
    """Return the indices of the largest values, in order, and a remark if some lack."""
    everything = range(len(values))
    if len(values) <= MAX_LINES:
        return list(everything), ""
    largest = sorted(everything, key=lambda i: -values[i])[:MAX_LINES]
    return sorted(largest), f" ({MAX_LINES} largest of {len(values)})"
