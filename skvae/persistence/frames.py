"""Data frames as plain values: names and columns."""

import importlib
from typing import Any

import numpy as np

from skvae.tables.labels import frame_columns, is_categorical, with_none

__all__ = ["frame_from_parts", "parts_of_frame"]

LIBRARIES = ("pandas", "polars")
# Of columns that are not numbers, the dtypes that may be named.
PANDAS_DTYPES = (
    "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16",
    "UInt32", "UInt64", "boolean", "object", "str", "string",
)  # fmt: skip
POLARS_DTYPES = ("Boolean", "Categorical", "Enum", "Null", "String")


def parts_of_frame(frame: Any) -> dict[str, Any]:
    """Return the library, the names and the columns of a pandas or polars frame."""
    library = type(frame).__module__.split(".", maxsplit=1)[0]
    column = _pandas_column if hasattr(frame, "iloc") else _polars_column
    return {
        "library": library,
        "names": list(frame.columns),
        "columns": [column(cells) for cells in frame_columns(frame)],
    }


def frame_from_parts(parts: dict[str, Any]) -> Any:
    """Return the frame that has these parts.

    Raises
    ------
    ValueError
        If they are not those of a frame.
    ImportError
        If its library is not installed.
    """
    library, names = parts["library"], parts["names"]
    if library not in LIBRARIES:
        raise ValueError(f"{library!r} is no library of data frames")
    module = importlib.import_module(library)
    pandas = library == "pandas"
    make = _to_pandas if pandas else _to_polars
    columns = [make(module, *column) for column in parts["columns"]]
    if len(names) != len(columns):
        raise ValueError(
            f"{len(names)} names cannot be those of {len(columns)} columns"
        )
    # By number first, because names may repeat.
    frame = module.DataFrame({str(j): column for j, column in enumerate(columns)})
    frame.columns = names
    return frame


def _pandas_column(column: Any) -> tuple[str, Any, Any]:
    """Return dtype, cells and, of categories, their values."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return "array", column.to_numpy(), None
    if is_categorical(column):
        codes = column.cat.codes.to_numpy()
        return "categories", codes, (list(dtype.categories), bool(dtype.ordered))
    cells = with_none(np.asarray(column, dtype=object), column.isna().to_numpy())
    return str(dtype), cells.tolist(), None


def _to_pandas(pandas: Any, dtype: str, cells: Any, of_categories: Any) -> Any:
    if dtype == "array":
        return np.asarray(cells)
    if dtype == "categories":
        values, ordered = of_categories
        return pandas.Categorical.from_codes(cells, values, ordered=ordered)
    if dtype not in PANDAS_DTYPES:
        raise ValueError(f"columns of dtype {dtype!r} cannot be read from a file")
    return pandas.Series(cells, dtype=dtype)


def _polars_column(column: Any) -> tuple[str, Any, Any]:
    if column.dtype.is_numeric() and not column.null_count():
        return "array", column.to_numpy(), None
    name = column.dtype.base_type().__name__
    values = column.dtype.categories.to_list() if name == "Enum" else None
    return name, column.to_list(), values


def _to_polars(polars: Any, dtype: str, cells: Any, values: Any) -> Any:
    if dtype == "array":
        return polars.Series(values=np.asarray(cells))
    if dtype == "Enum":
        return polars.Series(values=cells, dtype=polars.Enum(values))
    of_numbers = dtype[:3] in ("Int", "UIn", "Flo") and dtype[-1:].isdigit()
    if dtype not in POLARS_DTYPES and not of_numbers:
        raise ValueError(f"columns of dtype {dtype!r} cannot be read from a file")
    return polars.Series(values=cells, dtype=getattr(polars, dtype))
