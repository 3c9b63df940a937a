"""Kernel densities: a Gaussian around every row, all of one shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.companions._base import BlockScorer, Companion, CompanionFit
from skvae.model.companions._rows import cholesky_of, draw_modes, inverse_of

__all__ = ["KernelDensity", "KernelDensityFit"]

AT_ONCE = 512  # kernels


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

    def scorer(self) -> BlockScorer:
        """Return the log-density of the kernels together."""
        scorers = [self._scorer_of(whitener) for whitener in self.whitener]

        def of_block(rows: Tensor) -> Tensor:
            log_p = torch.stack([scorer(rows) for scorer in scorers])
            return (log_p + self.log_weight[:, None]).logsumexp(0)

        return of_block

    def _scorer_of(self, whitener: Tensor) -> BlockScorer:
        """Return the log-density of the kernels of one covariance."""
        centre = self.centre @ whitener.T
        of_centre = -0.5 * centre.square().sum(1, keepdim=True)
        log_det = whitener.diagonal().log().sum()
        constant = log_det - len(whitener) / 2 * math.log(2 * math.pi)

        log_weight = self.row_log_weight[:, None]
        # So many kernels at a time stay in the cache of a processor.
        chunks = [part.split(AT_ONCE) for part in (centre, of_centre, log_weight)]

        def of_block(rows: Tensor) -> Tensor:
            standard = whitener @ rows.T
            of_row = 0.5 * standard.square().sum(0)
            log_p = []
            for some, of_some, weight in zip(*chunks, strict=True):
                log_kernel = (some @ standard).add_(of_some).sub_(of_row)
                # Far out, differences of large squares may come out positive.
                log_p.append(log_kernel.clamp_(max=0).add_(weight).logsumexp(0))
            return torch.stack(log_p).logsumexp(0) + constant

        return of_block

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows, and add noise to them."""
        row = draw_modes(self.row_log_weight, n_samples, generator)
        width = draw_modes(self.log_weight, n_samples, generator)
        noise = self.centre.new_empty(n_samples, self.centre.shape[1], 1)
        noise.normal_(generator=generator)
        return self.centre[row] + (self.tril[width] @ noise).squeeze(2)


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
    """

    bandwidth: float
    floor: Tensor
    prior_rows: float = 0.0

    @property
    def name(self) -> str:  # type: ignore[override]
        """What to call it in the report of a fit."""
        shrunk = f", shrunk by {self.prior_rows:g}" if self.prior_rows else ""
        return f"kernels of {self.bandwidth:g}{shrunk}"

    def fit(self, x: Tensor, weights: Tensor) -> Sequence[Companion]:
        """Keep the rows with positive weights."""
        return [self._fit_one(x[w > 0], w[w > 0]) for w in weights]

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
