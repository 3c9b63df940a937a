"""What the likelihoods of counts have in common: a log-mean per column."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.dtype import BUILD_DTYPE

__all__ = ["CountStart", "LogMean", "negative_binomial_log_mass"]

LARGEST_LOG_MEAN = 30.0  # its exponential is a rate that torch can sample
LEAST_MEAN = 0.05  # of a column, where the start divides by it
FAR = 1e3  # beyond, Stirling's series with one correction is off by less than 1e-11
UNIT_RANGE = (0.05, 1.0)  # of the residual's spread, on the logarithmic scale


@dataclass(frozen=True)
class CountStart:
    """The linear start of count columns, in terms of the log-mean.

    Attributes
    ----------
    slope : Tensor of shape (D, L)
        Slopes of raw log-means.
    offset : Tensor of shape (D,)
        Raw log-means at z = 0.
    mean, counts : Tensor of shape (N, D)
        Counts that the start expects in the training rows, and the counts there.
    share : Tensor of shape (N,)
        Weights of the rows, of sum one.
    """

    slope: Tensor
    offset: Tensor
    mean: Tensor
    counts: Tensor
    share: Tensor


class LogMean(nn.Module):
    """Means m = exp(unit · raw), within bounds that keep m positive and finite.

    Parameters
    ----------
    context : BuildContext
        Its columns are counts.
    """

    center: Tensor
    scale: Tensor
    unit: Tensor

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        kinds = context.modelled_kinds
        for name in ("center", "scale"):
            values = [getattr(kind, name) for kind in kinds]
            self.register_buffer(name, torch.tensor(values, dtype=BUILD_DTYPE))
        # Raw log-means are in units of the residual's spread on the logarithmic
        # scale, so that one learning rate suits every column.
        self.register_buffer("unit", torch.ones_like(self.scale))

    def forward(self, raw: Tensor) -> Tensor:
        """Map raw numbers (..., D) to log m, in float64."""
        return (self.unit * raw).double().clamp(-LARGEST_LOG_MEAN, LARGEST_LOG_MEAN)

    def initialise(self, start: LinearStart) -> CountStart:
        r"""Start at the slopes of the linear map, with the right mean of every column.

        The linear map is one of standardised log(1 + x), where
        :math:`d \log m = (1 + m) / m \; d \log(1 + m)`.
        """
        self.unit.copy_((self.scale * start.residual_scale).clamp(*UNIT_RANGE))
        share = start.sample_weight / start.sample_weight.sum()
        counts = (self.center + self.scale * start.features).expm1().clamp(min=0)
        mean = share @ counts
        gain = self.scale * (1 + 1 / mean.clamp(min=LEAST_MEAN))
        slope = gain[:, None] * start.decoder_weight
        linear = start.z @ slope.T
        log_spread = (linear + share.log()[:, None]).logsumexp(0)
        level = mean.clamp(min=LEAST_MEAN / 100).log() - log_spread
        return CountStart(
            slope=slope / self.unit[:, None],
            offset=level / self.unit,
            mean=(level + linear).clamp(max=LARGEST_LOG_MEAN).exp(),
            counts=counts,
            share=share,
        )


def negative_binomial_log_mass(x: Tensor, log_mean: Tensor, log_size: Tensor) -> Tensor:
    """Return the log-mass of counts, all in float64."""
    size = log_size.exp()
    # log(1 + m / r), and log m / (m + r)
    log_ratio = torch.nn.functional.softplus(log_mean - log_size)
    log_share = -torch.nn.functional.softplus(log_size - log_mean)
    coefficient = _log_gamma_ratio(x, size) - torch.lgamma(size)
    return coefficient - size * log_ratio + x * log_share


def _log_gamma_ratio(x: Tensor, size: Tensor) -> Tensor:
    """Return log Γ(x + r) / Γ(x + 1), without cancellation for large x."""
    near = torch.lgamma(x.clamp(max=FAR) + size) - torch.lgamma(x.clamp(max=FAR) + 1)
    x = x.clamp(min=FAR)
    top = x + size
    series = (top.reciprocal() - (x + 1).reciprocal()) / 12
    power = (x + 0.5) * torch.log1p((size - 1) / (x + 1)) + (size - 1) * top.log()
    return torch.where(x > FAR, power - (size - 1) + series, near)
