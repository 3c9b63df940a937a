"""DensityClassifier: Bayes' rule over any density."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skvae import DensityClassifier, VAEDensity
from tests.conftest import QUICK
from tests.known import BrokenAfar, names_seen

Array = np.ndarray

FAST = {
    **QUICK,
    "max_iter": 2,
    "hidden_layer_sizes": (8,),
    # Rows that it explains better than barely trained latents take many samples.
    "background": None,
    "random_state": None,
}


def test_tags_are_those_of_a_classifier_and_of_its_density() -> None:
    tags = get_tags(DensityClassifier())
    assert tags.estimator_type == "classifier"
    assert tags.target_tags.required
    assert not tags.no_validation
    assert not tags.non_deterministic
    assert not tags._skip_test

    class TakesMissing(GaussianMixture):
        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.allow_nan = True
            return tags

    assert get_tags(DensityClassifier(TakesMissing())).input_tags.allow_nan
    assert tags.input_tags.allow_nan
    plain = get_tags(DensityClassifier(GaussianMixture()))
    assert not plain.input_tags.allow_nan


@pytest.fixture(scope="module")
def iris() -> tuple[Array, Array]:
    X, y = load_iris(return_X_y=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


# Bayes' rule


def test_one_gaussian_per_class_is_quadratic_discriminant_analysis(
    iris: tuple[Array, Array],
) -> None:
    X, y = iris[0][:120], iris[1][:120]
    ours = DensityClassifier(GaussianMixture(reg_covar=0)).fit(X, y)
    joint = []
    for label, share in (("setosa", 50), ("versicolor", 50), ("virginica", 20)):
        rows = X[y == label]
        normal = stats.multivariate_normal(rows.mean(0), np.cov(rows.T, bias=True))
        joint.append(normal.logpdf(X) + np.log(share / 120))
    expected = np.stack(joint, 1)
    total = np.logaddexp.reduce(expected, axis=1)
    assert_allclose(ours.predict_log_proba(X), expected - total[:, None], atol=1e-8)
    assert_allclose(ours.predict_proba(X), np.exp(expected - total[:, None]))
    assert_allclose(ours.score_samples(X), total)
    assert_array_equal(ours.predict(X), ours.classes_[expected.argmax(1)])
    assert ours.classes_.tolist() == ["setosa", "versicolor", "virginica"]


@pytest.mark.parametrize("priors", [None, [0.7, 0.2, 0.1]])
def test_one_diagonal_gaussian_per_class_is_naive_bayes(
    priors: list[float] | None, iris: tuple[Array, Array]
) -> None:
    X, y = iris[0][:120], iris[1][:120]
    ours = DensityClassifier(
        GaussianMixture(covariance_type="diag", reg_covar=0), priors=priors
    ).fit(X, y)
    twin = GaussianNB(priors=priors, var_smoothing=0).fit(X, y)
    assert_allclose(ours.class_prior_, twin.class_prior_)
    assert_allclose(ours.class_count_, twin.class_count_)
    assert_allclose(
        ours.predict_log_proba(X), twin.predict_log_proba(X), rtol=1e-5, atol=1e-6
    )
    assert_allclose(
        ours.score_samples(X),
        np.logaddexp.reduce(twin.predict_joint_log_proba(X), axis=1),
        rtol=1e-6,
    )


def test_decision_is_log_odds_for_two_classes(iris: tuple[Array, Array]) -> None:
    X, y = iris[0][50:], iris[1][50:]
    classifier = DensityClassifier(GaussianMixture(random_state=0)).fit(X, y)
    log_proba = classifier.predict_log_proba(X)
    decision = classifier.decision_function(X)
    assert_allclose(decision, log_proba[:, 1] - log_proba[:, 0])
    assert_array_equal(classifier.predict(X), classifier.classes_[1 * (decision > 0)])
    auc = roc_auc_score(y == "virginica", decision)
    assert auc > 0.99


def test_decision_orders_rows_whose_probabilities_round_to_one() -> None:
    X = np.r_[np.zeros(20), np.ones(20)][:, None] + np.linspace(0, 0.01, 40)[:, None]
    y = np.repeat([0, 1], 20)
    classifier = DensityClassifier(GaussianMixture()).fit(X, y)
    far = np.array([[1.0], [2.0], [3.0]])
    assert_array_equal(classifier.predict_proba(far)[:, 1], 1.0)
    assert (np.diff(np.abs(classifier.decision_function(far))) > 0).all()


def test_vae_densities_separate_what_a_line_does_not() -> None:
    rng = np.random.default_rng(0)
    angle, y = rng.uniform(0, 2 * np.pi, 600), np.arange(600) % 2
    radius = 1 + y + 0.1 * rng.normal(size=600)
    X = np.c_[radius * np.cos(angle), radius * np.sin(angle)]
    density = VAEDensity(**{**QUICK, "max_iter": 15, "hidden_layer_sizes": (32, 32)})
    classifier = DensityClassifier(density).fit(X[:400], y[:400])
    assert classifier.score(X[400:], y[400:]) > 0.9
    assert isinstance(classifier.densities_[0], VAEDensity)
    assert density.__sklearn_is_fitted__() is False


def test_default_density_is_the_autoencoder() -> None:
    classifier = DensityClassifier()
    assert classifier.density is None
    small = DensityClassifier(VAEDensity(**QUICK), random_state=3)
    X = np.random.default_rng(0).normal(size=(40, 2))
    small.fit(X, X[:, 0] > 0)
    seeds = [density.random_state for density in small.densities_]
    assert len(set(seeds)) == 2
    assert small.density.random_state == 0


# Weights


def test_integer_weights_equal_repeated_rows(iris: tuple[Array, Array]) -> None:
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    for density in (KernelDensity(), VAEDensity(**{**FAST, "random_state": 0})):
        weighted = DensityClassifier(density).fit(X, y, sample_weight=weight)
        repeated = DensityClassifier(density).fit(
            np.repeat(X, weight, axis=0), np.repeat(y, weight)
        )
        assert_allclose(
            weighted.predict_log_proba(X), repeated.predict_log_proba(X), atol=1e-6
        )
        assert_allclose(weighted.class_prior_, repeated.class_prior_)


@pytest.mark.filterwarnings("ignore:There is one row of class")
def test_weight_of_a_single_row_equals_its_repetition() -> None:
    X, y = np.array([[0.0], [1.0], [1.5], [5.0]]), [0, 0, 0, 1]
    weighted = DensityClassifier(VAEDensity(**QUICK)).fit(
        X, y, sample_weight=[1, 1, 1, 3]
    )
    repeated = DensityClassifier(VAEDensity(**QUICK)).fit(
        X[[0, 1, 2, 3, 3, 3]], [0, 0, 0, 1, 1, 1]
    )
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X))


def test_a_class_without_weight_is_no_class(iris: tuple[Array, Array]) -> None:
    X, y = iris
    classifier = DensityClassifier(KernelDensity()).fit(
        X, y, sample_weight=y != "setosa"
    )
    assert classifier.classes_.tolist() == ["versicolor", "virginica"]


def test_weights_reach_the_density_of_a_pipeline(iris: tuple[Array, Array]) -> None:
    X, y = iris
    weight = np.arange(len(y)) % 3 + 1.0
    pipeline = make_pipeline(StandardScaler(), KernelDensity())
    classifier = DensityClassifier(pipeline).fit(X, y, sample_weight=weight)
    own = y == "virginica"
    alone = clone(pipeline).fit(X[own], kerneldensity__sample_weight=weight[own])
    assert_array_equal(
        classifier.densities_[2].score_samples(X), alone.score_samples(X)
    )


@pytest.mark.parametrize(
    "density",
    [GaussianMixture(), make_pipeline(StandardScaler(), GaussianMixture())],
    ids=["alone", "pipeline"],
)
def test_weights_for_a_density_that_takes_none_are_an_error(
    density: Any, iris: tuple[Array, Array]
) -> None:
    with pytest.raises(
        ValueError, match=r"(?s)sample_weight was given.*GaussianMixture"
    ):
        DensityClassifier(density).fit(*iris, sample_weight=np.ones(150))


# Awkward tables


def test_far_rows_have_probabilities(iris: tuple[Array, Array]) -> None:
    X, y = iris
    far = np.array([[1e6] * 4, [-1e8] * 4, [0, 0, 1e9, 0]])
    for density in (
        GaussianMixture(),
        KernelDensity(),
        VAEDensity(**QUICK),
        VAEDensity(background=None, **QUICK),
    ):
        classifier = DensityClassifier(density).fit(X, y)
        proba = classifier.predict_proba(far)
        assert np.isfinite(proba).all()
        assert_allclose(proba.sum(1), 1)
        assert not np.isnan(classifier.decision_function(far)).any()


def test_rows_without_any_density_get_the_priors(iris: tuple[Array, Array]) -> None:
    X, y = iris[0][:120], iris[1][:120]
    classifier = DensityClassifier(KernelDensity(kernel="tophat", bandwidth=0.5))
    classifier.fit(X, y)
    far = np.full((2, 4), 100.0)
    assert_allclose(classifier.predict_proba(far), [[5 / 12, 5 / 12, 1 / 6]] * 2)
    assert_array_equal(classifier.score_samples(far), -np.inf)
    assert set(classifier.predict(far)) <= set(y)
    two = DensityClassifier(KernelDensity(kernel="tophat")).fit(X[:75], y[:75])
    assert_allclose(two.decision_function(far), np.log(25 / 50))


def test_a_prior_of_zero_rules_a_class_out(iris: tuple[Array, Array]) -> None:
    X, y = iris
    classifier = DensityClassifier(GaussianMixture(), priors=[0, 0.5, 0.5]).fit(X, y)
    assert (classifier.predict_proba(X)[:, 0] == 0).all()
    assert "setosa" not in classifier.predict(X)


@pytest.mark.parametrize(
    "density",
    [GaussianMixture(), KernelDensity(), VAEDensity(**QUICK)],
    ids=lambda density: type(density).__name__,
)
def test_awkward_columns_and_classes(density: Any) -> None:
    rng = np.random.default_rng(0)
    column = rng.normal(size=(30, 1))
    X = np.c_[column, column, np.ones(30)]
    y = np.array(["a"] * 14 + ["b"] * 15 + ["c"])
    X[14:] += 3
    X[29] += 5
    with pytest.warns(UserWarning, match="There is one row of class 'c'"):
        classifier = DensityClassifier(density).fit(X, y)
    proba = classifier.predict_proba(X)
    assert np.isfinite(proba).all()
    assert_allclose(proba.sum(1), 1)
    assert classifier.score(X[:29], y[:29]) > 0.7
    alone = DensityClassifier(density).fit(X[:14], y[:14])
    assert_array_equal(alone.predict_proba(X), 1)


# Errors


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ([0.5, 0.5], "one entry for each of the 3 classes"),
        ([0.5, 0.6, -0.1], "must not be negative"),
        ([0.5, 0.5, 0.5], "must sum to 1"),
        ([np.nan, 0.5, 0.5], "must not be negative"),
    ],
)
def test_bad_priors_are_named(
    priors: list[float], message: str, iris: tuple[Array, Array]
) -> None:
    with pytest.raises(ValueError, match=f"priors .*{message}"):
        DensityClassifier(GaussianMixture(), priors=priors).fit(*iris)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"density": "x"}, "density must be an estimator with fit and score_samples"),
        ({"density": GaussianMixture}, "density must be an estimator"),
        ({"priors": "x"}, "priors must be None or an array of numbers, got 'x'"),
    ],
    ids=str,
)
def test_parameters_of_other_types_are_named(
    parameters: dict[str, Any], message: str, iris: tuple[Array, Array]
) -> None:
    classifier = DensityClassifier(GaussianMixture()).set_params(**parameters)
    with pytest.raises(TypeError, match=message):
        classifier.fit(*iris)


def test_scores_that_are_no_numbers_are_an_error(iris: tuple[Array, Array]) -> None:
    X, y = iris
    classifier = DensityClassifier(BrokenAfar()).fit(X, y)
    far = np.r_[X[:3], X[:2] + 1000]
    with pytest.raises(ValueError, match=r"class 'setosa'.* NaN or \+inf for 2 of"):
        classifier.predict(far)


def test_a_density_that_fails_names_its_class(iris: tuple[Array, Array]) -> None:
    X, y = iris[0][:103], iris[1][:103]
    with pytest.raises(ValueError, match=r"class 'virginica' \(3 rows\).*n_components"):
        DensityClassifier(GaussianMixture(n_components=8)).fit(X, y)


def test_bad_input_is_named(iris: tuple[Array, Array]) -> None:
    X, y = iris
    classifier = DensityClassifier(GaussianMixture())
    with pytest.raises(ValueError, match="requires y to be passed"):
        classifier.fit(X, None)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier.fit(X, X[:, 0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.fit(X, y[1:])
    with pytest.raises(ValueError, match="NaN"):
        classifier.fit(np.where(X > 7, np.nan, X), y)
    for method in ("predict", "predict_proba", "score_samples", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(classifier, method)(X)
    with pytest.raises(NotFittedError):
        classifier.sample()
    assert not hasattr(classifier, "n_features_in_")
    classifier.fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features"):
        classifier.predict(X[:, :3])
    with pytest.raises(ValueError, match="n_samples must be an int"):
        classifier.sample(0)


def test_a_fit_that_fails_leaves_the_classifier_as_it_was(
    iris: tuple[Array, Array],
) -> None:
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    classifier = DensityClassifier(GaussianMixture()).fit(frame, y)
    before = dict(vars(classifier))
    with pytest.raises(ValueError, match="could not be fitted"):
        classifier.fit(np.full((150, 2), np.inf), y)
    assert vars(classifier) == before
    classifier.fit(X, y)
    assert not hasattr(classifier, "feature_names_in_")


# Sampling


@pytest.mark.parametrize(
    "density",
    [GaussianMixture(), KernelDensity(bandwidth=0.1), VAEDensity(**QUICK)],
    ids=lambda density: type(density).__name__,
)
def test_samples_are_seeded_rows_with_their_classes(
    density: Any, iris: tuple[Array, Array]
) -> None:
    classifier = DensityClassifier(density, random_state=0).fit(*iris)
    X, y = classifier.sample(60, random_state=1)
    assert X.shape == (60, 4)
    assert set(y) == set(iris[1])
    again, labels = classifier.sample(60, random_state=1)
    assert_array_equal(again, X)
    assert_array_equal(labels, y)
    assert not np.array_equal(classifier.sample(60, random_state=2)[0], X)
    assert_array_equal(classifier.sample(5)[0], classifier.sample(5)[0])


def test_samples_follow_priors_and_densities() -> None:
    """Binomial and Kolmogorov-Smirnov tests; false-alarm rate 1e-4 each."""
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=200), rng.normal(9, 2, size=200)][:, None]
    y = np.repeat([0, 1], 200)
    classifier = DensityClassifier(
        GaussianMixture(), priors=[0.2, 0.8], random_state=0
    ).fit(X, y)
    rows, labels = classifier.sample(3000)
    assert stats.binomtest(int((labels == 1).sum()), 3000, 0.8).pvalue > 1e-4
    for c, density in enumerate(classifier.densities_):
        normal = stats.norm(density.means_[0, 0], density.covariances_[0, 0, 0] ** 0.5)
        assert stats.kstest(rows[labels == c, 0], normal.cdf).pvalue > 1e-4


def test_there_is_no_sample_where_densities_have_none(
    iris: tuple[Array, Array],
) -> None:
    class Flat(BaseEstimator):
        def fit(self, X: Any, y: Any = None) -> "Flat":
            return self

        def score_samples(self, X: Any) -> Array:
            return np.zeros(len(X))

    classifier = DensityClassifier(Flat()).fit(*iris)
    assert not hasattr(classifier, "sample")
    assert_allclose(classifier.predict_proba(iris[0]), 1 / 3)


# At home in scikit-learn


def test_grid_search_over_nested_parameters(iris: tuple[Array, Array]) -> None:
    search = GridSearchCV(
        DensityClassifier(GaussianMixture(random_state=0)),
        {"density__n_components": [1, 2, 3]},
        scoring="neg_log_loss",
        error_score="raise",
    ).fit(*iris)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 3
    n_components = search.best_params_["density__n_components"]
    fitted = search.best_estimator_.densities_
    assert [density.n_components for density in fitted] == [n_components] * 3


def test_classes_in_parallel_are_classes_in_turn(iris: tuple[Array, Array]) -> None:
    X, y = iris
    serial, parallel = (
        DensityClassifier(GaussianMixture(2), n_jobs=n_jobs, random_state=0)
        .fit(X, y)
        .predict_proba(X)
        for n_jobs in (None, 2)
    )
    assert_array_equal(parallel, serial)


def test_pickle_and_clone(iris: tuple[Array, Array]) -> None:
    X, y = iris
    classifier = DensityClassifier(VAEDensity(**FAST), random_state=0).fit(X, y)
    copied = pickle.loads(pickle.dumps(classifier))
    assert_array_equal(copied.predict_proba(X), classifier.predict_proba(X))
    fresh = clone(classifier)
    assert not hasattr(fresh, "classes_")
    assert_array_equal(fresh.fit(X, y).predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_reach_the_density_with_their_names(
    frame: Any, iris: tuple[Array, Array]
) -> None:
    X, y = iris
    table = frame(dict(zip("abcd", X.T, strict=True)))
    classifier = DensityClassifier(GaussianMixture()).fit(table, pd.Series(y))
    assert classifier.feature_names_in_.tolist() == list("abcd")
    alone = GaussianMixture().fit(table)
    assert names_seen(classifier.densities_[0]) == names_seen(alone)
    plain = DensityClassifier(GaussianMixture()).fit(X, y)
    assert_allclose(classifier.predict_proba(table), plain.predict_proba(X))
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(table[list("dcba")])
