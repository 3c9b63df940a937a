"""The distribution of some columns given the others, row by row."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from skvae.arguments.checks import check_number, check_positive_int
from skvae.arguments.seeds import seed_of_draws
from skvae.model.cells import CellDistribution
from skvae.queries.cells import cell_of
from skvae.queries.columns import encoded_cells
from skvae.queries.filling import draw_cells, expected_cells
from skvae.scoring.conditionals import ConditionalRows
from skvae.scoring.reader import RowReader
from skvae.tables.schema import TableSchema
from skvae.typing import Array

__all__ = ["ConditionalDistribution"]

LogDensities = Callable[[list[Array]], list[Array]]


class ConditionalDistribution:
    r"""p(columns | the other observed cells), for each of n rows.

    For a single column, it is a mixture in closed form,

    .. math:: p(x_d \mid o) = \sum_k \tilde w_k\, p(x_d \mid z_k), \qquad
              \tilde w_k \propto \frac{p(o \mid z_k)\, p(z_k)}{q(z_k)},

    of the likelihood's own distributions at 512 weighted draws of the latents, beside
    those of background and companion: cdf, quantiles and density belong to one
    another exactly, and are the same at every call. (Where an autoregressive decoder
    reads columns after this one, the density is known at 65 values, and linear between
    them.) Objects are made by `VAEDensity.conditional` and
    `ConditionalVAEDensity.conditional`.

    Parameters
    ----------
    reader : RowReader
        The fitted model.
    table : ndarray of shape (n, columns)
        Rows of numbers; the cells that are asked for are NaN.
    columns : list of int
        Which columns are asked for.
    schema : TableSchema
        What the columns hold.
    log_densities : callable
        Returns log p of the observed cells of rows, for each of several tables.

    References
    ----------
    P.-A. Mattei and J. Frellsen, 2019. MIWAE: deep generative modelling and imputation
    of incomplete data sets.
    """

    def __init__(
        self,
        reader: RowReader,
        table: Array,
        columns: list[int],
        schema: TableSchema,
        log_densities: LogDensities,
    ) -> None:
        self._reader, self._table, self._columns = reader, table, columns
        self._schema, self._log_densities = schema, log_densities

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._table)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are asked for."""
        return tuple(self._schema.names[j] for j in self._columns)

    @property
    def is_discrete(self) -> bool:
        """Whether a column holds categories, counts or zeros and ones."""
        return any(self._schema.kinds[j].support != "real" for j in self._columns)

    def __repr__(self) -> str:
        """Say what it is the distribution of."""
        return f"ConditionalDistribution({', '.join(self.columns)}; {len(self)} rows)"

    # Single columns

    def mean(self) -> Array:
        """Return the mean; of categories the most probable value, of counts the median.

        Returns
        -------
        mean : ndarray of shape (n,), or (n, n_columns) for several columns
            In the units of the columns.
        """
        return self._squeezed(self._expected)

    def std(self) -> Array:
        """Return the standard deviation of a column of numbers.

        Returns
        -------
        std : ndarray of shape (n,), or (n, n_columns) for several columns
            In the units of the columns.
        """

        def deviation(cell: CellDistribution) -> Tensor:
            values, log_weight = cell.nodes()
            weight = log_weight.exp()
            weight = weight / weight.sum(1, keepdim=True)
            mean = (weight * values).sum(1, keepdim=True)
            return (weight * (values - mean).square()).sum(1, keepdim=True).sqrt()

        each = [self._of_cell(j, deviation) for j in self._numeric()]
        return self._squeezed(np.concatenate(each, 1))

    def quantile(self, q: ArrayLike) -> Array:
        """Return quantiles of a column.

        Parameters
        ----------
        q : float or array-like of shape (n_q,)
            Probabilities, between 0 and 1.

        Returns
        -------
        quantile : ndarray of shape (n,), or (n, n_q)
            The smallest values up to which the column lies with these probabilities.
        """
        share = np.asarray(q, dtype=np.float64)
        if share.ndim > 1 or not ((share > 0) & (share < 1)).all():
            raise ValueError(f"q must hold numbers between 0 and 1, got {q!r}.")
        (column,) = self._single("quantile", self._numeric())
        shares = torch.from_numpy(np.atleast_1d(share))
        found = self._of_cell(column, lambda cell: cell.quantile(shares))
        return found if share.ndim else found[:, 0]

    def median(self) -> Array:
        """Return the median of a column, shape (n,)."""
        return self.quantile(0.5)

    def interval(self, coverage: float = 0.9) -> Array:
        """Return the interval between two quantiles of a column.

        Parameters
        ----------
        coverage : float, default=0.9
            Probability of the interval; as much of the rest is below as above it.

        Returns
        -------
        interval : ndarray of shape (n, 2)
            Lower and upper ends.
        """
        check_number(coverage, "coverage", low=0, high=1, inclusive=False)
        return self.quantile([0.5 - coverage / 2, 0.5 + coverage / 2])

    def cdf(self, t: ArrayLike) -> Array:
        """Return the probability that a column is at most t.

        Parameters
        ----------
        t : float, or array-like of shape (n,) or (n, n_values)
            Values, the same for all rows or of each row.

        Returns
        -------
        cdf : ndarray of shape (n,) or (n, n_values)
            Between 0 and 1.
        """
        return self._at(t, "cdf", lambda cell, t: cell.cdf(t))

    def log_pdf(self, t: ArrayLike) -> Array:
        """Return the log-density of a column at t; of discrete columns the log-mass.

        Parameters
        ----------
        t : float, or array-like of shape (n,) or (n, n_values)
            Values, the same for all rows or of each row.

        Returns
        -------
        log_pdf : ndarray of shape (n,) or (n, n_values)
            Nats, in the units of the column.
        """
        return self._at(t, "log_pdf", lambda cell, t: cell.log_prob(t))

    def pdf(self, t: ArrayLike) -> Array:
        """Return the density of a column at t; of discrete columns the mass.

        Parameters
        ----------
        t : float, or array-like of shape (n,) or (n, n_values)
            Values, the same for all rows or of each row.

        Returns
        -------
        pdf : ndarray of shape (n,) or (n, n_values)
            Per unit of the column.
        """
        return np.exp(self.log_pdf(t))

    def probabilities(self) -> Array:
        """Return the probability of each known value of a column of categories.

        Returns
        -------
        probabilities : ndarray of shape (n, n_values)
            In the order of `values`.
        """
        (column,) = self._single("probabilities", self._columns)

        def mass(cell: CellDistribution) -> Tensor:
            log_mass = cell.log_mass()
            if log_mass is None:
                raise ValueError(
                    f"probabilities are for categories and for zeros and ones, and "
                    f"column {self.columns[0]!r} holds numbers: use pdf."
                )
            return log_mass.exp()

        return self._of_cell(column, mass)

    @property
    def values(self) -> tuple[object, ...]:
        """The values that `probabilities` belong to."""
        (column,) = self._single("values", self._columns)
        return self._schema.categories[column] or (0, 1)

    # All columns together

    def log_prob(self, values: ArrayLike) -> Array:
        """Return the log-density of values of all the columns together.

        It is log p(values, others) − log p(others), each read by importance sampling
        of its own.

        Parameters
        ----------
        values : array-like of shape (n,) or (n, n_columns)
            Numbers and categories, as `sample` gives them.

        Returns
        -------
        log_prob : ndarray of shape (n,)
            Nats, in the units of the columns.
        """
        numbers = encoded_cells(self._schema, self._columns, values, "values")
        if len(numbers) != len(self):
            raise ValueError(
                f"values must have {len(self)} rows, one for each of those that the "
                f"distribution is conditional on, got {len(numbers)}."
            )
        together = self._table.copy()
        together[:, self._columns] = numbers
        of_all, of_others = self._log_densities([together, self._table])
        return of_all - of_others

    def sample(self, n_samples: int = 1, random_state: int | None = None) -> Any:
        """Draw the columns, those of a row together.

        Parameters
        ----------
        n_samples : int, default=1
            Draws of each row.
        random_state : int, default=None
            None gives the same draws at every call; each integer gives others.

        Returns
        -------
        samples : ndarray of shape (n, n_samples), or (n, n_samples, n_columns)
            The same for a row whatever the others are.
        """
        check_positive_int(n_samples, "n_samples")
        seed = seed_of_draws(random_state)
        drawn = draw_cells(self._reader, self._table, n_samples, seed)
        flat = drawn.transpose(1, 0, 2).reshape(-1, drawn.shape[2])
        decoded = np.asarray(self._schema.decode(flat)).reshape(len(flat), -1)
        chosen = decoded[:, self._columns]
        return self._squeezed(chosen.reshape(len(self), n_samples, -1))

    @cached_property
    def _expected(self) -> Array:
        filled = expected_cells(self._reader, self._table)
        decoded = np.asarray(self._schema.decode(filled)).reshape(len(self), -1)
        return decoded[:, self._columns]

    def _squeezed(self, cells: Array) -> Array:
        """Drop the axis of columns where a single one is asked for."""
        return cells[..., 0] if len(self._columns) == 1 else cells

    def _numeric(self) -> list[int]:
        for j in self._columns:
            if self._schema.kinds[j].support == "category":
                raise ValueError(
                    f"column {self._schema.names[j]!r} holds categories, which have no "
                    f"order: use probabilities or mean."
                )
        return self._columns

    def _single(self, name: str, columns: list[int]) -> list[int]:
        if len(columns) != 1:
            raise ValueError(
                f"{name} is for a single column, and {len(columns)} are asked for: "
                f"{', '.join(self.columns)}. Ask for one at a time, or draw with "
                f"sample."
            )
        return columns

    def _of_cell(
        self, column: int, answer: Callable[[CellDistribution], Tensor]
    ) -> Array:
        """Return what is made of the distribution of a column, (n, …)."""

        def question(rows: ConditionalRows) -> tuple[Tensor]:
            return (answer(cell_of(rows, column)),)

        (found,) = self._reader.ask(self._table, 0, question)
        return found

    def _at(
        self,
        t: ArrayLike,
        name: str,
        answer: Callable[[CellDistribution, Tensor], Tensor],
    ) -> Array:
        """Return what is made of the distribution of a column at values of it."""
        (column,) = self._single(name, self._numeric())
        values = np.asarray(t, dtype=np.float64)
        if values.ndim > 2 or (values.ndim and len(values) != len(self)):
            raise ValueError(
                f"t must be a number, or have shape ({len(self)},) or ({len(self)}, "
                f"n_values), got shape {values.shape}."
            )
        columns = values if values.ndim == 2 else values.reshape(-1, 1)
        grid = np.broadcast_to(columns, (len(self), columns.shape[1]))

        def question(rows: ConditionalRows) -> tuple[Tensor]:
            own = torch.from_numpy(grid[rows.numbers])
            return (answer(cell_of(rows, column), own),)

        (found,) = self._reader.ask(self._table, 0, question)
        return found if values.ndim == 2 else found[:, 0]
