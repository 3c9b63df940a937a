"""The Student-t likelihood."""

import math
from numbers import Real

import torch
from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec
from skvae.model.likelihoods._cells import StudentTModes

__all__ = ["StudentTLikelihood", "random_spread"]

FIRST_DF = 8.0
LOG_DF_RANGE = (-3.0, 7.0)  # of ν − 1: from almost Cauchy to almost Gaussian


def random_spread(df: Tensor, generator: torch.Generator) -> Tensor:
    """Draw √(ν / χ²_ν), by which a normal number turns into a Student-t one.

    Parameters
    ----------
    df : Tensor of any shape
        ν.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    spread : Tensor of the shape of df
        In float64, and at most 1e30, which float32 can hold, too.
    """
    shape = (df / 2).double()
    gamma = torch._standard_gamma(shape, generator=generator)
    return (gamma / shape).clamp(min=1e-60).rsqrt()


class StudentTLikelihood(LikelihoodSpec):
    r"""Independent Student-t distributions, one per column.

    .. math:: p(x_d \mid z) \propto \frac{1}{\sigma_d(z)} \left(1 +
              \frac{(x_d - \mu_d(z))^2}{\nu_d\, \sigma_d^2(z)}
              \right)^{-(\nu_d + 1)/2}

    Its tails fall as a power, so that single odd cells hardly move the fit.

    Parameters
    ----------
    df : "column" or float, default="column"
        Degrees of freedom ν: a learnt number above one for every column, or a fixed
        positive number for all.

    Notes
    -----
    The scale σ is never below the column's floor nor, with a background, above its
    ceiling (see `VAEDensity`). `mean` is μ for every ν, also where the distribution
    has no mean.

    References
    ----------
    H. Takahashi, T. Iwata, Y. Yamanaka, M. Yamada and S. Yagi, 2018. Student-t
    variational autoencoder for robust density estimation.

    Examples
    --------
    >>> from skvae import StudentTLikelihood, VAEDensity
    >>> VAEDensity(likelihood=StudentTLikelihood(df=4.0))
    VAEDensity(likelihood=StudentTLikelihood(df=4.0))
    """

    alias = "student_t"

    def __init__(self, df: str | float = "column") -> None:
        self.df = df

    def build(self, context: BuildContext) -> "StudentTLikelihoodModule":
        """Return the module."""
        df = self.df
        learnt = isinstance(df, str) and df == "column"
        if learnt or (
            isinstance(df, Real) and not isinstance(df, bool) and 0 < df < math.inf
        ):
            return StudentTLikelihoodModule(
                FIRST_DF if learnt else float(df),
                learnt,
                context.scale_floor,
                context.largest_scale,
            )
        raise ValueError(
            f"df of StudentTLikelihood must be 'column' or a positive number, "
            f"got {df!r}."
        )


class StudentTLikelihoodModule(LikelihoodModule):
    """A location and a log-scale per column, and degrees of freedom."""

    n_parameters = 2
    n_linear = 1
    unit: Tensor
    floor: Tensor

    def __init__(self, df: float, learnt: bool, floor: Tensor, ceiling: float) -> None:
        super().__init__()
        self.fixed_df = df
        self.log_ceiling = math.log(ceiling)
        log_df = torch.full_like(floor, math.log(df - 1)) if learnt else None
        self.log_df = None if log_df is None else nn.Parameter(log_df)
        self.register_buffer("floor", floor)
        self.register_buffer("unit", torch.ones_like(floor))

    def _df(self) -> Tensor:
        if self.log_df is None:
            return torch.full_like(self.floor, self.fixed_df)
        return 1 + self.log_df.clamp(*LOG_DF_RANGE).exp()

    def _scale(self, raw: Tensor) -> Tensor:
        log_scale = raw[..., 1, :] + self.unit.log()
        # A clamp after the exponential would give the gradient infinity times zero.
        return log_scale.clamp(max=self.log_ceiling).exp() + self.floor

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return the log-density of the t distribution."""
        df, scale = self._df(), self._scale(raw)
        standard = (x - self.mean(raw)) / scale
        constant = (
            torch.lgamma((df + 1) / 2)
            - torch.lgamma(df / 2)
            - 0.5 * (df * math.pi).log()
        )
        tail = torch.log1p(standard.square() / df)
        return constant - (df + 1) / 2 * tail - scale.log()

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw normal numbers, each times a random spread of its own."""
        mean = self.mean(raw)
        normal = torch.empty_like(mean).normal_(generator=generator)
        spread = random_spread(self._df().expand_as(mean), generator)
        return mean + self._scale(raw) * normal * spread.to(mean.dtype)

    def mean(self, raw: Tensor) -> Tensor:
        """Return μ."""
        return self.unit * raw[..., 0, :]

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> StudentTModes:
        """Return mixtures of t distributions."""
        mean, scale = (
            part[..., column].double().T.contiguous()
            for part in (self.mean(raw), self._scale(raw))
        )
        df = float(self._df()[column])
        return StudentTModes(log_weight.T.contiguous(), mean, scale, df)

    def floor_share(self, raw: Tensor, factor: float) -> Tensor:
        """Return 1 where σ is near the floor and 0 elsewhere."""
        return (self._scale(raw) <= factor * self.floor).to(raw)

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start at the linear map, with about its residual's standard deviation.

        Where ν ≤ 2 there is no standard deviation; σ starts at half the residual's.
        """
        self.unit.copy_(start.residual_scale)
        df = self._df().detach()
        shrink = torch.where(df > 2, (1 - 2 / df.clamp(min=3)).sqrt(), 0.5)
        location = start.decoder_bias / start.residual_scale
        slope = start.decoder_weight / start.residual_scale[:, None]
        return slope[None], torch.stack([location, shrink.to(location).log()])
