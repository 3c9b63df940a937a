"""Samples follow the density that scores them."""

import numpy as np
import pytest
from scipy.integrate import cumulative_simpson
from scipy.stats import kstest

from skvae import VAEDensity
from tests.truth.grids import grid_of

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed

# A few rows of a grid, between the table and nowhere, have heavy-tailed weights.
pytestmark = pytest.mark.filterwarnings("ignore:The log-density of")

SETTINGS = {
    # Decoders that read columns have tests of their own.
    "decoder": "mlp",
    # So have companions.
    "companion": None,
    "evidence_tol": 0.3,
    "hidden_layer_sizes": (16, 16),
    "max_iter": 30,
    "n_importance_samples": 128,
    "max_evidence_samples": 128,
    "random_state": 0,
}


@pytest.mark.parametrize("marginal_transform", [None, "normal"])
def test_samples_of_one_column_follow_the_integral_of_the_density(
    marginal_transform: str | None,
) -> None:
    """Kolmogorov-Smirnov with 5,000 samples; false-alarm rate 1e-4."""
    rng = np.random.default_rng(0)
    table = np.r_[rng.normal(-2, 0.5, 200), rng.normal(3, 1, 400)][:, None]
    density = VAEDensity(marginal_transform=marginal_transform, **SETTINGS).fit(table)
    grid = grid_of(density, 501, reach=10.0)
    values = np.exp(density.score_samples(grid.rows)) * grid.stretch
    cdf = cumulative_simpson(values, x=grid.axis, initial=0)
    sample = density.sample(5000, random_state=1)[:, 0]
    result = kstest(sample, lambda x: np.interp(x, grid.rows[:, 0], cdf / cdf[-1]))
    assert result.pvalue > FALSE_ALARM


@pytest.mark.parametrize("marginal_transform", [None, "normal"])
def test_mean_score_of_samples_is_minus_the_entropy(
    marginal_transform: str | None,
) -> None:
    """Within 4 standard errors of 2,000 samples and 0.02 nat of quadrature."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2))
    table = np.c_[z[:, 0], z[:, 0] ** 2 + 0.4 * z[:, 1]]
    density = VAEDensity(marginal_transform=marginal_transform, **SETTINGS).fit(table)
    grid = grid_of(density, 61, reach=6.0)
    log_p = density.evidence(grid.rows, proposal="refined").log_density
    entropy = -grid.integral(np.exp(log_p) * log_p)
    sample = density.sample(2000, random_state=1)
    score = density.evidence(sample, proposal="refined").log_density
    error = score.std() / 2000**0.5
    assert abs(score.mean() + entropy) < 4 * error + 0.02
