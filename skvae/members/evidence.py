"""The evidence of a mixture's rows, from that of its members."""

import warnings
from collections.abc import Sequence
from inspect import signature
from typing import Protocol, TypeGuard

import numpy as np

from skvae.evidence import MEAN_TOL, Evidence, Proposal
from skvae.evidence.sampling import NEGLIGIBLE_SHARE
from skvae.members.member import score_member
from skvae.members.pipelines import last_step, rows_of_last_step
from skvae.typing import Array, Density, Table

__all__ = [
    "DensityWithEvidence",
    "exact_evidence",
    "has_evidence",
    "knows_errors",
    "loose_scores",
    "member_evidence",
    "mix_evidence",
    "scores_for_means",
    "scores_to_decide",
]

LOOSE_TOL = 100.0  # nats: larger than any standard error
LOOSE_SAMPLES = 64


class DensityWithEvidence(Density, Protocol):
    """A density estimator that knows the errors of its log-densities."""

    def evidence(
        self,
        X: Table,
        *,
        tol: float | None = None,
        max_samples: int | None = None,
        proposal: str | Proposal | None = None,
        random_state: int | None = None,
    ) -> Evidence:
        """Return log-densities and their errors; arguments as for `VAEDensity`."""


def has_evidence(density: Density) -> TypeGuard[DensityWithEvidence]:
    """Whether a density has `evidence`: it knows the errors of its log-densities."""
    return callable(getattr(density, "evidence", None))


def knows_errors(density: Density) -> bool:
    """Whether a density has `evidence`, or is a pipeline or a search around one."""
    return has_evidence(last_step(density))


def member_evidence(
    density: Density,
    rows: Table,
    label: str,
    *,
    tol: float | None,
    max_samples: int | None,
    proposal: str | Proposal | None,
    random_state: int | None,
) -> Evidence:
    """Return the evidence of rows; log-densities without known errors are exact.

    Parameters
    ----------
    density : estimator
        Fitted. The evidence of a pipeline or a search is that of the density inside.
    rows : array or data frame
        n rows.
    label : str
        What errors call the density.
    tol, max_samples, proposal, random_state
        As for `VAEDensity.evidence`, for a density that has it.
    """
    inner = last_step(density)
    if has_evidence(inner):
        return inner.evidence(
            rows_of_last_step(density, rows),
            tol=tol,
            max_samples=max_samples,
            proposal=proposal,
            random_state=random_state,
        )
    return exact_evidence(score_member(density, rows, label))


def loose_scores(density: Density, rows: Table, label: str) -> Array:
    """Return log-densities of rows that may be off by some tenths of a nat.

    A density that knows its errors gives every row the same few draws from its
    encoder and its prior. This is much faster than `score_samples` for strange rows,
    for which better proposals have to be searched. Such draws are seldom reliable to
    the last tenth of a nat: the warning of that would say nothing new.

    Parameters
    ----------
    density, rows, label
        As for `score_member`.
    """
    if not knows_errors(density):
        return score_member(density, rows, label)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The log-density of .* lower bound")
        return member_evidence(
            density,
            rows,
            label,
            tol=LOOSE_TOL,
            max_samples=LOOSE_SAMPLES,
            proposal="defensive",
            random_state=None,
        ).log_density


def scores_for_means(density: Density, rows: Table, label: str) -> Array:
    """Return log-densities of rows of which only means are asked for.

    A density that knows its errors is read at a coarser tolerance, without the bias
    that would not average out.

    Parameters
    ----------
    density, rows, label
        As for `score_member`.
    """
    inner = last_step(density)
    if not has_evidence(inner) or not hasattr(inner, "evidence_tol"):
        return score_member(density, rows, label)
    evidence = member_evidence(
        density,
        rows,
        label,
        tol=max(inner.evidence_tol, MEAN_TOL),
        max_samples=None,
        proposal=None,
        random_state=None,
    )
    return evidence.unbiased()


def scores_to_decide(
    density: Density, rows: Table, label: str, threshold: float
) -> Array:
    """Return log-densities of rows that are on the right side of a threshold.

    A density that can stop early reads rows far from the threshold by few draws.

    Parameters
    ----------
    density, rows, label
        As for `score_member`.
    threshold : float
        Nats. If it is not finite, all rows are read well.
    """
    inner = last_step(density)
    if not np.isfinite(threshold) or not _stops_early(inner):
        return score_member(density, rows, label)
    rows = rows_of_last_step(density, rows)
    return inner.evidence(rows, threshold=threshold).log_density


def _stops_early(density: Density) -> bool:
    """Whether the `evidence` of a density takes a threshold."""
    if not has_evidence(density):
        return False
    return "threshold" in signature(density.evidence).parameters


def exact_evidence(log_density: Array) -> Evidence:
    """Return the evidence of log-densities that have no error, shape (n,)."""
    zero = np.zeros(len(log_density))
    count = zero.astype(np.int64)
    return Evidence(
        log_density=log_density,
        standard_error=zero,
        bias=zero,
        effective_sample_size=zero + np.inf,
        pareto_k=zero - np.inf,
        n_samples=count,
        n_stages=count,
        background_share=zero,
        companion_share=zero,
        unreliable=np.zeros(len(log_density), dtype=np.bool_),
    )


def mix_evidence(weights: Array, parts: Sequence[Evidence]) -> Evidence:
    r"""Return the evidence of a mixture, given that of its densities.

    Let :math:`r_m = \pi_m p_m(x) / p(x)` be the probability that the row comes from
    density m. By the delta method, the error of log p is :math:`\sum_m r_m e_m`, with
    the errors :math:`e_m` of the densities. All densities get the same noise for the
    same row, so that their errors are correlated. The standard error is therefore
    the upper bound :math:`\sum_m r_m \mathrm{se}_m`, which holds for any correlation.
    The importance weights of all densities together have the effective sample size
    :math:`1 / \sum_m (r_m^2 / n_m)`, with the sizes :math:`n_m` of the densities.

    Parameters
    ----------
    weights : ndarray of shape (M,)
        π, all positive.
    parts : sequence of Evidence
        Of the same n rows.
    """
    log_density = np.stack([part.log_density for part in parts])
    joint = np.log(weights)[:, None] + log_density
    total = np.logaddexp.reduce(joint, axis=0)
    # Where the mixture is zero, all shares are zero, not nan.
    share = np.exp(joint - np.where(np.isfinite(total), total, 0.0))
    counts = share >= NEGLIGIBLE_SHARE

    def all_of(name: str) -> Array:
        return np.stack([getattr(part, name) for part in parts])

    def shared(values: Array, power: int) -> Array:
        # A density without a share of the row adds nothing, even if its value is nan.
        with np.errstate(invalid="ignore"):
            return np.where(share > 0, share**power * values, 0.0).sum(0)

    with np.errstate(divide="ignore"):
        size = 1 / shared(1 / all_of("effective_sample_size"), 2)
    return Evidence(
        log_density=total,
        standard_error=shared(all_of("standard_error"), 1),
        bias=shared(all_of("bias"), 1),
        effective_sample_size=size,
        pareto_k=np.where(counts, all_of("pareto_k"), -np.inf).max(0),
        n_samples=all_of("n_samples").sum(0),
        n_stages=all_of("n_stages").max(0),
        background_share=shared(all_of("background_share"), 1),
        companion_share=shared(all_of("companion_share"), 1),
        unreliable=np.logical_or.reduce(counts & (all_of("unreliable") > 0)),
    )
