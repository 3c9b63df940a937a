"""The score of a table: the mean log-density of its rows."""

import numpy as np
from numpy.typing import ArrayLike

from skvae.tables.checks import check_sample_weight
from skvae.typing import Array

__all__ = ["mean_log_density"]


def mean_log_density(log_density: Array, sample_weight: ArrayLike | None) -> float:
    """Return the weighted mean over rows, nats."""
    weight = check_sample_weight(sample_weight, len(log_density))
    return float(np.average(log_density, weights=weight))
