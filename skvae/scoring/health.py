"""How the health report of a fitted density is computed, and what it advises."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skvae.arguments.seeds import seed_from
from skvae.diagnostics import Diagnosis
from skvae.evidence import Budget, Evidence, RowNoise, row_hash
from skvae.evidence.autoencoding import Autoencoding, autoencode_rows
from skvae.model.features import Support
from skvae.scoring.reader import RowReader
from skvae.scoring.torch_state import reading_state
from skvae.tables.given import Given
from skvae.typing import Array

__all__ = ["FitRecord", "diagnose_density"]

N_DRAWN = 1000  # rows from the model, where none are given
MAX_ROWS = 1000
MAX_BOUND_ROWS = 500
BOUND_SAMPLES = (1, 5, 25, 100)
QUANTILES = (0.05, 0.5, 0.95)
SEED = 0
NEAR_FLOOR = 2.0  # floors
ACTIVE = 0.01  # of the latent's variance (Burda et al., 2016)

COLLAPSED = 0.01  # nat
FEW_ROWS = 100
TOO_FEW_ROWS = 10  # for the spread of latents between rows
MANY = 0.05  # of the rows
MANY_AT_FLOOR = 0.2  # of a column's cells
MAX_NAMES = 5
LAST_PART = 0.25  # of the epochs
STILL_RISING = 0.2  # nat


@dataclass(frozen=True)
class FitRecord:
    """What the report says of the fit itself.

    Attributes
    ----------
    feature_names : tuple of str
        Names of the columns.
    n_components : int
        Number of latents.
    history : list of dict
        One record per epoch.
    best_iter : int
        Epoch whose weights the model has.
    """

    feature_names: tuple[str, ...]
    n_components: int
    history: list[dict[str, float]]
    best_iter: int


@reading_state()
def diagnose_density(
    reader: RowReader,
    rows: Array | None,
    budget: Budget,
    fit: FitRecord,
    given: Given | None = None,
) -> Diagnosis:
    """Check a fitted density on rows, or on rows of its own where there are none.

    Parameters
    ----------
    reader : RowReader
        The fitted model.
    rows : ndarray of shape (n, columns) or None
        Checked rows; None draws them.
    budget : Budget
        What may be spent on the log-density of a row.
    fit : FitRecord
        How the model was fitted.
    given : Given, default=None
        What rows are drawn given, one for each; None where nothing is given.
    """
    drawn = rows is None
    checked = _drawn_rows(reader, given) if rows is None else rows
    rows = _subset(checked, MAX_ROWS)
    stages = reader.stages(budget, fit.n_components, None)
    evidence = reader.evidence(rows, stages, SEED)
    log_density = evidence.log_density
    mean, error = _mean_and_error(log_density)
    training_bound, validation_evidence = _best_epoch(fit)
    diagnosis = Diagnosis(
        n_rows=len(checked),
        n_rows_used=len(rows),
        drawn_from_model=drawn,
        n_features=reader.model.n_features,
        n_components=fit.n_components,
        feature_names=fit.feature_names,
        log_density=mean,
        log_density_error=error,
        **_latents_and_columns(reader, rows, evidence),
        quantiles=QUANTILES,
        effective_sample_size=_quantiles(evidence.effective_sample_size),
        pareto_k=_quantiles(evidence.pareto_k),
        stage_share=tuple(
            float(np.mean(evidence.n_stages == 1 + i))
            for i in range(len(stages.complete))
        ),
        unreliable_share=float(evidence.unreliable.mean()),
        background_share=float((evidence.background_share > 0.5).mean()),
        **_bounds(reader, rows, log_density),
        n_iter=len(fit.history),
        best_iter=fit.best_iter,
        training_bound=training_bound,
        validation_evidence=validation_evidence,
        validation_gap=training_bound - validation_evidence,
        **_codes(reader, rows),
    )
    return replace(diagnosis, warnings=tuple(_advice(diagnosis, fit.history)))


def _drawn_rows(reader: RowReader, given: Given | None) -> Array:
    seed = seed_from(SEED)
    if given is None:
        return reader.draw(N_DRAWN, seed)
    return given.beside(reader.draw(len(given.table), seed, given.in_model_units()))


def _subset(rows: Array, most: int) -> Array:
    """Return all rows, or as many as allowed: always the same ones, in order."""
    if len(rows) <= most:
        return rows
    chosen = np.random.default_rng(SEED).choice(len(rows), most, replace=False)
    return rows[np.sort(chosen)]


def _mean_and_error(values: Array) -> tuple[float, float]:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(error)


def _quantiles(values: Array) -> tuple[float, ...]:
    """Return entries of the sorted values: these may be infinite, or all nan."""
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return (math.nan,) * len(QUANTILES)
    return tuple(float(ordered[round(q * (len(ordered) - 1))]) for q in QUANTILES)


def _latents_and_columns(
    reader: RowReader, rows: Array, evidence: Evidence
) -> dict[str, Any]:
    """Check encoder and decoder on the rows that are the latent part's, if any are."""
    latent = evidence.background_share <= 0.5
    rows = rows[latent] if latent.any() else rows
    columns, n_features = reader.columns, reader.model.n_features
    u, log_jacobian = columns.to_model(rows)
    noise = RowNoise(row_hash(rows, SEED))
    coded = autoencode_rows(reader.model, reader.tensor(u), noise, NEAR_FLOOR)
    check = Autoencoding(**{name: value.cpu() for name, value in vars(coded).items()})
    between = check.mean.var(0, correction=0)
    total = check.variance.mean(0) + between
    kl = 0.5 * (total.log() - check.variance.log().mean(0))
    activity = between / total
    reconstruction = columns.to_table(check.reconstruction.numpy())
    return {
        "log_likelihood": float((check.log_likelihood.numpy() + log_jacobian).mean()),
        "kl": float(check.kl.mean()),
        "latent_kl": tuple(kl.tolist()),
        "latent_activity": tuple(activity.tolist()),
        "n_active": int((activity > ACTIVE).sum()),
        "reconstruction_error": tuple(
            _reconstruction_error(kind.support, *cells)
            for kind, *cells in zip(
                columns.kinds[:n_features],
                rows.T[:n_features],
                reconstruction.T,
                columns.scale,
                strict=True,
            )
        ),
        "floor_share": tuple(check.floor_share.mean(0).tolist()),
    }


def _codes(reader: RowReader, rows: Array) -> dict[str, Any]:
    """Return how many codes there are, and how varied those of the rows are."""
    n_codes = reader.model.prior.n_codes
    if n_codes is None:
        return {}
    perplexity = []
    for codes in reader.embed(rows).T:
        share = np.unique(codes, return_counts=True)[1] / len(codes)
        perplexity.append(float(np.exp(-share @ np.log(share))))
    return {"n_codes": n_codes, "code_perplexity": tuple(perplexity)}


def _reconstruction_error(
    support: Support, column: Array, reconstruction: Array, scale: float
) -> float:
    """Return the root mean square error in units of the column's spread.

    Of categories: the root of how many are wrong, in units of how many would be if
    all were the most frequent one. Missing cells do not count.
    """
    observed = ~np.isnan(column)
    column, reconstruction = column[observed], reconstruction[observed]
    if not len(column):
        return math.nan
    if support == "category":
        wrong = (reconstruction != column).astype(float)
        spread = math.sqrt(
            1 - np.unique(column, return_counts=True)[1].max() / len(wrong)
        )
    else:
        spread = float(scale) if support == "real" else float(column.std())
        spread = spread if spread > 0 else 1.0
        # Divided first: the difference of the largest numbers stays finite.
        wrong = reconstruction / spread - column / spread
        spread = 1.0
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.square(wrong).mean())) / (spread if spread > 0 else 1.0)


def _bounds(reader: RowReader, rows: Array, log_density: Array) -> dict[str, Any]:
    """Compare the bounds with the log-densities of the same rows."""
    log_density = _subset(log_density, MAX_BOUND_ROWS)
    rows = _subset(rows, MAX_BOUND_ROWS)
    bounds = reader.bounds(rows, BOUND_SAMPLES, SEED)
    bound, bound_error = zip(*map(_mean_and_error, bounds.iwae), strict=True)
    gap, gap_error = zip(
        *(_mean_and_error(log_density - values) for values in bounds.iwae), strict=True
    )
    return {
        "n_bound_rows": len(rows),
        "bound_samples": BOUND_SAMPLES,
        "bound": bound,
        "bound_error": bound_error,
        "bound_gap": gap,
        "bound_gap_error": gap_error,
    }


def _best_epoch(fit: FitRecord) -> tuple[float, float]:
    """Return training bound and validation evidence of the epoch that won."""
    for record in fit.history:
        if record["epoch"] == fit.best_iter:
            return float(record["bound"]), float(record["evidence"])
    return math.nan, math.nan


def _advice(diagnosis: Diagnosis, history: list[dict[str, Any]]) -> Iterator[str]:
    """Say in plain words what is not in order, and what to do."""
    if diagnosis.n_rows < FEW_ROWS:
        yield (
            f"X has {diagnosis.n_rows} rows only: shares and means are rough. Pass at "
            f"least {FEW_ROWS}."
        )
    yield from _advice_on_latents(diagnosis)
    yield from _advice_on_rows(diagnosis)
    yield from _advice_on_columns(diagnosis)
    yield from _advice_on_training(diagnosis, history)


def _advice_on_latents(diagnosis: Diagnosis) -> Iterator[str]:
    if (1 - diagnosis.background_share) * diagnosis.n_rows_used < TOO_FEW_ROWS:
        return
    if diagnosis.n_codes and 4 * min(diagnosis.code_perplexity) < diagnosis.n_codes:
        yield (
            f"Of {diagnosis.n_codes} codes, few are used: their perplexity is "
            f"{min(diagnosis.code_perplexity):.1f}. Fewer n_codes of CodebookPrior do."
        )
    n_collapsed = sum(kl < COLLAPSED for kl in diagnosis.latent_kl)
    if 2 * n_collapsed > diagnosis.n_components:
        yield (
            f"Posterior collapse: {n_collapsed} of {diagnosis.n_components} latents "
            f"carry less than {COLLAPSED:g} nat about the row. If columns depend on "
            f"each other, try objective='iwae', a likelihood with fewer modes, a "
            f"longer training or another random_state; if not, fewer n_components do."
        )


def _advice_on_rows(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.unreliable_share > MANY:
        yield (
            f"{diagnosis.unreliable_share:.0%} of the rows have log-densities that are "
            f"lower bounds only: their importance weights have too heavy a tail. Raise "
            f"max_evidence_samples, or train longer for a better encoder."
        )
    if diagnosis.background_share > MANY:
        yield (
            f"The background takes {diagnosis.background_share:.0%} of the rows. Look "
            f"at them (background_share of `evidence`): if they are odd, or unlike "
            f"those of `fit`, this is its task; if they are not, the latent part "
            f"underfits: raise n_components, hidden_layer_sizes or max_iter."
        )


def _advice_on_columns(diagnosis: Diagnosis) -> Iterator[str]:
    hits = [
        (name, share)
        for name, share in zip(
            diagnosis.feature_names, diagnosis.floor_share, strict=True
        )
        if share > MANY_AT_FLOOR
    ]
    if hits:
        listed = ", ".join(
            f"{name!r} ({share:.0%})" for name, share in hits[:MAX_NAMES]
        )
        more = len(hits) - MAX_NAMES
        yield (
            f"Standard deviations are near the smallest one allowed in {listed}"
            f"{f' and {more} more columns' if more > 0 else ''}: values repeat, are "
            f"rounded, or follow from other columns, and the log-density depends on "
            f"that floor. Add noise as wide as the rounding, or drop such columns."
        )


def _advice_on_training(
    diagnosis: Diagnosis, history: list[dict[str, Any]]
) -> Iterator[str]:
    # Training that goes on beyond its best epoch does no harm: that epoch's weights are
    # kept, and no epoch is kept that scores validation rows worse than the start.
    validated = any(math.isfinite(record["evidence"]) for record in history)
    if validated and diagnosis.best_iter == 0:
        yield (
            "No epoch scored the validation rows better than the start, a linear "
            "model, whose weights are kept: training overfits at once. A lower "
            "learning_rate, a larger weight_decay or dropout, narrower "
            "hidden_layer_sizes, fewer n_components or more rows may help."
        )
    rise = _last_rise(history)
    if diagnosis.best_iter == diagnosis.n_iter and rise > STILL_RISING:
        yield (
            f"The last epoch is the best, and the validation evidence rose by "
            f"{rise:.2f} nat in the last {LAST_PART:.0%} of the epochs: training had "
            f"not ended. Raise max_iter."
        )
    n_recoveries = sum(not math.isfinite(record["objective"]) for record in history)
    if n_recoveries:
        yield (
            f"Training met non-finite values {n_recoveries} time(s) and went back to "
            f"earlier weights each time. Lower learning_rate, or look for extreme "
            f"values in the table."
        )


def _last_rise(history: list[dict[str, Any]]) -> float:
    """Return how much the validation evidence rose in the last part of training."""
    before = (1 - LAST_PART) * len(history)
    curve = [(i, r["evidence"]) for i, r in enumerate(history, 1)]
    curve = [(i, evidence) for i, evidence in curve if math.isfinite(evidence)]
    earlier = [evidence for i, evidence in curve if i <= before]
    return curve[-1][1] - earlier[-1] if earlier else math.nan
