"""Types that signatures share."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Array",
    "CrossValidation",
    "Density",
    "Estimator",
    "Index",
    "Mask",
    "RandomState",
    "SamplingDensity",
    "Splitter",
    "Table",
]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
RandomState = int | np.random.RandomState | None


class Estimator(Protocol):
    """An object whose parameters can be read and set by name, as scikit-learn does."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""

    def set_params(self, **params: Any) -> Any:
        """Set parameters by name."""


class Density(Estimator, Protocol):
    """A density estimator: `fit` to rows, log-densities by `score_samples`."""

    def fit(self, X: Any, y: Any = None) -> Any:
        """Fit the density to the rows of a table."""

    def score_samples(self, X: Any) -> Array:
        """Return the log-density of each row, nats."""


class SamplingDensity(Density, Protocol):
    """A density estimator that can draw rows once it is fitted."""

    def sample(self, n_samples: int = 1) -> Any:
        """Draw rows; scikit-learn's mixtures return a pair of rows and labels."""


class Table(Protocol):
    """Rows by columns: an array, a data frame of pandas or polars, a sparse matrix."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of rows and columns."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return some of the cells; what a key means is up to the container."""


class Splitter(Protocol):
    """A rule of scikit-learn's that divides the rows of a table into two parts."""

    def split(self, X: Any) -> Iterator[tuple[Any, Any]]:
        """Yield pairs of index arrays: rows to fit, rows to hold out."""


CrossValidation = int | Splitter | Iterable[tuple[ArrayLike, ArrayLike]]
