"""Kernel densities: a Gaussian around every row, all of one shape."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from skvae.model.cells import MODES_AT_ONCE, GaussianCells
from skvae.model.companions._base import Companion, CompanionFit
from skvae.model.companions._completion import Completion
from skvae.model.companions._gaussians import GaussiansGiven, complete_by_gaussians
from skvae.model.companions._mixtures import mixture_completion
from skvae.model.companions._rows import (
    BlockScorer,
    cholesky_of,
    draw_modes,
    inverse_of,
)
from skvae.model.conditioning import observed_first, tril_in_order
from skvae.model.missing import ROWS_OF_PATTERN, pattern_groups

__all__ = ["KernelDensity", "KernelDensityFit"]

AT_ONCE = 512  # kernels
NEGLECTED = 1e-4  # weight of the kernels that a conditional distribution does without


class KernelDensity(Companion):
    """Gaussians around weighted rows, of one covariance or of several.

    Parameters
    ----------
    row_log_weight : Tensor of shape (N,)
        Log-weights of the rows; they sum to one.
    centre : Tensor of shape (N, D)
        The rows.
    log_weight : Tensor of shape (H,)
        Log-weights of the covariances; they sum to one.
    tril : Tensor of shape (H, D, D)
        Cholesky factors of the covariances.
    """

    row_log_weight: Tensor
    centre: Tensor
    log_weight: Tensor
    tril: Tensor
    whitener: Tensor

    def __init__(
        self, row_log_weight: Tensor, centre: Tensor, log_weight: Tensor, tril: Tensor
    ) -> None:
        super().__init__()
        self.register_buffer("row_log_weight", row_log_weight)
        self.register_buffer("centre", centre)
        self.register_buffer("log_weight", log_weight)
        self.register_buffer("tril", tril)
        self.register_buffer("whitener", inverse_of(tril))

    @classmethod
    def joined(
        cls, parts: Sequence["KernelDensity"], weight: Tensor
    ) -> "KernelDensity":
        """Return the mixture of kernels around the same rows."""
        log_weight = (weight / weight.sum()).log()
        shares = [
            part.log_weight + w for part, w in zip(parts, log_weight, strict=True)
        ]
        trils = [part.tril for part in parts]
        first = parts[0]
        return cls(
            first.row_log_weight, first.centre, torch.cat(shares), torch.cat(trils)
        )

    by_pattern = True

    def complete_scorer(self) -> BlockScorer:
        """Return the log-density of the kernels together."""
        return self._scorer(self.centre, self.whitener)

    def marginal_scorer(self, observed: Tensor) -> BlockScorer:
        """Return the same for some of the columns."""
        columns = observed.nonzero().squeeze(1)
        whitener = inverse_of(tril_in_order(self.tril[:, columns]))
        scorer = self._scorer(self.centre[:, columns], whitener)
        return lambda rows: scorer(rows[:, columns])

    def _scorer(self, centre: Tensor, whitener: Tensor) -> BlockScorer:
        """Return the log-density of kernels of all covariances."""
        scorers = [self._scorer_of(centre, one) for one in whitener]

        def of_block(rows: Tensor) -> Tensor:
            log_p = torch.stack([scorer(rows) for scorer in scorers])
            return (log_p + self.log_weight[:, None]).logsumexp(0)

        return of_block

    def _scorer_of(self, centre: Tensor, whitener: Tensor) -> BlockScorer:
        """Return the log-density of the kernels of one covariance."""
        kernels, constant = self._kernels_of(centre, whitener)

        def of_block(rows: Tensor) -> Tensor:
            log_p = [log_kernel.logsumexp(0) for log_kernel in kernels(rows)]
            return torch.stack(log_p).logsumexp(0) + constant

        return of_block

    def _kernels_of(
        self, centre: Tensor, whitener: Tensor
    ) -> tuple[Callable[[Tensor], Iterator[Tensor]], Tensor]:
        """Return a function that yields log-kernels (n, B) some at a time.

        They have their rows' weights, but lack a constant, which is returned, too.
        """
        centre = centre @ whitener.T
        of_centre = -0.5 * centre.square().sum(1, keepdim=True)
        log_det = whitener.diagonal().log().sum()
        constant = log_det - len(whitener) / 2 * math.log(2 * math.pi)

        log_weight = self.row_log_weight[:, None]
        # So many kernels at a time stay in the cache of a processor.
        chunks = [part.split(AT_ONCE) for part in (centre, of_centre, log_weight)]

        def of_block(rows: Tensor) -> Iterator[Tensor]:
            standard = whitener @ rows.T
            of_row = 0.5 * standard.square().sum(0)
            for some, of_some, weight in zip(*chunks, strict=True):
                log_kernel = (some @ standard).add_(of_some).sub_(of_row)
                # Far out, differences of large squares may come out positive.
                yield log_kernel.clamp_(max=0).add_(weight)

        return of_block, constant

    def _given(self, observed: Tensor, column: int | None = None) -> GaussiansGiven:
        """Return the kernels of all covariances for rows with one pattern.

        The column, if any, is the first of those without an observed cell.
        """
        order, n_observed = observed_first(observed, column), int(observed.sum())
        tril = tril_in_order(self.tril[:, order])
        columns, n_rows = order[:n_observed], len(self.centre)
        centre = self.centre[:, order]
        whitener = inverse_of(tril[:, :n_observed, :n_observed])
        kernels = [self._kernels_of(centre[:, :n_observed], one) for one in whitener]
        constants = torch.stack([own for _, own in kernels]) + self.log_weight

        def log_joint(rows: Tensor) -> Tensor:
            rows = rows[:, columns]
            return torch.cat(
                [
                    some + constant
                    for (of_block, _), constant in zip(kernels, constants, strict=True)
                    for some in of_block(rows)
                ]
            )

        def choose(which: Tensor) -> tuple[Tensor, Tensor]:
            return centre[which % n_rows], tril[which // n_rows]

        return GaussiansGiven(order, n_observed, tril, log_joint, choose)

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a kernel for each row, and the missing cells from it."""
        return complete_by_gaussians(self._given, x, generators)

    def cell(self, x: Tensor, column: int) -> GaussianCells:
        """Return the mixture of the kernels' conditional distributions.

        Kernels that together have less than 1e-4 of the weight are left out.
        """
        x = x.clone()
        x[:, column] = torch.nan
        groups = pattern_groups(x)
        parts = []
        for observed, rows in groups:
            of_block = self._cell_of(observed, column)
            for some in rows.split(ROWS_OF_PATTERN):
                place = torch.arange(ROWS_OF_PATTERN).clamp(max=len(some) - 1)
                modes = of_block(x[some[place]])
                parts.append([mode[: len(some)] for mode in modes])
        widest = max(part[0].shape[1] for part in parts)
        order = torch.cat([rows for _, rows in groups]).argsort()
        tables = []
        for pieces, rest in zip(
            zip(*parts, strict=True), (-math.inf, 0, 1), strict=True
        ):
            filled = [
                pad(some, (0, widest - some.shape[1]), value=rest) for some in pieces
            ]
            tables.append(torch.cat(filled)[order])
        return GaussianCells(*tables)

    def _cell_of(
        self, observed: Tensor, column: int
    ) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]:
        """Return a function of rows of one pattern that returns the modes of a cell."""
        given = self._given(observed, column)
        seen = given.order[: given.n_observed]
        # The conditional mean is linear in the observed cells.
        slope, scale = given.slope_and_scale()
        of_centre = (self.centre[:, column] - slope @ self.centre[:, seen].T).flatten()

        def of_block(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            log_weight, kernel = _strongest(given.log_joint(rows).T.log_softmax(1))
            of_row = (rows[:, None, seen] * slope).sum(2)
            width = kernel // len(self.centre)
            location = of_centre[kernel] + of_row.take_along_dim(width, 1)
            return log_weight, location, scale[width]

        return of_block

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows, and add noise to them."""
        row = draw_modes(self.row_log_weight, n_samples, generator)
        width = draw_modes(self.log_weight, n_samples, generator)
        noise = self.centre.new_empty(n_samples, self.centre.shape[1], 1)
        noise.normal_(generator=generator)
        return self.centre[row] + (self.tril[width] @ noise).squeeze(2)


def _strongest(log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-weights of the modes that matter, and their numbers, (B, k) each.

    Of each row, 256 or a multiple of it matter; further modes of others have no weight.
    """
    n_modes = log_weight.shape[1]
    n_kept = MODES_AT_ONCE
    while True:
        kept, mode = log_weight.topk(min(n_kept, n_modes), 1)
        mass = kept.exp().cumsum(1)
        lacks = 1 - mass > NEGLECTED
        if n_kept >= n_modes or not lacks[:, -1].any():
            break
        n_kept *= 4
    # So many multiples of 256 modes does a row need.
    needed = lacks.sum(1, keepdim=True) // MODES_AT_ONCE + 1
    place = torch.arange(kept.shape[1])
    kept = kept.where(place < needed * MODES_AT_ONCE, -torch.inf)
    return kept.log_softmax(1), mode


@dataclass(frozen=True)
class KernelDensityFit(CompanionFit):
    """Kernels of the shape of the whole table.

    Attributes
    ----------
    bandwidth : float
        Standard deviation of the kernel, in units of that of the rows.
    floor : Tensor of shape (D,)
        Standard deviation that is added to that of every column.
    prior_rows : float, default=0.0
        How many more rows the covariance is taken to have seen, whose columns are
        uncorrelated.
    completion : Completion or None, default=None
        Draws the missing cells of the rows; by default a mixture of Gaussians does.
    """

    bandwidth: float
    floor: Tensor
    prior_rows: float = 0.0
    completion: Completion | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """What to call it in the report of a fit."""
        shrunk = f", shrunk by {self.prior_rows:g}" if self.prior_rows else ""
        return f"kernels of {self.bandwidth:g}{shrunk}"

    def fit(self, x: Tensor, weights: Tensor) -> Sequence[Companion]:
        """Keep the rows with positive weights, completed."""
        if not x.isnan().any():
            return [self._fit_one(x[w > 0], w[w > 0]) for w in weights]
        n_rows = int((weights > 0).sum(1).min())
        completion = self.completion or mixture_completion(self.floor, n_rows)
        rows = completion.of(x, weights)
        return [
            self._fit_one(some, w[w > 0]) for some, w in zip(rows, weights, strict=True)
        ]

    def _fit_one(self, x: Tensor, weight: Tensor) -> KernelDensity:
        total = weight.sum()
        share = weight / total
        centred = x - share @ x
        scatter = (centred * weight[:, None]).T @ centred
        prior = self.prior_rows / total * scatter.diagonal().diag()
        covariance = (scatter + prior) / (total + self.prior_rows)
        covariance = self.bandwidth**2 * covariance + self.floor.square().diag()
        tril = cholesky_of(covariance, self.floor)[None]
        return KernelDensity(share.log(), x, share.new_zeros(1), tril)
