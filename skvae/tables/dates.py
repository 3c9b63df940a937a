"""Columns of dates, times and durations: found, and refused with advice."""

import datetime
from typing import Any

import numpy as np

from skvae.tables.labels import is_categorical, is_missing

__all__ = ["check_no_dates"]

ADVICE = {
    "dates": (
        "numbers, such as days since a reference date, or to parts, such as month and "
        "weekday"
    ),
    "times of day": "numbers, such as hours since midnight",
    "durations": "numbers, such as days or seconds",
}
# NumPy's and pandas' kinds of dtypes.
OF_KIND = {"M": "dates", "m": "durations"}
# pandas' periods, and the dtypes of polars and Arrow, by their first word.
OF_NAME = {
    "date": "dates",
    "date32": "dates",
    "date64": "dates",
    "datetime": "dates",
    "duration": "durations",
    "period": "dates",
    "time": "times of day",
    "time32": "times of day",
    "time64": "times of day",
    "timestamp": "dates",
}


def check_no_dates(column: Any, label: str) -> None:
    """Raise a ValueError if a column holds dates, times of day or durations.

    As numbers, they would depend on the unit in which a library stores them; as
    categories, nearly all would be different. A column of a categorical dtype is left
    alone: its values are categories because the user has said so.

    Parameters
    ----------
    column : ndarray of shape (n,) or Series of pandas or polars
        One column of a table.
    label : str
        What the message calls the column.
    """
    found = None if is_categorical(column) else _what(column)
    if found is not None:
        raise ValueError(
            f"{label} holds {found} ({column.dtype}), but must hold numbers, text, "
            f"truth values or categories. Convert it to {ADVICE[found]}."
        )


def _what(column: Any) -> str | None:
    """Return what a column holds, in the words of `ADVICE`; None for no such thing."""
    dtype = column.dtype
    kind = getattr(dtype, "kind", None)
    if kind in OF_KIND:
        return OF_KIND[kind]
    name = str(dtype).lower().partition("[")[0].partition("(")[0]
    if name in OF_NAME:
        return OF_NAME[name]
    if kind == "O" or name == "object":
        cells = np.asarray(column, dtype=object).tolist()
        return next((what for what in map(_what_cell, cells) if what), None)
    return None


def _what_cell(value: object) -> str | None:
    # pandas' NaT is an instance of Python's datetime.
    if is_missing(value):
        return None
    if isinstance(value, (datetime.date, np.datetime64)):
        return "dates"
    if isinstance(value, datetime.time):
        return "times of day"
    if isinstance(value, (datetime.timedelta, np.timedelta64)):
        return "durations"
    return "dates" if type(value).__name__ == "Period" else None
