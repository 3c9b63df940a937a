"""What companions share: blocks of rows, factors of covariances, draws of modes."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from skvae.model.missing import (
    ROWS_OF_PATTERN,
    by_blocks,
    incomplete_rows,
    pattern_groups,
    uniforms,
)

__all__ = [
    "BlockScorer",
    "cholesky_of",
    "complete_by_uniforms",
    "draw_modes",
    "in_row_blocks",
    "inverse_of",
]

BlockScorer: TypeAlias = Callable[[Tensor], Tensor]

# A multiple of what the kernels of matrix products take at a time. Rows are to be the
# columns of the right factor: in products of the other order, bits may differ even so.
ROWS_AT_ONCE = 48


def in_row_blocks(
    make: Callable[[Tensor | None], BlockScorer], x: Tensor, by_pattern: bool
) -> Tensor:
    """Apply functions of rows (B, D), which return (..., B), to blocks of one shape.

    The last bits of a matrix product depend on the number of its rows: with one shape,
    those of a row do not depend on the others.

    Parameters
    ----------
    make : callable
        Takes a pattern (D,) of observed cells, or None for complete rows, and returns
        a function of rows with this pattern.
    x : Tensor of shape (B, D)
        Rows; NaN where a cell is missing.
    by_pattern : bool
        Whether incomplete rows need functions of their own patterns. Else a function
        for one pattern takes all of them.
    """
    is_complete = ~x.isnan().any(1)
    if is_complete.all():
        return _in_blocks(make(None), x, ROWS_AT_ONCE)
    groups: list[tuple[Tensor | None, Tensor, int]] = []
    if is_complete.any():
        groups = [(None, is_complete.nonzero().squeeze(1), ROWS_AT_ONCE)]
    if by_pattern:
        groups += [(*group, ROWS_OF_PATTERN) for group in pattern_groups(x)]
    else:
        rows = incomplete_rows(x)
        first_only = torch.arange(x.shape[1]) == 0
        groups.append((first_only, rows, ROWS_AT_ONCE))
    parts = [_in_blocks(make(seen), x[rows], n) for seen, rows, n in groups]
    order = torch.cat([rows for _, rows, _ in groups])
    return torch.cat(parts, -1)[..., order.argsort()]


def _in_blocks(function: BlockScorer, x: Tensor, at_once: int) -> Tensor:
    n_rows = len(x)
    lacking = x[-1:].expand(-n_rows % at_once, -1)
    blocks = torch.cat([x, lacking]).split(at_once)
    return torch.cat([function(block) for block in blocks], -1)[..., :n_rows]


def complete_by_uniforms(
    draw: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Draw the missing cells of rows (B, D), with D + 1 uniform numbers for each row.

    Parameters
    ----------
    draw : callable
        Takes rows (48, D) and numbers from [0, 1), (48,) and (48, D); returns rows.
    x : Tensor of shape (B, D)
        Rows; NaN where a cell is missing.
    generators : sequence of B torch.Generator
        Source of randomness of each row.
    """
    completed = x.clone()
    rows = incomplete_rows(x)
    if len(rows):
        own = [generators[row] for row in rows.tolist()]
        noise = uniforms(own, x.shape[1] + 1)
        (drawn,) = by_blocks(
            lambda *block: (draw(*block),),
            x[rows],
            noise[:, 0],
            noise[:, 1:],
            at_once=ROWS_AT_ONCE,
        )
        completed[rows] = x[rows].where(~x[rows].isnan(), drawn)
    return completed


def cholesky_of(covariance: Tensor, floor: Tensor) -> Tensor:
    """Return Cholesky factors of covariances (..., D, D), mended where they have none.

    Rounding makes a covariance indefinite where columns nearly determine one another,
    or where few rows are far from all others. No eigenvalue is then below a millionth
    of a millionth of the largest one, nor below the square of the least floor.
    """
    tril, info = torch.linalg.cholesky_ex(covariance)
    if info.any():
        values, vectors = torch.linalg.eigh(covariance)
        least = (1e-12 * values[..., -1:]).clamp(min=float(floor.square().min()))
        mended = (vectors * values.maximum(least)[..., None, :]) @ vectors.mT
        lift = least[..., None] * torch.eye(len(floor)).to(covariance)
        tril = torch.linalg.cholesky(mended + lift)
    return tril


def inverse_of(tril: Tensor) -> Tensor:
    """Return the inverses of Cholesky factors (..., D, D)."""
    identity = torch.eye(tril.shape[-1], dtype=tril.dtype, device=tril.device)
    return torch.linalg.solve_triangular(tril, identity.expand_as(tril), upper=False)


def draw_modes(
    log_weight: Tensor, n_samples: int, generator: torch.Generator
) -> Tensor:
    """Draw mode numbers, shape (n_samples,), given log-weights (M,)."""
    weight = log_weight.exp()
    return torch.multinomial(weight, n_samples, replacement=True, generator=generator)
