"""Trimming: the rows that a detector's density is not fitted to, and why."""

from dataclasses import dataclass

import numpy as np

from skvae.arguments.warnings import warn_caller
from skvae.detection.contamination import STEEP, Cliff, find_cliff
from skvae.detection.typical import typical_rows
from skvae.tables.labels import as_codes, check_cells, distinct_values
from skvae.tables.names import KnowsColumns
from skvae.tables.raw import RawTable, read_table
from skvae.tables.rows import take_rows
from skvae.typing import Array, Index, Table

__all__ = ["Trimming", "numbers_and_codes", "rows_to_fit"]

# Simple models do not rank all outliers first: so many times their share is trimmed.
TIMES, MOST_TRIMMED = 4.0, 0.4


@dataclass(frozen=True)
class Trimming:
    """How many rows a density was not fitted to, and why.

    Attributes
    ----------
    share : float
        Largest share of the rows to trim; 0 if none are.
    n_rows, n_trimmed : int
        Numbers of rows, and of trimmed ones.
    contamination : float or None
        Share of outliers that was stated, or estimated from the rows. None if a share
        to trim was asked for, and where nothing was stated and nothing found.
    cliff : Cliff or None
        What the rows say, if they were asked.
    """

    share: float
    n_rows: int
    n_trimmed: int
    contamination: float | None = None
    cliff: Cliff | None = None

    def __str__(self) -> str:
        said = ""
        if self.cliff is not None:
            cliff = self.cliff
            said = (
                f" Their distances from the typical rows fall most steeply at a share "
                f"of {100 * cliff.share:.1f} %, like its power {cliff.slope:.1f}; from "
                f"{STEEP} on, it is a cliff with outliers beyond it, here "
                f"{cliff.distance:.0f} nats away."
                if cliff.is_steep
                else f" Their distances from the typical rows have no cliff: they fall "
                f"at most like the share's power {cliff.slope:.1f}, not {STEEP}."
            )
        if not self.share:
            return f"The density was fitted to all of {self.n_rows} rows.{said}"
        why = f"a share of {self.share:.3g} was asked for"
        if self.contamination is not None:
            how = "stated" if self.cliff is None else "found"
            why = (
                f"{100 * self.contamination:.1f} % of outliers were {how}, and simple "
                f"models do not rank all of them first"
            )
        return (
            f"The density was fitted to {self.n_rows - self.n_trimmed} of "
            f"{self.n_rows} rows: {why}.{said} explain(X[~support_]) says what is "
            f"strange about the others."
        )


def rows_to_fit(
    estimator: KnowsColumns,
    table: Table,
    rows: Index,
    weight: Array,
    share: float | str,
    contamination: float | str | None,
    seed: int,
    *,
    every_category: bool,
) -> tuple[Index, Trimming]:
    """Return the rows of a table that are left when the strangest are trimmed.

    Parameters
    ----------
    estimator : KnowsColumns
        The detector that was given the table.
    table : data frame, array or sparse matrix
        What it was given.
    rows : ndarray of int
        Numbers of the rows to choose from.
    weight : ndarray of shape (n,)
        For how many rows each row of the table counts, positive for these.
    share : float or "auto"
        Largest share to trim. "auto" is four times the contamination, at most 0.4.
    contamination : float, "auto" or None
        Share of outliers. "auto" is what the rows say (`find_cliff`), which may be
        nothing; None is nothing.
    seed : int
        Seed of what the rows are asked by.
    every_category : bool
        As for `typical_rows`.

    Returns
    -------
    fitted_to : ndarray of int
        Numbers of the rows that are left.
    trimming : Trimming

    Raises
    ------
    ValueError
        If the user asks for a share, and the table cannot be trimmed. If the user
        states a contamination, this is a warning, and otherwise nothing is trimmed.
    """
    asked = not isinstance(share, str)
    nothing = Trimming(0.0, len(rows), 0)
    if share == 0 or (not asked and contamination is None):
        return rows, nothing
    try:
        used = take_rows(table, rows)
        raw = read_table(estimator, used, reset=False, allow_missing=False)
        numbers, codes = numbers_and_codes(raw)
    except (TypeError, ValueError) as error:
        if asked:
            raise ValueError(
                f"trim_fraction={share:g} needs a table of finite numbers and labels: "
                f"{error}"
            ) from error
        if contamination != "auto":
            warn_caller(
                f"The density is fitted to all training rows, outliers included: "
                f"contamination={contamination} asks for trimming, which needs a table "
                f"of finite numbers and labels. {error} With trim_fraction=0 there is "
                f"no trimming, and no warning."
            )
        return rows, nothing
    stated: float | None = None
    cliff = None
    if not asked:
        if contamination == "auto":
            cliff = find_cliff(numbers, weight[rows], seed)
            if cliff is None or not cliff.is_steep:
                return rows, Trimming(0.0, len(rows), 0, cliff=cliff)
            stated = cliff.share
        else:
            stated = float(contamination)  # type: ignore[arg-type]
        share = min(TIMES * stated, MOST_TRIMMED)
    left = typical_rows(
        numbers, weight[rows], float(share), codes, every_category=every_category
    )
    n_trimmed = int(np.count_nonzero(~left))
    return rows[left], Trimming(float(share), len(rows), n_trimmed, stated, cliff)


def numbers_and_codes(raw: RawTable) -> tuple[Array, Array]:
    """Return the columns of numbers, and those of labels as codes of categories.

    Parameters
    ----------
    raw : RawTable
        n rows, with no cell missing.

    Returns
    -------
    numbers : ndarray of shape (n, D)
        The columns of numbers.
    codes : ndarray of shape (n, C)
        The columns of labels; equal labels have equal codes.
    """
    numbers = np.asarray(raw.numbers, dtype=np.float64)
    if raw.labels:
        numbers = np.delete(numbers, list(raw.labels), axis=1)
    codes = np.empty((len(numbers), len(raw.labels)))
    for k, (j, cells) in enumerate(raw.labels.items()):
        check_cells(cells, raw.columns.label(j), raw.columns.table)
        codes[:, k] = as_codes(cells, distinct_values(cells))
    return numbers, codes
