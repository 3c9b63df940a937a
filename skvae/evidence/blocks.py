"""Rows in blocks of bounded size: memory and threads for any number of rows."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from skvae.model.threads import map_in_threads, one_thread

__all__ = [
    "concatenate",
    "draws_at_once",
    "equal_blocks",
    "filled_rows",
    "in_threads",
    "joined_blocks",
]

# Rows × draws. On a CPU, the activations of so many stay in its cache; a GPU needs more
# to be busy.
DRAWS_AT_ONCE = {"cpu": 2048, "cuda": 2**18}
ROW_GROUP = 16

Result = TypeVar("Result")


def draws_at_once(device: torch.device) -> int:
    """Return how many latents, of all rows together, are best decoded at a time."""
    return DRAWS_AT_ONCE[device.type]


def equal_blocks(rows: Tensor, many: int, few: int) -> list[Tensor]:
    """Divide rows into blocks of two sizes only.

    The last bits of a matrix product depend on the shapes of its factors, and on
    whether these are multiples of what a processor does at a time. With few shapes,
    which are such multiples, the result for a row depends neither on the other rows nor
    on their number.

    Parameters
    ----------
    rows : Tensor of shape (B,)
        Row numbers; at least one.
    many : int
        Number of rows of a block, while so many are left.
    few : int
        Number of rows of a block after that. The last one is filled up by repetitions
        of the last row; the results for these are to be cut off.

    Returns
    -------
    blocks : list of Tensor
        Row numbers.
    """
    n_full = len(rows) // many * many
    blocks = list(rows[:n_full].split(many)) if n_full else []
    if n_full < len(rows):
        rest = rows[n_full:]
        lacking = rest[-1:].expand(-len(rest) % few)
        blocks += torch.cat([rest, lacking]).split(few)
    return blocks


def filled_rows(n_rows: int, device: torch.device) -> Tensor:
    """Return the numbers of all rows, the last one repeated to a full group.

    Processors compute several numbers at a time, and the rest one by one, by other
    instructions. In groups, all rows are computed alike, whatever their place; the
    results for repetitions are to be cut off.
    """
    numbers = torch.arange(n_rows + -n_rows % ROW_GROUP, device=device)
    return numbers.clamp(max=n_rows - 1)


def in_threads(
    function: Callable[[Tensor], Result], blocks: Sequence[Tensor]
) -> list[Result]:
    """Apply a function to blocks of rows, in at most as many threads as torch may use.

    Parameters
    ----------
    function : callable
        Takes the row numbers of a block; runs without gradients.
    blocks : sequence of Tensor
        Row numbers.

    Returns
    -------
    results : list
        The function's result for each block, in their order.
    """
    # torch keeps this setting for each thread: in a helper, gradients are on otherwise.
    apply = torch.no_grad()(function)
    with one_thread() as n_threads:
        return map_in_threads(apply, blocks, n_threads if blocks[0].is_cpu else 1)


def joined_blocks(
    function: Callable[[Tensor], tuple[Tensor, ...]], rows: Tensor, many: int, few: int
) -> tuple[Tensor, ...]:
    """Apply a function to blocks of rows, a thread each, and join its tensors.

    Parameters
    ----------
    function : callable
        Takes the row numbers of a block, and returns tensors with a first axis of rows.
    rows, many, few
        As for `equal_blocks`.

    Returns
    -------
    joined : tuple of Tensor
        Their first axis is that of `rows`.
    """
    parts = in_threads(function, equal_blocks(rows, many, few))
    return tuple(torch.cat(part)[: len(rows)] for part in zip(*parts, strict=True))


def concatenate(parts: Sequence[Result]) -> Result:
    """Join records of several blocks; each of their attributes is a tensor of rows."""
    columns = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in vars(parts[0])
    }
    return type(parts[0])(**columns)
