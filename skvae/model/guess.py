"""Draws of missing cells by a mixture of Gaussians, with the density of each draw."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.conditioning import (
    GivenObserved,
    given_observed,
    observed_first,
    tril_in_order,
)

__all__ = ["GaussianGuess", "GuessOfRows"]


@dataclass(frozen=True)
class GaussianGuess:
    """M Gaussians of whole rows, from which missing cells are drawn given the others.

    Attributes
    ----------
    log_weight : Tensor of shape (M,)
        Log-weights of the modes; they sum to one.
    mean : Tensor of shape (M, D)
        Means.
    factor : Tensor of shape (M, D, D)
        Of the covariances, each of which is its factor times the transpose of it.
    """

    log_weight: Tensor
    mean: Tensor
    factor: Tensor

    def of(self, x: Tensor) -> "GuessOfRows":
        """Read the observed cells of rows (B, D); NaN where a cell is missing."""
        n_rows, n_modes = len(x), len(self.mean)
        observed = ~x.isnan()
        order = observed_first(observed)
        every_row = x.repeat(n_modes, 1), order.repeat(n_modes, 1)
        tril = tril_in_order(self.factor[:, order]).flatten(0, 1)
        given = given_observed(*every_row, self.mean[:, order].flatten(0, 1), tril)
        constant = observed.sum(1) * (0.5 * math.log(2 * math.pi))
        log_p = -given.half_log_det - 0.5 * given.square_distance
        log_joint = log_p.view(n_modes, n_rows) - constant + self.log_weight[:, None]
        return GuessOfRows(given, self.log_weight, log_joint)


@dataclass(frozen=True)
class GuessOfRows:
    """What M Gaussians say of the missing cells of B rows.

    Attributes
    ----------
    given : GivenObserved
        Of each mode and row, M × B.
    log_weight : Tensor of shape (M,)
        Log-weights of the modes.
    log_joint : Tensor of shape (M, B)
        These plus the log-density of the observed cells.
    """

    given: GivenObserved
    log_weight: Tensor
    log_joint: Tensor

    def mean(self) -> Tensor:
        """Return rows (B, D) whose missing cells have their conditional means."""
        rows = self._of_modes(self.given.cells())
        return (self.log_joint.softmax(0)[:, :, None] * rows).sum(0)

    def draw(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the missing cells.

        Parameters
        ----------
        points : Tensor of shape (K, B, 1 + D)
            Standard-normal numbers; the first chooses the mode.

        Returns
        -------
        rows : Tensor of shape (K, B, D)
            Completed rows. Observed cells are as they were, up to rounding.
        log_q : Tensor of shape (K, B)
            Log-density of the drawn cells given the observed ones.
        """
        n_modes, n_rows = self.log_joint.shape
        below = self.log_joint.softmax(0).cumsum(0)
        bound = torch.special.ndtr(points[..., 0]) * below[-1]
        which = (below[:, None] <= bound).sum(0).clamp(max=n_modes - 1)
        given = self.given
        order = given.order[:n_rows].expand(len(points), -1, -1)
        is_observed, tril = given.is_observed[:n_rows], self._of_modes(given.tril)
        location, seen = self._of_modes(given.location), self._of_modes(given.standard)
        rows = torch.zeros_like(points[..., 1:])
        for mode in range(n_modes):
            standard = seen[mode].where(is_observed, points[..., 1:])
            moved = torch.einsum("bij,kbj->kbi", tril[mode], standard)
            rows = torch.where((which == mode)[..., None], location[mode] + moved, rows)
        log_joint = []
        for mode in range(n_modes):
            centred = (rows - location[mode]).permute(1, 2, 0)
            standard = torch.linalg.solve_triangular(tril[mode], centred, upper=False)
            half_log_det = tril[mode].diagonal(dim1=1, dim2=2).log().sum(1)
            log_p = -0.5 * standard.square().sum(1).T - half_log_det
            log_joint.append(log_p + self.log_weight[mode])
        constant = rows.shape[2] * (0.5 * math.log(2 * math.pi))
        log_q = torch.stack(log_joint).logsumexp(0) - constant
        in_order = torch.zeros_like(rows).scatter(2, order, rows)
        return in_order, log_q - self.log_joint.logsumexp(0)

    def _of_modes(self, values: Tensor) -> Tensor:
        """Return what belongs to modes and rows as (M, B, ...)."""
        return values.view(*self.log_joint.shape, *values.shape[1:])
