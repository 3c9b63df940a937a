"""The Student-t background of real columns."""

import math
from numbers import Real

import torch
from torch import Tensor

from skvae.model.backgrounds._base import BackgroundModule, BackgroundSpec
from skvae.model.context import BuildContext
from skvae.model.likelihoods.student_t import random_spread

__all__ = ["StudentTBackground"]

DIAGONAL_SHARE = 0.01  # of the scatter matrix, so that collinear columns keep a width
N_ITERATIONS = 30


class StudentTBackground(BackgroundSpec):
    r"""A multivariate Student-t distribution, fitted to the whole table.

    .. math:: p_0(x) \propto \left(1 + \frac{(x-m)^\top S^{-1} (x-m)}{\nu}
              \right)^{-(\nu + D)/2}

    Its tails fall as a power, so that the log-density of a row far from everything
    is exact, finite and falls with the distance. Location and scatter are the
    maximum-likelihood ones at this ν, which a few outliers hardly move.

    Parameters
    ----------
    weight : float, default=0.005
        ε, the share of rows that the background is expected to take.
    df : float, default=3.0
        Degrees of freedom ν; smaller is heavier.

    References
    ----------
    K. L. Lange, R. J. A. Little and J. M. G. Taylor, 1989. Robust statistical
    modeling using the t distribution.

    J. D. Banfield and A. E. Raftery, 1993. Model-based Gaussian and non-Gaussian
    clustering. (A background component for noise.)
    """

    alias = "student_t"

    def __init__(self, weight: float = 0.005, df: float = 3.0) -> None:
        self.weight = weight
        self.df = df

    def build(self, context: BuildContext) -> "StudentTBackgroundModule":
        """Return the module."""
        df = self.df
        if isinstance(df, bool) or not isinstance(df, Real) or not 0 < df < math.inf:
            raise ValueError(
                f"df of StudentTBackground must be a positive number, got {df!r}."
            )
        return StudentTBackgroundModule(
            self.checked_weight(), float(df), context.scale_floor
        )


class StudentTBackgroundModule(BackgroundModule):
    """Location m and the Cholesky factor of the scatter S, both fixed."""

    location: Tensor
    tril: Tensor
    floor: Tensor

    def __init__(self, weight: float, df: float, floor: Tensor) -> None:
        super().__init__(weight)
        self.df = df
        self.register_buffer("floor", floor)
        self.register_buffer("location", torch.zeros_like(floor))
        self.register_buffer("tril", torch.eye(len(floor)).to(floor))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of the t distribution."""
        n_features = len(self.location)
        constant = (
            math.lgamma((self.df + n_features) / 2)
            - math.lgamma(self.df / 2)
            - n_features / 2 * math.log(self.df * math.pi)
        )
        power = (self.df + n_features) / 2
        distance = torch.log1p(self._square_distance(x) / self.df)
        return constant - self.tril.diagonal().log().sum() - power * distance

    def typicality(self, x: Tensor) -> Tensor:
        """Return min(1, 16 w)², where w = (ν + D) / (ν + d²) is the fit's own weight.

        The weights w of the training rows are one on average, and fall with the square
        of the distance d. So this is one up to about four times the usual distance,
        which leaves a clean table as it is. Further out it falls as d⁻⁴: the square of
        a row's distance, times its weight, goes to zero, and with it the influence of
        far rows on means and covariances.
        """
        n_features = len(self.location)
        weight = (self.df + n_features) / (self.df + self._square_distance(x))
        return (16 * weight).clamp(max=1).square()

    def _square_distance(self, x: Tensor) -> Tensor:
        """Return d² = (x − m)ᵀ S⁻¹ (x − m)."""
        centred = (x - self.location).T
        standard = torch.linalg.solve_triangular(self.tril, centred, upper=False)
        return standard.square().sum(0)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw normal vectors, each times a random spread of its own."""
        normal = self.location.new_empty(n_samples, len(self.location))
        normal.normal_(generator=generator)
        spread = random_spread(normal.new_full((n_samples, 1), self.df), generator)
        return self.location + spread.to(normal) * (normal @ self.tril.T)

    def initialise(self, x: Tensor, sample_weight: Tensor) -> None:
        """Fit location and scatter by EM; each row's own scale is the missing datum."""
        x, w = x.double(), sample_weight.double()
        w = w / w.sum()
        n_features = x.shape[1]
        floor = self.floor.double().square().diag()

        def factor(scatter: Tensor) -> Tensor:
            diagonal = scatter.diagonal().diag()
            shrunk = torch.lerp(scatter, diagonal, DIAGONAL_SHARE)
            return torch.linalg.cholesky(shrunk + floor)

        weight = w
        for _ in range(N_ITERATIONS):
            location = weight @ x / weight.sum()
            centred = x - location
            tril = factor((centred * weight[:, None]).T @ centred)
            standard = torch.linalg.solve_triangular(tril, centred.T, upper=False)
            distance = standard.square().sum(0)
            weight = w * (self.df + n_features) / (self.df + distance)
        self.location.copy_(location)
        self.tril.copy_(tril)
