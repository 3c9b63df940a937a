"""Pipelines whose log-densities are in other units than the table."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler

from skvae import StackedDensity, compare_densities
from skvae.members.units import unit_change


@pytest.mark.parametrize("frame", [np.asarray, pd.DataFrame])
def test_volume_of_a_pipeline_is_the_determinant_of_its_transformers(
    frame: Any,
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)) * [1.0, 10.0, 100.0] + 5

    def volume_of(*steps: Any) -> float:
        table = frame(X)
        pipeline = make_pipeline(*steps, KernelDensity()).fit(table)
        return unit_change(pipeline, table).log_volume

    assert_allclose(volume_of(StandardScaler()), -np.log(X.std(0)).sum(), rtol=1e-6)
    assert_allclose(volume_of(PCA(whiten=True)), -np.linalg.slogdet(np.cov(X.T))[1] / 2)
    assert abs(volume_of(PCA())) < 1e-6
    assert volume_of("passthrough") == 0
    assert np.isnan(volume_of(PCA(2)))
    log = FunctionTransformer(np.log1p)
    X = np.exp(X / 50)
    assert_allclose(volume_of(log), -np.log1p(X[:5]).sum(1).mean(), rtol=1e-6)
    assert unit_change(KernelDensity(), X).log_volume == 0
    text = np.array([["a", "b"], ["b", "a"]], dtype=object)
    coded = make_pipeline(OrdinalEncoder(), KernelDensity()).fit(text)
    assert np.isnan(unit_change(coded, text).log_volume)


def test_estimators_in_other_units_are_named() -> None:
    X = 1000 * np.random.default_rng(0).normal(size=(90, 1))
    scaled = make_pipeline(StandardScaler(), GaussianMixture())
    with pytest.warns(UserWarning, match=r"estimator 'pipe' by \+6\.\d\d\. Transform"):
        compare_densities({"pipe": scaled, "same": GaussianMixture()}, X)
    members = [("pipe", scaled), ("same", GaussianMixture())]
    with pytest.warns(UserWarning, match=r"member 'pipe' by \+6"):
        StackedDensity(members).fit(X)


def test_search_around_a_scaled_pipeline_is_in_other_units() -> None:
    X = 1000 * np.random.default_rng(0).normal(size=(90, 1))
    scaled = make_pipeline(StandardScaler(), GaussianMixture())
    search = GridSearchCV(scaled, {"gaussianmixture__n_components": [1, 2]}, cv=2)
    with pytest.warns(UserWarning, match=r"estimator 'search' by \+6\.\d\d\. Trans"):
        compare_densities({"search": search, "same": GaussianMixture()}, X, cv=2)


def test_densities_of_other_columns_are_named() -> None:
    X = np.random.default_rng(0).normal(size=(90, 3))
    fewer = make_pipeline(PCA(1), GaussianMixture())
    with pytest.warns(UserWarning, match=r"other columns .* 'pca' of 1 columns"):
        compare_densities({"pca": fewer, "same": GaussianMixture()}, X)
    with pytest.warns(UserWarning, match=r"member 'pca' of 1 columns"):
        StackedDensity([("pca", fewer), ("same", GaussianMixture())]).fit(X)
    whitened = make_pipeline(PCA(whiten=True), GaussianMixture())
    with pytest.warns(UserWarning, match=r"estimator 'white' by "):
        compare_densities({"white": whitened, "same": GaussianMixture()}, 10 * X)
