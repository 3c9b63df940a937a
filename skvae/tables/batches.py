"""Batches: tables that are read a part at a time, from wherever they are."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from skvae.arguments.files import replaced_as_a_whole
from skvae.arguments.seeds import seed_from
from skvae.tables.labels import frame_columns, is_frame
from skvae.tables.rows import join_rows, take_rows
from skvae.typing import Array, RandomState

__all__ = ["Batches", "most_sampled", "sampled"]

MOST_SAMPLED, MOST_BYTES = 2**20, 2**28  # of the rows that a fit is given
SPARE = 1.25  # times as many rows are collected before the surplus is left out
BATCH_SIZE = 2**16


class Batches:
    """A table whose rows come in batches, again at every pass.

    `VAEDensity` takes it where it takes a table: in `fit`, `partial_fit` and
    `score_samples`; `DensityOutlierDetector`, `OutlierCommittee` and `DensityImputer`
    in `fit`. For everything else there is `map`. At no time is more than a batch
    in memory, and in a fit the rows that it is given.

    Parameters
    ----------
    source : path-like, pyarrow.dataset.Dataset, iterable or callable
        Where the rows are.

        - A path is a Parquet file, or a folder of Parquet files.
        - A dataset of pyarrow, which may be in another format or in another place, or
          filtered.
        - An iterable of batches, that can be iterated several times, such as a list or
          an object with `__iter__`. Batches are arrays of shape (n, n_features), or
          data frames.
        - A callable without arguments that returns an iterator over batches.

    columns : sequence of str, default=None
        Columns to read from a file or a dataset; None is all of them.
    batch_size : int, default=65536
        Largest number of rows of a batch from a file or a dataset.

    Attributes
    ----------
    n_rows : int
        Number of rows, once a fit has read them.

    Raises
    ------
    TypeError
        If the source is an iterator, which can be read once alone.
    ImportError
        If a file or a dataset is to be read, and pyarrow or pandas is not installed.

    Notes
    -----
    *A fit* reads all batches once and takes a million rows (2²⁰) of them at random,
    fewer if they would take more than a quarter of a gibibyte, or all rows if there are
    no more. Which rows are taken depends on `random_state`, not on how they are divided
    into batches.

    *Scores* do not depend on the division, either.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import Batches, VAEDensity
    >>> parts = [np.random.default_rng(i).normal(size=(50, 2)) for i in range(4)]
    >>> density = VAEDensity(max_iter=5, random_state=0).fit(Batches(parts))
    >>> density.score_samples(Batches(parts)).shape
    (200,)
    """

    def __init__(
        self,
        source: Any,
        *,
        columns: Sequence[str] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.columns, self.batch_size = columns, batch_size
        if isinstance(source, (str, os.PathLike)):
            source = _dataset(Path(source))
        elif isinstance(source, Iterator):
            raise TypeError(
                "source must be an iterable that can be read several times, or a "
                "callable that returns an iterator; it is an iterator."
            )
        elif not (
            callable(source)
            or hasattr(source, "to_batches")
            or hasattr(source, "__iter__")
        ):
            raise TypeError(
                f"source must be a path, a dataset, an iterable of batches or a "
                f"callable, got {type(source).__name__}."
            )
        self.source = source

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches, in order."""
        if hasattr(self.source, "to_batches"):
            return self._from_arrow()
        found = self.source() if callable(self.source) else self.source
        return (batch for batch in found if len(batch))

    def map(
        self,
        function: Callable[[Any], ArrayLike],
        *,
        to: str | os.PathLike[str] | None = None,
        name: str = "score",
        keep: Sequence[str] = (),
        verbose: int = 0,
    ) -> Array | None:
        """Apply a function to every batch, and put the results together.

        Parameters
        ----------
        function : callable
            Maps a batch to an array with one entry for each row, such as
            ``density.score_samples`` or ``detector.p_values``.
        to : path-like, default=None
            Parquet file for the results, which are then not in memory. It is there once
            everything has been written.
        name : str, default="score"
            Name of the results' column in the file.
        keep : sequence of str, default=()
            Columns of the batches, which must be data frames, to write beside them.
        verbose : int, default=0
            Whether to show progress.

        Returns
        -------
        results : ndarray of shape (n_samples, ...) or None
            None if there is a file.
        """
        with closing(self._counted(verbose)) as bar:
            if to is not None:
                _write_parquet(bar, function, Path(to), name, tuple(keep))
                return None
            results = [np.asarray(function(batch)) for batch in bar]
        if not results:
            raise ValueError("There are no rows in any batch.")
        return np.concatenate(results)

    def _counted(self, verbose: int) -> tqdm:
        """Return the batches, with a bar of progress."""
        return tqdm(self, disable=not verbose, unit=" batches", leave=False)

    def _from_arrow(self) -> Iterator[Any]:
        """Yield data frames; NaN and null are missing cells."""
        # A few batches are read ahead, not the default of 16 for each of 4 files.
        batches = self.source.to_batches(
            columns=self.columns,
            batch_size=self.batch_size,
            batch_readahead=2,
            fragment_readahead=1,
        )
        return (batch.to_pandas() for batch in batches if batch.num_rows)

    def sample(
        self, sample_weight: ArrayLike | None, seed: int, *, verbose: int = 0
    ) -> tuple[Any, Array | None]:
        """Return rows at random, all if they are not too many, in their order.

        Parameters
        ----------
        sample_weight : array-like of shape (n_samples,) or None
            Weights of all rows.
        seed : int
            Seed of the choice.
        verbose : int, default=0
            Whether to show progress.

        Returns
        -------
        rows : ndarray or data frame
            In the container of the batches.
        weight : ndarray or None
            Weights of these rows.

        Raises
        ------
        ValueError
            If there are no rows, batches have different columns, or there are more or
            fewer weights than rows.
        """
        weight = None if sample_weight is None else np.asarray(sample_weight)
        random = np.random.default_rng(seed)
        chosen = _Chosen()
        n_rows = 0
        for batch in self._counted(verbose):
            stop = n_rows + len(batch)
            if weight is not None and stop > len(weight):
                n_rows = stop
                break
            of_batch = None if weight is None else weight[n_rows:stop]
            chosen.add(batch, random.random(len(batch)), of_batch)
            n_rows = stop
        if weight is not None and (weight.ndim != 1 or len(weight) != n_rows):
            raise ValueError(
                f"sample_weight has shape {weight.shape}, but there must be one weight "
                f"for each row of the batches."
            )
        if not n_rows:
            raise ValueError("There are no rows in any batch.")
        self.n_rows = n_rows
        return chosen.rows(), chosen.weight() if weight is not None else None


def sampled(
    X: Any,
    sample_weight: ArrayLike | None,
    random_state: RandomState,
    *,
    verbose: int = 0,
) -> tuple[Any, ArrayLike | None]:
    """Return a table and weights as they are, or what is drawn from `Batches`."""
    if isinstance(X, Batches):
        return X.sample(sample_weight, seed_from(random_state), verbose=verbose)
    return X, sample_weight


def most_sampled(rows: Any) -> int:
    """Return how many rows of a table with the columns of `rows` a fit is given."""
    return min(MOST_SAMPLED, MOST_BYTES // (8 * max(1, _width(rows))))


class _Chosen:
    """The rows with the smallest random numbers so far: a uniform sample."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._keys: list[Array] = []
        self._weights: list[Array] = []
        self._names: list[Any] | None = None
        self._most = MOST_SAMPLED

    def add(self, batch: Any, key: Array, weight: Array | None) -> None:
        """Take a batch, and leave out what is too much."""
        names = list(batch.columns) if is_frame(batch) else None
        if not self._parts:
            self._names = names
            self._most = most_sampled(batch)
        elif names != self._names:
            raise ValueError(
                f"All batches must have the same columns: there are "
                f"{self._names} and {names}."
            )
        # Numbers take less memory without their data frames.
        numbers = _is_of_numbers(batch)
        self._parts.append(np.asarray(batch, np.float64) if numbers else batch)
        self._keys.append(key)
        if weight is not None:
            self._weights.append(np.asarray(weight))
        if sum(map(len, self._keys)) > SPARE * self._most:
            self._thin()

    def rows(self) -> Any:
        """Return the rows as one table."""
        self._thin()
        rows = self._joined()
        return rows if self._names is None else self._framed(rows)

    def weight(self) -> Array:
        """Return the weights of `rows`."""
        return np.concatenate(self._weights)

    def _joined(self) -> Any:
        if len(self._parts) > 1:
            widths = sorted({_width(part) for part in self._parts})
            if len(widths) > 1:
                raise ValueError(
                    f"Batches have different numbers of columns: {widths}."
                )
            parts = self._parts
            if any(map(is_frame, parts)):
                parts = [self._framed(part) for part in parts]
            self._parts = [join_rows(parts)]
        return self._parts[0]

    def _framed(self, rows: Any) -> Any:
        """Return rows as the data frame that they were before they became an array."""
        if is_frame(rows):
            return rows
        import pandas

        return pandas.DataFrame(rows, columns=self._names, copy=False)

    def _thin(self) -> None:
        """Leave the rows with the smallest keys."""
        key = np.concatenate(self._keys)
        rows = self._joined()
        if len(key) > self._most:
            kept = np.sort(np.argpartition(key, self._most)[: self._most])
            rows = take_rows(rows, kept)
            key = key[kept]
            if self._weights:
                self._weights = [np.concatenate(self._weights)[kept]]
        self._parts, self._keys = [rows], [key]


def _width(batch: Any) -> int:
    shape: tuple[int, ...] = getattr(batch, "shape", ())
    return int(shape[1]) if len(shape) == 2 else 1


def _is_of_numbers(batch: Any) -> bool:
    if not is_frame(batch):
        return isinstance(batch, np.ndarray) and batch.dtype.kind in "iuf"
    if not hasattr(batch, "iloc"):
        return False
    return all(
        isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf"
        for column in frame_columns(batch)
    )


def _dataset(path: Path) -> Any:
    try:
        import pandas  # noqa: F401
        import pyarrow.dataset
    except ImportError as error:
        raise ImportError(
            "Reading Parquet files needs the packages pyarrow and pandas: "
            "pip install 'skvae[parquet]'."
        ) from error
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {os.fspath(path)!r}.")
    return pyarrow.dataset.dataset(path, format="parquet")


def _write_parquet(
    batches: Iterable[Any],
    function: Callable[[Any], ArrayLike],
    path: Path,
    name: str,
    keep: tuple[str, ...],
) -> None:
    """Write the results, batch by batch, into a file that is there at the end."""
    import pyarrow
    import pyarrow.parquet

    writer = None
    with replaced_as_a_whole(path) as partial, ExitStack() as opened:
        for batch in batches:
            columns = {column: pyarrow.array(batch[column]) for column in keep}
            columns[name] = pyarrow.array(np.asarray(function(batch)))
            table = pyarrow.table(columns)
            if writer is None:
                writer = opened.enter_context(
                    pyarrow.parquet.ParquetWriter(partial, table.schema)
                )
            writer.write_table(table)
        if writer is None:
            raise ValueError("There are no rows in any batch.")
