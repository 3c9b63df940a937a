"""Types that signatures share."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Density", "Index", "Mask", "RandomState"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
RandomState = int | np.random.RandomState | None


class Density(Protocol):
    """A density estimator: `fit` to rows, log-densities by `score_samples`."""

    def fit(self, X: Any, y: Any = None) -> Any:
        """Fit the density to the rows of a table."""

    def score_samples(self, X: Any) -> Array:
        """Return the log-density of each row, nats."""
