"""Weighted Gaussians, given the observed cells of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.companions._rows import BlockScorer, inverse_of
from skvae.model.conditioning import given_observed
from skvae.model.missing import by_blocks, normals, pattern_groups, uniforms
from skvae.model.missing import choose as choose_by

__all__ = ["GaussiansGiven", "complete_by_gaussians"]


@dataclass(frozen=True)
class GaussiansGiven:
    """J weighted Gaussians, for rows with one pattern of observed cells.

    Attributes
    ----------
    order : Tensor of int of shape (D,)
        The columns, those of observed cells first.
    n_observed : int
        How many are observed, n.
    tril : Tensor of shape (M, D, D)
        Cholesky factors of the different covariances, in this order.
    log_joint : callable
        Takes rows (B, D) and returns, for each Gaussian, its log-weight plus the
        log-density of the observed cells, shape (J, B).
    choose : callable
        Takes numbers (B,) of Gaussians and returns their means (B, D) and Cholesky
        factors (B, D, D), in the order of the columns above.
    """

    order: Tensor
    n_observed: int
    tril: Tensor
    log_joint: BlockScorer
    choose: Callable[[Tensor], tuple[Tensor, Tensor]]

    def draw(self, x: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor]:
        """Draw a Gaussian for each row (B, D), and the missing cells from it."""
        which = choose_by(self.log_joint(x).T, uniform)
        order = self.order.expand(len(x), -1)
        given = given_observed(x, order, *self.choose(which))
        return (given.cells(normal),)

    def slope_and_scale(self) -> tuple[Tensor, Tensor]:
        """Return what the first missing cell has to do with the observed cells.

        Returns
        -------
        slope : Tensor of shape (M, n)
            Change of its conditional mean with each observed cell.
        scale : Tensor of shape (M,)
            Its conditional standard deviation.
        """
        n = self.n_observed
        whitener = inverse_of(self.tril[:, :n, :n])
        slope = (self.tril[:, n : n + 1, :n] @ whitener).squeeze(1)
        return slope, self.tril[:, n, n]


def complete_by_gaussians(
    given: Callable[[Tensor], GaussiansGiven],
    x: Tensor,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Draw the missing cells of rows (B, D).

    Parameters
    ----------
    given : callable
        Takes a pattern (D,) of observed cells and returns the Gaussians for it.
    x : Tensor of shape (B, D)
        Rows; NaN where a cell is missing.
    generators : sequence of B torch.Generator
        Source of randomness of each row.
    """
    completed = x.clone()
    for observed, rows in pattern_groups(x):
        own = [generators[row] for row in rows.tolist()]
        noise = uniforms(own, 1).squeeze(1), normals(own, x.shape[1])
        (drawn,) = by_blocks(given(observed).draw, x[rows], *noise)
        completed[rows] = x[rows].where(observed, drawn)
    return completed
