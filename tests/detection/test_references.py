"""False alarms among new rows, by the rows that the threshold comes from."""

from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from skvae import DensityOutlierDetector

RATE = 0.05
N_TABLES = 60

# What the documentation says of a density that learns its training rows by heart.
EXPECTED: dict[str, tuple[dict[str, Any], float, float]] = {
    "held-out rows": ({"reference": "held_out"}, RATE - 1 / 100, RATE),
    "training rows, trimmed": ({}, RATE, 2 * RATE),
    "training rows": ({"trim_fraction": 0}, 4 * RATE, 1.0),
    "training rows by default": ({"contamination": "auto"}, 0.2, 1.0),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_false_alarms_among_new_rows_are_as_documented(name: str) -> None:
    """At most four standard errors outside; false-alarm rate 1e-4 for each name."""
    settings, low, high = EXPECTED[name]
    rng = np.random.default_rng(0)
    alarms = []
    # Rows that are asked whether they give outliers away take longer.
    n_tables = N_TABLES // 10 if "contamination" in settings else N_TABLES
    for seed in range(n_tables):
        rows = rng.normal(size=(495 + 1000, 4))
        detector = DensityOutlierDetector(
            KernelDensity(bandwidth=0.35),
            **{"contamination": RATE, "random_state": seed, **settings},
        ).fit(rows[:495])
        alarms.append(np.mean(detector.predict(rows[495:]) == -1))
    error = np.std(alarms) / np.sqrt(n_tables)
    assert low - 4 * error < np.mean(alarms) < high + 4 * error
