"""What companions share: blocks of rows, factors of covariances, draws of modes."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["cholesky_of", "draw_modes", "in_row_blocks", "inverse_of"]

# A multiple of what the kernels of matrix products take at a time. Rows are to be the
# columns of the right factor: in products of the other order, bits may differ even so.
ROWS_AT_ONCE = 48


def in_row_blocks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of rows (B, D), which returns (..., B), to blocks of one shape.

    The last bits of a matrix product depend on the number of its rows: with one shape,
    those of a row do not depend on the others.
    """
    n_rows = len(x)
    lacking = x[-1:].expand(-n_rows % ROWS_AT_ONCE, -1)
    blocks = torch.cat([x, lacking]).split(ROWS_AT_ONCE)
    return torch.cat([function(block) for block in blocks], -1)[..., :n_rows]


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
