"""The Gaussian likelihood, with four kinds of scale."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor, nn

from skvae.model.cells import GaussianCells
from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import HALF_LOG_2PI
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec

__all__ = ["GaussianLikelihood"]


class GaussianLikelihood(LikelihoodSpec):
    r"""Independent Gaussians, one per column.

    .. math:: p(x_d \mid z) = N(x_d; \mu_d(z), \sigma_d^2)

    Parameters
    ----------
    scale : {"cell", "row", "column"} or float, default="cell"
        What the standard deviation σ depends on.

        - "cell": a decoder output for every row and column;
        - "row": a decoder output for every row, times a learnt scale per column;
        - "column": a learnt scale per column, as in factor analysis;
        - a positive number: fixed, in the units of the input columns.

    Notes
    -----
    A learnt σ is never below the column's floor: without a floor, the likelihood of a
    continuous table has no upper bound. With a background, σ is also never above the
    ceiling (see `VAEDensity`).

    References
    ----------
    D. P. Kingma and M. Welling, 2014. Auto-encoding variational Bayes.
    O. Rybkin, K. Daniilidis and S. Levine, 2021. Simple and effective VAE training
    with calibrated decoders.

    Examples
    --------
    >>> from skvae import GaussianLikelihood, VAEDensity
    >>> VAEDensity(likelihood=GaussianLikelihood(scale="column"))
    VAEDensity(likelihood=GaussianLikelihood(scale='column'))
    """

    alias = "gaussian"

    def __init__(self, scale: str | float = "cell") -> None:
        self.scale = scale

    def build(self, context: BuildContext) -> "GaussianLikelihoodModule":
        """Return the module."""
        scale = self.scale
        if isinstance(scale, str) and scale in LEARNT_SCALES:
            return GaussianLikelihoodModule(
                LEARNT_SCALES[scale](context), context.n_features
            )
        if (
            isinstance(scale, Real)
            and not isinstance(scale, bool)
            and 0 < scale < math.inf
        ):
            fixed = FixedScale(float(scale) / context.column_scale)
            return GaussianLikelihoodModule(fixed, context.n_features)
        raise ValueError(
            f"scale of GaussianLikelihood must be one of "
            f"{', '.join(map(repr, LEARNT_SCALES))} or a positive number, "
            f"got {scale!r}."
        )


class Scale(nn.Module, ABC):
    """Standard deviations, made of the raw parameters that follow the mean.

    Attributes
    ----------
    n_parameters : int
        Raw parameters per column that the scale needs.
    """

    n_parameters: int = 0

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """Map (..., n_parameters, D) to standard deviations (..., D) or (D,)."""

    @abstractmethod
    def initialise(self, residual_scale: Tensor) -> None:
        """Start at the residual standard deviations (D,)."""

    def is_near_floor(self, raw: Tensor, factor: float) -> Tensor | None:
        """Return where σ is at most `factor` times its floor; None without a floor."""
        return None


class FixedScale(Scale):
    """Known standard deviations."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, raw: Tensor) -> Tensor:
        """Return the known values."""
        return self.value

    def initialise(self, residual_scale: Tensor) -> None:
        """Do nothing: the values are known."""


class LearntScale(Scale):
    """A learnt standard deviation per column, between floor and ceiling."""

    floor: Tensor

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.register_buffer("floor", context.scale_floor)
        self.log_ceiling = math.log(context.largest_scale)
        self.log_scale = nn.Parameter(torch.zeros_like(context.scale_floor))

    def forward(self, raw: Tensor) -> Tensor:
        """Return floor + exp(log_scale + log factor), at most floor + ceiling."""
        log_scale = self.log_scale + self.log_factor(raw)
        # A clamp after the exponential would give the gradient infinity times zero.
        return log_scale.clamp(max=self.log_ceiling).exp() + self.floor

    def is_near_floor(self, raw: Tensor, factor: float) -> Tensor:
        """Return where σ is at most `factor` times its floor."""
        return self(raw) <= factor * self.floor

    @abstractmethod
    def log_factor(self, raw: Tensor) -> Tensor:
        """Return what a row or a cell adds to the column's log-scale."""

    def initialise(self, residual_scale: Tensor) -> None:
        """Start at the residual standard deviations."""
        with torch.no_grad():
            free = torch.maximum(residual_scale - self.floor, 0.1 * residual_scale)
            self.log_scale.copy_(free.log())


class ColumnScale(LearntScale):
    """The same for all rows."""

    def log_factor(self, raw: Tensor) -> Tensor:
        """Return zero."""
        return torch.zeros_like(self.log_scale)


class CellScale(LearntScale):
    """A factor for every cell."""

    n_parameters = 1

    def log_factor(self, raw: Tensor) -> Tensor:
        """Return the decoder's output."""
        return raw[..., 0, :]


class RowScale(LearntScale):
    """One factor for every row."""

    n_parameters = 1

    def log_factor(self, raw: Tensor) -> Tensor:
        """Return the mean of the decoder's outputs over columns."""
        return raw[..., 0, :].mean(-1, keepdim=True)


LEARNT_SCALES: dict[str, Callable[[BuildContext], Scale]] = {
    "cell": CellScale,
    "row": RowScale,
    "column": ColumnScale,
}


class GaussianLikelihoodModule(LikelihoodModule):
    """Means from the decoder, standard deviations from a `Scale`."""

    reads_in_single = True

    n_linear = 1
    unit: Tensor

    def __init__(self, scale: Scale, n_features: int) -> None:
        super().__init__()
        self.scale = scale
        self.n_parameters = 1 + scale.n_parameters
        # Raw means are in units of the residual scale, so that one learning rate
        # suits columns that the latents explain well and columns that they do not.
        self.register_buffer("unit", torch.ones(n_features, dtype=BUILD_DTYPE))

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return log N(x; μ, σ²)."""
        scale = self.scale(raw[..., 1:, :])
        standard = (x - self.mean(raw)) / scale
        return -0.5 * standard.square() - scale.log() - HALF_LOG_2PI

    def shared_log_prob(
        self, x: Tensor, raw: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        """Return the same by matrix products, where that leaves enough digits."""
        if raw.dtype != torch.float64:
            return super().shared_log_prob(x, raw, observed)
        mean = self.mean(raw)
        scale = self.scale(raw[..., 1:, :]).expand_as(mean)
        precision = scale.square().reciprocal()
        at_zero = -0.5 * mean.square() * precision - scale.log() - HALF_LOG_2PI
        if observed is None:
            constant = at_zero.sum(1, keepdim=True)
        else:
            x = x.where(observed, 0.0)
            constant = at_zero @ observed.to(raw).T
        return (mean * precision) @ x.T - 0.5 * precision @ x.square().T + constant

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw μ + σ ε."""
        mean = self.mean(raw)
        noise = torch.empty_like(mean).normal_(generator=generator)
        return mean + self.scale(raw[..., 1:, :]) * noise

    def mean(self, raw: Tensor) -> Tensor:
        """Return μ."""
        return self.unit * raw[..., 0, :]

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> GaussianCells:
        """Return mixtures of Gaussians."""
        mean = self.mean(raw)
        scale = self.scale(raw[..., 1:, :]).expand_as(mean)
        modes = (part[..., column].double().T for part in (mean, scale))
        return GaussianCells(*(part.contiguous() for part in (log_weight.T, *modes)))

    def floor_share(self, raw: Tensor, factor: float) -> Tensor | None:
        """Return 1 where σ is near the floor and 0 elsewhere."""
        near = self.scale.is_near_floor(raw[..., 1:, :], factor)
        return None if near is None else near.to(raw).expand_as(raw[..., 0, :])

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start at the linear map and its residual scale."""
        self.scale.initialise(start.residual_scale)
        self.unit.copy_(start.residual_scale)
        bias = start.decoder_bias
        offset = bias.new_zeros(self.n_parameters, len(bias))
        offset[0] = bias / start.residual_scale
        slope = start.decoder_weight / start.residual_scale[:, None]
        return slope[None], offset
