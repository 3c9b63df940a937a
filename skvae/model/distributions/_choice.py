"""How noise chooses a part of a mixture."""

import torch
from torch import Tensor

__all__ = ["choose"]


def choose(log_weight: Tensor, noise: Tensor) -> Tensor:
    """Choose parts of a mixture, each with the probability that is its weight.

    Parameters
    ----------
    log_weight : Tensor of shape (C,)
        Log-weights of the parts.
    noise : Tensor of shape (K, B)
        Standard-normal noise.

    Returns
    -------
    chosen : int Tensor of shape (K, B)
        Numbers of parts, from 0 to C − 1.
    """
    uniform = torch.special.ndtr(noise.contiguous())
    edges = log_weight.exp().cumsum(0)
    # Rounding can leave the last edge below one.
    return torch.searchsorted(edges, uniform).clamp(max=len(edges) - 1)
