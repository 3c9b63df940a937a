"""The rows of a table as densities of any kind take them."""

from typing import Any, TypeVar

from numpy.typing import ArrayLike
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array, validate_data

from skvae.tables.labels import is_frame
from skvae.typing import Estimator, Index, Table

__all__ = ["check_member_table", "take_rows"]

Rows = TypeVar("Rows", bound=Table)


def check_member_table(
    estimator: Estimator, X: ArrayLike, *, reset: bool, **target: Any
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
    **target : dict
        ``y``, where the estimator requires one.

    Returns
    -------
    table : data frame, array or sparse matrix
        A data frame is returned as it is, so that the members see its dtypes.
    """
    table: Any = X
    if not is_frame(X):
        table = check_array(
            X,
            accept_sparse=get_tags(estimator).input_tags.sparse,
            dtype=None,
            ensure_all_finite=False,
            estimator=estimator,
            input_name="X",
        )
    validate_data(estimator, table, **target, reset=reset, skip_check_array=True)
    return table


def take_rows(table: Rows, index: Index) -> Rows:
    """Return some rows of an array, a data frame or a sparse matrix, by number."""
    # A pandas frame takes a bare index array for names of columns.
    return table.iloc[index] if hasattr(table, "iloc") else table[index]
