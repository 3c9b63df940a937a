"""Rows with missing cells: their patterns, their blocks, and their own random numbers.

A missing cell is NaN in the tensor of a row.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = [
    "ROWS_OF_PATTERN",
    "before_an_observed",
    "by_blocks",
    "choose",
    "incomplete_rows",
    "normals",
    "pattern_groups",
    "uniforms",
]

# Incomplete rows are computed so many at a time, since a pattern of missing cells often
# has a single row. Eight numbers are one or two registers of a processor, so that all
# rows of a block are computed by the same instructions.
ROWS_OF_PATTERN = 8


def incomplete_rows(x: Tensor) -> Tensor:
    """Return the numbers of the rows (B, D) with missing cells, in ascending order."""
    return x.isnan().any(1).nonzero().squeeze(1)


def before_an_observed(observed: Tensor, order: Tensor) -> Tensor:
    """Return which cells (B, D) some observed cell of the row follows in the order."""
    ordered = observed[:, order].flip(1).to(torch.int64).cumsum(1).flip(1)
    before = torch.zeros_like(observed)
    before[:, order] = (ordered - observed[:, order].to(torch.int64)) > 0
    return before


def pattern_groups(x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Group rows (B, D) by which of their cells are observed.

    Returns
    -------
    groups : list of (Tensor of bool of shape (D,), Tensor of int of shape (n,))
        Each pattern, true where a cell is observed, and the numbers of its rows in
        ascending order. There is no group of complete rows.
    """
    rows = incomplete_rows(x)
    if not len(rows):
        return []
    patterns, which = (~x[rows].isnan()).unique(dim=0, return_inverse=True)
    sizes = which.bincount(minlength=len(patterns)).tolist()
    groups = rows[which.argsort(stable=True)].split(sizes)
    return list(zip(patterns, groups, strict=True))


def by_blocks(
    function: Callable[..., tuple[Tensor, ...]],
    *columns: Tensor,
    at_once: int = ROWS_OF_PATTERN,
) -> tuple[Tensor, ...]:
    """Apply a function of rows to blocks of one shape.

    The last bits of a row's result may depend on the shape of what is computed
    together. With one shape, they do not depend on the other rows.

    Parameters
    ----------
    function : callable
        Takes tensors of `at_once` rows each, and returns several of as many rows.
    *columns : Tensor of shape (B, ...)
        Its arguments for all rows; at least one row.
    at_once : int
        Number of rows of a block. The last block is filled up with its last row.

    Returns
    -------
    results : tuple of Tensor of shape (B, ...)
        Its results for all rows.
    """
    n_rows = len(columns[0])
    numbers = torch.arange(n_rows + -n_rows % at_once, device=columns[0].device)
    blocks = numbers.clamp(max=n_rows - 1).split(at_once)
    results = [function(*(column[rows] for column in columns)) for rows in blocks]
    return tuple(torch.cat(parts)[:n_rows] for parts in zip(*results, strict=True))


def uniforms(generators: Sequence[torch.Generator], n_numbers: int) -> Tensor:
    """Draw numbers from [0, 1) with the generator of each row, (B, n_numbers)."""
    return _by_row(torch.rand, generators, n_numbers)


def normals(generators: Sequence[torch.Generator], n_numbers: int) -> Tensor:
    """Draw standard-normal numbers with the generator of each row, (B, n_numbers)."""
    return _by_row(torch.randn, generators, n_numbers)


def _by_row(
    draw: Callable[..., Tensor], generators: Sequence[torch.Generator], n_numbers: int
) -> Tensor:
    if not generators:
        return torch.zeros(0, n_numbers, dtype=torch.float64)
    return torch.stack(
        [
            draw(n_numbers, dtype=torch.float64, generator=g, device=g.device)
            for g in generators
        ]
    )


def choose(log_weight: Tensor, uniform: Tensor) -> Tensor:
    """Return the choice that a number from [0, 1) makes by weights, shape (B,).

    Parameters
    ----------
    log_weight : Tensor of shape (B, M)
        Log-weights of the choices; they need not sum to one.
    uniform : Tensor of shape (B,)
        One number for each row.
    """
    below = log_weight.softmax(1).cumsum(1)
    bound = (uniform[:, None] * below[:, -1:]).to(below)
    return (below <= bound).sum(1).clamp(max=log_weight.shape[1] - 1)
