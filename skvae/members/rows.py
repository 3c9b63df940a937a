"""The rows of a table as densities of any kind take them."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array

from skvae.tables.labels import as_array, frame_columns, is_frame
from skvae.tables.rows import take_rows
from skvae.tables.validation import validate_data
from skvae.typing import Estimator, Table

__all__ = ["check_member_table", "in_container_of"]


def check_member_table(
    estimator: Estimator,
    X: ArrayLike,
    *,
    reset: bool,
    min_samples: int = 1,
    **target: Any,
) -> Table:
    """Return a table for members; raise if it has other columns than `fit` saw.

    Cells are not checked: each density knows itself which values it takes.

    Parameters
    ----------
    estimator : estimator
        The estimator that has the members. Its number of columns and their names are
        set, or compared with those of X; sparse tables are allowed if its tags say so.
    X : array-like of shape (n_samples, n_features)
        What the user gave.
    reset : bool
        Whether this is `fit`.
    min_samples : int, default=1
        Least number of rows.
    **target : dict
        ``y``, where the estimator requires one.

    Returns
    -------
    table : data frame, array or sparse matrix
        For `fit`, a data frame is returned as it is, so that the members see its
        dtypes. Later tables come in the container of that table: members that select
        columns of a data frame by name can read an array, too.
    """
    table: Any = X
    if not is_frame(X):
        table = check_array(
            # Of a list with text, NumPy alone would make text of its numbers.
            as_array(X) if isinstance(X, (list, tuple)) else X,
            accept_sparse=get_tags(estimator).input_tags.sparse,
            dtype=None,
            ensure_all_finite=False,
            estimator=estimator,
            input_name="X",
        )
    validate_data(estimator, table, **target, reset=reset, skip_check_array=True)
    if table.shape[0] < min_samples:
        raise ValueError(
            f"Found array with {table.shape[0]} sample(s) (shape={table.shape}) while "
            f"a minimum of {min_samples} is required by {type(estimator).__name__}."
        )
    if reset:
        estimator._container = take_rows(table, np.arange(0))  # type: ignore[attr-defined]
        return table
    return in_container_of(getattr(estimator, "_container", table), table)


def in_container_of(model: Any, table: Any) -> Any:
    """Return a table in the container of another one that has the same columns.

    Parameters
    ----------
    model : data frame, array or sparse matrix
        Its container is taken, and for a data frame the names of its columns.
    table : data frame, array or sparse matrix
        Returned as it is if its container is the same. Sparse matrices are not changed.

    Returns
    -------
    table : data frame, array or sparse matrix
    """
    if not is_frame(model):
        if not is_frame(table):
            return table
        return check_array(table, dtype=None, ensure_all_finite=False)
    if isinstance(table, type(model)):
        if list(table.columns) == list(model.columns):
            return table
        table = table.copy() if hasattr(table, "iloc") else table.clone()
        table.columns = model.columns
        return table
    if issparse(table):
        return table
    if is_frame(table):
        columns = [np.asarray(column) for column in frame_columns(table)]
    else:
        columns = list(table.T)
    if not hasattr(model, "iloc"):
        # A list is given the narrowest dtype that holds it, an array of objects is not.
        cells = [c.tolist() if c.dtype == object else c for c in columns]
        return type(model)(dict(zip(model.columns, cells, strict=True)))
    # By number first, because names may repeat.
    frame = type(model)(dict(enumerate(columns))).infer_objects()
    frame.columns = model.columns
    return frame
