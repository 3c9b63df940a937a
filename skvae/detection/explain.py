"""Which columns make a row strange: one column at a time against ordinary rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skvae.members.pipelines import changes_rows, last_step, rows_of_last_step
from skvae.members.rows import in_container_of
from skvae.reports import data_frame, html_report, html_table, html_text
from skvae.tables.labels import frame_columns, is_frame
from skvae.tables.rows import exchange_column, join_rows, take_rows
from skvae.typing import Array, Density, Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Explanation", "cell_surprise", "explain_rows"]

MAX_LINES = 40  # of the printed table
ROWS_AT_ONCE = 4096
OF_CELLS = ("surprise", "expected", "tail")

# In this order, each of shape (n, D).
CellAnswers = tuple[Array, NDArray[Any], Array]


@dataclass(frozen=True, repr=False)
class Explanation:
    r"""How much each column adds to, or takes from, the log-density of each row.

    Contributions are in nats and do not depend on the units of the columns. A negative
    one means that the column makes the row strange. Printing the explanation gives a
    table, the strangest column of each row first.

    Attributes
    ----------
    feature_names : tuple of str
        Names of the columns.
    score : ndarray of shape (n,)
        log p(x) of the rows.
    value : ndarray of shape (n, D)
        The rows.
    given_others : ndarray of shape (n, D)
        log p(x) − log ¹⁄B Σ_b p(x with x_j from row b): how well the value fits the
        row's other values, compared with the values of the column in B ordinary rows.
    alone : ndarray of shape (n, D)
        Median over b of log p(row b with x_j from x), less the median over b of
        log p(row b with x_j from row b + 1): how well the value fits ordinary rows,
        compared with the values of the column there. Only this shows two strange
        values that fit each other, such as the height and the weight of a giant.
    usual : ndarray of shape (n, D)
        Of the B values of column j in ordinary rows, the one that fits the row best.
    surprise : ndarray of shape (n, D) or None
        −log p(cell | the other observed cells of the row), nats; NaN where the cell is
        missing. Where a single cell is wrong, that cell alone is improbable given the
        others. In a real column it is the logarithm of a density, which does depend on
        the unit of the column: compare cells of the same column by it, and those of
        different columns by `tail`. As the next two, None unless it was asked for.
    expected : ndarray of shape (n, D) or None
        What the density expects in the place of each cell, given the others: the mean
        of a real column, the most probable category, the median of a count.
    tail : ndarray of shape (n, D) or None
        Probability, given the others, of a value at least as far out as the cell's;
        NaN where the cell is missing.
    """

    feature_names: tuple[str, ...]
    score: Array
    value: NDArray[Any]
    given_others: Array
    alone: Array
    usual: NDArray[Any]
    surprise: Array | None = None
    expected: NDArray[Any] | None = None
    tail: Array | None = None

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas DataFrame, one line for each row and column.

        Returns
        -------
        frame : pandas.DataFrame
            Columns "row", "column", "value", "usual", "given_others" and "alone"; if
            they were asked for, also "surprise", "expected" and "tail".
        """
        n_rows, n_columns = self.given_others.shape
        return data_frame(
            {
                "row": np.repeat(np.arange(n_rows), n_columns),
                "column": np.tile(np.array(self.feature_names, dtype=object), n_rows),
                "value": self.value.ravel(),
                "usual": self.usual.ravel(),
                "given_others": self.given_others.ravel(),
                "alone": self.alone.ravel(),
                **{name: cells.ravel() for name, cells in self._asked().items()},
            }
        )

    def __repr__(self) -> str:
        """Return a table of the strangest columns."""
        head, rows = self._table()
        widths = [max(len(line[k]) for line in (head, *rows)) for k in range(len(head))]
        lines = [
            "  ".join(
                f"{cell:<{width}}" if k == 1 else f"{cell:>{width}}"
                for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            for cells in (head, *rows)
        ]
        return "\n".join([*lines, *self._rest(len(rows))])

    def _repr_html_(self) -> str:
        head, rows = self._table()
        title = "Which columns make rows strange, nats"
        rest = map(html_text, self._rest(len(rows)))
        return html_report(html_table(title, head, rows, n_names=2), *rest)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Return names and lines of the table, the strangest columns of each row."""
        asked = self._asked()
        head = ["row", "column", "value", "usual", "given others", "alone", *asked]
        rows = [
            [
                str(i),
                self.feature_names[j],
                _cell(self.value[i, j]),
                _cell(self.usual[i, j]),
                f"{self.given_others[i, j]:.2f}",
                f"{self.alone[i, j]:.2f}",
                *(_cell(cells[i, j], 3) for cells in asked.values()),
            ]
            for i, j in _first_lines(np.minimum(self.given_others, self.alone))
        ]
        return head, rows

    def _rest(self, n_lines: int) -> list[str]:
        """Return what is said where not all lines are shown."""
        n_all = self.given_others.size
        return [f"... {n_all} lines in all, by to_frame()"] if n_lines < n_all else []

    def _asked(self) -> dict[str, NDArray[Any]]:
        """Return what is there only if it was asked for."""
        cells = {name: getattr(self, name) for name in OF_CELLS}
        return {name: value for name, value in cells.items() if value is not None}


def explain_rows(
    score_samples: Callable[[Table], Array],
    score_exchanged: Callable[[Table], Array],
    rows: Table,
    background: Table,
    feature_names: tuple[str, ...],
    of_cells: Callable[[Table], CellAnswers] | None = None,
) -> Explanation:
    """Score rows with each column, in turn, replaced by that of background rows.

    Parameters
    ----------
    score_samples : callable
        Log-densities of a table's rows.
    score_exchanged : callable
        The same for rows whose columns are exchanged. These are many, and an error of
        a tenth of a nat hardly matters for their medians and means.
    rows : array or data frame of shape (n, D)
        What to explain; read in the container of `background`.
    background : array or data frame of shape (B, D)
        Ordinary rows.
    feature_names : tuple of str
        Names of the columns.
    of_cells : callable, default=None
        Surprise, expected value and tail probability of each cell of a table.

    Returns
    -------
    explanation : Explanation
    """
    n, n_background = rows.shape[0], background.shape[0]
    n_columns = len(feature_names)
    rows = in_container_of(background, rows)
    of_row = np.repeat(np.arange(n), n_background)
    of_background = np.tile(np.arange(n_background), n)
    x, b = take_rows(rows, of_row), take_rows(background, of_background)
    # `alone` is relative to ordinary rows with the value of another ordinary row. The
    # pairs of background rows are the same for all rows to explain, so that what is
    # said of a row does not depend on the others.
    following = (np.arange(n_background) + 1) % n_background
    ordinary = take_rows(background, following)
    score = np.asarray(score_samples(rows), dtype=np.float64)
    given_others, alone = np.empty((2, n, n_columns))
    value, usual = np.empty((2, n, n_columns), dtype=object)

    def exchanged(columns: range) -> list[Table]:
        pairs = ((x, b), (b, x), (background, ordinary))
        return [exchange_column(*pair, j) for j in columns for pair in pairs]

    # A density reads many rows at once faster than the same in parts.
    widths = [len(of_row), len(of_row), n_background]
    at_once = max(1, ROWS_AT_ONCE // sum(widths))
    scores: list[Array] = []
    for begin in range(0, n_columns, at_once):
        columns = range(begin, min(begin + at_once, n_columns))
        of_all = score_exchanged(join_rows(exchanged(columns)))
        scores += np.split(of_all, np.cumsum(widths * len(columns))[:-1])
    for j in range(n_columns):
        filled, planted = (
            s.reshape(n, n_background) for s in scores[3 * j : 3 * j + 2]
        )
        level = np.median(scores[3 * j + 2])
        mean = np.logaddexp.reduce(filled, axis=1) - np.log(n_background)
        with np.errstate(invalid="ignore"):
            # Also 0 where both are −inf, whose difference is nan.
            given_others[:, j] = np.where(score == mean, 0.0, score - mean)
            planted_median = np.median(planted, axis=1)
            alone[:, j] = np.where(planted_median == level, 0.0, planted_median - level)
        value[:, j] = _column(rows, j)
        usual[:, j] = _column(background, j)[filled.argmax(1)]
    value, usual = _as_floats(value), _as_floats(usual)
    asked = () if of_cells is None else of_cells(rows)
    return Explanation(feature_names, score, value, given_others, alone, usual, *asked)


def cell_surprise(density: Density) -> Callable[[Table], CellAnswers]:
    """Return what gives surprise, expected value and tail probability of each cell.

    Parameters
    ----------
    density : estimator
        Fitted; also a pipeline or a search around a density. Transformers must not
        change the cells: those that surprise would be others.

    Returns
    -------
    of_cells : callable
        Maps n rows to three arrays of shape (n, D).

    Raises
    ------
    ValueError
        If the density has no method `surprise`, or reads other cells.
    """
    inner = last_step(density)
    if not callable(getattr(inner, "surprise", None)):
        raise ValueError(
            f"surprise=True needs a density with surprise, as VAEDensity has; "
            f"{inner!r} has none."
        )
    if changes_rows(density):
        raise ValueError(
            f"surprise=True needs a density of the cells as they are; transformers "
            f"before {inner!r} change them."
        )

    def of_cells(rows: Table) -> CellAnswers:
        found = inner.surprise(rows_of_last_step(density, rows))
        expected = found.expected
        if is_frame(expected):
            # NumPy would make one dtype of the columns.
            columns = frame_columns(expected)
            expected = np.empty(found.surprise.shape, dtype=object)
            for j, column in enumerate(columns):
                expected[:, j] = np.asarray(column)
        return found.surprise, _as_floats(expected), found.tail

    return of_cells


def _column(table: Any, j: int) -> NDArray[Any]:
    return np.asarray(table.iloc[:, j] if hasattr(table, "iloc") else table[:, j])


def _as_floats(cells: NDArray[Any]) -> NDArray[Any]:
    """Return floats if the cells can be read as numbers, else the array as it is."""
    try:
        return cells.astype(np.float64)
    except (TypeError, ValueError):
        return cells


def _first_lines(worst: Array) -> list[tuple[int, int]]:
    """Return rows and columns of the lines to print, the same number for each row."""
    n_rows, n_columns = worst.shape
    n_each = max(1, min(n_columns, MAX_LINES // max(n_rows, 1)))
    order = np.argsort(worst, axis=1, kind="stable")[:, :n_each]
    lines = [(i, int(j)) for i, columns in enumerate(order) for j in columns]
    return lines[:MAX_LINES]


def _cell(value: object, digits: int = 5) -> str:
    return (
        f"{value:.{digits}g}" if isinstance(value, (float, np.floating)) else str(value)
    )
