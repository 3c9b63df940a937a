"""Figures without windows, and a density of columns of several kinds."""

from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from skvae import VAEDensity
from tests.conftest import QUICK


@pytest.fixture(autouse=True)
def _no_windows() -> Iterator[None]:
    matplotlib.use("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def trips() -> pd.DataFrame:
    """Return 300 rows of a category, a count and two numbers, with missing cells."""
    rng = np.random.default_rng(0)
    kind = rng.choice(["bike", "car"], 300, p=[0.3, 0.7])
    distance = np.where(kind == "car", 12.0, 4.0) + rng.normal(size=300)
    frame = pd.DataFrame(
        {
            "distance": distance,
            "stops": rng.poisson(distance / 3),
            "kind": pd.Categorical(kind),
            "cost": 0.3 * distance + 0.3 * rng.normal(size=300),
        }
    )
    frame.loc[rng.random(300) < 0.1, "cost"] = np.nan
    frame.loc[rng.random(300) < 0.1, "kind"] = None
    return frame


@pytest.fixture(scope="session")
def mixed(trips: pd.DataFrame) -> VAEDensity:
    """Return a quick density of `trips`; tests must not change it."""
    return VAEDensity(**{**QUICK, "likelihood": "auto"}).fit(trips)
