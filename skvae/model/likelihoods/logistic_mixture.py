"""The per-column mixture-of-logistics likelihood."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec
from skvae.model.likelihoods._modes import (
    LARGEST_SCALE,
    choose_mode,
    number_of_modes,
    start_of_modes,
)

__all__ = ["LogisticMixtureLikelihood"]

UNIT_LOGISTIC = math.sqrt(3) / math.pi  # scale at which the standard deviation is one


class LogisticMixtureLikelihood(LikelihoodSpec):
    r"""A mixture of C logistic distributions for every column, independent given z.

    .. math:: p(x_d \mid z) = \sum_{c=1}^C \pi_{dc}(z)\,
              \frac{e^{-t_{dc}}}{s_{dc}(z)\,(1 + e^{-t_{dc}})^2},
              \qquad t_{dc} = \frac{x_d - \mu_{dc}(z)}{s_{dc}(z)}

    Tails fall exponentially, slower than those of Gaussians.

    Parameters
    ----------
    n_modes : int or "auto", default="auto"
        Number of logistics per column, C. "auto" is 8 up to eight columns and 4
        beyond.

    Notes
    -----
    The standard deviation of a logistic is π s / √3. None is below the column's
    floor, nor, with a background, above its ceiling (see `VAEDensity`).

    References
    ----------
    T. Salimans, A. Karpathy, X. Chen and D. P. Kingma, 2017. PixelCNN++: Improving
    the PixelCNN with discretized logistic mixture likelihood and other modifications.
    """

    alias = "logistic_mixture"

    def __init__(self, n_modes: int | str = "auto") -> None:
        self.n_modes = n_modes

    def build(self, context: BuildContext) -> "LogisticMixtureLikelihoodModule":
        """Return the module."""
        n_modes = number_of_modes(
            self.n_modes, context, "n_modes of LogisticMixtureLikelihood"
        )
        return LogisticMixtureLikelihoodModule(
            n_modes, context.scale_floor, context.scale_ceiling
        )


class LogisticMixtureLikelihoodModule(LikelihoodModule):
    """C locations, C log standard deviations and C logits per column."""

    unit: Tensor
    floor: Tensor

    def __init__(self, n_modes: int, floor: Tensor, ceiling: float) -> None:
        super().__init__()
        self.n_modes = n_modes
        self.n_parameters = 3 * n_modes
        self.n_linear = n_modes
        self.log_ceiling = math.log(min(ceiling, LARGEST_SCALE))
        self.register_buffer("floor", floor)
        self.register_buffer("unit", torch.ones_like(floor))

    def _split(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split into locations, standard deviations and logits, each (..., C, D)."""
        location, log_scale, logit = raw.chunk(3, -2)
        # Clamped before the exponential: its gradient is never infinity times zero.
        log_scale = (log_scale + self.unit.log()).clamp(max=self.log_ceiling)
        return self.unit * location, log_scale.exp() + self.floor, logit

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        location, deviation, logit = self._split(raw)
        scale = UNIT_LOGISTIC * deviation
        distance = ((x.unsqueeze(-2) - location) / scale).abs()
        parts = -distance - 2 * F.softplus(-distance) - scale.log()
        return (logit.log_softmax(-2) + parts).logsumexp(-2)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Choose a mode, then draw from it."""
        location, deviation, logit = self._split(raw)
        mode = choose_mode(logit, generator)
        mean = location.gather(-2, mode).squeeze(-2)
        scale = UNIT_LOGISTIC * deviation.gather(-2, mode).squeeze(-2)
        # The logarithm of a ratio of exponential numbers is logistic.
        one, other = (
            torch.empty_like(mean).exponential_(generator=generator) for _ in range(2)
        )
        return mean + scale * (one.log() - other.log())

    def mean(self, raw: Tensor) -> Tensor:
        """Return Σ_c π_c μ_c."""
        location, _, logit = self._split(raw)
        return (logit.softmax(-2) * location).sum(-2)

    def floor_share(self, raw: Tensor, factor: float) -> Tensor:
        """Return the weight of the modes whose standard deviation is near the floor."""
        _, deviation, logit = self._split(raw)
        return (logit.softmax(-2) * (deviation <= factor * self.floor)).sum(-2)

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start with C logistics around the linear map, of about the residual's sd."""
        self.unit.copy_(start.residual_scale)
        return start_of_modes(start, self.n_modes)
