"""Small tables and quick settings that the tests share."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from skvae import VAEDensity

# Parameters of VAEDensity for tests that need a fitted model, not a good one. The
# default decoder would be chosen by pilots, which take longer than the fit: tests that
# such a choice may disturb say decoder="auto".
GIVEN_QUICK = {
    "decoder": "mlp",
    "max_iter": 3,
    "hidden_layer_sizes": (16,),
    "evidence_tol": 1.0,
    "n_importance_samples": 16,
    "max_evidence_samples": 24,
    "random_state": 0,
}
# A companion takes longer to fit than all this; a conditional density has none.
QUICK = {**GIVEN_QUICK, "companion": None}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    """Return 200 rows of three correlated, slightly bent columns."""
    rng = np.random.default_rng(0)
    # No row is so far out that reading it takes the stages that search for modes:
    # they would take ten times as long as all the other rows.
    z = rng.normal(size=(200, 2)).clip(-2, 2)
    noise = 0.3 * rng.normal(size=(200, 3))
    columns = np.c_[z[:, 0], z[:, 1] + 0.5 * z[:, 0] ** 2, z.sum(1)] + noise
    return columns * [1.0, 2.0, 10.0] + [0.0, -3.0, 100.0]


@pytest.fixture(scope="session")
def binary_table() -> np.ndarray:
    """Return 400 rows of four dependent columns of zeros and ones."""
    rng = np.random.default_rng(0)
    cause = rng.random(400) < 0.4
    chance = np.where(cause[:, None], [0.9, 0.8, 0.2, 0.7], [0.1, 0.3, 0.6, 0.7])
    return (rng.random((400, 4)) < chance).astype(float)


@pytest.fixture(scope="session")
def density(table: np.ndarray) -> VAEDensity:
    """Return a quick density of `table`; tests must not change it."""
    return VAEDensity(**QUICK).fit(table)
