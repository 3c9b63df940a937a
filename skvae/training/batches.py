"""Minibatches of weighted rows."""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["epoch_batches", "split_weights"]


def split_weights(
    weight: Tensor, n_valid: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Divide row weights between training and validation.

    The cumulative weight is cut into units of one row, and `n_valid` of the units are
    drawn for validation, without replacement. A row of weight w owns about w units:
    some of them may validate while the others train.

    Parameters
    ----------
    weight : Tensor of shape (N,)
        Positive weights, float64, in units of one row.
    n_valid : int
        Number of units for validation.
    generator : torch.Generator
        Source of the random choice.

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

    This is systematic sampling: the cumulative weight is cut into `n_draws` equal
    slices, and one row is drawn from each. If the weights sum to `n_draws` and there
    are no more rows than draws, a row of integer weight w is drawn exactly w times,
    like w copies of the row.

    Parameters
    ----------
    cumulative_weight : Tensor of shape (N,)
        Cumulative sum of the row weights, float64.
    n_draws : int
        Draws per epoch.
    batch_size : int
        Largest size of a batch; batches of one epoch differ by at most one row.
    generator : torch.Generator
        Source of the places within the slices and of the order.

    Yields
    ------
    index : Tensor of shape (B,)
        Row numbers of one batch.
    """
    total = cumulative_weight[-1]
    if len(cumulative_weight) > n_draws:
        # A slice holds several rows. Each slice has a place of its own, or else the
        # same rows would always be drawn together.
        offset = torch.rand(n_draws, dtype=torch.float64, generator=generator)
    else:
        offset = torch.rand((), dtype=torch.float64, generator=generator)
        # At the edge of a slice, rounding would decide between two rows.
        offset = 0.25 + 0.5 * offset
    position = (torch.arange(n_draws, dtype=torch.float64) + offset) / n_draws
    index = torch.searchsorted(cumulative_weight, position * total, right=True)
    index = index.clamp(max=len(cumulative_weight) - 1)
    order = torch.randperm(n_draws, generator=generator)
    yield from index[order].tensor_split(-(-n_draws // batch_size))
