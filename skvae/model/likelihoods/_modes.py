"""What the likelihoods that are mixtures of C modes per column have in common."""

import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.spec import positive_int

__all__ = ["LARGEST_SCALE", "choose_mode", "number_of_modes", "start_of_modes"]

LARGEST_SCALE = 1e4  # model units, where the context has no smaller ceiling


def number_of_modes(value: int | str, context: BuildContext, name: str) -> int:
    """Return C; "auto" is by the number of columns and by who reads them."""
    if value != "auto":
        return positive_int(value, name, also=" or 'auto'")
    n_features = context.n_features
    if context.autoregressive:
        return 16 if n_features <= 8 else 10 if n_features <= 16 else 6
    return 8 if n_features <= 8 else 4


def choose_mode(logit: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a mode by the Gumbel trick, (..., C, D) to (..., 1, D)."""
    exponential = torch.empty_like(logit).exponential_(generator=generator)
    return (logit - exponential.log()).argmax(-2, keepdim=True)


def start_of_modes(start: LinearStart, n_modes: int) -> tuple[Tensor, Tensor]:
    """Return slope and offset of C modes around the linear map.

    Together they have about the residual's variance. Locations and scales are in
    units of the residual scale.
    """
    bias = start.decoder_bias
    quantile = (torch.arange(n_modes, dtype=bias.dtype) + 0.5) / n_modes
    spread = 0.7 * torch.special.ndtri(quantile)
    width = (1 - spread.square().mean()).sqrt()
    offset = torch.zeros(3 * n_modes, bias.shape[0])
    offset[:n_modes] = bias / start.residual_scale + spread[:, None]
    offset[n_modes : 2 * n_modes] = width.log()
    slope = start.decoder_weight / start.residual_scale[:, None]
    return slope.expand(n_modes, -1, -1), offset
