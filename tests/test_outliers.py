"""DensityOutlierDetector: outliers by any density."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.covariance import EmpiricalCovariance
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_curve
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator

from skvae import DensityOutlierDetector, MixedLikelihood, VAEDensity
from skvae.detection.explain import explain_rows
from tests.conftest import QUICK

Array = np.ndarray

FAST = {**QUICK, "max_iter": 2, "hidden_layer_sizes": (8,), "random_state": None}


# GaussianMixture takes no weights. The checks of outlier detectors count the training
# rows below the threshold, a share that the other references do not promise.
WITHOUT_WEIGHTS = DensityOutlierDetector(GaussianMixture())
HELD_OUT = DensityOutlierDetector(KernelDensity(), reference="held_out")
OF_THE_MODEL = DensityOutlierDetector(
    KernelDensity(), reference="model", max_reference_rows=200
)


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=f"{estimator.reference}-{i}")
        for configuration, other in (
            (WITHOUT_WEIGHTS, "sample_weight"),
            (HELD_OUT, "check_outliers_ check_sample_weight_equivalence"),
            (OF_THE_MODEL, "check_outliers_ check_sample_weight_equivalence"),
        )
        for i, (estimator, check) in enumerate(
            estimator_checks_generator(configuration)
        )
        if not any(word in check.func.__name__ for word in other.split())
        and "array_api" not in check.func.__name__
    ],
)
def test_estimator_checks_of_other_configurations_pass(
    estimator: DensityOutlierDetector, check: Callable[[Any], None]
) -> None:
    check(estimator)


def test_tags_are_those_of_an_outlier_detector_and_of_its_density() -> None:
    tags = get_tags(DensityOutlierDetector())
    assert tags.estimator_type == "outlier_detector"
    assert not tags.no_validation
    assert not tags.non_deterministic
    assert not tags._skip_test
    assert tags.input_tags.allow_nan
    plain = get_tags(DensityOutlierDetector(GaussianMixture()))
    assert not plain.input_tags.allow_nan

    class TakesMissing(GaussianMixture):
        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.allow_nan = True
            return tags

    assert get_tags(DensityOutlierDetector(TakesMissing())).input_tags.allow_nan


@pytest.fixture(scope="module")
def normal_rows() -> Array:
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, 3)) @ np.array([[1, 0.8, 0], [0, 1, 0], [0, 0, 5]])


# Thresholds


@pytest.mark.parametrize("contamination", [0.1, 0.29, 0.05, 0.5])
def test_contamination_is_the_share_of_training_rows(contamination: float) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 2))
    detector = DensityOutlierDetector(GaussianMixture(), contamination=contamination)
    labels = detector.fit_predict(rows)
    assert (labels == -1).sum() == round(300 * contamination)
    assert detector.offset_ in detector.reference_scores_
    assert_array_equal(
        np.sort(detector.score_samples(rows)), detector.reference_scores_
    )


def test_outliers_of_one_gaussian_are_outside_its_ellipse(normal_rows: Array) -> None:
    detector = DensityOutlierDetector(
        GaussianMixture(reg_covar=0), contamination=0.1, trim_fraction=0
    )
    labels = detector.fit_predict(normal_rows)
    distance = EmpiricalCovariance().fit(normal_rows).mahalanobis(normal_rows)
    assert_array_equal(labels == -1, distance > np.sort(distance)[-101])


def test_region_of_the_model_is_that_of_chi_square(normal_rows: Array) -> None:
    """The region of 95 % of a Gaussian ends at the 95 % quantile of χ²."""
    detector = DensityOutlierDetector(
        GaussianMixture(), reference="model", contamination=0.05, random_state=0
    ).fit(normal_rows)
    peak = detector.score_samples(detector.density_.means_)
    # 10,000 draws: the standard error of the quantile is 0.038 nats.
    edge = -0.5 * stats.chi2(3).ppf(0.95)
    assert_allclose(detector.offset_ - peak, edge, atol=4 * 0.038)


def test_model_of_a_pipeline_is_its_last_step(normal_rows: Array) -> None:
    settings = {"reference": "model", "contamination": 0.05, "random_state": 0}
    whole = make_pipeline(StandardScaler(), GaussianMixture())
    piped = DensityOutlierDetector(whole, **settings).fit(normal_rows)
    scaled = StandardScaler().fit_transform(normal_rows)
    plain = DensityOutlierDetector(GaussianMixture(), **settings).fit(scaled)
    assert_allclose(piped.offset_, plain.offset_)


def test_auto_is_one_in_a_hundred_or_what_held_out_rows_can_vouch_for() -> None:
    rows = np.random.default_rng(0).normal(size=(600, 1))
    detector = DensityOutlierDetector(GaussianMixture(), random_state=0)
    assert detector.fit(rows).contamination_ == 0.01
    assert (detector.predict(rows) == -1).sum() == 6
    detector.set_params(reference="held_out")
    assert detector.fit(rows).contamination_ == 0.01
    assert detector.fit(rows[:100]).contamination_ == pytest.approx(1 / 21)
    assert detector.offset_ == detector.reference_scores_[0]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_false_alarms_come_at_the_rate_of_the_held_out_threshold(rate: float) -> None:
    """Over 200 tables, within four standard errors; false-alarm rate 1e-4.

    The density is a bad one on purpose: heavy tails, one kernel width for all.
    """
    rng = np.random.default_rng(1)
    n_held_out, n_new = 99, 1000
    alarms = []
    for seed in range(200):
        rows = rng.standard_t(2, size=(n_held_out * 2 + n_new, 1))
        detector = DensityOutlierDetector(
            KernelDensity(bandwidth=0.1),
            reference="held_out",
            calibration_fraction=0.5,
            contamination=rate,
            random_state=seed,
        ).fit(rows[:-n_new])
        assert len(detector.reference_scores_) == n_held_out
        alarms.append(np.mean(detector.predict(rows[-n_new:]) == -1))
    error = np.std(alarms) / np.sqrt(len(alarms))
    assert abs(np.mean(alarms) - rate) < 4 * error


def test_p_values_of_new_rows_are_uniform() -> None:
    """Kolmogorov–Smirnov over many splits; false-alarm rate 1e-4."""
    rng = np.random.default_rng(2)
    p_values = []
    for seed in range(300):
        rows = rng.normal(size=(100, 2))
        detector = DensityOutlierDetector(
            GaussianMixture(), reference="held_out", random_state=seed
        ).fit(rows[:-1])
        p_values.append(detector.p_values(rows[-1:])[0])
    jitter = rng.uniform(-1 / 21, 0, size=300)
    assert stats.kstest(np.array(p_values) + jitter, "uniform").pvalue > 1e-4


def test_row_is_an_outlier_where_its_p_value_is_at_most_the_rate(
    normal_rows: Array,
) -> None:
    rows = np.r_[normal_rows, 1.5 * normal_rows]
    for rate in (0.01, 0.05, 0.137, 0.5):
        detector = DensityOutlierDetector(
            GaussianMixture(),
            reference="held_out",
            contamination=rate,
            random_state=0,
        ).fit(normal_rows)
        below = detector.p_values(rows) <= rate
        assert_array_equal(detector.predict(rows) == -1, below)
        assert below.any() and not below.all()


def test_p_value_counts_reference_scores() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 1))
    detector = DensityOutlierDetector(GaussianMixture()).fit(rows)
    new = np.array([[0.1], [1.0], [9.0]])
    scores, reference = detector.score_samples(new), detector.score_samples(rows)
    expected = [(1 + (reference <= score).sum()) / 51 for score in scores]
    assert_allclose(detector.p_values(new), expected)


def test_too_few_held_out_rows_for_a_rate_are_refused(normal_rows: Array) -> None:
    detector = DensityOutlierDetector(
        GaussianMixture(), reference="held_out", contamination=0.01
    )
    with pytest.raises(ValueError, match="at least 99 reference rows, got 20"):
        detector.fit(normal_rows[:100])
    assert not hasattr(detector, "density_")
    assert len(detector.fit(normal_rows[:495]).reference_scores_) == 99


# A threshold from labelled rows


@pytest.fixture
def labelled(normal_rows: Array) -> tuple[DensityOutlierDetector, Array, Array]:
    rng = np.random.default_rng(3)
    detector = DensityOutlierDetector(GaussianMixture()).fit(normal_rows[:500])
    rows = np.r_[normal_rows[500:], rng.normal(size=(200, 3)) * [3, 3, 5]]
    return detector, rows, np.repeat([1, -1], [500, 200])


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_threshold_from_labels_is_a_point_of_the_roc_curve(
    rate: float, labelled: tuple[DensityOutlierDetector, Array, Array]
) -> None:
    detector, rows, y = labelled
    detector.fit_threshold(rows, y, false_positive_rate=rate)
    assert detector.contamination_ == rate
    labels = detector.predict(rows)
    false, true = np.mean(labels[y == 1] == -1), np.mean(labels[y == -1] == -1)
    assert detector.false_positive_rate_ == false
    assert detector.true_positive_rate_ == true
    assert rate - 2 / 500 <= false <= rate
    curve = roc_curve(y == -1, -detector.score_samples(rows), drop_intermediate=False)
    assert (np.isclose(curve[0], false) & np.isclose(curve[1], true)).any()
    assert len(detector.reference_scores_) == 500


def test_threshold_without_labels_takes_all_rows_for_inliers(
    normal_rows: Array, labelled: tuple[DensityOutlierDetector, Array, Array]
) -> None:
    detector, rows, y = labelled
    with_labels = clone(detector).fit(normal_rows[:500]).fit_threshold(rows, y)
    without = detector.fit_threshold(rows[:500])
    assert without.offset_ == with_labels.offset_
    assert without.contamination_ == 0.01
    assert np.isnan(without.true_positive_rate_)


def test_fit_forgets_the_threshold_of_labels(
    normal_rows: Array, labelled: tuple[DensityOutlierDetector, Array, Array]
) -> None:
    detector, rows, y = labelled
    before = detector.offset_
    detector.fit_threshold(rows, y, false_positive_rate=0.3)
    assert detector.offset_ != before
    detector.fit(normal_rows[:500])
    assert detector.offset_ == before
    assert not hasattr(detector, "true_positive_rate_")


@pytest.mark.parametrize("y", [[0, 1], [1, 2], [[1], [-1]]], ids=str)
def test_other_labels_are_refused(y: list, normal_rows: Array) -> None:
    detector = DensityOutlierDetector(GaussianMixture()).fit(normal_rows)
    with pytest.raises(ValueError, match="1 for inliers and -1 for outliers"):
        detector.fit_threshold(normal_rows[:2], y)


# Parameters


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("contamination", 0.0, ValueError),
        ("contamination", 0.6, ValueError),
        ("contamination", "some", TypeError),
        ("reference", "test", ValueError),
        ("calibration_fraction", 1.0, ValueError),
        ("max_reference_rows", 0, ValueError),
    ],
)
def test_bad_parameter_is_named(name: str, value: Any, error: type) -> None:
    detector = DensityOutlierDetector(GaussianMixture()).set_params(**{name: value})
    with pytest.raises(error, match=f"{name} must be") as caught:
        detector.fit(np.random.default_rng(0).normal(size=(50, 2)))
    assert repr(value) in str(caught.value)


def test_failing_fit_leaves_the_detector_as_it_was(normal_rows: Array) -> None:
    detector = DensityOutlierDetector(GaussianMixture()).fit(normal_rows)
    before = dict(vars(detector))
    detector.density = GaussianMixture(n_components=50)
    frame = pd.DataFrame(normal_rows[:20], columns=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"training rows \(20 rows\) could not be"):
        detector.fit(frame)
    assert vars(detector) == {**before, "density": detector.density}
    with pytest.raises(ValueError, match="1 sample"):
        detector.fit(normal_rows[:1])
    with pytest.raises(ValueError, match="does not take it"):
        detector.fit(normal_rows, sample_weight=np.ones(1000))


def test_model_reference_needs_a_density_that_draws() -> None:
    class Scores(BaseEstimator):
        def fit(self, X: Array) -> "Scores":
            return self

        def score_samples(self, X: Array) -> Array:
            return -np.square(X).sum(1)

    rows = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ValueError, match="needs a density with sample"):
        DensityOutlierDetector(Scores(), reference="model").fit(rows)
    detector = DensityOutlierDetector(Scores()).fit(rows)
    assert not hasattr(detector, "is_uncertain")
    assert_array_equal(detector.predict([[0, 0], [9, 9]]), [1, -1])


@pytest.mark.parametrize("density", [object(), StandardScaler(), GaussianMixture])
def test_what_is_no_density_is_named(density: Any) -> None:
    with pytest.raises(TypeError, match="density must be an estimator with fit and"):
        DensityOutlierDetector(density).fit(np.zeros((5, 2)))


def test_scores_that_are_no_numbers_are_an_error(normal_rows: Array) -> None:
    class Broken(GaussianMixture):
        def score_samples(self, X: Array) -> Array:
            return np.where(np.asarray(X)[:, 0] > 100, np.nan, 0.0)

    detector = DensityOutlierDetector(Broken()).fit(normal_rows)
    with pytest.raises(ValueError, match=r"NaN or \+inf for 1 of them"):
        detector.predict([[0.0, 0.0, 0.0], [101.0, 0.0, 0.0]])


def test_unfitted_detector_says_so() -> None:
    for method in ("predict", "p_values", "explain", "fit_threshold", "is_uncertain"):
        with pytest.raises(NotFittedError):
            getattr(DensityOutlierDetector(VAEDensity()), method)(np.zeros((2, 2)))


@pytest.mark.parametrize("reference", ["training", "held_out", "model"])
def test_same_seed_same_result_and_global_state_is_left_alone(
    reference: str, normal_rows: Array
) -> None:
    def fitted(seed: int) -> DensityOutlierDetector:
        density = GaussianMixture(3)
        detector = DensityOutlierDetector(
            density, reference=reference, max_reference_rows=100, random_state=seed
        )
        return detector.fit(normal_rows)

    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = fitted(0), fitted(0), fitted(1)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert_array_equal(first.reference_scores_, again.reference_scores_)
    assert not np.array_equal(first.reference_scores_, other.reference_scores_)
    assert len(first.reference_scores_) == 100
    opened = pickle.loads(pickle.dumps(first))
    assert_array_equal(opened.p_values(normal_rows), first.p_values(normal_rows))


def test_integer_weights_are_repeated_rows(normal_rows: Array) -> None:
    weight = np.random.default_rng(0).integers(0, 4, size=1000)
    detector = DensityOutlierDetector(KernelDensity(), contamination=0.1)
    weighted = clone(detector).fit(normal_rows, sample_weight=weight)
    repeated = clone(detector).fit(np.repeat(normal_rows, weight, axis=0))
    assert_allclose(weighted.offset_, repeated.offset_)
    assert_allclose(weighted.p_values(normal_rows), repeated.p_values(normal_rows))


@pytest.mark.parametrize("reference", ["training", "held_out"])
@pytest.mark.parametrize("equal", [True, False])
def test_scale_of_weights_changes_nothing(
    reference: str, equal: bool, normal_rows: Array
) -> None:
    rng = np.random.default_rng(0)
    weight = np.ones(1000) if equal else rng.integers(0, 4, size=1000)
    detector = DensityOutlierDetector(
        KernelDensity(), reference=reference, contamination=0.1, random_state=0
    )
    one = clone(detector).fit(normal_rows, sample_weight=weight)
    p_values = one.p_values(normal_rows)
    for scale in (100.0, 1 / 60, 1e-3 / 7):
        other = clone(detector).fit(normal_rows, sample_weight=scale * weight)
        assert_allclose(other.offset_, one.offset_)
        assert_allclose(other.p_values(normal_rows), p_values)
    if equal:
        without = clone(detector).fit(normal_rows)
        assert_allclose(p_values, without.p_values(normal_rows))


@pytest.mark.parametrize("spread", [0.0, 0.7])
def test_false_alarms_of_weighted_held_out_rows_come_at_the_rate(spread: float) -> None:
    """Over 200 tables, at most four standard errors too many; weights of any scale."""
    rng = np.random.default_rng(4)
    alarms = []
    for seed in range(200):
        rows = rng.normal(size=(280, 1))
        weight = 100 * np.exp(spread * rng.normal(size=80))
        detector = DensityOutlierDetector(
            KernelDensity(bandwidth=0.3),
            reference="held_out",
            calibration_fraction=0.5,
            contamination=0.1,
            random_state=seed,
        ).fit(rows[:80], sample_weight=weight)
        labels = detector.predict(rows[80:])
        assert_array_equal(labels == -1, detector.p_values(rows[80:]) <= 0.1)
        alarms.append(np.mean(labels == -1))
    error = np.std(alarms) / np.sqrt(len(alarms))
    assert np.mean(alarms) < 0.1 + 4 * error


def test_uneven_weights_of_too_few_held_out_rows_are_explained() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 1))
    detector = DensityOutlierDetector(
        KernelDensity(), reference="held_out", contamination=0.1, random_state=0
    )
    with pytest.raises(ValueError, match=r"got 12, which count for .* by their"):
        detector.fit(rows, sample_weight=np.exp(np.linspace(0, 9, 60)))


def test_zero_density_is_below_the_threshold_and_finite_decisions_stay(
    normal_rows: Array,
) -> None:
    box = KernelDensity(kernel="tophat", bandwidth=2.0)
    detector = DensityOutlierDetector(box, contamination=0.1).fit(normal_rows)
    decision = detector.decision_function([[0, 0, 0], [99, 0, 0]])
    assert decision[0] > 0
    assert decision[1] == -np.inf
    detector.fit_threshold(np.full((99, 3), 99.0))
    assert_array_equal(detector.decision_function([[99, 0, 0]]), [0.0])


# What evidence says


def test_decisions_within_two_standard_errors_are_uncertain(table: Array) -> None:
    density = VAEDensity(**{**QUICK, "background": None})
    for detector, rows in (
        (DensityOutlierDetector(density, contamination=0.2), table),
        (DensityOutlierDetector(make_pipeline(StandardScaler(), density)), table),
    ):
        detector.fit(rows)
        inner = detector.density_
        if hasattr(inner, "steps"):
            evidence = inner[-1].evidence(inner[:-1].transform(rows))
        else:
            evidence = inner.evidence(rows)
        distance = np.abs(detector.decision_function(rows))
        uncertain = detector.is_uncertain(rows)
        assert_array_equal(uncertain, distance < 2 * evidence.standard_error)
        assert not detector.is_uncertain(rows, n_errors=0).any()
        assert detector.is_uncertain(rows, n_errors=1e6).sum() > uncertain.sum()


# Explanations


def test_strange_column_is_found_whether_alone_or_given_the_others() -> None:
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(2, 2000))
    rows = np.c_[a, a + 0.1 * rng.normal(size=2000), c]
    detector = DensityOutlierDetector(GaussianMixture(), random_state=0).fit(rows)
    strange = np.array([[1.0, 1.0, 7.0], [1.5, -1.5, 0.0], [6.0, 6.0, 0.0]])
    explanation = detector.explain(strange, n_background=200)
    # A value that no other row has: strange in both ways, and only there.
    assert explanation.given_others[0].argmin() == 2
    assert explanation.alone[0].argmin() == 2
    assert explanation.alone[0, 2] < -15
    # Two usual values that do not go together.
    assert (explanation.given_others[1, :2] < -50).all()
    assert explanation.given_others[1, 2] > -2
    assert abs(explanation.usual[1, 0] + 1.5) < 0.5
    # Two that go together, far out.
    assert (explanation.given_others[2, :2] > -1).all()
    assert (explanation.alone[2, :2] < -300).all()
    assert abs(explanation.alone[2, 2]) < 2


def test_contribution_of_independent_columns_is_that_of_each_alone() -> None:
    """For N(0, 1) in each column, both are ½ x² less a constant of the background."""
    rows = np.random.default_rng(0).normal(size=(3000, 2))
    mixture = GaussianMixture(
        means_init=np.zeros((1, 2)), covariance_type="diag", reg_covar=0
    )
    detector = DensityOutlierDetector(mixture, random_state=0).fit(rows)
    new = np.array([[0.0, 3.0], [2.0, 1.0], [1.0, 0.0]])
    explanation = detector.explain(new, n_background=256)
    standard = (new - rows.mean(0)) / rows.std(0)
    for part in (explanation.given_others, explanation.alone):
        constant = part + 0.5 * standard**2
        assert_allclose(constant, constant[:1].repeat(3, axis=0), atol=0.2)
    assert_allclose(explanation.score, detector.score_samples(new))


def test_given_others_does_not_depend_on_units(normal_rows: Array) -> None:
    small, large = (
        DensityOutlierDetector(GaussianMixture(reg_covar=0), random_state=0)
        .fit(normal_rows * unit)
        .explain(normal_rows[:3] * unit)
        for unit in (1.0, 1000.0)
    )
    assert_allclose(small.given_others, large.given_others, atol=1e-6)
    assert_allclose(small.alone, large.alone, atol=1e-6)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_explanation_of_a_frame_is_that_of_the_array(make: Any) -> None:
    rows = np.random.default_rng(0).normal(size=(80, 2))
    frame = make({"a": rows[:, 0], "b": rows[:, 1]})
    detector = DensityOutlierDetector(GaussianMixture(), random_state=0)
    of_frame = clone(detector).fit(frame).explain(frame[:3])
    of_array = clone(detector).fit(rows).explain(rows[:3])
    assert of_frame.feature_names == ("a", "b")
    assert of_array.feature_names == ("x0", "x1")
    for name in ("value", "given_others", "alone", "usual"):
        assert_allclose(getattr(of_frame, name), getattr(of_array, name))
    tidy = of_frame.to_frame()
    assert tidy.columns.tolist() == [
        "row", "column", "value", "usual", "given_others", "alone",
    ]  # fmt: skip
    assert tidy["row"].tolist() == [0, 0, 1, 1, 2, 2]
    assert tidy["column"].tolist() == ["a", "b"] * 3
    assert_allclose(tidy["alone"], of_frame.alone.ravel())
    assert repr(of_frame).count("\n") == 6


def test_explanation_of_a_frame_without_names_is_that_of_the_array() -> None:
    rows = np.random.default_rng(0).normal(size=(80, 2))
    frame = pd.DataFrame(rows)
    detector = DensityOutlierDetector(GaussianMixture(), random_state=0)
    of_frame = clone(detector).fit(frame).explain(frame[:3])
    of_array = clone(detector).fit(rows).explain(rows[:3])
    assert of_frame.feature_names == ("x0", "x1")
    for name in ("value", "given_others", "alone", "usual"):
        assert_allclose(getattr(of_frame, name), getattr(of_array, name))


def test_explanation_of_a_row_does_not_depend_on_the_others() -> None:
    rows = np.random.default_rng(0).normal(size=(80, 2))
    detector = DensityOutlierDetector(GaussianMixture(2), random_state=0).fit(rows)
    together = detector.explain(rows[:5])
    for i in range(5):
        alone = detector.explain(rows[i : i + 1])
        assert_allclose(alone.alone[0], together.alone[i])
        assert_allclose(alone.given_others[0], together.given_others[i])


CONTAINERS = {
    "array": np.asarray,
    "pandas": lambda rows: pd.DataFrame(rows, columns=["a", "b"]),
    "pandas without names": pd.DataFrame,
    "polars": lambda rows: pl.DataFrame(rows, schema=["a", "b"], orient="row"),
}


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.parametrize("fitted", CONTAINERS)
@pytest.mark.parametrize("asked", CONTAINERS)
def test_rows_may_be_in_another_container_than_those_of_fit(
    fitted: str, asked: str
) -> None:
    rows = np.random.default_rng(0).normal(size=(80, 2))
    detector = DensityOutlierDetector(GaussianMixture(), random_state=0)
    expected = clone(detector).fit(rows)
    detector.fit(CONTAINERS[fitted](rows))
    table = CONTAINERS[asked](rows[:9])
    assert_array_equal(detector.predict(table), expected.predict(rows[:9]))
    explanation = detector.explain(table)
    for name in ("value", "given_others", "alone", "usual"):
        assert_allclose(
            getattr(explanation, name), getattr(expected.explain(rows[:9]), name)
        )


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_members_that_select_columns_by_name_read_arrays() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"kind": rng.choice(["a", "b"], 90), "x": rng.normal(size=90)})
    numbers = ColumnTransformer([("x", StandardScaler(), ["x"])])
    detector = DensityOutlierDetector(make_pipeline(numbers, GaussianMixture()))
    detector.fit(frame)
    assert_array_equal(detector.predict(frame.to_numpy()), detector.predict(frame))


def test_columns_with_equal_names_are_explained() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3))

    def score(table: Any) -> Array:
        return -np.square(np.asarray(table)).sum(1) / 2

    frame = pd.DataFrame(rows, columns=[0, 0, "b"])
    names = ("0", "0", "b")
    of_array = explain_rows(score, score, rows[:3], rows[5:], names)
    of_frame = explain_rows(score, score, frame[:3], frame[5:], names)
    assert_allclose(of_frame.alone, of_array.alone)
    assert_allclose(of_frame.given_others, of_array.given_others)
    assert_array_equal(of_frame.value, rows[:3])


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_explanations_do_not_depend_on_how_many_rows_are_scored_at_once(
    container: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4))
    table = container(rows)

    def score(table: Any) -> Array:
        return -((np.asarray(table) @ [1, 2, 3, 4]) ** 2)

    names = tuple("abcd")
    together = explain_rows(score, score, table[:3], table[3:], names)
    monkeypatch.setattr("skvae.detection.explain.ROWS_AT_ONCE", 1)
    one_by_one = explain_rows(score, score, table[:3], table[3:], names)
    assert_array_equal(together.alone, one_by_one.alone)
    assert_array_equal(together.given_others, one_by_one.given_others)
    assert_array_equal(together.usual, one_by_one.usual)


def test_exchanged_rows_are_read_with_few_draws() -> None:
    """Strange rows ask for many proposals; explanations do without, and in silence."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3))
    density = VAEDensity(**{**QUICK, "max_evidence_samples": 4096, "evidence_tol": 0.3})
    detector = DensityOutlierDetector(density, random_state=0).fit(rows)
    asked = []
    read = type(density).evidence

    class Counted(VAEDensity):
        def evidence(self, X: Any, **settings: Any) -> Any:
            evidence = read(self, X, **settings)
            asked.append((len(X), evidence.n_stages.max()))
            return evidence

    detector.density_.__class__ = Counted
    explanation = detector.explain([[0, 30, 0], [0, -30, 0]], n_background=8)
    assert [n for n, _ in asked] == [2, (16 + 16 + 8) * 3]
    assert all(n_stages == 1 for _, n_stages in asked[1:])
    assert (explanation.alone.argmin(1) == 1).all()


def test_columns_of_text_are_explained() -> None:
    rng = np.random.default_rng(0)
    kind = rng.choice(["calm", "loud"], size=300)
    frame = pd.DataFrame({"kind": kind, "level": np.where(kind == "loud", 5.0, 0.0)})
    frame["level"] += rng.normal(size=300)
    density = VAEDensity(likelihood="auto", **{**QUICK, "max_iter": 30})
    detector = DensityOutlierDetector(density).fit(frame)
    strange = pd.DataFrame({"kind": ["calm"], "level": [7.0]})
    explanation = detector.explain(strange, n_background=16)
    assert explanation.usual[0, 0] == "loud"
    assert explanation.given_others[0, 0] < 0
    assert "calm" in repr(explanation)


# Rows (z + 2, 10 z, z > 0 as text): given two cells, the third is known quite well.
ASKED = ("surprise", "expected", "tail")


def dependent(seed: int, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    near, far = z + 0.2 * rng.normal(size=(2, n))
    kind = np.where(z > 0, "high", "low")
    return pd.DataFrame({"near": near + 2, "far": 10 * far, "kind": kind})


@pytest.fixture(scope="module")
def of_dependent() -> DensityOutlierDetector:
    likelihood = MixedLikelihood({2: "categorical"})
    settings = {**QUICK, "max_iter": 40, "likelihood": likelihood}
    density = VAEDensity(**settings, unknown_category="other")
    return DensityOutlierDetector(density, random_state=0).fit(dependent(0, 300))


def test_a_wrong_cell_has_the_largest_surprise(
    of_dependent: DensityOutlierDetector,
) -> None:
    wrong = pd.DataFrame(
        [[2 - 1.5, 15.0, "high"], [2 + 1.5, -15.0, "high"], [2 - 1.5, -15.0, "high"]],
        columns=["near", "far", "kind"],
    )
    explanation = of_dependent.explain(wrong, n_background=2, surprise=True)
    assert explanation.surprise is not None
    assert explanation.expected is not None
    assert explanation.tail is not None
    assert explanation.surprise.argmax(1).tolist() == [0, 1, 2]
    assert explanation.tail.argmin(1).tolist() == [0, 1, 2]
    assert (np.diag(explanation.tail) < 0.1).all()
    near, far, kind = np.diag(explanation.expected)
    assert abs(near - (2 + 1.5)) < 0.5
    assert abs(far - 15) < 5
    assert kind == "low"


def test_surprise_of_an_explanation_is_that_of_the_density(
    of_dependent: DensityOutlierDetector,
) -> None:
    rows = dependent(1, 3)
    rows.loc[0, "far"] = np.nan
    rows.loc[1, "kind"] = None
    rows.loc[2, "kind"] = "unheard of"
    explanation = of_dependent.explain(rows, n_background=2, surprise=True)
    expected = of_dependent.density_.surprise(rows)
    for name in ASKED:
        assert_array_equal(getattr(explanation, name), getattr(expected, name))
    missing = rows.isna().to_numpy()
    assert_array_equal(np.isnan(explanation.surprise), missing)
    assert_array_equal(np.isnan(explanation.tail), missing)
    assert not pd.isna(explanation.expected).any()
    # A category that was not fitted is rare, but not impossible.
    assert 0 < explanation.tail[2, 2] < 0.05
    tidy = explanation.to_frame()
    assert tidy.columns[-3:].tolist() == list(ASKED)
    assert_array_equal(tidy["surprise"], explanation.surprise.ravel())
    head, *lines = repr(explanation).splitlines()
    assert head.split()[-3:] == list(ASKED)
    assert {len(line) for line in lines} == {len(head)}
    for container in ("pandas", "polars"):
        of_dependent.density_.set_output(transform=container)
        again = of_dependent.explain(rows[1:2], n_background=2, surprise=True)
        of_dependent.density_.set_output(transform="default")
        assert_array_equal(again.surprise, explanation.surprise[1:2])
        assert_array_equal(again.expected, explanation.expected[1:2])


def test_surprise_is_there_only_if_asked_for(
    of_dependent: DensityOutlierDetector,
) -> None:
    explanation = of_dependent.explain(dependent(1, 2), n_background=2)
    assert all(getattr(explanation, name) is None for name in ASKED)
    assert not set(ASKED) & set(explanation.to_frame().columns)
    assert "surprise" not in repr(explanation)


def test_surprise_of_a_density_that_has_none_is_an_error() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    detector = DensityOutlierDetector(GaussianMixture()).fit(rows)
    with pytest.raises(ValueError, match="with surprise, as VAEDensity"):
        detector.explain(rows[:1], surprise=True)
    scaled = make_pipeline(StandardScaler(), VAEDensity(**FAST))
    detector = DensityOutlierDetector(scaled, random_state=0).fit(rows)
    with pytest.raises(ValueError, match="transformers before VAEDensity"):
        detector.explain(rows[:1], surprise=True)
    plain = make_pipeline("passthrough", VAEDensity(**FAST))
    detector = DensityOutlierDetector(plain, random_state=0).fit(rows)
    found = detector.explain(rows[:1], n_background=2, surprise=True)
    expected = detector.density_[-1].surprise(rows[:1])
    assert_array_equal(found.surprise, expected.surprise)
