"""Dates are refused with advice everywhere; columns of identifiers are warned of."""

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skvae import ConditionalVAEDensity, VAEDensity
from tests.conftest import GIVEN_QUICK, QUICK

N = 40
DAYS = pd.date_range("2020-01-01", periods=N)
DATES = [datetime.date(2020, 1, 1) + datetime.timedelta(days=i) for i in range(N)]

COLUMNS: dict[str, tuple[Any, str]] = {
    "pandas datetimes": (pd.Series(DAYS), "dates"),
    "pandas datetimes of a time zone": (pd.Series(DAYS.tz_localize("UTC")), "dates"),
    "pandas objects": (pd.Series(DATES, dtype=object), "dates"),
    "pandas periods": (pd.Series(DAYS.to_period("D")), "dates"),
    "pandas timedeltas": (pd.Series(DAYS - DAYS[0]), "durations"),
    "arrow dates": (pd.Series(DATES, dtype=pd.ArrowDtype(pa.date32())), "dates"),
    "arrow datetimes": (
        pd.Series(DAYS).astype(pd.ArrowDtype(pa.timestamp("us"))),
        "dates",
    ),
    "polars dates": (pl.Series(DATES), "dates"),
    "polars datetimes": (pl.Series(DAYS.to_pydatetime().tolist()), "dates"),
    "polars durations": (pl.Series([datetime.timedelta(i) for i in range(N)]), "durat"),
    "polars times": (
        pl.Series([datetime.time(i % 24) for i in range(N)]),
        "times of day",
    ),
    "polars objects": (pl.Series(DATES, dtype=pl.Object), "dates"),
}


def frame_with(column: Any) -> Any:
    """Return a frame of the column's library, of numbers and of this column."""
    library = pd if isinstance(column, pd.Series) else pl
    return library.DataFrame({"size": np.arange(float(N)), "when": column})


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("likelihood", ["mixture", "auto"])
def test_columns_of_dates_are_named(name: str, likelihood: str) -> None:
    column, what = COLUMNS[name]
    density = VAEDensity(likelihood=likelihood, **QUICK)
    with pytest.raises(ValueError, match=f"column 'when' holds {what}.* Convert it"):
        density.fit(frame_with(column))


def test_columns_of_dates_are_named_in_every_table() -> None:
    frame = frame_with(pd.Series(DAYS))
    numbers = frame.assign(when=np.arange(float(N)))
    density = VAEDensity(**QUICK).fit(numbers)
    conditional = ConditionalVAEDensity(**GIVEN_QUICK).fit(numbers, np.arange(float(N)))
    message = "column 'when' holds dates .*days since a reference date.*such as month"
    for call in (
        lambda: density.score_samples(frame),
        lambda: density.transform(frame),
        lambda: ConditionalVAEDensity(**GIVEN_QUICK).fit(frame, np.arange(N)),
        lambda: conditional.sample(frame),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="column 'when' of y holds dates"):
        ConditionalVAEDensity(**GIVEN_QUICK).fit(numbers, frame)
    for y in (DAYS, pd.Series(DAYS), pl.Series(DATES), DATES, DAYS.to_numpy()):
        with pytest.raises(ValueError, match="y holds dates"):
            ConditionalVAEDensity(**GIVEN_QUICK).fit(numbers, y)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.array([DATES, DATES], dtype="M8[D]").T, "column 0 holds dates"),
        (np.ones((N, 2), dtype="m8[s]"), "column 0 holds durations"),
        ([[i, day] for i, day in enumerate(DATES)], "column 1 holds dates"),
        ([[i, np.datetime64("2020")] for i in range(N)], "column 1 holds dates"),
    ],
)
def test_dates_of_arrays_and_lists_are_named(table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAEDensity(likelihood="auto", **QUICK).fit(table)


def test_dates_of_a_categorical_dtype_are_categories() -> None:
    column = pd.Series([DATES[i % 3] for i in range(N)], dtype="category")
    density = VAEDensity(likelihood="auto", **QUICK).fit(frame_with(column))
    assert density.schema_.categories[1] == tuple(DATES[:3])


# Identifiers

IDS = [f"row {i}" for i in range(N)]


@pytest.mark.parametrize(
    "fit",
    [
        lambda frame: VAEDensity(likelihood="auto", **QUICK).fit(frame),
        lambda frame: ConditionalVAEDensity(**GIVEN_QUICK).fit(frame, np.arange(N)),
        lambda frame: ConditionalVAEDensity(likelihood="auto", **GIVEN_QUICK).fit(
            np.zeros((N, 1)), frame
        ),
    ],
)
def test_columns_of_identifiers_are_warned_of(fit: Callable[[Any], Any]) -> None:
    frame = pd.DataFrame({"size": np.arange(float(N)), "id": IDS})
    with pytest.warns(UserWarning, match="column 'id' .*looks like an ident") as caught:
        fit(frame)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(np.arange(N)),  # numbers
        pd.Series([text[:5] for text in IDS]),  # ten rows for each of some values
        pd.Series(["a"] * N, dtype=pd.CategoricalDtype(["a", *IDS])),
    ],
)
def test_other_columns_are_not_warned_of(column: Any) -> None:
    VAEDensity(likelihood="auto", **QUICK).fit(frame_with(column))
