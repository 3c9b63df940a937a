"""Factor analysis against scikit-learn's."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import FactorAnalysis

from skvae.training.start import factor_analysis


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_likelihood_equals_that_of_scikit_learn(n_components: int) -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(500, n_components))
    table = factors @ rng.normal(size=(n_components, 12))
    table += rng.normal(size=(500, 12)) * np.linspace(0.5, 1.5, 12)
    reference = FactorAnalysis(n_components, tol=1e-3).fit(table)
    covariance = torch.from_numpy(np.cov(table.T, bias=True))
    loadings, variance = factor_analysis(covariance, n_components)
    implied = (loadings @ loadings.T + variance.diag()).numpy()
    score = multivariate_normal.logpdf(table, table.mean(0), implied).mean()
    assert score == pytest.approx(reference.score(table), abs=1e-3)
