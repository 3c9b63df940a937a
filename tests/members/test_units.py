"""Pipelines whose log-densities are in other units than the table."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skvae import StackedDensity, compare_densities
from skvae.members.units import log_volume


@pytest.mark.parametrize("frame", [np.asarray, pd.DataFrame])
def test_volume_of_a_pipeline_is_the_determinant_of_its_transformers(
    frame: Any,
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)) * [1.0, 10.0, 100.0] + 5

    def volume_of(*steps: Any) -> float:
        table = frame(X)
        return log_volume(make_pipeline(*steps, KernelDensity()).fit(table), table)

    assert_allclose(volume_of(StandardScaler()), -np.log(X.std(0)).sum(), rtol=1e-6)
    assert_allclose(volume_of(PCA(whiten=True)), -np.linalg.slogdet(np.cov(X.T))[1] / 2)
    assert abs(volume_of(PCA())) < 1e-6
    assert volume_of("passthrough") == 0
    assert np.isnan(volume_of(PCA(2)))
    log = FunctionTransformer(np.log1p)
    X = np.exp(X / 50)
    assert_allclose(volume_of(log), -np.log1p(X[:5]).sum(1).mean(), rtol=1e-6)
    assert log_volume(KernelDensity(), X) == 0
    text = np.array([["a", "b"]], dtype=object)
    assert np.isnan(log_volume(make_pipeline(PCA(), KernelDensity()), text))


def test_estimators_in_other_units_are_named() -> None:
    X = 1000 * np.random.default_rng(0).normal(size=(90, 1))
    scaled = make_pipeline(StandardScaler(), GaussianMixture())
    with pytest.warns(UserWarning, match=r"estimator 'pipe' by \+6\.\d\d\. Transform"):
        compare_densities({"pipe": scaled, "same": GaussianMixture()}, X)
    members = [("pipe", scaled), ("same", GaussianMixture())]
    with pytest.warns(UserWarning, match=r"member 'pipe' by \+6"):
        StackedDensity(members).fit(X)
