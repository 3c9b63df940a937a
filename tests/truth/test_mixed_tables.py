"""A table of four kinds of columns whose density is known by quadrature."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, log_expit, log_softmax, logsumexp

from skvae import MixedLikelihood, VAEDensity
from skvae.model.likelihoods import LikelihoodSpec

Array = NDArray[np.float64]

COLOURS = np.array(["blue", "green", "red"])


def colour_logits(z: Array) -> Array:
    return np.c_[np.zeros_like(z), 1.5 * z, 0.5 - 2 * z]


def simulated(n_rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n_rows)
    cumulative = np.exp(log_softmax(colour_logits(z), axis=1)).cumsum(1)
    colour = (rng.random((n_rows, 1)) > cumulative[:, :2]).sum(1)
    return pd.DataFrame(
        {
            "height": 1.5 * z + 0.5 * rng.normal(size=n_rows),
            "visits": rng.poisson(np.exp(0.5 + 0.8 * z)),
            "member": (rng.random(n_rows) < expit(2 * z - 0.5)).astype(int),
            "colour": COLOURS[colour],
        }
    )


def true_log_density(table: pd.DataFrame) -> Array:
    z = np.linspace(-9, 9, 2001)
    height, visits, member = (
        table[name].to_numpy()[:, None] for name in ("height", "visits", "member")
    )
    log_p = stats.norm.logpdf(height, 1.5 * z, 0.5)
    log_p += stats.poisson.logpmf(visits, np.exp(0.5 + 0.8 * z))
    log_p += log_expit(np.where(member == 1, 1, -1) * (2 * z - 0.5))
    codes = np.searchsorted(COLOURS, table["colour"])
    log_p += log_softmax(colour_logits(z), axis=1)[:, codes].T
    return logsumexp(log_p + stats.norm.logpdf(z) + np.log(z[1] - z[0]), axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["auto", MixedLikelihood({"visits": "poisson"})])
@pytest.mark.parametrize("n_components", [1, 4])
def test_density_is_near_the_truth(
    likelihood: str | LikelihoodSpec, n_components: int
) -> None:
    """Within 0.02 nats a row, and not better by chance alone."""
    table, test = simulated(4000, 0), simulated(2000, 1)
    density = VAEDensity(
        n_components, likelihood=likelihood, max_iter=60, random_state=0
    ).fit(table)
    excess = true_log_density(test) - density.score_samples(test)
    error = excess.std() / np.sqrt(len(test))
    assert -3 * error < excess.mean() < 0.02
