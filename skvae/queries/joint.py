"""Questions that a joint density answers about its columns."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_positive_int
from skvae.arguments.seeds import seed_of_draws
from skvae.evidence import Evidence
from skvae.queries.columns import column_numbers
from skvae.queries.conditional import ConditionalDistribution
from skvae.queries.filling import DRAWS_OF_MEANS, draw_cells, expected_cells
from skvae.queries.marginal import MarginalDensity
from skvae.queries.records import CodeLengths, MeanEstimate, Surprise
from skvae.queries.surprise import surprise_of_cells
from skvae.scoring.reader import RowReader
from skvae.tables.alphabets import fit_alphabet
from skvae.tables.filling import fill_table
from skvae.tables.output import asked_container
from skvae.tables.schema import TableSchema
from skvae.typing import Array, RandomState

__all__ = ["JointQueries"]


class JointQueries:
    """Missing cells, marginals and conditionals of a density of whole rows."""

    schema_: TableSchema

    # What a density has besides.
    _read: Callable[[ArrayLike], Array]
    _reader: Callable[[], RowReader]
    _evidence_of: Callable[..., Evidence]
    _log_densities: Callable[..., list[Array]]
    _draw: Callable[..., Any]
    _drawn_numbers: Callable[..., Array]

    def impute(
        self,
        X: ArrayLike,
        n_draws: int | None = None,
        random_state: int | None = None,
    ) -> Any:
        """Return the table with its missing cells filled in.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN, None, or what else a data frame has for missing cells.
        n_draws : int, default=None
            None fills in what is expected of a cell given the observed ones: the mean
            of a real column, the most probable category, the median of a count. A
            number fills in draws from p(missing | observed), so many times.
        random_state : int, default=None
            For draws: None gives the same ones at every call; each integer gives
            others.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features), or list of n_draws \
of them
            In the container of X, with its index and dtypes. Observed cells are as they
            were, and a row is filled in alike whatever the others are; but of equal
            rows, each gets draws of its own.

        Notes
        -----
        A completed table looks like data, and is not: what is computed from expected
        values understates spread and dependence. Repeat an analysis for several draws
        (multiple imputation), and its results differ as much as the missing cells let
        them.

        References
        ----------
        P.-A. Mattei and J. Frellsen, 2019. MIWAE: deep generative modelling and
        imputation of incomplete data sets.

        D. B. Rubin, 1987. Multiple imputation for nonresponse in surveys.
        """
        rows = self._read(X)
        missing = np.isnan(rows)
        if n_draws is None:
            filled = expected_cells(self._reader(), rows, DRAWS_OF_MEANS)
            return fill_table(X, filled, missing, self.schema_)
        check_positive_int(n_draws, "n_draws")
        drawn = draw_cells(self._reader(), rows, n_draws, seed_of_draws(random_state))
        return [fill_table(X, filled, missing, self.schema_) for filled in drawn]

    def conditional(
        self, X: ArrayLike, columns: str | int | Sequence[str | int]
    ) -> ConditionalDistribution:
        """Return the distribution of some columns given the others, row by row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows. What is in the chosen columns does not matter; others may be missing.
        columns : str, int or sequence of them
            Names or numbers of the columns.

        Returns
        -------
        conditional : ConditionalDistribution
            With `mean`, `std`, `quantile`, `interval`, `cdf`, `pdf`, `probabilities`,
            `log_prob` and `sample`.
        """
        rows = self._read(X).copy()
        chosen = column_numbers(self.schema_.names, columns, "columns")
        rows[:, chosen] = np.nan
        return ConditionalDistribution(
            self._reader(), rows, chosen, self.schema_, self._log_densities
        )

    def marginal(self, columns: str | int | Sequence[str | int]) -> MarginalDensity:
        """Return the density of some columns, whatever the others are.

        Parameters
        ----------
        columns : str, int or sequence of them
            Names or numbers of the columns.

        Returns
        -------
        marginal : MarginalDensity
            With `score_samples`, `evidence` and `sample`.
        """
        check_is_fitted(self)
        chosen = column_numbers(self.schema_.names, columns, "columns")
        return MarginalDensity(chosen, self.schema_, self._evidence_of, self._draw)

    def surprise(self, X: ArrayLike) -> Surprise:
        """Return how surprising each cell is given the rest of its row.

        Where a single cell of a row is wrong, the row is improbable, and so is that
        cell given the others; they are not, given all others but that one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; cells may be missing.

        Returns
        -------
        surprise : Surprise
            −log p(cell | rest), what would have been expected, and how far out the cell
            is as a probability, each of shape (n_samples, n_features).
        """
        rows = self._read(X)
        surprise, expected, tail = surprise_of_cells(self._reader(), rows)
        decoded = self.schema_.decode(expected, asked_container(self))
        return Surprise(surprise, decoded, tail)

    def code_lengths(
        self,
        X: ArrayLike,
        resolution: float | ArrayLike | None = None,
        *,
        by_column: bool = False,
    ) -> CodeLengths:
        """Return how many bits each row takes, if it is compressed by this density.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; missing cells take no bits.
        resolution : float or array-like of shape (n_features,), default=None
            The step between the values that a real column can have, for all columns or
            for each; columns of zeros and ones and of categories have none. None finds
            it in X: the step of numbers of few digits, the neighbours in a list of
            values that come again, or the nearest floats.
        by_column : bool, default=False
            Whether to divide the bits among the columns. It reads the density once for
            every column.

        Returns
        -------
        lengths : CodeLengths
            Bits of rows and, where asked for, of cells, and the resolution.

        See Also
        --------
        skvae.compression.compress : Compresses rows to this many bits, nearly.

        References
        ----------
        C. E. Shannon, 1948. A mathematical theory of communication.
        """
        rows = self._read(X)
        steps, log_width = _log_widths(rows, self.schema_, resolution)
        prefixes = range(rows.shape[1] if by_column else 0)
        parts = [*(_only(rows, list(range(j))) for j in prefixes), rows]
        found = np.stack(self._log_densities(parts), 1)
        of_rows = -(found[:, -1] + np.nansum(log_width, 1)) / np.log(2)
        if not by_column:
            return CodeLengths(of_rows, None, steps)
        of_cells = -(np.diff(found, axis=1) + log_width) / np.log(2)
        return CodeLengths(of_rows, of_cells, steps)

    def entropy(
        self, n_samples: int = 1000, random_state: RandomState = None
    ) -> MeanEstimate:
        """Return the entropy of the density, by draws from it.

        Parameters
        ----------
        n_samples : int, default=1000
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            As for `sample`.

        Returns
        -------
        entropy : MeanEstimate
            −E log p(x) and its standard error; nats, in the units of the columns.
        """
        drawn = self._drawn(n_samples, random_state)
        (log_p,) = self._log_densities([drawn], for_means=True)
        return _mean(-log_p)

    def mutual_information(
        self,
        columns_a: str | int | Sequence[str | int],
        columns_b: str | int | Sequence[str | int],
        n_samples: int = 500,
        random_state: RandomState = None,
    ) -> MeanEstimate:
        """Return how much some columns tell about others, by draws from the density.

        Parameters
        ----------
        columns_a, columns_b : str, int or sequence of them
            Names or numbers of the columns; none is in both.
        n_samples : int, default=500
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            As for `sample`.

        Returns
        -------
        information : MeanEstimate
            E log [p(a, b) / (p(a) p(b))] and its standard error, nats: zero where the
            columns are independent, whatever their units.
        """
        check_is_fitted(self)
        names = self.schema_.names
        a = column_numbers(names, columns_a, "columns_a")
        b = column_numbers(names, columns_b, "columns_b")
        if set(a) & set(b):
            raise ValueError(
                f"columns_a and columns_b have {names[min(set(a) & set(b))]!r} both."
            )
        drawn = self._drawn(n_samples, random_state)
        parts = (_only(drawn, chosen) for chosen in ([*a, *b], a, b))
        together, of_a, of_b = self._log_densities(parts, for_means=True)
        return _mean(together - of_a - of_b)

    def dependence(
        self, n_samples: int = 200, random_state: RandomState = None
    ) -> Array:
        """Return the mutual information of each pair of columns.

        Parameters
        ----------
        n_samples : int, default=200
            Number of draws, the same ones for all pairs.
        random_state : int, RandomState instance or None, default=None
            As for `sample`.

        Returns
        -------
        information : ndarray of shape (n_features, n_features)
            Nats; NaN on the diagonal. `mutual_information` has errors.
        """
        check_is_fitted(self)
        drawn = self._drawn(n_samples, random_state)
        n_columns = drawn.shape[1]
        pairs = list(itertools.combinations(range(n_columns), 2))
        chosen = [*([j] for j in range(n_columns)), *map(list, pairs)]
        parts = (_only(drawn, columns) for columns in chosen)
        found = self._log_densities(parts, for_means=True)
        table = np.full((n_columns, n_columns), np.nan)
        for (i, j), both in zip(pairs, found[n_columns:], strict=True):
            table[i, j] = table[j, i] = float(np.mean(both - found[j] - found[i]))
        return table

    def _drawn(self, n_samples: int, random_state: RandomState) -> Array:
        """Draw rows, as numbers."""
        check_is_fitted(self)
        check_positive_int(n_samples, "n_samples")
        return self._drawn_numbers(n_samples, random_state)


def _only(rows: Array, columns: list[int]) -> Array:
    """Return rows with all other cells missing."""
    kept = np.full_like(rows, np.nan)
    kept[:, columns] = rows[:, columns]
    return kept


def _mean(values: Array) -> MeanEstimate:
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return MeanEstimate(float(values.mean()), float(error))


def _log_widths(
    rows: Array, schema: TableSchema, resolution: float | ArrayLike | None
) -> tuple[Array, Array]:
    """Return the resolution of each column, and what cells are integrated over.

    The second has the logarithms, of shape (n, D), and NaN where a cell is missing.
    """
    given = None
    if resolution is not None:
        given = np.broadcast_to(np.asarray(resolution, dtype=float), rows.shape[1:])
        if not ((given > 0) & np.isfinite(given)).all():
            raise ValueError(
                f"resolution must be a positive number, or one for each column, got "
                f"{resolution!r}."
            )
    steps, log_width = np.ones(rows.shape[1]), np.full(rows.shape, np.nan)
    for j, kind in enumerate(schema.kinds):
        observed = ~np.isnan(rows[:, j])
        values = rows[observed, j]
        width = np.ones_like(values)  # of masses
        if kind.support == "real" and given is not None:
            steps[j] = given[j]
            width = np.full_like(values, given[j])
        elif kind.support == "real":
            alphabet = fit_alphabet(values, kind)
            steps[j] = alphabet.step
            width = alphabet.widths(alphabet.places(values))
        log_width[observed, j] = np.log(width)
    return steps, log_width
