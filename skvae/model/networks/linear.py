"""Matrix products whose results for a row do not depend on the row's place.

The order in which a library adds up depends on how a row lies in memory, and on which
part of the output it is computed with. For the sizes that are chosen here, all rows are
computed alike.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["linear", "matvec", "multiple", "solve_tril", "widened_tril"]

LEAST = 16  # inputs and outputs
GROUP = 4  # numbers that begin at a place of the same kind


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b.

    Parameters
    ----------
    x : Tensor of shape (..., n_inputs)
        Rows.
    weight : Tensor of shape (n_outputs, n_inputs)
        W.
    bias : Tensor of shape (n_outputs,), default=None
        b.
    """
    n_outputs, n_inputs = weight.shape
    more_outputs = max(0, LEAST - n_outputs)
    # The gradient has as many outputs as there are inputs here.
    more_inputs = multiple(n_inputs) - n_inputs if n_inputs < LEAST else 0
    if more_inputs:
        x = F.pad(x, (0, more_inputs))
    if more_inputs or more_outputs:
        weight = F.pad(weight, (0, more_inputs, 0, more_outputs))
    if more_outputs and bias is not None:
        bias = F.pad(bias, (0, more_outputs))
    product = F.linear(x.contiguous(), weight.contiguous(), bias)
    return product[..., :n_outputs] if more_outputs else product


def multiple(size: int) -> int:
    """Return the least multiple of the group size that is not below a number."""
    return size + -size % GROUP


def matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return the product of each row's matrix with K vectors of the row.

    Parameters
    ----------
    matrix : Tensor of shape (B, L, L)
        Matrices.
    vector : Tensor of shape (K, B, L)
        Vectors.

    Returns
    -------
    product : Tensor of shape (K, B, L)
        Products.
    """
    size = vector.shape[-1]
    n_lacking = multiple(size) - size
    if n_lacking:
        matrix = F.pad(matrix, (0, n_lacking, 0, n_lacking))
        vector = F.pad(vector, (0, n_lacking))
    product = torch.einsum("bij,kbj->kbi", matrix.contiguous(), vector.contiguous())
    return product[..., :size]


def widened_tril(tril: Tensor) -> Tensor:
    """Add rows and columns of the identity, up to a size of `multiple`."""
    size = tril.shape[-1]
    n_added = multiple(size) - size
    if not n_added:
        return tril
    tril = F.pad(tril, (0, n_added, 0, n_added))
    one = torch.arange(size + n_added, device=tril.device) >= size
    return tril + torch.diag_embed(one.to(tril))


def solve_tril(tril: Tensor, right: Tensor, *, unitriangular: bool = False) -> Tensor:
    """Return T⁻¹ R for lower-triangular matrices T.

    Parameters
    ----------
    tril : Tensor of shape (..., L, L)
        T.
    right : Tensor of shape (..., L, K)
        R.
    unitriangular : bool, default=False
        Whether the diagonal of T is one, whatever it holds.
    """
    size = right.shape[-2]
    wide = F.pad(right, (0, 0, 0, multiple(size) - size))
    solved = torch.linalg.solve_triangular(
        widened_tril(tril).contiguous(),
        wide.contiguous(),
        upper=False,
        unitriangular=unitriangular,
    )
    return solved[..., :size, :]
