"""0.3 N(−2, 0.5²) + 0.7 N(3, 1): learnt by the default model, not by a linear one."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from skvae import GaussianLikelihood, MLPDecoder, VAEDensity

# A row or two in thousands may have heavy-tailed weights.
pytestmark = pytest.mark.filterwarnings("ignore:The log-density of")

Array = NDArray[np.float64]
Shortfall = Callable[[VAEDensity], float]


def draw(n_rows: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    left = rng.normal(-2, 0.5, n_rows)
    right = rng.normal(3, 1, n_rows)
    return np.where(rng.random(n_rows) < 0.3, left, right)[:, None]


def log_density(x: Array) -> Array:
    return np.logaddexp(
        np.log(0.3) + norm.logpdf(x[:, 0], -2, 0.5),
        np.log(0.7) + norm.logpdf(x[:, 0], 3, 1),
    )


@pytest.fixture(scope="module")
def shortfall() -> Shortfall:
    """Return a function: mean log-density lost on 2,000 fresh rows, in nats."""
    table, fresh = draw(3000, seed=0), draw(2000, seed=1)

    def of(density: VAEDensity) -> float:
        density.fit(table)
        return float((log_density(fresh) - density.score_samples(fresh)).mean())

    return of


@pytest.mark.parametrize("max_iter", [30, pytest.param("auto", marks=pytest.mark.slow)])
def test_default_model_learns_the_mixture(
    max_iter: int | str, shortfall: Shortfall
) -> None:
    assert shortfall(VAEDensity(max_iter=max_iter, random_state=0)) < 0.05


def test_linear_gaussian_model_stays_short(shortfall: Shortfall) -> None:
    """One Gaussian at its best is 0.4964 nat short."""
    lost = shortfall(
        VAEDensity(
            n_components=1,
            prior="normal",
            decoder=MLPDecoder(hidden_layer_sizes=()),
            likelihood=GaussianLikelihood("column"),
            marginal_transform=None,
            companion=None,
            hidden_layer_sizes=(16,),
            max_iter=60,
            random_state=0,
        )
    )
    assert 0.4 < lost < 0.6
