"""What the columns of a table are called."""

from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["KnowsColumns", "TableColumns", "column_names", "seen_by"]


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


@dataclass(frozen=True)
class TableColumns:
    """The columns of one table of a call, as messages name them.

    Attributes
    ----------
    owner : str
        The class of the estimator that reads the table.
    n_columns : int
        Number of columns.
    given_names : tuple of str or None
        Names of the columns; None where they have none.
    table : {"X", "y"}, default="X"
        The argument that the table was passed as.
    one_dimensional : bool, default=False
        Whether the table was passed as one column without a second axis.
    advice : str, default="Use likelihood='auto' for text and categories."
        What to do where text is not allowed.
    """

    owner: str
    n_columns: int
    given_names: tuple[str, ...] | None
    table: str = "X"
    one_dimensional: bool = False
    advice: str = "Use likelihood='auto' for text and categories."

    @classmethod
    def of(cls, estimator: KnowsColumns, **more: Any) -> "TableColumns":
        """Return the columns that `validate_data` has found in X."""
        names = getattr(estimator, "feature_names_in_", None)
        given = None if names is None else tuple(str(name) for name in names)
        return cls(type(estimator).__name__, estimator.n_features_in_, given, **more)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns; "x0", "x1", … (of y: "y0", …) where they have none."""
        if self.given_names is not None:
            return self.given_names
        return tuple(f"{self.table.lower()}{j}" for j in range(self.n_columns))

    def label(self, index: int) -> str:
        """Return what messages call a column: its name, or its number."""
        if self.one_dimensional:
            return self.table
        name = index if self.given_names is None else repr(self.given_names[index])
        return f"column {name}" + ("" if self.table == "X" else f" of {self.table}")


def column_names(estimator: KnowsColumns) -> tuple[str, ...]:
    """Return the names of an estimator's columns; "x0", "x1", … where it has none."""
    return TableColumns.of(estimator).names


def seen_by(estimator: KnowsColumns) -> dict[str, Any]:
    """Return the attributes that `validate_data` has set on an estimator, by name."""
    names = ("n_features_in_", "feature_names_in_")
    return {name: value for name, value in vars(estimator).items() if name in names}
