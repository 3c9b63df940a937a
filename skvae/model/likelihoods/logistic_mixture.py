"""The per-column mixture-of-logistics likelihood."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.model.context import BuildContext
from skvae.model.likelihoods._base import LikelihoodSpec
from skvae.model.likelihoods._cells import LogisticCells
from skvae.model.likelihoods._modes import ModesModule, number_of_modes

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
        Number of logistics per column, C. "auto" is as for `MixtureLikelihood`.

    Notes
    -----
    The standard deviation of a logistic distribution is π s / √3. It is never below the
    column's floor nor, with a background, above its ceiling (see `VAEDensity`).

    References
    ----------
    T. Salimans, A. Karpathy, X. Chen and D. P. Kingma, 2017. PixelCNN++: Improving
    the PixelCNN with discretized logistic mixture likelihood and other modifications.

    Examples
    --------
    >>> from skvae import LogisticMixtureLikelihood, VAEDensity
    >>> VAEDensity(likelihood=LogisticMixtureLikelihood(n_modes=4))
    VAEDensity(likelihood=LogisticMixtureLikelihood(n_modes=4))
    """

    alias = "logistic_mixture"

    def __init__(self, n_modes: int | str = "auto") -> None:
        self.n_modes = n_modes

    def build(self, context: BuildContext) -> "LogisticMixtureLikelihoodModule":
        """Return the module."""
        n_modes = number_of_modes(
            self.n_modes, context, "n_modes of LogisticMixtureLikelihood"
        )
        return LogisticMixtureLikelihoodModule(n_modes, context)


class LogisticMixtureLikelihoodModule(ModesModule):
    """Modes are logistic distributions."""

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        location, deviation, logit = self.split(raw)
        scale = UNIT_LOGISTIC * deviation
        distance = ((x.unsqueeze(-2) - location) / scale).abs()
        parts = -distance - 2 * F.softplus(-distance) - scale.log()
        return (logit.log_softmax(-2) + parts).logsumexp(-2)

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> LogisticCells:
        """Return mixtures of logistic distributions."""
        weight, location, deviation = self.modes_of(raw, log_weight, column)
        return LogisticCells(weight, location, UNIT_LOGISTIC * deviation)

    def standard_noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the logarithm of a ratio of exponential numbers, which is logistic."""
        one, other = (
            torch.empty_like(like).exponential_(generator=generator) for _ in range(2)
        )
        return UNIT_LOGISTIC * (one.log() - other.log())
