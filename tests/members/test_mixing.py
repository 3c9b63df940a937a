"""Weights of mixtures, and which rows they are learnt from."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skvae import StackedDensity, compare_densities
from skvae.members.evidence import exact_evidence, mix_evidence
from skvae.members.folds import distinct_rows, every_row_once, one_part
from skvae.members.mixing import mixing_weights
from skvae.members.units import log_volume

Array = np.ndarray


def generator(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


# Weights


@pytest.mark.parametrize("spread", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("n_members", [2, 7])
def test_weights_are_the_maximum_that_a_general_optimiser_finds(
    spread: float, n_members: int
) -> None:
    rng = np.random.default_rng(0)
    rows = 5 * rng.normal(size=(300, 1))
    log_density = rows + spread * rng.normal(size=(300, n_members))
    weight = rng.uniform(0.5, 2, 300)

    def value(logits: Array) -> float:
        log_weights = logits - np.logaddexp.reduce(logits)
        mixed = np.logaddexp.reduce(log_density + log_weights, axis=1)
        return float(np.average(mixed, weights=weight))

    found = mixing_weights(log_density, weight)
    rival = minimize(lambda x: -value(x), np.zeros(n_members), tol=1e-12)
    with np.errstate(divide="ignore"):
        best = value(np.log(found.weights))
    assert best >= -rival.fun - 1e-9
    # The bound holds, and is tight.
    assert 0 <= found.gap < 1e-7
    assert_allclose(found.weights.sum(), 1)
    assert best >= np.average(log_density, axis=0, weights=weight).max()


def test_weights_of_two_boxes_are_shares_of_rows() -> None:
    """With disjoint supports the maximum is in closed form."""
    log_density = np.full((10, 3), -np.inf)
    log_density[:7, 0] = 3.0
    log_density[7:, 1] = -2.0
    weight = np.r_[np.ones(7), 2 * np.ones(3)]
    found = mixing_weights(log_density, weight)
    assert_allclose(found.weights, [7 / 13, 6 / 13, 0], atol=1e-9)
    assert found.weights[2] == 0


def test_weights_do_not_know_rows_without_density_or_huge_shifts() -> None:
    rng = np.random.default_rng(0)
    log_density = rng.normal(size=(200, 4))
    weight = np.ones(200)
    expected = mixing_weights(log_density, weight).weights
    for shift in (1e6, -1e8):
        shifted = mixing_weights(log_density + shift, weight).weights
        assert_allclose(shifted, expected, atol=1e-5)
    with_empty = np.r_[log_density, np.full((50, 4), -np.inf)]
    found = mixing_weights(with_empty, np.ones(250))
    assert_allclose(found.weights, expected, atol=1e-8)
    nothing = mixing_weights(np.full((5, 2), -np.inf), np.ones(5))
    assert_array_equal(nothing.weights, 0.5)


def test_equal_members_share_their_weight() -> None:
    rng = np.random.default_rng(0)
    log_density = rng.normal(size=(200, 3))[:, [0, 1, 2, 0]]
    weights = mixing_weights(log_density, np.ones(200)).weights
    assert_allclose(weights[0], weights[3], rtol=1e-6)
    alone = mixing_weights(np.zeros((5, 3)), np.ones(5)).weights
    assert_array_equal(alone, 1 / 3)


def test_a_gap_bounds_what_is_left_to_gain() -> None:
    """From anywhere, not at the maximum alone: f* − f ≤ max g − 1."""
    rng = np.random.default_rng(0)
    log_density = rng.normal(size=(100, 3))
    best = mixing_weights(log_density, np.ones(100)).weights
    density = np.exp(log_density)
    for _ in range(20):
        mixed = density @ rng.dirichlet(np.ones(3))
        gap = (density / mixed[:, None]).mean(0).max() - 1
        assert np.log(density @ best).mean() - np.log(mixed).mean() <= gap


def test_evidence_of_exact_densities_is_exact() -> None:
    log_density = np.array([[-1.0, -np.inf, -np.inf], [-2.0, -3.0, -np.inf]])
    mixed = mix_evidence(np.array([0.25, 0.75]), [*map(exact_evidence, log_density)])
    expected = np.log([0.25 * np.exp(-1) + 0.75 * np.exp(-2), 0.75 * np.exp(-3)])
    assert_allclose(mixed.log_density, [*expected, -np.inf])
    assert_array_equal(mixed.standard_error, 0)
    assert_array_equal(mixed.effective_sample_size, np.inf)
    assert_array_equal(mixed.pareto_k, -np.inf)
    assert mixed.n_samples.dtype == np.int64
    assert not mixed.unreliable.any()


def test_members_with_a_small_share_do_not_make_a_row_unreliable() -> None:
    def noisy(log_density: float, k: float, *, unreliable: bool) -> object:
        evidence = exact_evidence(np.array([log_density]))
        return type(evidence)(
            **{
                **vars(evidence),
                "pareto_k": np.array([k]),
                "unreliable": np.array([unreliable]),
            }
        )

    weights = np.array([0.5, 0.5])
    good = noisy(0.0, 0.1, unreliable=False)
    for log_density, expected in ((-1.0, True), (-5.0, False)):
        bad = noisy(log_density, 0.9, unreliable=True)
        mixed = mix_evidence(weights, [good, bad])
        assert mixed.unreliable.tolist() == [expected]
        assert_allclose(mixed.pareto_k, 0.9 if expected else 0.1)


# Folds


def test_one_part_is_a_share_of_the_rows() -> None:
    X = np.arange(200.0).reshape(100, 2)
    (fold,) = one_part(X, np.ones(100), 0.1, generator())
    assert len(fold.valid) == 10
    assert_array_equal(np.sort(np.r_[fold.train, fold.valid]), np.arange(100))
    (other,) = one_part(X, np.ones(100), 0.1, generator(1))
    assert not np.array_equal(fold.valid, other.valid)
    for fraction, expected in ((1e-6, 1), (0.999, 99)):
        (fold,) = one_part(X, np.ones(100), fraction, generator())
        assert len(fold.valid) == expected
    large = np.arange(80_000.0)[:, None]
    (fold,) = one_part(large, np.ones(80_000), 0.1, generator())
    assert len(fold.valid) == 5000


def test_one_part_is_a_share_of_the_weight() -> None:
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(400, 2)), rng.exponential(size=400)
    weight[:40] = 0
    (fold,) = one_part(X, weight, 0.3, generator())
    assert 0.28 < weight[fold.valid].sum() / weight.sum() <= 0.3
    assert fold.train.min() >= 40
    assert fold.valid.min() >= 40


@pytest.mark.parametrize("weighted", [False, True])
def test_every_row_is_held_out_once(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(100, 2)), 2, axis=0)
    weight = rng.integers(0, 3, 200).astype(float) if weighted else np.ones(200)
    folds = every_row_once(X, weight, 5, generator())
    used = np.flatnonzero(weight)
    assert_array_equal(np.sort(np.concatenate([f.valid for f in folds])), used)
    for fold in folds:
        assert_array_equal(np.sort(np.r_[fold.train, fold.valid]), used)
        together = set(map(tuple, X[fold.train])) & set(map(tuple, X[fold.valid]))
        assert not together
        assert abs(weight[fold.valid].sum() - weight.sum() / 5) <= 4


def test_few_distinct_rows_fill_all_folds() -> None:
    X = np.array([[0.0], [1.0], [2.0]])
    weight = np.array([1000.0, 1.0, 1.0])
    folds = every_row_once(X, weight, 3, generator())
    assert sorted(len(fold.valid) for fold in folds) == [1, 1, 1]


def test_boolean_masks_are_splits() -> None:
    X = np.arange(6.0)[:, None]
    mask = np.array([True, False] * 3)
    (fold,) = every_row_once(X, np.ones(6), [(mask, ~mask)], generator())
    assert_array_equal(fold.train, [0, 2, 4])
    assert_array_equal(fold.valid, [1, 3, 5])


def test_distinct_rows_do_not_depend_on_the_container() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(60, 2)).astype(float)
    code = distinct_rows(X)
    _, expected = np.unique(X, axis=0, return_inverse=True)
    assert_array_equal(code, expected.ravel())
    assert_array_equal(distinct_rows(pd.DataFrame(X)), code)
    text = pd.DataFrame(
        {"a": X[:, 0], "b": np.array(["u", "v", "w"])[X[:, 1].astype(int)]}
    )
    assert_array_equal(distinct_rows(text), code)
    assert_array_equal(distinct_rows(text.to_numpy()), code)
    assert_array_equal(distinct_rows(sparse.csr_array(X)), np.arange(60))
    mixed = np.array([["1", 1], [1, 1], [None, 1], ["1", 1]], dtype=object)
    code = distinct_rows(mixed)
    assert code[0] == code[3]
    assert len(set(code.tolist())) == 3


# Units


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
