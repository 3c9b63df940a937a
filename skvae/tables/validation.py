"""scikit-learn's `validate_data`, and the names of columns that it cannot see."""

from typing import Any

import sklearn
from sklearn.utils.validation import check_array
from sklearn.utils.validation import validate_data as sklearn_validate_data

__all__ = ["validate_data"]

# scikit-learn before 1.9 asks a frame for its names by the interchange protocol, which
# polars 2 does not have. The names would be lost in silence, and a frame with its
# columns in another order would be scored as if they had the order of `fit`.
ASKS_BY_PROTOCOL = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9)


class _Columns:
    """The number and the names of a frame's columns, by the interchange protocol."""

    def __init__(self, frame: Any) -> None:
        self.shape = frame.shape
        self.names = list(frame.columns)

    def __dataframe__(self) -> "_Columns":
        return self

    def column_names(self) -> list[str]:
        return self.names


def validate_data(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    skip_check_array: bool = False,
    **options: Any,
) -> Any:
    """Check a table as `sklearn.utils.validation.validate_data` does.

    Parameters
    ----------
    estimator : estimator
        Its number of columns and their names are set, or compared with those of X.
    X : array-like of shape (n_samples, n_features)
        What the user gave.
    reset : bool
        Whether to set them, as `fit` does.
    skip_check_array : bool, default=False
        Whether to read no cells.
    **options
        Further arguments of scikit-learn's function: with `skip_check_array`, the
        target `y`; without it, what `check_array` takes.

    Returns
    -------
    table : ndarray of shape (n_samples, n_features)
        What `check_array` returns. With `skip_check_array`, what the user gave.
    """
    has_names = hasattr(X, "columns") and hasattr(X, "shape")
    if not ASKS_BY_PROTOCOL or not has_names or hasattr(X, "iloc"):
        return sklearn_validate_data(
            estimator, X, reset=reset, skip_check_array=skip_check_array, **options
        )
    target = {"y": options.pop("y")} if "y" in options else {}
    sklearn_validate_data(
        estimator, _Columns(X), reset=reset, skip_check_array=True, **target
    )
    if skip_check_array:
        return X
    return check_array(X, input_name="X", estimator=estimator, **options)
