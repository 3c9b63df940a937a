"""Questions that a conditional density answers about targets that are not known."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import ArrayLike

from skvae.queries.columns import column_numbers
from skvae.queries.conditional import ConditionalDistribution
from skvae.queries.filling import expected_cells
from skvae.scoring.reader import RowReader
from skvae.tables.given import Given
from skvae.tables.output import asked_container, with_index_of
from skvae.tables.schema import TableSchema
from skvae.typing import Array

__all__ = ["TargetQueries"]


class TargetQueries:
    """Distributions and expectations of targets, by a density of y given X."""

    schema_: TableSchema

    # What a density has besides.
    _coded: Callable[[ArrayLike], Given]
    _reader: Callable[[], RowReader]
    _log_densities: Callable[..., list[Array]]

    def conditional(
        self, X: ArrayLike, columns: str | int | Sequence[str | int] | None = None
    ) -> ConditionalDistribution:
        """Return the distribution of the targets given each row of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the targets are conditional on.
        columns : str, int or sequence of them, default=None
            Names or numbers of the targets that are asked for; None is all.

        Returns
        -------
        conditional : ConditionalDistribution
            With quantiles, intervals and densities of single targets, and draws. Its
            answers are arrays, whatever the container of the targets.
        """
        rows = self._coded(X).beside_missing(len(self.schema_.names))
        names = self.schema_.names
        asked = range(len(names)) if columns is None else columns
        chosen = column_numbers(names, asked, "columns")
        return ConditionalDistribution(
            self._reader(), rows, chosen, self.schema_, self._log_densities
        )

    def predict(self, X: ArrayLike) -> Any:
        """Return what is expected of the targets given each row of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the targets are conditional on.

        Returns
        -------
        y : ndarray, Series or DataFrame of shape (n_samples,) or \
(n_samples, n_targets)
            Means; of categories the most probable ones, of counts the medians. The
            container is that of `sample`; means of integers are floats.
        """
        rows = self._coded(X).beside_missing(len(self.schema_.names))
        expected = expected_cells(self._reader(), rows)
        return self._in_container(expected, X, are_means=True)

    def _in_container(
        self,
        targets: Array,
        X: ArrayLike,
        n_samples: int = 1,
        *,
        are_means: bool = False,
    ) -> Any:
        """Return numbers and codes as targets, `n_samples` for each row of X."""
        schema = self.schema_.of_means() if are_means else self.schema_
        container = asked_container(self, schema.layout.library)
        return with_index_of(schema.decode(targets, container), X, n_samples)
