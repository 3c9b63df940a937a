"""Gaussian and Student-t distributions of rows, given their observed cells."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GivenObserved", "given_observed", "observed_first", "tril_in_order"]


def observed_first(observed: Tensor, column: int | None = None) -> Tensor:
    """Return the columns with those of observed cells first, int of shape (..., D).

    Parameters
    ----------
    observed : Tensor of bool of shape (..., D)
        Which cells are observed.
    column : int or None, default=None
        A missing one, to be the first after them.
    """
    rank = torch.where(observed, 0, 2)
    if column is not None:
        rank[..., column] = 1
    return rank.argsort(stable=True, dim=-1)


def tril_in_order(rows: Tensor) -> Tensor:
    """Return the Cholesky factor of a covariance with some columns, in their order.

    Parameters
    ----------
    rows : Tensor of shape (..., d, D)
        Rows of a Cholesky factor of the covariance of all D columns.

    Returns
    -------
    tril : Tensor of shape (..., d, d)
        Where the columns are those of observed cells first, its upper left block is the
        factor of their covariance, and its lower right block that of the conditional
        covariance of the others.
    """
    tril, info = torch.linalg.cholesky_ex(rows @ rows.mT)
    if info.any():
        # Where columns nearly determine one another, the product has lost the digits
        # that tell them apart. The orthogonal factorisation does without it.
        upper = torch.linalg.qr(rows[info > 0].mT, mode="r").R
        sign = upper.diagonal(dim1=-2, dim2=-1).sign()
        tril[info > 0] = upper.mT * sign[..., None, :]
    return tril


@dataclass(frozen=True)
class GivenObserved:
    """What the observed cells of B rows say of the others.

    The columns of a row are in its own order, the n observed ones first.

    Attributes
    ----------
    order : Tensor of int of shape (B, D)
        Column at each place.
    is_observed : Tensor of bool of shape (B, D)
        Whether the place has an observed cell: the first n have.
    location : Tensor of shape (B, D)
        Location, in this order.
    tril : Tensor of shape (B, D, D)
        Cholesky factor of the scatter, in this order.
    standard : Tensor of shape (B, D)
        Observed cells without location and scatter: L⁻¹ (x − m); zero elsewhere.
    """

    order: Tensor
    is_observed: Tensor
    location: Tensor
    tril: Tensor
    standard: Tensor

    @property
    def square_distance(self) -> Tensor:
        """Square distance (x − m)ᵀ S⁻¹ (x − m) of the observed cells, shape (B,)."""
        return self.standard.square().sum(1)

    @property
    def half_log_det(self) -> Tensor:
        """Half the log-determinant of the observed cells' scatter, shape (B,)."""
        diagonal = self.tril.diagonal(dim1=1, dim2=2)
        return diagonal.where(self.is_observed, 1.0).log().sum(1)

    def cells(self, noise: Tensor | None = None) -> Tensor:
        """Return rows (B, D), in the columns' order.

        Observed cells are as they are, up to rounding. The others are their conditional
        locations, and noise (B, D) times the factor of their conditional scatter.
        """
        standard = self.standard
        if noise is not None:
            standard = standard.where(self.is_observed, noise)
        ordered = self.location + (self.tril * standard[:, None]).sum(2)
        return torch.zeros_like(ordered).scatter(1, self.order, ordered)

    def first_missing(self) -> tuple[Tensor, Tensor]:
        """Return conditional location and scale of the first missing cell, (B,) each.

        Each row has one.
        """
        place = self.is_observed.sum(1, keepdim=True)
        row = self.tril.take_along_dim(place[:, :, None], 1).squeeze(1)
        location = self.location.take_along_dim(place, 1).squeeze(1)
        scale = row.take_along_dim(place, 1).squeeze(1)
        return location + (row * self.standard).sum(1), scale

    def scatter_of_missing(self) -> Tensor:
        """Return a factor (B, D, D) of the conditional scatter, in the columns' order.

        The scatter is the factor times its transpose, and zero for observed cells.
        """
        factor = self.tril * ~self.is_observed[:, None]
        index = self.order[:, :, None].expand_as(factor)
        return torch.zeros_like(factor).scatter(1, index, factor)


def given_observed(
    x: Tensor, order: Tensor, location: Tensor, tril: Tensor
) -> GivenObserved:
    """Read the observed cells of rows.

    Parameters
    ----------
    x : Tensor of shape (B, D)
        Rows, in the columns' order; NaN where a cell is missing.
    order : Tensor of int of shape (B, D)
        The columns of each row, those of observed cells first.
    location : Tensor of shape (B, D)
        Location, in that order.
    tril : Tensor of shape (B, D, D)
        Cholesky factor of the scatter, in that order.
    """
    x = x.take_along_dim(order, 1)
    is_observed = ~x.isnan()
    centred = (x - location).where(is_observed, 0.0)
    standard = torch.linalg.solve_triangular(tril, centred[:, :, None], upper=False)
    standard = standard.squeeze(2).where(is_observed, 0.0)
    return GivenObserved(order, is_observed, location, tril, standard)
