"""Sums over the missing columns of a tree, by messages from its leaves to its root."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.companions._categories import Categories
from skvae.model.missing import choose

__all__ = ["TreeSums", "evidence"]

LEAST = 1e-300  # in place of a zero to divide by


def evidence(categories: Categories, x: Tensor, *, known_only: bool) -> list[Tensor]:
    """Return which states of each column rows (B, D) allow, (n_d + 1, B) each.

    The states of a column are its n_d values, and to be none of them, the last one.

    Parameters
    ----------
    categories : Categories
        The columns.
    x : Tensor of shape (B, D)
        Rows; NaN where a cell is missing. An observed cell allows one state.
    known_only : bool
        Whether a missing cell is one of the values. Else it has any state.
    """
    codes, missing = categories.codes(x).T, x.isnan().T
    allowed = []
    for n_values, code, absent in zip(
        categories.n_values.tolist(), codes, missing, strict=True
    ):
        state = torch.arange(n_values + 1)[:, None]
        possible = (state < n_values) if known_only else (state <= n_values)
        allowed.append(torch.where(absent, possible, state == code).to(x.dtype))
    return allowed


@dataclass(frozen=True)
class TreeSums:
    """One tree, as a matrix of masses for each column.

    Attributes
    ----------
    parent, order : list of D int
        Parent of each column, D for the root, and the columns, parents first.
    masses : list of D Tensor of shape (n_d + 1, n_parent + 1)
        Mass of each state of a column given each state of its parent. The root has one
        column.
    """

    parent: list[int]
    order: list[int]
    masses: list[Tensor]

    @classmethod
    def of(
        cls, categories: Categories, parent: Tensor, order: Tensor, log_mass: Tensor
    ) -> "TreeSums":
        """Read a tree of `TreeMixture`."""
        sizes = categories.n_values.tolist()
        of_tree = parent.tolist()
        masses = []
        for column, (size, above) in enumerate(zip(sizes, of_tree, strict=True)):
            n_above = sizes[above] if above < len(sizes) else 0
            states = torch.tensor([*range(n_above), log_mass.shape[1] - 1])
            begin = int(categories.begin[column])
            known = log_mass[begin : begin + size, states]
            other = categories.log_other[column].expand(1, len(states))
            log_joint = torch.cat([known + categories.log_known[column], other])
            masses.append(log_joint.exp())
        return cls(of_tree, order.tolist(), masses)

    def upward(self, allowed: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Sum over all states that are allowed.

        Parameters
        ----------
        allowed : list of D Tensor of shape (n_d + 1, B)
            One where a row allows a state, else zero.

        Returns
        -------
        log_p : Tensor of shape (B,)
            Log-mass of what is allowed.
        beliefs : list of D Tensor of shape (n_d + 1, B)
            For each state of a column, the mass that its descendants have given it, on
            a scale of the row's own; zero where it is not allowed.
        """
        beliefs = list(allowed)
        log_p = torch.zeros_like(allowed[0][0])
        for column in reversed(self.order):
            message = self.masses[column].T @ beliefs[column]
            above = self.parent[column]
            if above < len(beliefs):
                message = beliefs[above] * message
            # The largest number is one, so that products do not vanish.
            scale = message.amax(0)
            log_p = log_p + scale.log()
            if above < len(beliefs):
                beliefs[above] = message / scale.clamp(min=LEAST)
        return log_p, beliefs

    def downward(self, beliefs: list[Tensor], uniform: Tensor) -> Tensor:
        """Draw the states of all columns, parents first, shape (B, D).

        Parameters
        ----------
        beliefs : list of D Tensor of shape (n_d + 1, B)
            As `upward` returns them.
        uniform : Tensor of shape (B, D)
            Numbers from [0, 1).
        """
        states = torch.zeros(uniform.shape, dtype=torch.int64)
        root = torch.zeros_like(states[:, 0])
        for column in self.order:
            above = self.parent[column]
            of_parent = states[:, above] if above < len(beliefs) else root
            mass = self.masses[column][:, of_parent] * beliefs[column]
            states[:, column] = choose(mass.T.log(), uniform[:, column])
        return states
