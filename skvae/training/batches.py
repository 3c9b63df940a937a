"""Minibatches of weighted rows."""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["epoch_batches", "split_weights"]


def split_weights(
    weight: Tensor, n_valid: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Divide row weights between training and validation.

    `n_valid` units of the cumulative weight are drawn without replacement: of a
    repeated row, some copies may train and others validate.

    Parameters
    ----------
    weight : Tensor of shape (N,)
        Positive weights, float64, in units of one row.
    n_valid : int
        Validation rows.
    generator : torch.Generator
        Source of the choice.

    Returns
    -------
    weight_train, weight_valid : Tensor of shape (N,)
        They sum to `weight`.
    """
    cumulative = weight.cumsum(0)
    n_slots = round(float(cumulative[-1]))
    slots = torch.randperm(n_slots, generator=generator)[:n_valid]
    index = torch.searchsorted(cumulative, slots + 0.5, right=True)
    chosen = torch.bincount(index.clamp(max=len(weight) - 1), minlength=len(weight))
    valid = torch.minimum(chosen.double(), weight)
    return weight - valid, valid


def epoch_batches(
    cumulative_weight: Tensor,
    n_draws: int,
    batch_size: int,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    """Yield the row indices of one epoch, batch by batch.

    Systematic sampling: one draw from each of `n_draws` equal slices of the
    cumulative weight. A row of weight w among rows of total weight `n_draws` is
    drawn w times if w is an integer, so integer weights are repeated rows. With more
    rows than draws, each slice makes its draw at a place of its own.

    Parameters
    ----------
    cumulative_weight : Tensor of shape (N,)
        Cumulative sum of the row weights, float64.
    n_draws : int
        Draws per epoch.
    batch_size : int
        Largest size of a batch; batches of one epoch differ by at most one row.
    generator : torch.Generator
        Source of the offset and of the order.
    """
    total = cumulative_weight[-1]
    if len(cumulative_weight) > n_draws:
        offset = torch.rand(n_draws, dtype=torch.float64, generator=generator)
    else:
        offset = torch.rand((), dtype=torch.float64, generator=generator)
        # Away from the slices' edges, where rounding would decide.
        offset = 0.25 + 0.5 * offset
    position = (torch.arange(n_draws, dtype=torch.float64) + offset) / n_draws
    index = torch.searchsorted(cumulative_weight, position * total, right=True)
    index = index.clamp(max=len(cumulative_weight) - 1)
    order = torch.randperm(n_draws, generator=generator)
    yield from index[order].tensor_split(-(-n_draws // batch_size))
