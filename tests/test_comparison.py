"""compare_densities: tables, verdicts and their error rates."""

import dataclasses
import pickle
import sys
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot as plt
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, RepeatedKFold, ShuffleSplit
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline

from skvae import DensityComparison, VAEDensity, compare_densities
from skvae.members.paired import HeldOutScores
from tests.conftest import QUICK
from tests.known import Box, Normal

Array = np.ndarray


@pytest.fixture(scope="module")
def normal_rows() -> Array:
    return np.random.default_rng(0).normal(size=(1000, 1))


@pytest.fixture(scope="module")
def comparison(table: Array) -> DensityComparison:
    estimators = {
        "one": GaussianMixture(1),
        "same": GaussianMixture(1),
        "diagonal": GaussianMixture(1, covariance_type="diag"),
    }
    return compare_densities(estimators, table, random_state=0)


# Numbers


def test_known_densities_have_known_scores_and_differences(normal_rows: Array) -> None:
    """The difference of N(0, 1) and N(m, s²) is a quadratic of the row."""
    result = compare_densities(
        {"true": Normal(), "shifted": Normal(0.5, 1.5)},
        normal_rows,
        cv=KFold(4),
        reference="true",
    )
    x = normal_rows[:, 0]
    expected = stats.norm(0, 1).logpdf(x), stats.norm(0.5, 1.5).logpdf(x)
    assert_allclose(result.scores.log_density, np.stack(expected, 1))
    assert_allclose(result.mean, np.mean(expected, axis=1))
    difference = -((x - 0.5) ** 2) / 4.5 - np.log(1.5) + x**2 / 2
    assert_allclose(result.difference, [0, difference.mean()])
    over_rows = stats.sem(difference)
    over_folds = (
        np.std(difference.reshape(4, 250).mean(1), ddof=1) * (1 / 4 + 1 / 3) ** 0.5
    )
    assert_allclose(result.difference_error, [0, max(over_rows, over_folds)])
    assert_allclose(result.scores.fold_ratio, 1 / 3)
    assert result.separated.tolist() == [False, True]


def test_fits_see_training_rows_alone(table: Array) -> None:
    folds = list(KFold(5).split(table))
    result = compare_densities({"mixture": GaussianMixture(1)}, table, cv=folds)
    for f, (train, valid) in enumerate(folds):
        normal = stats.multivariate_normal(
            table[train].mean(0), np.cov(table[train].T, bias=True)
        )
        expected = normal.logpdf(table[valid])
        assert_allclose(result.scores.log_density[valid, 0], expected, rtol=1e-4)
        assert_allclose(result.scores.fold_mean[f, 0], expected.mean(), rtol=1e-4)
    assert result.fit_seconds[0] > 0
    assert result.score_seconds[0] > 0


def test_paired_errors_are_smaller_than_those_of_means(
    comparison: DensityComparison,
) -> None:
    assert comparison.difference_error[2] < comparison.standard_error[2]


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_equal_estimators_are_rarely_separated(shift: float) -> None:
    """At most one in 20, if rows vary or whole folds; within 3 sd of 2,000 repeats."""
    rng = np.random.default_rng(0)
    fold = np.arange(200) % 5
    alarms = rows_alone = 0
    ratio = []
    for _ in range(2000):
        difference = rng.normal(size=200) + shift * rng.normal(size=5)[fold]
        means = [[0.0, difference[fold == f].mean()] for f in range(5)]
        scores = HeldOutScores(
            np.c_[np.zeros(200), difference], np.ones(200), np.array(means), 1 / 4
        )
        mean, error = scores.difference_and_error(0)
        alarms += abs(mean[1]) > 2 * error[1]
        rows_alone += abs(mean[1]) > 2 * stats.sem(difference)
        ratio.append(error[1] / (1 / 200 + shift**2 / 5) ** 0.5)
    assert alarms / 2000 < 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5
    assert 1.3 < np.median(ratio) < 1.5
    if shift:
        assert rows_alone / 2000 > 0.1


def test_weights_weigh_fits_and_means(table: Array) -> None:
    weight = np.random.default_rng(0).integers(0, 3, len(table)).astype(float)
    folds = list(KFold(5).split(table))
    estimators = {
        "kernel": KernelDensity(),
        "pipe": make_pipeline(None, KernelDensity(bandwidth=2)),
    }
    result = compare_densities(estimators, table, cv=folds, sample_weight=weight)
    train, valid = folds[0]
    train = train[weight[train] > 0]
    alone = KernelDensity().fit(table[train], sample_weight=weight[train])
    expected = alone.score_samples(table[valid])
    seen = weight[valid] > 0
    assert_allclose(result.scores.log_density[valid, 0][seen], expected[seen])
    assert np.isnan(result.scores.log_density[valid, 0][~seen]).all()
    mean = np.average(
        result.scores.log_density[weight > 0], axis=0, weights=weight[weight > 0]
    )
    assert_allclose(result.mean, mean)
    with pytest.raises(ValueError, match="fit of estimator 'gmm'=GaussianMixture"):
        compare_densities({"gmm": GaussianMixture()}, table, sample_weight=weight)


def test_rows_held_out_several_times_or_never(table: Array) -> None:
    twice = compare_densities(
        {"mixture": GaussianMixture()}, table, cv=RepeatedKFold(n_splits=3, n_repeats=2)
    )
    assert twice.scores.fold_mean.shape == (6, 1)
    assert_allclose(twice.mean, twice.scores.fold_mean.mean(), rtol=1e-3)
    once = compare_densities(
        {"mixture": GaussianMixture(), "kernel": KernelDensity()},
        table,
        cv=ShuffleSplit(1, test_size=0.2, random_state=0),
    )
    assert once.scores.used.sum() == 40
    assert "(40 rows, 1 fold)" in str(once)
    values = once.scores.log_density[once.scores.used]
    assert_allclose(once.standard_error, stats.sem(values))


# Verdicts


def test_equal_estimators_cannot_be_separated(comparison: DensityComparison) -> None:
    assert comparison.difference[:2].tolist() == [0, 0]
    assert comparison.difference_error[:2].tolist() == [0, 0]
    assert comparison.separated.tolist() == [False, False, True]
    assert comparison.verdict == (
        "'one' is better than 'diagonal'; the data cannot separate 'one' from 'same', "
        "within two standard errors of the difference."
    )


def test_the_reference_may_be_any_estimator(comparison: DensityComparison) -> None:
    assert comparison.reference == "one"
    other = comparison.against("diagonal")
    assert other.verdict == "'one' and 'same' are better than 'diagonal'."
    assert_allclose(other.difference, [-comparison.difference[2]] * 2 + [0])
    assert_array_equal(other.mean, comparison.mean)
    with pytest.raises(ValueError, match="'one', 'same', 'diagonal', got 'two'"):
        comparison.against("two")


def test_one_estimator_has_nothing_to_be_compared_with(table: Array) -> None:
    result = compare_densities({"kernel": KernelDensity()}, table)
    assert result.verdict == "There is nothing to compare."


def test_minus_infinity_is_worse_than_any_number() -> None:
    X = np.random.default_rng(0).random((100, 1))
    X[0] = 2.0
    estimators = {"box": Box(), "twin": Box(), "normal": Normal()}
    result = compare_densities(estimators, X, random_state=0)
    assert result.reference == "normal"
    assert_array_equal(result.difference, [-np.inf, -np.inf, 0])
    assert result.separated.tolist() == [True, True, False]
    assert "-inf ± nan" in str(result)
    tie = result.against("twin")
    assert_array_equal(tie.difference, [0, 0, np.inf])
    assert tie.separated.tolist() == [False, False, True]
    result.plot()
    plt.close()


def test_disjoint_densities_cannot_be_separated() -> None:
    """Each density is zero at rows where the other one is not."""
    X = (
        np.r_[np.full(50, 0.5), np.full(50, 3.5)][:, None]
        + np.linspace(0, 0.1, 100)[:, None]
    )

    class Other(Box):
        def score_samples(self, X: Any) -> Array:
            return super().score_samples(np.asarray(X) - 3)

    result = compare_densities({"box": Box(), "other": Other()}, X)
    assert not result.separated.any()
    assert "cannot separate" in result.verdict


# Records


def test_record_is_frozen_and_prints_a_table(comparison: DensityComparison) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        comparison.reference = "same"
    lines = str(comparison).splitlines()
    assert repr(comparison) == str(comparison)
    assert lines[0] == "Held-out log-density, nats per row (200 rows, 5 folds)"
    assert [line.split()[0] for line in lines[2:5]] == ["one", "same", "diagonal"]
    assert len({len(line) for line in lines[1:5]}) == 1
    row = lines[4].split()
    assert row[1:4] == [
        f"{comparison.mean[2]:.3f}",
        "±",
        f"{comparison.standard_error[2]:.3f}",
    ]
    assert " ".join(lines[6:]) == comparison.verdict
    html = comparison._repr_html_()
    assert f"{comparison.mean[2]:.3f} ± {comparison.standard_error[2]:.3f}" in html
    assert comparison.verdict.replace("'", "&#x27;") in html
    copied = pickle.loads(pickle.dumps(comparison))
    assert str(copied) == str(comparison)


def test_frame_has_a_row_for_each_estimator(comparison: DensityComparison) -> None:
    frame = comparison.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.tolist() == ["one", "same", "diagonal"]
    assert_array_equal(frame["difference"], comparison.difference)
    assert frame.loc["diagonal", "separated"]
    assert frame.columns.tolist()[-1] == "score_seconds"


@pytest.mark.parametrize(
    ("package", "method", "message"),
    [
        ("pandas", "to_frame", "needs the package pandas: pip install pandas"),
        ("matplotlib", "plot", "needs the package matplotlib: pip install 'skvae"),
    ],
)
def test_missing_packages_are_named(
    package: str,
    method: str,
    message: str,
    comparison: DensityComparison,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=message):
        getattr(comparison, method)()
    assert "±" in str(comparison)


def test_plot_shows_differences_best_first(comparison: DensityComparison) -> None:
    matplotlib.use("Agg")
    ax = comparison.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == list(
        comparison.names
    )
    assert ax.get_yticks().tolist() == [0, -1, -2]
    assert "minus one" in ax.get_xlabel()
    (points,) = ax.containers
    assert_allclose(points.lines[0].get_xdata(), comparison.difference)
    assert comparison.plot(ax) is ax
    plt.close("all")


# Seeds, containers, errors


def test_results_do_not_depend_on_the_number_of_jobs(table: Array) -> None:
    estimators = {
        "vae": VAEDensity(**{**QUICK, "random_state": None}),
        "mixture": GaussianMixture(3),
    }
    serial, parallel = (
        compare_densities(estimators, table, cv=2, n_jobs=n_jobs, random_state=0)
        for n_jobs in (None, 2)
    )
    assert_array_equal(serial.scores.log_density, parallel.scores.log_density)
    assert_array_equal(serial.difference_error, parallel.difference_error)
    assert estimators["vae"].random_state is None
    assert not hasattr(estimators["vae"], "model_")


def test_folds_hold_equal_rows_together(table: Array) -> None:
    result = compare_densities(
        {"tiny": KernelDensity(bandwidth=1e-3), "wide": KernelDensity()},
        np.r_[table, table],
        random_state=0,
    )
    assert result.reference == "wide"
    assert_array_equal(result.scores.log_density[:200], result.scores.log_density[200:])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_are_tables(frame: Any, table: Array) -> None:
    X = frame(dict(zip("abc", table.T, strict=True)))
    estimators = {"any name, a__b": GaussianMixture(), "kernel": KernelDensity()}
    result = compare_densities(estimators, X, random_state=0)
    plain = compare_densities(estimators, table, random_state=0)
    assert_allclose(result.mean, plain.mean)


def test_estimators_that_fail_are_named(table: Array) -> None:
    class Fails(BaseEstimator):
        def fit(self, X: Any, y: Any = None) -> "Fails":
            raise KeyError("out of luck")

        def score_samples(self, X: Any) -> Array:
            return np.zeros(3)

    class Short(Fails):
        def fit(self, X: Any, y: Any = None) -> "Short":
            return self

    good = {"good": KernelDensity()}
    with pytest.raises(
        RuntimeError, match=r"estimator 'bad' \(160 rows\).*out of luck"
    ):
        compare_densities({**good, "bad": Fails()}, table)
    with pytest.raises(ValueError, match=r"estimator 'bad' could not .*shape \(3,\)"):
        compare_densities({**good, "bad": Short()}, table)
    with pytest.raises(ValueError, match=r"estimator 'bad' \(160 rows\).*n_components"):
        compare_densities({**good, "bad": GaussianMixture(180)}, table)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"estimators": {}}, TypeError, "non-empty dict"),
        ({"estimators": [KernelDensity()]}, TypeError, "non-empty dict"),
        ({"estimators": {1: KernelDensity()}}, TypeError, "must be str, got 1"),
        ({"estimators": {"a": LogisticRegression()}}, TypeError, "no score_samples"),
        ({"reference": "b"}, ValueError, "None or one of 'a', got 'b'"),
        ({"cv": 1}, ValueError, "cv must be an int at least 2, got 1"),
        ({"cv": None}, TypeError, "cv must be an int, a splitter"),
        ({"X": np.ones((5, 2))}, ValueError, "1 different rows in X"),
        ({"X": [1.0, 2.0]}, ValueError, "Expected 2D array"),
        ({"sample_weight": [1.0]}, ValueError, "inconsistent numbers of samples"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], kind: type[Exception], message: str, table: Array
) -> None:
    given = {"estimators": {"a": KernelDensity()}, "X": table, **arguments}
    with pytest.raises(kind, match=message):
        compare_densities(**given)
