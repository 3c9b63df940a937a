"""Grids of rows for quadrature, evenly spaced in a density's own units."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import simpson

from skvae import VAEDensity

__all__ = ["Grid", "grid_of"]

Array = NDArray[np.float64]


class Grid(NamedTuple):
    """Rows of a table with what an integral over them needs.

    Attributes
    ----------
    rows : array of shape (n_points ** n_columns, n_columns)
        In the units of the table.
    stretch : array of shape (n_points ** n_columns,)
        The volume in the units of the table per volume in model units, by central
        differences: what a density says of its own Jacobian is not used.
    axis : array of shape (n_points,)
        The values of each column in model units.
    """

    rows: Array
    stretch: Array
    axis: Array

    def integral(self, values: Array) -> float:
        """Return ∫ f(x) dx for the values of f at the rows, by Simpson's rule."""
        n_points, n_columns = len(self.axis), self.rows.shape[1]
        total = (values * self.stretch).reshape((n_points,) * n_columns)
        for _ in range(n_columns):
            total = simpson(total, x=self.axis)
        return float(total)


def grid_of(density: VAEDensity, n_points: int, reach: float) -> Grid:
    """Return a grid from −reach to reach in the model units of each column.

    A density of rows bends where a column's margin bends. In model units it is smooth,
    so that few points are enough.
    """
    n_columns, step = density.n_features_in_, 1e-5
    axis = np.linspace(-reach, reach, n_points)
    at, above, below = (
        density.columns_.to_table(np.tile(u[:, None], (1, n_columns)))
        for u in (axis, axis + step, axis - step)
    )
    slope = (above - below) / (2 * step)
    rows, slopes = (
        np.stack(np.meshgrid(*columns.T, indexing="ij"), -1).reshape(-1, n_columns)
        for columns in (at, slope)
    )
    return Grid(rows, slopes.prod(1), axis)
