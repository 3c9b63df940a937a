"""Rows in blocks of one shape."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_row_blocks"]

# A multiple of what the kernels of matrix products take at a time. Rows are to be the
# columns of the right factor: in products of the other order, bits may differ even so.
ROWS_AT_ONCE = 48


def in_row_blocks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of rows (B, D), which returns (B,), to blocks of one shape.

    The last bits of a matrix product depend on the number of its rows: with one shape,
    those of a row do not depend on the others.
    """
    n_rows = len(x)
    lacking = x[-1:].expand(-n_rows % ROWS_AT_ONCE, -1)
    blocks = torch.cat([x, lacking]).split(ROWS_AT_ONCE)
    return torch.cat([function(block) for block in blocks])[:n_rows]
