"""Maximum likelihood of a Student-t distribution from rows with missing cells."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.conditioning import given_observed, observed_first, tril_in_order
from skvae.model.missing import incomplete_rows

__all__ = ["fit_to_incomplete"]

NUMBERS_AT_ONCE = 2**21
TOL = 1e-4  # of location and scatter, in units of the scales, between two iterations


def fit_to_incomplete(
    x: Tensor,
    weight: Tensor,
    df: float,
    factor: Callable[[Tensor], Tensor],
    n_iterations: int,
) -> tuple[Tensor, Tensor]:
    """Return location and the Cholesky factor of the scatter, by EM.

    The missing data are the rows' own scales and their missing cells. Given the
    parameters, a missing cell has a conditional location, and its square a conditional
    scatter more than the square of that, which the scale does not change.

    Parameters
    ----------
    x : Tensor of shape (N, D)
        Rows; NaN where a cell is missing. Columns without any observed cell keep the
        location zero and the scatter one.
    weight : Tensor of shape (N,)
        Their weights, at least 0; of the rows with an observed cell not all zero.
    df : float
        Degrees of freedom.
    factor : callable
        Takes a scatter and returns its Cholesky factor, or that of one near it.
    n_iterations : int
        Largest number of iterations.

    References
    ----------
    C. Liu and D. B. Rubin, 1995. ML estimation of the t distribution using EM and its
    extensions, ECM and ECME.
    """
    observed = ~x.isnan()
    # Rows without an observed cell say nothing, and would only slow the iterations.
    used = observed.any(1) & (weight > 0)
    location, scatter = _start(x[used], weight[used], observed[used])
    if not used.any():
        return location, factor(scatter.diag())
    x, observed = x[used], observed[used]
    weight = weight[used] / weight[used].sum()
    tril = scatter.sqrt().diag()
    is_complete = observed.all(1)
    blocks = _blocks(x)
    filled = x.where(observed, location)
    missing_scatter = (weight @ (~observed).to(x) * scatter).diag()
    scale = weight
    for _ in range(n_iterations):
        before = location, tril
        location = scale @ filled / scale.sum()
        centred = filled - location
        tril = factor((centred * scale[:, None]).T @ centred + missing_scatter)
        standard = torch.linalg.solve_triangular(tril, centred.T, upper=False)
        # The distances of incomplete rows are replaced below.
        inverse = (df + x.shape[1]) / (df + standard.square().sum(0))
        scale = weight * inverse.where(is_complete, 0.0)
        missing_scatter = torch.zeros_like(tril)
        for block in blocks:
            some = block.read(x, location, tril)
            filled[block.rows] = some.filled
            more = (df + some.n_observed) / (df + some.square_distance)
            scale[block.rows] = weight[block.rows] * more
            missing_scatter += block.sum_of_scatters(some.factors, weight)
        if _change(before, (location, tril)) < TOL:
            break
    return location, tril


def _change(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> float:
    """Return the largest change of location and factor, in units of the scales."""
    unit = after[1].square().sum(1).sqrt()
    moved = (after[0] - before[0]).abs() / unit
    turned = (after[1] - before[1]).abs() / unit[:, None]
    return max(float(moved.max()), float(turned.max()))


def _start(x: Tensor, weight: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and variances of the observed cells of each column."""
    share = weight[:, None] * observed
    total = share.sum(0)
    share = share / total.clamp(min=torch.finfo(x.dtype).tiny)
    filled = x.where(observed, 0.0)
    mean = (share * filled).sum(0)
    variance = (share * (filled - mean).square()).sum(0)
    return mean, variance.where((total > 0) & (variance > 0), 1.0)


@dataclass(frozen=True)
class _Reading:
    """What the observed cells of n rows say, and factors of P patterns, (P, D, D)."""

    filled: Tensor
    square_distance: Tensor
    n_observed: Tensor
    factors: Tensor


@dataclass(frozen=True)
class _Block:
    """Some incomplete rows, with the P patterns of their observed cells.

    Attributes
    ----------
    rows : Tensor of int of shape (n,)
        Their numbers.
    patterns : Tensor of bool of shape (P, D)
        True where a cell is observed.
    which : Tensor of int of shape (n,)
        The pattern of each row.
    """

    rows: Tensor
    patterns: Tensor
    which: Tensor

    def read(self, x: Tensor, location: Tensor, tril: Tensor) -> _Reading:
        """Read the rows' observed cells; each pattern has one factor."""
        order = observed_first(self.patterns)
        factor = tril_in_order(tril[order])
        own, order = x[self.rows], order[self.which]
        given = given_observed(own, order, location[order], factor[self.which])
        first = self.which.new_zeros(len(self.patterns))
        first[self.which] = torch.arange(len(self.which), device=x.device)
        return _Reading(
            own.where(~own.isnan(), given.cells()),
            given.square_distance,
            given.is_observed.sum(1),
            given.scatter_of_missing()[first],
        )

    def sum_of_scatters(self, factors: Tensor, weight: Tensor) -> Tensor:
        """Return the sum of the rows' conditional scatters, (D, D)."""
        total = weight.new_zeros(len(self.patterns))
        total.index_add_(0, self.which, weight[self.rows])
        beside = (factors * total.sqrt()[:, None, None]).transpose(0, 1).flatten(1)
        return beside @ beside.T


def _blocks(x: Tensor) -> list[_Block]:
    """Divide the incomplete rows, those of equal patterns together."""
    rows = incomplete_rows(x)
    patterns, which = (~x[rows].isnan()).unique(dim=0, return_inverse=True)
    order = which.argsort(stable=True)
    blocks = []
    for some in order.split(max(1, NUMBERS_AT_ONCE // x.shape[1] ** 2)):
        present, own = which[some].unique(return_inverse=True)
        blocks.append(_Block(rows[some], patterns[present], own))
    return blocks
