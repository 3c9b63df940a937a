"""StackedDensity: a mixture of any densities."""

import contextlib
import pickle
import warnings
from typing import Any

import distributed
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, RepeatedKFold
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency

from skvae import Evidence, StackedDensity, VAEDensity
from tests.conftest import QUICK
from tests.known import Box, BrokenAfar, Normal, names_seen

Array = np.ndarray

FAST = {
    **QUICK,
    "max_iter": 2,
    "hidden_layer_sizes": (8,),
    "background": None,
    "random_state": None,
}

KERNELS = [("narrow", KernelDensity(bandwidth=0.3)), ("wide", KernelDensity())]


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore:X has feature names, but:UserWarning")
def test_column_names_are_checked() -> None:
    check_dataframe_column_names_consistency("StackedDensity", StackedDensity(KERNELS))


def test_tags_are_those_of_a_density_and_of_its_members() -> None:
    tags = get_tags(StackedDensity(KERNELS))
    assert tags.estimator_type == "density_estimator"
    assert not (tags.no_validation or tags.non_deterministic or tags._skip_test)
    assert not tags.input_tags.allow_nan

    class TakesMissing(Normal):
        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.allow_nan = True
            return tags

    both = [("a", TakesMissing()), ("b", Normal())]
    assert get_tags(StackedDensity(both[:1])).input_tags.allow_nan
    assert not get_tags(StackedDensity(both)).input_tags.allow_nan
    assert not get_tags(StackedDensity(None)).input_tags.allow_nan


# Weights


def test_known_mixture_is_found() -> None:
    """20,000 rows of 0.3 N(−2, 0.5²) + 0.7 N(3, 1); within 5 sd of a binomial."""
    rng = np.random.default_rng(0)
    first = rng.random(20_000) < 0.3
    X = np.where(first, rng.normal(-2, 0.5, 20_000), rng.normal(3, 1, 20_000))[:, None]
    members = [("a", Normal(-2, 0.5)), ("b", Normal(3, 1)), ("far", Normal(50, 1))]
    stack = StackedDensity(members, cv=2, random_state=0).fit(X)
    assert abs(stack.weights_[0] - 0.3) < 5 * (0.3 * 0.7 / 20_000) ** 0.5
    assert stack.weights_[2] == 0
    a, b, _ = stack.weights_
    expected = np.log(a * stats.norm(-2, 0.5).pdf(X) + b * stats.norm(3, 1).pdf(X))
    assert_allclose(stack.score_samples(X), expected[:, 0])
    assert_allclose(stack.score(X), expected.mean())
    assert_allclose(stack.validation_score_, expected.mean())
    assert stack.weights_gap_ < 1e-7


@pytest.mark.parametrize("cv", [None, 3])
def test_stack_is_at_least_its_best_member_on_held_out_rows(
    cv: int | None, table: Array
) -> None:
    members = [
        ("one", GaussianMixture(1)),
        ("four", GaussianMixture(4)),
        ("kernel", KernelDensity(bandwidth=1.0)),
        ("vae", VAEDensity(**QUICK)),
    ]
    stack = StackedDensity(members, cv=cv, random_state=0).fit(table)
    assert stack.member_scores_.shape == (4,)
    assert stack.validation_score_ >= stack.member_scores_.max()
    assert_allclose(stack.weights_.sum(), 1)
    assert list(stack.named_estimators_) == ["one", "four", "kernel", "vae"]
    assert stack.named_estimators_["vae"] is stack.estimators_[3]


def test_scores_are_those_of_the_held_out_rows(table: Array) -> None:
    folds = list(KFold(4).split(table))
    stack = StackedDensity(KERNELS, cv=folds).fit(table)
    expected = [
        np.concatenate(
            [
                clone(member).fit(table[train]).score_samples(table[valid])
                for train, valid in folds
            ]
        ).mean()
        for _, member in KERNELS
    ]
    assert_allclose(stack.member_scores_, expected)
    assert_array_equal(
        stack.estimators_[0].score_samples(table),
        KernelDensity(bandwidth=0.3).fit(table).score_samples(table),
    )


def test_members_without_weight_are_not_asked(table: Array) -> None:
    class Counted(Normal):
        calls = 0

        def score_samples(self, X: Any) -> Array:
            type(self).calls += 1
            return super().score_samples(X)

    stack = StackedDensity([("good", GaussianMixture()), ("bad", Counted(1e3))])
    stack.fit(table)
    assert stack.weights_[1] == 0
    calls = Counted.calls
    stack.score_samples(table)
    assert Counted.calls == calls
    assert isinstance(stack.estimators_[1], Counted)


def test_refit_decides_on_which_rows_members_are_fitted(table: Array) -> None:
    settings = {"validation_fraction": 0.25, "random_state": 0}
    kept = StackedDensity(KERNELS, refit=False, **settings).fit(table)
    again = StackedDensity(KERNELS, **settings).fit(table)
    assert [m.tree_.data.shape[0] for m in kept.estimators_] == [150, 150]
    assert [m.tree_.data.shape[0] for m in again.estimators_] == [200, 200]
    assert_array_equal(kept.weights_, again.weights_)
    folds = [(np.arange(50, 200), np.arange(50)), (np.arange(100), np.arange(100, 200))]
    first = StackedDensity(KERNELS, cv=folds, refit=False).fit(table)
    assert_array_equal(
        first.estimators_[1].score_samples(table),
        KernelDensity().fit(table[50:]).score_samples(table),
    )


# Row weights, repeated rows


@pytest.mark.parametrize("cv", [None, 3])
@pytest.mark.parametrize("member", [KernelDensity(), VAEDensity(**FAST)], ids=str)
def test_integer_weights_equal_repeated_rows(
    member: Any, cv: int | None, table: Array
) -> None:
    rng = np.random.default_rng(0)
    X = table[:60]
    weight = rng.integers(0, 4, 60)
    members = [("member", member), ("wide", KernelDensity(bandwidth=3))]
    stack = StackedDensity(members, cv=cv, random_state=0)
    weighted = clone(stack).fit(X, sample_weight=weight)
    repeated = clone(stack).fit(rng.permutation(np.repeat(X, weight, axis=0)))
    assert_allclose(weighted.weights_, repeated.weights_, atol=1e-6)
    assert_allclose(weighted.member_scores_, repeated.member_scores_)
    assert_allclose(weighted.score_samples(X), repeated.score_samples(X), rtol=1e-6)


def test_copies_of_fitted_rows_are_not_held_out() -> None:
    """If they were held out alone, the narrowest kernel would win."""
    rows = np.random.default_rng(0).normal(size=(100, 2))
    X = np.r_[rows, rows, rows]
    members = [("tiny", KernelDensity(bandwidth=1e-3)), *KERNELS]
    for cv in (None, 5):
        stack = StackedDensity(members, cv=cv, random_state=0).fit(X)
        assert stack.weights_[0] < 1e-3
        assert stack.member_scores_[0] < -100


def test_weights_for_members_that_take_none_are_an_error(table: Array) -> None:
    members = [("kernel", KernelDensity()), ("mixture", GaussianMixture())]
    with pytest.raises(ValueError, match="fit of member 'mixture'=GaussianMixture"):
        StackedDensity(members).fit(table, sample_weight=np.ones(len(table)))


# Evidence


def test_evidence_is_the_mixture_of_those_of_members(table: Array) -> None:
    members = [
        ("vae", VAEDensity(**QUICK)),
        ("other", VAEDensity(**{**QUICK, "max_iter": 2})),
        ("mixture", GaussianMixture(2)),
    ]
    stack = StackedDensity(members, cv=3, random_state=0).fit(table)
    stack.weights_ = np.array([0.5, 0.2, 0.3])
    rows = table[:60]
    evidence = stack.evidence(rows)
    assert isinstance(evidence, Evidence)
    assert_array_equal(evidence.log_density, stack.score_samples(rows))
    first, second = (m.evidence(rows) for m in stack.estimators_[:2])
    exact = stack.estimators_[2].score_samples(rows)
    density = np.exp(np.stack([first.log_density, second.log_density, exact]))
    share = [[0.5], [0.2], [0.3]] * density
    share /= share.sum(0)
    errors = np.stack([first.standard_error, second.standard_error])
    assert_allclose(evidence.standard_error, (share[:2] * errors).sum(0))
    sizes = np.stack([first.effective_sample_size, second.effective_sample_size])
    assert_allclose(evidence.effective_sample_size, 1 / (share[:2] ** 2 / sizes).sum(0))
    assert_array_equal(evidence.n_samples, first.n_samples + second.n_samples)
    assert (evidence.background_share <= 1).all()
    tight = stack.evidence(rows, tol=0.01, max_samples=512)
    assert tight.standard_error.mean() < evidence.standard_error.mean()
    repeat = stack.evidence(rows, random_state=1)
    error = np.abs(repeat.log_density - evidence.log_density)
    assert 0 < error.max() < 6 * evidence.standard_error.max()


def test_a_member_without_a_share_of_a_row_has_no_say_in_its_error() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 1))
    stack = StackedDensity([("vae", VAEDensity(**QUICK)), ("box", Box())])
    stack.fit(X)
    stack.weights_ = np.array([0.5, 0.5])
    outside, both = stack.evidence([[-1.0], [0.5]]).standard_error
    alone = stack.estimators_[0].evidence([[-1.0], [0.5]]).standard_error
    assert_allclose(outside, alone[0])
    assert both < alone[1]


def test_evidence_is_there_where_a_member_has_it(table: Array) -> None:
    assert not hasattr(StackedDensity(KERNELS), "evidence")
    stack = StackedDensity([("vae", VAEDensity(**QUICK)), ("far", Normal(1e3))])
    assert hasattr(stack, "evidence")
    stack.fit(table)
    assert hasattr(stack, "evidence")
    stack.weights_ = np.array([0.0, 1.0])
    assert not hasattr(stack, "evidence")


def test_evidence_of_a_density_inside_a_pipeline_or_a_search(table: Array) -> None:
    vae = VAEDensity(**QUICK)
    pipeline = make_pipeline(FunctionTransformer(), vae)
    search = GridSearchCV(pipeline, {"vaedensity__max_iter": [2]}, cv=2)
    for member in (pipeline, search):
        stack = StackedDensity([("inner", member)], random_state=0)
        assert hasattr(stack, "evidence")
        evidence = stack.fit(table).evidence(table[:40])
        assert (evidence.standard_error > 0).all()
        assert_array_equal(evidence.log_density, stack.score_samples(table[:40]))


def test_scores_that_are_no_numbers_are_an_error(table: Array) -> None:
    stack = StackedDensity([("broken", BrokenAfar(100, 20)), ("far", Normal(1e3))])
    stack.fit(table / 10)
    stack.weights_ = np.array([0.5, 0.5])
    with pytest.raises(ValueError, match=r"member 'broken'.* NaN or \+inf for 2 of"):
        stack.score_samples(np.r_[table[:3] / 10, table[:2] + 1000])


# Sampling


def test_samples_are_seeded_rows() -> None:
    """Kolmogorov-Smirnov test; false-alarm rate 1e-4."""
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=400), rng.uniform(5, 6, 400)][:, None]
    members = [("a", GaussianMixture(1)), ("b", KernelDensity(bandwidth=0.2))]
    stack = StackedDensity(members, random_state=0).fit(X)
    stack.weights_ = np.array([0.4, 0.6])
    rows = stack.sample(3000, random_state=1)
    assert rows.shape == (3000, 1)
    assert_array_equal(stack.sample(3000, random_state=1), rows)
    assert not np.array_equal(stack.sample(3000, random_state=2), rows)
    assert_array_equal(stack.sample(3), stack.sample(3))
    grid = np.linspace(-10, 15, 20_001)
    cdf = np.cumsum(np.exp(stack.score_samples(grid[:, None]))) * (grid[1] - grid[0])
    assert_allclose(cdf[-1], 1, atol=1e-4)
    assert stats.kstest(rows[:, 0], lambda x: np.interp(x, grid, cdf)).pvalue > 1e-4


def test_there_is_sample_where_all_members_that_count_have_it(table: Array) -> None:
    assert not hasattr(
        StackedDensity([("a", GaussianMixture()), *KERNELS, ("b", Normal())]), "sample"
    )
    stack = StackedDensity([("a", GaussianMixture()), ("b", Normal(1e3))]).fit(table)
    assert stack.weights_[1] == 0
    assert stack.sample(4).shape == (4, 3)
    assert not hasattr(StackedDensity(None), "sample")


# At home in scikit-learn


def test_rows_without_density_are_minus_infinity() -> None:
    X = np.random.default_rng(0).random((50, 1))
    stack = StackedDensity([("box", Box()), ("twin", Box())]).fit(X)
    assert_array_equal(stack.score_samples([[0.5], [2.0]]), [0, -np.inf])
    both = StackedDensity([("box", Box()), ("normal", Normal(5.0, 0.1))], cv=3)
    both.fit(np.r_[X, 5 + 0.1 * X])
    assert (both.weights_ > 0.4).all()
    assert np.isfinite(both.score_samples([[2.0]])).all()


def test_seeds_make_results_repeat(table: Array) -> None:
    members = [(f"vae{i}", VAEDensity(**FAST)) for i in range(2)]
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    stack = StackedDensity(members, random_state=3).fit(table)
    again = StackedDensity(members, random_state=3).fit(table)
    other = StackedDensity(members, random_state=4).fit(table)
    assert_array_equal(stack.score_samples(table), again.score_samples(table))
    assert not np.array_equal(stack.score_samples(table), other.score_samples(table))
    seeds = [member.random_state for member in stack.estimators_]
    assert len(set(seeds)) == 2
    assert members[0][1].random_state is None
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    own = StackedDensity([("vae", VAEDensity(**QUICK))]).fit(table)
    assert own.estimators_[0].random_state == 0


@pytest.mark.parametrize(
    "backend",
    [
        *("loky", "threading", "multiprocessing", "dask"),
        pytest.param("ray", marks=pytest.mark.slow),
    ],
)
def test_members_in_parallel_are_members_in_turn(table: Array, backend: str) -> None:
    members = [("mixture", GaussianMixture(2)), ("vae", VAEDensity(**QUICK))]
    stack = StackedDensity(members, cv=2, n_jobs=2, random_state=0)
    serial = clone(stack).set_params(n_jobs=None).fit(table)
    with contextlib.ExitStack() as resources:
        if backend == "dask":
            resources.enter_context(
                distributed.Client(processes=False, n_workers=2, dashboard_address=":0")
            )
        if backend == "ray":
            pytest.importorskip("ray", reason="ray is not installed")
            from ray.util.joblib import register_ray

            register_ray()
        resources.enter_context(joblib.parallel_config(backend))
        parallel = stack.fit(table)
    assert_array_equal(serial.weights_, parallel.weights_)
    assert_array_equal(serial.score_samples(table), parallel.score_samples(table))


def test_pickle_and_nesting(table: Array) -> None:
    inner = StackedDensity(KERNELS)
    search = GridSearchCV(GaussianMixture(), {"n_components": [1, 2]}, cv=2)
    stack = StackedDensity([("inner", inner), ("search", search)], random_state=0)
    pipeline = make_pipeline("passthrough", stack).fit(table)
    expected = pipeline.score_samples(table)
    copied = pickle.loads(pickle.dumps(pipeline))
    assert_array_equal(copied.score_samples(table), expected)
    assert_allclose(pipeline.score(table), expected.mean())
    assert_array_equal(clone(pipeline).fit(table).score_samples(table), expected)
    repeated = StackedDensity(KERNELS, cv=RepeatedKFold(n_splits=2, n_repeats=2))
    assert repeated.fit(table).weights_gap_ < 1e-7


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_reach_the_members_with_their_names(frame: Any, table: Array) -> None:
    X = frame(dict(zip("abc", table.T, strict=True)))
    stack = StackedDensity(KERNELS, random_state=0).fit(X)
    assert stack.feature_names_in_.tolist() == list("abc")
    assert names_seen(stack.estimators_[0]) == names_seen(KernelDensity().fit(X))
    plain = StackedDensity(KERNELS, random_state=0).fit(table)
    assert_allclose(stack.score_samples(X), plain.score_samples(table))
    assert_array_equal(stack.weights_, plain.weights_)


def test_columns_of_text_are_the_members_business() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.choice(["u", "v"], 90), "b": rng.normal(size=90)})
    members = [
        ("one", VAEDensity(likelihood="auto", **QUICK)),
        ("two", VAEDensity(1, likelihood="auto", **QUICK)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The log-density of")  # quick models
        stack = StackedDensity(members, random_state=0).fit(X)
    assert np.isfinite(stack.score_samples(X)).all()
    assert set(stack.sample(20, random_state=0)[:, 0]) == {"u", "v"}
