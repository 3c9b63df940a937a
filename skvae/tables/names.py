"""What the columns of an estimator's table are called."""

from typing import Any, Protocol

__all__ = ["KnowsColumns", "column_label", "column_names", "seen_by"]


class KnowsColumns(Protocol):
    """An estimator that has seen the table of its `fit`, or sees it now.

    scikit-learn's `validate_data` sets the attribute, and beside it
    `feature_names_in_` where all columns have names that are strings.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns.
    """

    n_features_in_: int


def column_names(estimator: KnowsColumns) -> tuple[str, ...]:
    """Return the names of an estimator's columns; "x0", "x1", … where it has none."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return tuple(f"x{j}" for j in range(estimator.n_features_in_))
    return tuple(str(name) for name in names)


def column_label(estimator: KnowsColumns, index: int) -> str:
    """Return what messages call a column: its name, or its number if it has none."""
    names = getattr(estimator, "feature_names_in_", None)
    return f"column {index}" if names is None else f"column {names[index]!r}"


def seen_by(estimator: KnowsColumns) -> dict[str, Any]:
    """Return the attributes that `validate_data` has set on an estimator, by name."""
    names = ("n_features_in_", "feature_names_in_")
    return {name: value for name, value in vars(estimator).items() if name in names}
