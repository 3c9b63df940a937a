"""Per-row sample counts: rows whose error is too large get more samples."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae.evidence.importance import Estimate, summarise
from skvae.evidence.noise import RowNoise, SobolPoints
from skvae.evidence.proposals import Proposal
from skvae.model import VAE
from skvae.model.threads import one_thread

__all__ = ["estimate_evidence"]

# Rows × samples at a time: activations that stay in a processor's cache, or enough
# work to keep a GPU busy.
BLOCK_DRAWS = {"cpu": 2048, "cuda": 2**18}
GROWTH = 4


def estimate_evidence(
    model: VAE,
    proposal: Proposal,
    x: Tensor,
    row_hash: NDArray[np.uint64],
    n_samples: int,
    max_samples: int,
    tol: float,
) -> Estimate:
    """Estimate log p(x), row by row, in blocks of bounded size, a thread each.

    Every row gets `n_samples` draws. A row whose standard error then exceeds `tol`
    gets two or four times as many in all, again and again up to `max_samples`. The
    decision reads the row alone, so its value does not depend on the others.

    Parameters
    ----------
    model : VAE
        The density.
    proposal : Proposal
        Where the latents come from.
    x : Tensor of shape (B, D)
        Rows, in model units.
    row_hash : ndarray of shape (B,)
        Keys of the rows' noise.
    n_samples, max_samples : int
        First and largest number of draws per row.
    tol : float
        Standard error, in nats, that is small enough.
    """
    sobol = SobolPoints(proposal.noise_dim(model, x))
    block_rows = max(1, BLOCK_DRAWS[x.device.type] // n_samples)

    def estimate_from(begin: int) -> Estimate:
        rows = slice(begin, begin + block_rows)
        noise = RowNoise.of(row_hash[rows], sobol)
        return _estimate_block(
            model, proposal, x[rows], noise, n_samples, max_samples, tol
        )

    begins = range(0, len(x), block_rows)
    with one_thread() as n_threads:
        if n_threads == 1 or len(begins) == 1 or x.device.type != "cpu":
            blocks = [estimate_from(begin) for begin in begins]
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                blocks = list(pool.map(estimate_from, begins))
    return Estimate(
        *(torch.cat([getattr(b, f.name) for b in blocks]) for f in fields(Estimate))
    )


@torch.no_grad()
def _estimate_block(
    model: VAE,
    proposal: Proposal,
    x: Tensor,
    noise: RowNoise,
    n_samples: int,
    max_samples: int,
    tol: float,
) -> Estimate:
    log_w = _draw_log_w(model, proposal, x, noise, 0, n_samples)
    result = summarise(log_w)
    rows = torch.arange(len(x), device=x.device)
    block_draws = BLOCK_DRAWS[x.device.type]
    pending = [(rows, log_w)]
    while pending:
        rows, log_w = pending.pop()
        for total, group in _next_stage(result, rows, log_w, max_samples, tol).items():
            begin = len(log_w)
            more = [
                _draw_log_w(model, proposal, x[part], noise.select(part), begin, total)
                for part in rows[group].split(max(1, block_draws // (total - begin)))
            ]
            joined = torch.cat([log_w[:, group], torch.cat(more, 1)])
            for name, values in vars(summarise(joined)).items():
                getattr(result, name)[rows[group]] = values
            pending.append((rows[group], joined))
    return result


def _next_stage(
    result: Estimate, rows: Tensor, log_w: Tensor, max_samples: int, tol: float
) -> dict[int, Tensor]:
    """Return which of the rows need more samples, by how many in all.

    The error falls with the square root of the samples, which says how many are
    needed; but it is itself estimated, so no stage is more than `GROWTH` times the
    last.
    """
    n_samples = len(log_w)
    if n_samples >= max_samples:
        return {}
    error = result.standard_error[rows]
    # Not "> tol": a row whose error is not a number needs more samples, too.
    poor = ~(error <= tol)
    need = torch.where(error.isfinite(), (error / tol).square(), GROWTH)
    doublings = need.log2().ceil().clamp(1, math.log2(GROWTH)).long()
    groups: dict[int, Tensor] = {}
    for doubling in doublings[poor].unique().tolist():
        total = min(n_samples << doubling, max_samples)
        chosen = poor & (doublings == doubling)
        if total in groups:
            chosen |= groups[total]
        groups[total] = chosen
    return {total: chosen.nonzero().squeeze(1) for total, chosen in groups.items()}


def _draw_log_w(
    model: VAE, proposal: Proposal, x: Tensor, noise: RowNoise, begin: int, end: int
) -> Tensor:
    """Return log weights number `begin` to `end` of every row, in float64."""
    return proposal.draw(model, x, noise.points(begin, end, like=x)).log_w.double()
