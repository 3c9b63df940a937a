"""Rows in blocks of bounded size: memory and threads for any number of rows."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from skvae.model.threads import map_in_threads, one_thread

__all__ = ["BLOCK_DRAWS", "concatenate", "in_blocks"]

# Rows × draws at a time. On a CPU, the activations of so many stay in its cache; a GPU
# needs more to be busy.
BLOCK_DRAWS = {"cpu": 2048, "cuda": 2**18}

Result = TypeVar("Result")


def in_blocks(
    function: Callable[[Tensor], Result], rows: Tensor, n_draws: int
) -> list[Result]:
    """Apply a function to blocks of rows, in at most as many threads as torch may use.

    Parameters
    ----------
    function : callable
        Takes the row numbers of a block; runs without gradients.
    rows : Tensor of shape (B,)
        Row numbers.
    n_draws : int
        Latents per row that the function works on at the same time. The more, the
        fewer rows a block has.

    Returns
    -------
    results : list
        The function's result for each block, in the order of the rows.
    """
    parts = rows.split(max(1, BLOCK_DRAWS[rows.device.type] // n_draws))
    # torch keeps this setting for each thread: in a helper, gradients are on otherwise.
    apply = torch.no_grad()(function)
    with one_thread() as n_threads:
        return map_in_threads(apply, parts, n_threads if rows.is_cpu else 1)


def concatenate(parts: Sequence[Result]) -> Result:
    """Join records of several blocks; each of their attributes is a tensor of rows."""
    columns = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in vars(parts[0])
    }
    return type(parts[0])(**columns)
