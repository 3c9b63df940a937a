"""What the likelihoods that are mixtures of C modes per column have in common."""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.likelihoods._base import LikelihoodModule
from skvae.model.spec import positive_int

__all__ = ["ModesModule", "number_of_modes"]


def number_of_modes(value: int | str, context: BuildContext, name: str) -> int:
    """Return C; "auto" is more for few columns and where the decoder reads columns.

    A column's density given other columns has more modes than given latents alone.
    """
    if value != "auto":
        return positive_int(value, name, also=" or 'auto'")
    n_features = context.n_features
    if context.autoregressive:
        return 16 if n_features <= 8 else 10 if n_features <= 16 else 6
    return 8 if n_features <= 8 else 4


class ModesModule(LikelihoodModule):
    """C locations, C log standard deviations and C logits per column.

    Parameters
    ----------
    n_modes : int
        Number of modes, C.
    context : BuildContext
        Has the floor and the ceiling of standard deviations.
    """

    reads_in_single = True
    unit: Tensor
    floor: Tensor

    def __init__(self, n_modes: int, context: BuildContext) -> None:
        super().__init__()
        self.n_modes = n_modes
        self.n_parameters = 3 * n_modes
        self.n_linear = n_modes
        self.ceiling = context.largest_scale
        self.register_buffer("floor", context.scale_floor)
        # Raw locations and scales are in units of the residual scale, so that one
        # learning rate suits every column.
        self.register_buffer("unit", torch.ones_like(context.scale_floor))

    @abstractmethod
    def standard_noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw from a mode with mean zero and standard deviation one."""

    def split(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split into locations, standard deviations and logits, each (..., C, D)."""
        location, log_scale, logit = raw.chunk(3, -2)
        # A clamp after the exponential would give the gradient infinity times zero.
        largest = math.log(self.ceiling)
        free = (log_scale + self.unit.log()).clamp(max=largest).exp()
        return self.unit * location, free + self.floor, logit

    def modes_of(
        self, raw: Tensor, log_weight: Tensor, column: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `cell` is made of: log-weights, locations, deviations (B, K C).

        Parameters
        ----------
        raw, log_weight, column
            As for `cell`.
        """
        location, deviation, logit = (
            part[..., column].double() for part in self.split(raw)
        )  # (K, B, C)
        weight = logit.log_softmax(-1) + log_weight[..., None]
        parts = (weight, location, deviation)
        log_weight, location, deviation = (
            part.transpose(0, 1).flatten(1) for part in parts
        )
        return log_weight, location, deviation

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Choose a mode by the Gumbel trick, then draw from it."""
        location, deviation, logit = self.split(raw)
        exponential = torch.empty_like(logit).exponential_(generator=generator)
        mode = (logit - exponential.log()).argmax(-2, keepdim=True)
        mean = location.gather(-2, mode).squeeze(-2)
        scale = deviation.gather(-2, mode).squeeze(-2)
        return mean + scale * self.standard_noise(mean, generator)

    def mean(self, raw: Tensor) -> Tensor:
        """Return Σ_c π_c μ_c."""
        location, _, logit = self.split(raw)
        return (logit.softmax(-2) * location).sum(-2)

    def floor_share(self, raw: Tensor, factor: float) -> Tensor:
        """Return the weight of the modes whose standard deviation is near the floor."""
        _, deviation, logit = self.split(raw)
        return (logit.softmax(-2) * (deviation <= factor * self.floor)).sum(-2)

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start with C modes around the linear map, whose mixture is about N(0, s²)."""
        self.unit.copy_(start.residual_scale)
        bias, n_modes = start.decoder_bias, self.n_modes
        quantile = (torch.arange(n_modes, dtype=bias.dtype) + 0.5) / n_modes
        spread = 0.7 * torch.special.ndtri(quantile)
        width = (1 - spread.square().mean()).sqrt()
        offset = bias.new_zeros(self.n_parameters, len(bias))
        offset[:n_modes] = bias / start.residual_scale + spread[:, None]
        offset[n_modes : 2 * n_modes] = width.log()
        slope = start.decoder_weight / start.residual_scale[:, None]
        return slope.expand(n_modes, -1, -1), offset
