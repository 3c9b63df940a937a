"""Quadrature over one or two latents."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.evidence.importance import Estimate
from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals._base import Proposal, check_continuous
from skvae.evidence.sampling import Budget, Halves, Sampler
from skvae.model import VAE, ClosedFormPart
from skvae.model.distributions import LatentDistribution
from skvae.model.spec import positive_int

__all__ = ["QuadratureProposal"]

N_BOX_DRAWS = 4096  # from the prior; the grid covers their range and a margin
# Points are summed in blocks of a fixed size. Blocks whose size depended on the number
# of rows would change the last digits of a row's sum.
POINTS_AT_ONCE = 64
MARGIN = 0.5  # of that range, on both sides


class QuadratureProposal(Proposal):
    r"""A grid over the latents, the same for all rows; for one or two latents.

    .. math:: \hat p(x) = h \sum_g p(x \mid z_g)\, p(z_g)

    with h the volume of a cell. It needs no encoder, misses no mode that is wider
    than a cell, and decodes the grid once for many rows.

    The standard error is the difference from the grid with twice the step. If it is
    above the tolerance, the posterior is narrower than the cells; k̂ is then infinite,
    which marks the row as unreliable.

    Parameters
    ----------
    n_points : int or "auto", default="auto"
        Points per latent. "auto" is 4096 for one latent and 256 for two.

    References
    ----------
    L. N. Trefethen and J. A. C. Weideman, 2014. The exponentially convergent
    trapezoidal rule.

    Examples
    --------
    >>> from skvae import QuadratureProposal
    >>> QuadratureProposal(n_points=1024)
    QuadratureProposal(n_points=1024)
    """

    alias = "quadrature"

    def __init__(self, n_points: int | str = "auto") -> None:
        self.n_points = n_points

    def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> LatentDistribution:
        """Return the prior, over which the grid is laid."""
        return model.prior()

    def sampler(self, model: VAE, x: Tensor, noise: RowNoise) -> Sampler:
        """Lay the grid, the same for all rows."""
        check_continuous(self, model)
        prior = self.prepare(model, x, noise)
        return GridSampler(model, x, prior, *self._grid(prior, x))

    def _grid(
        self, prior: LatentDistribution, x: Tensor
    ) -> tuple[Tensor, float, Tensor]:
        """Return points (G, L), the log of a cell's volume and every second point."""
        noise = RowNoise.shared().points(prior.noise_dim, 0, N_BOX_DRAWS, like=x)
        z = prior.rsample(noise)[0].flatten(0, 1)
        n_latents = z.shape[1]
        if n_latents > 2:
            raise ValueError(
                f"QuadratureProposal is for one or two latents, but the model has "
                f"{n_latents}. Use proposal='refined'."
            )
        if self.n_points == "auto":
            n_points = 4096 if n_latents == 1 else 256
        else:
            name = "n_points of QuadratureProposal"
            n_points = positive_int(self.n_points, name, also=" or 'auto'")
        low, high = z.amin(0), z.amax(0)
        margin = MARGIN * (high - low)
        low, high = low - margin, high + margin
        share = torch.arange(n_points).to(x) / max(1, n_points - 1)
        axes = [a + share * (b - a) for a, b in zip(low, high, strict=True)]
        grid = torch.cartesian_prod(*axes).reshape(-1, n_latents)
        even = torch.arange(n_points, device=x.device) % 2 == 0
        is_coarse = torch.cartesian_prod(*[even] * n_latents).reshape(-1, n_latents)
        log_cell = float(((high - low) / max(1, n_points - 1)).log().sum())
        return grid, log_cell, is_coarse.all(1)


@dataclass(frozen=True)
class GridSampler(Sampler):
    """Sums over a grid.

    Attributes
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, D)
        Rows, in model units.
    prior : LatentDistribution
        p(z).
    grid : Tensor of shape (G, L)
        Points.
    log_cell : float
        Log of the volume of a cell.
    is_coarse : Tensor of bool of shape (G,)
        Which points a grid with twice the step has.
    """

    model: VAE
    x: Tensor
    prior: LatentDistribution
    grid: Tensor
    log_cell: float
    is_coarse: Tensor

    def halves(self, budget: Budget) -> Halves:
        """Return the sums twice: nothing is drawn."""
        return SummedHalves(self._sums(budget.tol))

    def estimate(self, budget: Budget, closed_form: ClosedFormPart) -> Estimate:
        """Return the sums; of the budget, only the tolerance matters."""
        return self._sums(budget.tol)

    def _sums(self, tol: float) -> Estimate:
        grid, x = self.grid, self.x
        log_prior = self.prior.log_prob(grid[:, None]).squeeze(1)
        empty = x.new_full((len(x),), -torch.inf, dtype=torch.float64)
        log_sum, log_coarse, log_square = empty, empty, empty
        for begin in range(0, len(grid), POINTS_AT_ONCE):
            part = slice(begin, begin + POINTS_AT_ONCE)
            log_likelihood = self.model.log_likelihood(x, grid[part, None])
            log_joint = (log_likelihood + log_prior[part, None]).double()
            log_sum = torch.logaddexp(log_sum, log_joint.logsumexp(0))
            log_square = torch.logaddexp(log_square, (2 * log_joint).logsumexp(0))
            coarse = log_joint[self.is_coarse[part]]
            if len(coarse):
                log_coarse = torch.logaddexp(log_coarse, coarse.logsumexp(0))
        n_latents = grid.shape[1]
        log_density = log_sum + self.log_cell
        # A cell of the coarse grid is 2^L times as large.
        difference = log_density - (
            log_coarse + self.log_cell + n_latents * math.log(2)
        )
        error = difference.abs().nan_to_num(torch.inf)
        return Estimate(
            log_density=log_density,
            standard_error=error,
            bias=torch.zeros_like(error),
            effective_sample_size=(2 * log_sum - log_square).exp(),
            pareto_k=torch.full_like(error, -torch.inf).where(error <= tol, torch.inf),
            n_samples=torch.full_like(log_density, len(grid), dtype=torch.int64),
        )


class SummedHalves(Halves):
    """The same sum for both halves, which more points do not change.

    Parameters
    ----------
    estimate : Estimate
        Of B rows.
    """

    def __init__(self, estimate: Estimate) -> None:
        n_points = estimate.n_samples
        row = torch.arange(len(n_points), device=n_points.device)
        self.estimate = replace(
            estimate[row.repeat(2)],
            n_samples=torch.cat([n_points - n_points // 2, n_points // 2]),
        )

    def extend(self, totals: Tensor) -> None:
        """Do nothing."""
