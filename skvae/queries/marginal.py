"""The density of some of the columns."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skvae.evidence import Evidence
from skvae.queries.columns import encoded_cells
from skvae.tables.schema import TableSchema
from skvae.typing import Array, RandomState

__all__ = ["MarginalDensity"]


class MarginalDensity:
    r"""The density of some columns, whatever the others are.

    .. math:: p(x_A) = \int p(x_A, x_B)\, dx_B

    No integral is computed: columns that are independent given the latents are left
    out of the likelihood, and background and companion have marginals in closed form.
    Objects are made by `VAEDensity.marginal`.

    Parameters
    ----------
    columns : list of int
        Which columns.
    schema : TableSchema
        What all columns hold.
    evidence : callable
        Returns the evidence of rows of numbers of all columns.
    sample : callable
        Draws rows of all columns.
    """

    def __init__(
        self,
        columns: list[int],
        schema: TableSchema,
        evidence: Callable[..., Evidence],
        sample: Callable[[int, RandomState], Any],
    ) -> None:
        self._columns, self._schema = columns, schema
        self._evidence, self._sample = evidence, sample

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._schema.names[j] for j in self._columns)

    def __repr__(self) -> str:
        """Say which columns."""
        return f"MarginalDensity({', '.join(self.columns)})"

    def score_samples(self, X: ArrayLike) -> Array:
        """Return the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            The columns alone, in the order in which they were asked for, as `sample`
            gives them. Missing cells are NaN or None.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            Nats, in the units of the columns.
        """
        return self.evidence(X).log_density

    def evidence(self, X: ArrayLike, **options: Any) -> Evidence:
        """Return the log-density of each row, and what is known about its error.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            As for `score_samples`.
        **options
            As for `VAEDensity.evidence`.

        Returns
        -------
        evidence : Evidence
            Log-densities, and their errors.
        """
        own = encoded_cells(self._schema, self._columns, X, "X")
        table = np.full((len(own), len(self._schema.names)), np.nan)
        table[:, self._columns] = own
        return self._evidence(table, **options)

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> Any:
        """Draw rows of the columns.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            As for `VAEDensity.sample`.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_columns)
            Rows, in the container of `VAEDensity.sample`.
        """
        drawn = self._sample(n_samples, random_state)
        if hasattr(drawn, "iloc"):
            return drawn.iloc[:, self._columns]
        return drawn[:, self._columns]
