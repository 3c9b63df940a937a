"""Samples follow the density that scores them."""

import numpy as np
import pytest
from scipy.integrate import cumulative_simpson, simpson
from scipy.stats import kstest

from skvae import VAEDensity

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed

# A few rows of a grid, between the table and nowhere, have heavy-tailed weights.
pytestmark = pytest.mark.filterwarnings("ignore:The log-density of")

SETTINGS = {
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
    grid = np.linspace(-20, 20, 4001)
    values = np.exp(density.score_samples(grid[:, None]))
    cdf = cumulative_simpson(values, x=grid, initial=0)
    sample = density.sample(5000, random_state=1)[:, 0]
    result = kstest(sample, lambda x: np.interp(x, grid, cdf / cdf[-1]))
    assert result.pvalue > FALSE_ALARM


@pytest.mark.parametrize("marginal_transform", [None, "normal"])
def test_mean_score_of_samples_is_minus_the_entropy(
    marginal_transform: str | None,
) -> None:
    """Within 4 standard errors of 4,000 samples and 0.02 nat of quadrature."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2))
    table = np.c_[z[:, 0], z[:, 0] ** 2 + 0.4 * z[:, 1]]
    density = VAEDensity(marginal_transform=marginal_transform, **SETTINGS).fit(table)
    axes = np.linspace(-7, 7, 113), np.linspace(-8, 22, 141)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    log_p = density.evidence(grid, proposal="refined").log_density.reshape(113, 141)
    entropy = -simpson(simpson(np.exp(log_p) * log_p, x=axes[1]), x=axes[0])
    sample = density.sample(4000, random_state=1)
    score = density.evidence(sample, proposal="refined").log_density
    error = score.std() / 4000**0.5
    assert abs(score.mean() + entropy) < 4 * error + 0.02
