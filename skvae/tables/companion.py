"""A companion in the units of the table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from skvae.model.cells import CellDistribution
from skvae.model.companions import CompanionPool
from skvae.tables.columns import Columns, RowMap
from skvae.typing import Array

__all__ = ["CompanionDensity"]

FARTHEST = 1e50  # model units; beyond, squares would overflow


@dataclass(frozen=True)
class CompanionDensity:
    """A density in closed form, and its share of p(x).

    Attributes
    ----------
    density : CompanionPool
        In float64, on the CPU.
    columns : RowMap
        The map between table and its units.
    weight : float
        Its share of p(x), between 0 and 1.
    shares : dict of str to float
        That of each of its parts.
    held_out : dict of str to float
        Mean log-density of rows held out under each part that was tried, in nats and
        the units of the input.
    """

    density: CompanionPool
    columns: RowMap
    weight: float
    shares: dict[str, float] = field(default_factory=dict)
    held_out: dict[str, float] = field(default_factory=dict)

    def log_density(self, rows: Array) -> tuple[Array, Array]:
        """Return the log-density of rows, and the log of what the broad part adds.

        Parameters
        ----------
        rows : ndarray of shape (n, D)
            In the units of the input.

        Returns
        -------
        log_density, broad : ndarray of shape (n,)
            Nats, in the units of the input.
        """
        x, log_jacobian = self._in_units(rows)
        log_density, broad = self.density.log_prob_and_broad(x)
        return log_density.numpy() + log_jacobian, broad.numpy() + log_jacobian

    def draw(self, n_samples: int, generator: torch.Generator) -> Array:
        """Draw rows in the units of the input."""
        return self.columns.to_table(self.density.sample(n_samples, generator).numpy())

    def complete(self, rows: Array, generators: Sequence[torch.Generator]) -> Array:
        """Return rows with missing cells drawn given the others.

        Parameters
        ----------
        rows : ndarray of shape (n, D)
            In the units of the input; missing cells are NaN.
        generators : sequence of n torch.Generator
            One for each row.
        """
        completed = self.density.complete(self._in_units(rows)[0], generators)
        return np.where(np.isnan(rows), self.columns.to_table(completed.numpy()), rows)

    def cell(self, rows: Array, column: int) -> CellDistribution:
        """Return the distribution of a cell of each row given the others.

        It is in the companion's units.
        """
        return self.density.cell(self._in_units(rows)[0], column)

    def gaussian_modes(self) -> tuple[Array, Array, Array] | None:
        """Return the Gaussians of the mixtures among its parts.

        Returns
        -------
        weight : ndarray of shape (M,)
            Weights of the modes, which sum to one.
        mean : ndarray of shape (M, D)
            Means, in the units of the input.
        factor : ndarray of shape (M, D, D)
            Factors of the covariances. None instead of all three if it has no mixture
            of Gaussians.
        """
        modes = self.density.gaussian_modes()
        if modes is None or not isinstance(self.columns, Columns):
            return None
        log_weight, mean, tril = (part.numpy() for part in modes)
        center, scale = self.columns.center, self.columns.scale
        return np.exp(log_weight), center + scale * mean, scale[:, None] * tril

    def _in_units(self, rows: Array) -> tuple[torch.Tensor, Array]:
        """Return rows in the companion's units, and log |det du/dx| of each."""
        u, log_jacobian = self.columns.to_model(rows)
        return torch.from_numpy(np.clip(u, -FARTHEST, FARTHEST)), log_jacobian
