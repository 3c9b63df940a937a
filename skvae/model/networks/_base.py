"""The contract of a network: weights that decay, dropout that a generator drives."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["INPUT_BOUND", "Network", "dropout_from", "dropout_mask"]

INPUT_BOUND = 8.0  # standard deviations, at which inputs of hidden layers are clipped


class Network(nn.Module, ABC):
    """A part of the model that weight decay and dropout regularise.

    Parameters
    ----------
    dropout : float
        Dropout probability after each hidden layer.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.dropout_generator: torch.Generator | None = None

    @abstractmethod
    def decayed(self) -> Iterator[nn.Parameter]:
        """Return the weights that decay; biases and linear skips do not."""

    def drop(self, activated: Tensor) -> Tensor:
        """Apply dropout to a hidden layer; off but in a block of `dropout_from`."""
        if not self.dropout or self.dropout_generator is None:
            return activated
        return activated * dropout_mask(activated, self.dropout, self.dropout_generator)


def dropout_mask(like: Tensor, dropout: float, generator: torch.Generator) -> Tensor:
    """Return 0 with probability `dropout`, elsewhere the factor that keeps the mean.

    Each entry takes one random byte: torch draws 64 bits for a number, and a number for
    each entry would cost more than the layer. So the probability is rounded to 1/256.
    """
    threshold = round(256 * dropout)
    n_words = -(-like.numel() // 8)
    words = torch.empty(n_words, dtype=torch.int64, device=like.device)
    words.random_(-(2**63), None, generator=generator)
    keep = words.view(torch.uint8)[: like.numel()].view(like.shape) >= threshold
    return keep.to(like.dtype).mul_(256 / (256 - threshold))


@contextmanager
def dropout_from(model: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Turn dropout on within the block, with masks from the given generator.

    torch's own dropout would read and change the global random state of the caller.
    """
    networks = [part for part in model.modules() if isinstance(part, Network)]
    for network in networks:
        network.dropout_generator = generator
    try:
        yield
    finally:
        for network in networks:
            network.dropout_generator = None
