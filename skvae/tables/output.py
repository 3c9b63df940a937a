"""Rows in the container that the user asks for: an array, or a data frame.

A data frame gets the names and the dtypes of the columns that `fit` has seen. pandas
and polars are imported only where a user asks for their frames.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config

from skvae.tables.labels import (
    as_array,
    is_frame,
    is_series,
    missing_cells,
    with_none,
)

__all__ = [
    "Layout",
    "asked_container",
    "frame_of",
    "is_whole",
    "layout_of",
    "with_index_of",
]

# A dtype without its library's peculiarities, as "int64", "uint8" or "float32".
NUMBER = re.compile(r"(u?int|float)(8|16|32|64)")
TRUTH = ("bool", "boolean")
CATEGORIES = ("category", "categorical", "enum")


@dataclass(frozen=True)
class Layout:
    """The container of a table and the dtypes of its columns.

    Attributes
    ----------
    n_columns : int
        Number of columns.
    library : {"pandas", "polars"} or None, default=None
        Whose data frame or Series it was; None for arrays and lists.
    labels : tuple or None, default=None
        Labels of a frame's columns, or the name of a Series.
    dtypes : tuple of str, default=()
        Names of the columns' dtypes in a frame or Series.
    ordered : tuple of bool, default=()
        Whether each of these dtypes is of ordered categories.
    one_dimensional : bool, default=False
        Whether the table was a single column without a second axis.
    truth : bool, default=False
        Whether the table was an array of truth values.
    """

    n_columns: int
    library: str | None = None
    labels: tuple[object, ...] | None = None
    dtypes: tuple[str, ...] = ()
    ordered: tuple[bool, ...] = ()
    one_dimensional: bool = False
    truth: bool = False

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of a frame's columns as text; None for arrays and for one column."""
        if self.labels is None or self.one_dimensional:
            return None
        return tuple(str(label) for label in self.labels)


def layout_of(table: Any) -> Layout:
    """Return the layout of what a user gave."""
    if not is_frame(table) and not is_series(table):
        array = as_array(table)
        return Layout(
            array.shape[1] if array.ndim > 1 else 1,
            one_dimensional=array.ndim == 1,
            truth=array.dtype == bool,
        )
    frame = is_frame(table)
    dtypes = list(table.dtypes) if frame else [table.dtype]
    return Layout(
        len(dtypes),
        "polars" if type(table).__module__.startswith("polars") else "pandas",
        tuple(table.columns) if frame else (table.name,),
        tuple(str(dtype).partition("(")[0] for dtype in dtypes),
        tuple(bool(getattr(dtype, "ordered", False)) for dtype in dtypes),
        one_dimensional=not frame,
    )


def is_whole(dtype: str) -> bool:
    """Whether a dtype, of any library, is one of integers."""
    number = NUMBER.fullmatch(dtype.lower().partition("[")[0])
    return bool(number and number[1] != "float")


def asked_container(estimator: Any, otherwise: str | None = None) -> str:
    """Return "default", "pandas" or "polars", as `set_output` has been told.

    Where it has not, scikit-learn's global setting ``transform_output`` decides.

    Parameters
    ----------
    estimator : estimator
        What has `set_output`.
    otherwise : {"pandas", "polars"} or None, default=None
        What to return where neither asks for a data frame; None is "default".
    """
    own = getattr(estimator, "_sklearn_output_config", {})
    if "transform" in own:
        return own["transform"]
    asked = get_config()["transform_output"]
    return otherwise if otherwise and asked == "default" else asked


def with_index_of(table: Any, X: Any, n_repeats: int = 1) -> Any:
    """Return a table with the index of X, where both are of pandas.

    Parameters
    ----------
    table : ndarray, Series or DataFrame of shape (n * n_repeats,) or \
(n * n_repeats, D)
        Rows, those of one row of X after one another.
    X : array-like of shape (n,) or (n, n_features)
        What the user gave.
    n_repeats : int, default=1
        Number of rows for each row of X.
    """
    if hasattr(table, "iloc") and hasattr(X, "iloc"):
        table.index = X.index if n_repeats == 1 else X.index.repeat(n_repeats)
    return table


def frame_of(
    columns: Sequence[NDArray[Any]],
    categories: Sequence[tuple[object, ...] | None],
    names: Sequence[str],
    layout: Layout,
    container: str,
) -> Any:
    """Return columns as a data frame, or as a Series where `fit` saw one column.

    Parameters
    ----------
    columns : sequence of ndarray of shape (n,)
        Numbers, or the values of categories; NaN or None where a cell is missing.
    categories : sequence
        The known values of each column of categories; None for columns of numbers.
    names : sequence of str
        Names of the columns where the layout has none.
    layout : Layout
        What `fit` has seen.
    container : {"pandas", "polars"}
        Whose data frame.

    Notes
    -----
    Numbers are rounded where the dtype is one of integers. A dtype of another library
    becomes the most similar one; where there is none, values decide. NumPy's dtypes of
    integers and truth values have no missing cells: a column that has some becomes one
    of floats, or of objects.
    """
    library = _imported(container)
    make = _pandas_series if container == "pandas" else _polars_series
    labels = names if layout.labels is None else layout.labels
    dtypes = layout.dtypes or ("",) * len(columns)
    ordered = layout.ordered or (False,) * len(columns)
    own = layout.library == container
    series = [
        make(library, *each, own)
        for each in zip(columns, categories, dtypes, ordered, strict=True)
    ]
    if layout.one_dimensional:
        (single,) = series
        name = None if layout.labels is None else labels[0]
        if container == "polars":
            return single.alias("" if name is None else str(name))
        return single.rename(name)
    if container == "polars":
        pairs = zip(labels, series, strict=True)
        return library.DataFrame({str(label): each for label, each in pairs})
    # By number, because labels may repeat.
    frame = library.concat(series, axis=1)
    frame.columns = list(labels)
    return frame


def _imported(container: str) -> ModuleType:
    try:
        return importlib.import_module(container)
    except ImportError as error:
        raise ImportError(
            f"set_output(transform={container!r}) needs the package {container}: pip "
            f"install {container}."
        ) from error


def _as_integers(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return numbers rounded to the integers that a dtype can hold; 0 for NaN."""
    info = np.iinfo(dtype)
    values = np.where(missing_cells(values), 0.0, values)
    # The largest integers of 64 bits are no floats: below them is as far as it goes.
    high = np.nextafter(float(info.max), 0) if info.bits == 64 else info.max
    return np.clip(np.round(values.astype(float)), info.min, high).astype(dtype)


def _as_truth(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return truth values; False where a cell is missing."""
    return np.where(missing_cells(values), False, values).astype(float).astype(bool)


def _pandas_series(
    pandas: ModuleType,
    values: NDArray[Any],
    categories: tuple[object, ...] | None,
    dtype: str,
    ordered: bool,
    own: bool,
) -> Any:
    name = dtype.lower().partition("[")[0]
    number = NUMBER.fullmatch(name)
    if name in CATEGORIES and categories is not None:
        kind = pandas.CategoricalDtype(list(categories), ordered=ordered)
        return pandas.Series(values.tolist(), dtype=kind)
    if is_whole(dtype) or name in TRUTH:
        cells = _as_integers(values, name) if number else _as_truth(values)
        missing = missing_cells(values)
        if not missing.any():
            return pandas.Series(cells).astype(dtype if own else cells.dtype)
        series = pandas.Series(with_none(cells, missing))
        # Of pandas' dtypes, its own and those of Arrow have missing cells.
        if own and (dtype != name or name == "boolean"):
            return series.astype(dtype)
        return series.astype("float64") if number else series
    if number:
        return pandas.Series(values).astype(dtype if own else name)
    plain = name in CATEGORIES or not own or not name or categories is None
    return pandas.Series(values.tolist(), dtype=None if plain else dtype)


def _polars_series(
    polars: ModuleType,
    values: NDArray[Any],
    categories: tuple[object, ...] | None,
    dtype: str,
    ordered: bool,
    own: bool,
) -> Any:
    name = dtype.lower().partition("[")[0]
    number = NUMBER.fullmatch(name)
    whole = is_whole(dtype)
    if whole or name in TRUTH:
        cells = _as_integers(values, name) if whole else _as_truth(values)
        full = polars.Series(cells)
        missing = missing_cells(values)
        if not missing.any():
            return full
        return polars.Series(with_none(cells, missing).tolist(), dtype=full.dtype)
    if number:
        half = name == "float16"  # which is new in polars
        floats = values.astype("float32" if half else name)
        return polars.Series(floats, nan_to_null=True)
    objects = with_none(values, missing_cells(values)).tolist()
    text = categories is not None and all(isinstance(v, str) for v in categories)
    if text and own and name == "categorical":
        return polars.Series(objects, dtype=polars.Categorical)
    if text and name in CATEGORIES:
        return polars.Series(objects, dtype=polars.Enum(list(categories or ())))
    mixed = len({type(value) for value in objects if value is not None}) > 1
    return polars.Series(objects, dtype=polars.Object if mixed else None)
