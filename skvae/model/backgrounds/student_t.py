"""The Student-t background of real columns."""

import math
from collections.abc import Callable, Sequence
from numbers import Real

import torch
from torch import Tensor

from skvae.model.backgrounds._base import BackgroundModule, BackgroundSpec
from skvae.model.backgrounds._incomplete_fit import fit_to_incomplete
from skvae.model.cells import StudentTCells
from skvae.model.conditioning import (
    GivenObserved,
    given_observed,
    observed_first,
    tril_in_order,
)
from skvae.model.context import BuildContext
from skvae.model.likelihoods.student_t import random_spread
from skvae.model.missing import by_blocks, incomplete_rows, normals

__all__ = ["StudentTBackground"]

DIAGONAL_SHARE = 0.01  # of the scatter matrix, so that collinear columns keep a width
N_ITERATIONS = 30
N_ITERATIONS_OF_INCOMPLETE = 50  # missing cells slow the iterations down
# Rows with missing cells have matrices of their own: blocks of so many numbers, or of
# eight rows, and of at most so many times eight.
NUMBERS_AT_ONCE = 2**20
MOST_EIGHTS = 4


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
    C. Liu and D. B. Rubin, 1995. ML estimation of the t distribution using EM and its
    extensions, ECM and ECME. (Rows with missing cells.)

    K. L. Lange, R. J. A. Little and J. M. G. Taylor, 1989. Robust statistical
    modeling using the t distribution.

    J. D. Banfield and A. E. Raftery, 1993. Model-based Gaussian and non-Gaussian
    clustering. (A background component for noise.)

    Examples
    --------
    >>> from skvae import StudentTBackground, VAEDensity
    >>> VAEDensity(background=StudentTBackground())
    VAEDensity(background=StudentTBackground())
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
        rows = incomplete_rows(x)
        n_features = len(self.location)
        distance = torch.log1p(self._square_distance(self._filled(x, rows)) / self.df)
        half_log_det = self.tril.diagonal().log().sum()
        power = (self.df + n_features) / 2
        log_p = self._log_constant(n_features) - half_log_det - power * distance
        if len(rows):
            log_p[rows] = self._log_prob_of_observed(x[rows])
        return log_p

    def _log_constant(self, n_features: int) -> float:
        """Return the logarithm of the density at the location, but the scatter's."""
        return (
            math.lgamma((self.df + n_features) / 2)
            - math.lgamma(self.df / 2)
            - n_features / 2 * math.log(self.df * math.pi)
        )

    def _log_prob_of_observed(self, x: Tensor) -> Tensor:
        """Return the log-density of the observed cells of rows with missing ones."""
        every = [self._log_constant(n) for n in range(x.shape[1] + 1)]
        constant = x.new_tensor(every)

        def of_block(x: Tensor) -> tuple[Tensor, ...]:
            given = self._given(x)
            n_observed = given.is_observed.sum(1)
            distance = torch.log1p(given.square_distance / self.df)
            power = (self.df + n_observed) / 2
            return (constant[n_observed] - given.half_log_det - power * distance,)

        return self._by_blocks(of_block, x)[0]

    def typicality(self, x: Tensor) -> Tensor:
        """Return min(1, 16 w)², where w = (ν + D) / (ν + d²) is the fit's own weight.

        The weights w of the training rows are one on average, and fall with the square
        of the distance d. So this is one up to about four times the usual distance,
        which leaves a clean table as it is. Further out it falls as d⁻⁴: the square of
        a row's distance, times its weight, goes to zero, and with it the influence of
        far rows on means and covariances. Of a row with missing cells, D and d are the
        number and the distance of the observed ones.
        """
        rows = incomplete_rows(x)
        n_features = len(self.location)
        square_distance = self._square_distance(self._filled(x, rows))
        weight = (self.df + n_features) / (self.df + square_distance)
        if len(rows):
            weight[rows] = self._by_blocks(
                lambda x: (self._weight_of(self._given(x)),), x[rows]
            )[0]
        return (16 * weight).clamp(max=1).square()

    def _weight_of(self, given: GivenObserved) -> Tensor:
        """Return (ν + n) / (ν + d²) of n observed cells, shape (B,)."""
        n_observed = given.is_observed.sum(1)
        return (self.df + n_observed) / (self.df + given.square_distance)

    def _square_distance(self, x: Tensor) -> Tensor:
        """Return d² = (x − m)ᵀ S⁻¹ (x − m)."""
        centred = (x - self.location).T
        standard = torch.linalg.solve_triangular(self.tril, centred, upper=False)
        return standard.square().sum(0)

    def _filled(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return rows with the location in their missing cells, if some have any."""
        return x.where(~x.isnan(), self.location) if len(rows) else x

    def _given(self, x: Tensor, column: int | None = None) -> GivenObserved:
        """Read the observed cells of rows; see `observed_first` for the column."""
        order = observed_first(~x.isnan(), column)
        tril = tril_in_order(self.tril[order])
        return given_observed(x, order, self.location[order], tril)

    def _by_blocks(
        self, function: Callable[..., tuple[Tensor, ...]], *columns: Tensor
    ) -> tuple[Tensor, ...]:
        """Apply a function of rows to blocks of a size that has room for matrices."""
        rows_at_once = NUMBERS_AT_ONCE // len(self.location) ** 2
        at_once = min(max(rows_at_once // 8, 1), MOST_EIGHTS) * 8
        return by_blocks(function, *columns, at_once=at_once)

    def marginal(self, columns: Tensor) -> "StudentTBackgroundModule":
        """Return the distribution of some columns, in their order."""
        module = StudentTBackgroundModule(self.weight, self.df, self.floor[columns])
        module.location = self.location[columns]
        module.tril = tril_in_order(self.tril[columns])
        return module

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw from the conditional t distribution of the missing cells."""
        rows = incomplete_rows(x)
        if not len(rows):
            return x
        own = [generators[row] for row in rows.tolist()]
        n_observed = (~x[rows].isnan()).sum(1).tolist()
        noise = normals(own, x.shape[1])
        spread = torch.cat(
            [
                random_spread(noise.new_full((1,), self.df + n), generator)
                for n, generator in zip(n_observed, own, strict=True)
            ]
        )

        def of_block(x: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
            given = self._given(x)
            scale = self._weight_of(given).rsqrt()
            return (given.cells(noise.take_along_dim(given.order, 1) * scale[:, None]),)

        noise = (noise * spread[:, None]).to(x)
        (drawn,) = self._by_blocks(of_block, x[rows], noise)
        completed = x.clone()
        completed[rows] = x[rows].where(~x[rows].isnan(), drawn)
        return completed

    def cell(self, x: Tensor, column: int) -> StudentTCells:
        """Return a t distribution with a degree of freedom more per observed cell."""
        x = x.clone()
        x[:, column] = torch.nan

        def of_block(x: Tensor) -> tuple[Tensor, ...]:
            given = self._given(x, column)
            location, scale = given.first_missing()
            df = self.df + given.is_observed.sum(1)
            return df.to(x), location, scale * self._weight_of(given).rsqrt()

        return StudentTCells(*self._by_blocks(of_block, x))

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw normal vectors, each times a random spread of its own."""
        normal = self.location.new_empty(n_samples, len(self.location))
        normal.normal_(generator=generator)
        spread = random_spread(normal.new_full((n_samples, 1), self.df), generator)
        return self.location + spread.to(normal) * (normal @ self.tril.T)

    def initialise(self, x: Tensor, sample_weight: Tensor) -> None:
        """Fit location and scatter by EM.

        The missing data are each row's own scale, and its missing cells.
        """
        x, w = x.double(), sample_weight.double()
        w = w / w.sum()
        if x.isnan().any():
            location, tril = fit_to_incomplete(
                x, w, self.df, self._factor, N_ITERATIONS_OF_INCOMPLETE
            )
        else:
            location, tril = self._fit_to_complete(x, w)
        self.location.copy_(location)
        self.tril.copy_(tril)

    def _factor(self, scatter: Tensor) -> Tensor:
        """Return the factor of a scatter with a floor, drawn to its diagonal."""
        floor = self.floor.double().square().diag()
        shrunk = torch.lerp(scatter, scatter.diagonal().diag(), DIAGONAL_SHARE)
        return torch.linalg.cholesky(shrunk + floor)

    def _fit_to_complete(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        n_features = x.shape[1]
        weight = w
        for _ in range(N_ITERATIONS):
            location = weight @ x / weight.sum()
            centred = x - location
            tril = self._factor((centred * weight[:, None]).T @ centred)
            standard = torch.linalg.solve_triangular(tril, centred.T, upper=False)
            distance = standard.square().sum(0)
            weight = w * (self.df + n_features) / (self.df + distance)
        return location, tril
