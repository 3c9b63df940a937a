"""Log-densities of a table's rows, in the units of its columns."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skvae.evidence import (
    Bounds,
    Budget,
    Evidence,
    Proposal,
    RowNoise,
    Stage,
    default_stages,
    estimate_evidence,
    importance_bounds,
    row_hash,
)
from skvae.model import VAE
from skvae.model.spec import resolve
from skvae.tables.columns import RowMap
from skvae.tables.large import row_blocks
from skvae.typing import Array

__all__ = ["bound_rows", "score_rows", "scoring_plan", "warn_unreliable"]


def scoring_plan(
    estimator: Any,
    tol: float | None,
    max_samples: int | None,
    proposal: str | Proposal | None,
) -> list[Stage]:
    """Return what `VAEDensity.evidence` will do; None is the estimator's default."""
    most = estimator.max_evidence_samples if max_samples is None else max_samples
    budget = Budget(
        n_samples=min(estimator.n_importance_samples, most),
        max_samples=most,
        tol=estimator.evidence_tol if tol is None else tol,
    )
    if proposal is None and estimator.model_.encoder_is_exact:
        proposal = "encoder"
    if proposal is None:
        return default_stages(budget, estimator.n_components_)
    return [Stage(resolve(proposal, Proposal), budget)]


def score_rows(
    model: VAE,
    columns: RowMap,
    table: Array,
    stages: list[Stage],
    device: torch.device,
    seed: int,
) -> Evidence:
    """Return the evidence of every row, a bounded number of them at a time."""
    parts = []
    for x, log_jacobian, key in _blocks(columns, table, device, seed):
        estimate = estimate_evidence(model, x, RowNoise(key), stages)
        part = {name: value.cpu().numpy() for name, value in vars(estimate).items()}
        part["log_density"] = part["log_density"] + log_jacobian
        parts.append(part)
    return Evidence(
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    )


def bound_rows(
    model: VAE,
    columns: RowMap,
    table: Array,
    n_samples: Sequence[int],
    device: torch.device,
    seed: int,
) -> Bounds:
    """Return the ELBO and the importance-weighted bounds of every row."""
    parts = []
    for x, log_jacobian, key in _blocks(columns, table, device, seed):
        noise = RowNoise(key, quasi=False)
        bounds = importance_bounds(model, x, noise, [1, *n_samples])
        parts.append(bounds.cpu().numpy() + log_jacobian)
    elbo, *iwae = np.concatenate(parts, axis=1)
    return Bounds(tuple(n_samples), elbo, np.reshape(iwae, (len(n_samples), -1)))


def _blocks(
    columns: RowMap, table: Array, device: torch.device, seed: int
) -> Iterator[tuple[torch.Tensor, Array, NDArray[np.uint64]]]:
    """Yield rows in model units, their log |det du/dx| and their noise's keys."""
    for rows in row_blocks(table):
        u, log_jacobian = columns.to_model(rows)
        yield torch.from_numpy(u).to(device), log_jacobian, row_hash(rows, seed)


def warn_unreliable(evidence: Evidence) -> None:
    """Say once how many rows have a lower bound instead of an estimate."""
    n_unreliable = int(evidence.unreliable.sum())
    if n_unreliable:
        warnings.warn(
            f"The log-density of {n_unreliable} of {len(evidence.unreliable)} rows is "
            f"best read as a lower bound: their importance weights have too heavy a "
            f"tail (see `unreliable` and `pareto_k` of `evidence`). A larger "
            f"max_evidence_samples may help.",
            UserWarning,
            stacklevel=3,
        )
