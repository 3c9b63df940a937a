"""Displays of scores, calibration, evidence, training, latents and the like."""

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom, kstest, poisson
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from skvae import (
    CalibrationDisplay,
    CodebookPrior,
    ComparisonDisplay,
    ConditionalVAEDensity,
    DensityOutlierDetector,
    DependenceDisplay,
    EvidenceDisplay,
    ExplanationDisplay,
    LatentDisplay,
    ScoreDisplay,
    StackedDensity,
    TrainingDisplay,
    VAEDensity,
    compare_densities,
)
from skvae.display._style import COLORS, line_style, marker_style, shortened
from skvae.typing import Array
from tests.conftest import GIVEN_QUICK, QUICK


@pytest.fixture(scope="module")
def mixture(table: Array) -> GaussianMixture:
    return GaussianMixture(2, random_state=0).fit(table)


@pytest.fixture(scope="module")
def detector(table: Array) -> DensityOutlierDetector:
    return DensityOutlierDetector(GaussianMixture(), random_state=0).fit(table)


# Scores


def test_scores_are_shares_of_rows(table: Array, mixture: GaussianMixture) -> None:
    group = np.where(table[:, 0] > 0, "high", "low")
    display = ScoreDisplay.from_estimator(mixture, table, group, n_bins=12)
    assert list(display.scores) == ["high", "low"]
    scores = mixture.score_samples(table)
    assert_array_equal(display.scores["high"], scores[group == "high"])
    stairs = display.stairs_[0].get_data()
    inside = scores[group == "high"].clip(stairs.edges[0], stairs.edges[-1])
    assert_allclose(stairs.values, np.histogram(inside, stairs.edges)[0] / len(inside))
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["high", "low"]


def test_scores_of_several_densities_and_groups(
    table: Array, mixture: GaussianMixture
) -> None:
    densities = {"two": mixture, "kernels": KernelDensity().fit(table)}
    groups = np.arange(200) % 2
    display = ScoreDisplay.from_estimators(densities, table, groups)
    assert list(display.scores) == ["two, 0", "two, 1", "kernels, 0", "kernels, 1"]
    assert len(display.stairs_) == 4


def test_the_threshold_of_a_detector_is_drawn(
    table: Array, detector: DensityOutlierDetector
) -> None:
    display = ScoreDisplay.from_estimator(detector, table)
    (line,) = display.threshold_lines_
    assert line.get_xdata()[0] == detector.offset_
    assert display.stairs_[0].get_data().edges[0] <= detector.offset_
    two = ScoreDisplay.from_predictions(
        [1.0, 2.0, 3.0], thresholds={"low": 0.5, "high": 2.5}
    )
    assert [line.get_label() for line in two.threshold_lines_] == [
        "low, 0.5",
        "high, 2.5",
    ]


def test_scores_of_minus_infinity_are_in_the_first_bin() -> None:
    scores = np.r_[np.full(5, -np.inf), np.linspace(0, 1, 15)]
    display = ScoreDisplay.from_predictions(scores, lowest=0.0)
    assert display.stairs_[0].get_data().values[0] >= 5 / 20
    assert display.ax_.get_xlabel().endswith("(first bin: all below)")
    nothing = ScoreDisplay.from_predictions(np.full(3, -np.inf))
    assert nothing.stairs_[0].get_data().values[0] == 1
    assert np.isfinite(nothing.ax_.get_xlim()).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ScoreDisplay.from_estimators({}, [[0.0]]), TypeError, "non-empty"),
        (lambda: ScoreDisplay.from_predictions({}), ValueError, "empty dict"),
        (lambda: ScoreDisplay.from_predictions([np.nan]), ValueError, "NaN or .inf"),
        (lambda: ScoreDisplay.from_predictions([["a"]]), ValueError, "hold numbers"),
        (
            lambda: ScoreDisplay.from_predictions([1.0, 2.0], y=[0]),
            ValueError,
            r"y must have shape \(2,\)",
        ),
        (
            lambda: ScoreDisplay.from_predictions(np.arange(30.0), y=np.arange(30)),
            ValueError,
            "y has 30 different values, and at most 20",
        ),
    ],
)
def test_bad_scores_are_refused(
    call: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


# Calibration


def test_rows_of_a_density_lie_in_its_regions(mixture: GaussianMixture) -> None:
    """Of a right density, transforms are uniform; it fails once in a thousand seeds."""
    drawn = mixture.sample(400)[0]
    display = CalibrationDisplay.from_estimator(mixture, drawn)
    (ranks,) = display.pit.values()
    assert kstest(ranks, "uniform").pvalue > 1e-3
    covered = display.coverage(0.8)["whole rows"]
    assert binom.ppf(5e-4, 400, 0.8) <= 400 * covered <= binom.ppf(1 - 5e-4, 400, 0.8)
    # Rows far out have a low rank, and lie in no region but the largest.
    far = CalibrationDisplay.from_estimator(mixture, drawn + np.array([30, 0, 0]))
    assert far.coverage(0.9)["whole rows"] == 0


def test_transforms_of_counts_are_uniform() -> None:
    """A count's mass is divided at random; it fails once in a thousand seeds."""
    mean = np.random.default_rng(0).uniform(0.5, 4, 500)
    counts = poisson(mean).rvs(random_state=1)

    class Counts(GaussianMixture):
        schema_ = SimpleNamespace(names=("n",))

        def conditional(self, X: Any, column: int) -> SimpleNamespace:
            return SimpleNamespace(
                cdf=poisson(mean).cdf,
                pdf=poisson(mean).pmf,
                is_discrete=True,
                columns=("n",),
            )

    display = CalibrationDisplay.from_estimator(Counts(), counts[:, None], columns=0)
    assert kstest(display.pit["x0"], "uniform").pvalue > 1e-3


def test_transforms_of_columns_are_those_of_conditionals(
    trips: pd.DataFrame, mixed: VAEDensity
) -> None:
    trips = trips[:20]
    display = CalibrationDisplay.from_estimator(mixed, trips, columns=["cost"])
    observed = trips["cost"].notna()
    assert not observed.all()
    expected = mixed.conditional(trips, "cost").cdf(trips["cost"].fillna(0.0))
    assert_allclose(display.pit["cost"], expected[observed])
    with pytest.raises(ValueError, match="'kind' holds categories"):
        CalibrationDisplay.from_estimator(mixed, trips, columns="kind")


@pytest.mark.parametrize("container", [np.asarray, pd.Series])
def test_transforms_of_targets_are_those_of_their_density(
    table: Array, container: Any
) -> None:
    X, y = table[:, :2], container(table[:, 2])
    conditional = ConditionalVAEDensity(**GIVEN_QUICK).fit(X, y)
    display = CalibrationDisplay.from_estimator(conditional, X[:30], y[:30])
    (transforms,) = display.pit.values()
    assert_allclose(transforms, conditional.conditional(X[:30]).cdf(table[:30, 2]))


def test_coverage_of_known_transforms_is_known() -> None:
    even = (np.arange(1000) + 0.5) / 1000
    display = CalibrationDisplay.from_predictions(
        {"right": even, "too broad": (even + 0.5) / 2}, kind="coverage"
    )
    right, broad = display.lines_
    level = right.get_xdata()
    assert_allclose(right.get_ydata(), level, atol=2e-3)
    # Transforms between ¼ and ¾: half of the probability holds everything.
    assert_allclose(broad.get_ydata(), np.minimum(2 * level, 1), atol=3e-3)
    vertices = display.band_.get_paths()[0].vertices
    at_half = vertices[np.isclose(vertices[:, 0], 0.5), 1]
    assert_allclose(np.unique(at_half), binom.ppf([0.025, 0.975], 1000, 0.5) / 1000)


def test_histogram_of_transforms_has_a_band() -> None:
    even = (np.arange(100) + 0.5) / 100
    display = CalibrationDisplay.from_predictions(even, n_bins=5)
    assert_allclose(display.stairs_[0].get_data().values, 0.2)
    vertices = display.band_.get_paths()[0].vertices[:, 1]
    expected = binom.ppf([0.025, 0.975], 100, 0.2) / 100
    assert_allclose([vertices.min(), vertices.max()], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": 0}, "columns and y need a density with conditional"),
        ({"kind": "both"}, "kind must be one of 'histogram', 'coverage'"),
        ({"level": 0}, "level must be a number above 0"),
        ({"density": KernelDensity().fit([[0.0, 0, 0]]), "columns": 0}, "conditional"),
    ],
)
def test_bad_calibration_is_refused(
    change: dict[str, Any], message: str, table: Array, mixture: GaussianMixture
) -> None:
    with pytest.raises(ValueError, match=message):
        CalibrationDisplay.from_estimator(
            **{"density": mixture, "X": table[:5], "n_draws": 10, **change}
        )
    with pytest.raises(ValueError, match="pit must lie between 0 and 1"):
        CalibrationDisplay.from_predictions([0.5, 1.5])


# Evidence and training


def test_bounds_are_drawn_below_the_log_density(
    table: Array, density: VAEDensity
) -> None:
    display = EvidenceDisplay.from_estimator(density, table[:40], n_samples=(1, 10))
    evidence, bounds = density.evidence(table[:40]), density.bounds(table[:40], (1, 10))
    gap = bounds.iwae - evidence.unbiased()
    points, _, (bars,) = display.errorbar_.lines
    assert_array_equal(points.get_xdata(), [1, 10])
    assert_allclose(points.get_ydata(), gap.mean(1))
    length = np.diff([segment[:, 1] for segment in bars.get_segments()])[:, 0]
    assert_allclose(length, 4 * gap.std(1, ddof=1) / np.sqrt(40))
    display.plot(kind="errors")
    assert_array_equal(
        display.points_.get_xydata(),
        np.c_[evidence.n_samples, evidence.standard_error.clip(1e-4)][
            ~evidence.unreliable
        ],
    )


def test_unreliable_rows_have_a_mark_of_their_own(
    table: Array, density: VAEDensity
) -> None:
    evidence = density.evidence(table[:6])
    evidence = replace(evidence, unreliable=np.arange(6) < 2)
    display = EvidenceDisplay.from_evidence(evidence)
    assert len(display.points_.get_xdata()) == 4
    assert len(display.unreliable_points_.get_xdata()) == 2
    assert display.points_.get_marker() != display.unreliable_points_.get_marker()
    with pytest.raises(ValueError, match="kind='bounds' needs bounds"):
        display.plot(kind="bounds")
    with pytest.raises(ValueError, match="bounds must be of the 6 rows"):
        EvidenceDisplay.from_evidence(evidence, density.bounds(table[:3]))


def test_evidence_of_a_diagnosis_a_stack_and_of_nothing(
    table: Array, density: VAEDensity, mixture: GaussianMixture
) -> None:
    diagnosis = density.diagnose(table[:50])
    display = EvidenceDisplay.from_diagnosis(diagnosis)
    assert_allclose(
        display.errorbar_.lines[0].get_ydata(), np.negative(diagnosis.bound_gap)
    )
    with pytest.raises(ValueError, match="which a Diagnosis does not have"):
        display.plot(kind="errors")
    stack = StackedDensity([("vae", density)], random_state=0)
    stack.estimators_, stack.weights_ = [density], np.ones(1)
    stack.named_estimators_, stack.n_features_in_ = {"vae": density}, 3
    assert EvidenceDisplay.from_estimator(stack, table[:5]).errorbar_ is None
    with pytest.raises(ValueError, match="needs a density with evidence"):
        EvidenceDisplay.from_estimator(mixture, table)
    for make in (EvidenceDisplay.from_diagnosis, EvidenceDisplay.from_evidence):
        with pytest.raises(TypeError, match="got 'table'"):
            make("table")  # type: ignore[operator]


def test_training_is_the_history(density: VAEDensity, mixture: GaussianMixture) -> None:
    display = TrainingDisplay.from_estimator(density)
    history = density.history_
    assert_array_equal(display.bound_line_.get_xdata(), [r["epoch"] for r in history])
    assert_array_equal(display.bound_line_.get_ydata(), [r["bound"] for r in history])
    known = [r["evidence"] for r in history if np.isfinite(r["evidence"])]
    assert_array_equal(display.evidence_line_.get_ydata(), known)
    assert display.best_line_.get_xdata()[0] == density.best_iter_
    display.plot(x="seconds")
    assert_allclose(
        display.bound_line_.get_xdata(), np.cumsum([r["seconds"] for r in history])
    )
    with pytest.raises(ValueError, match="needs a density with history_"):
        TrainingDisplay.from_estimator(mixture)


def test_training_leaves_out_epochs_that_are_far_lower() -> None:
    records = [
        {"epoch": k, "bound": -1.0 / k - 1e6 * (k == 1), "evidence": np.nan}
        for k in range(1, 30)
    ]
    history = [{**record, "seconds": 0.5} for record in records]
    display = TrainingDisplay.from_history(history)
    assert display.ax_.get_ylim()[0] > -10
    assert display.evidence_line_ is None and display.best_line_ is None
    with pytest.raises(ValueError, match="seconds is missing"):
        TrainingDisplay.from_history(records)
    with pytest.raises(ValueError, match="it is empty"):
        TrainingDisplay.from_history([])


# Latents and dependence


def test_latents_are_drawn_in_principal_directions(
    table: Array, density: VAEDensity
) -> None:
    group = np.repeat(["a", "b"], 100)
    display = LatentDisplay.from_estimator(density, table, group)
    latent = density.transform(table)
    variance, directions = np.linalg.eigh(np.cov(latent.T))
    position = np.concatenate([p.get_offsets() for p in display.points_])
    assert_allclose(position.var(0, ddof=1), variance[::-1][:2])
    along = (latent - latent.mean(0)) @ directions[:, -1]
    assert_allclose(np.abs(position[:, 0]), np.abs(along))
    markers = {tuple(p.get_paths()[0].vertices[0]) for p in display.points_}
    assert len(markers) == 2


def test_single_latents_and_scales_of_numbers(
    table: Array, density: VAEDensity
) -> None:
    latent = density.transform(table)
    display = LatentDisplay.from_estimator(
        density, table, pd.Series(table[:, 2], name="weight"), latents=(1, 0)
    )
    assert_allclose(display.points_[0].get_offsets(), latent[:, [1, 0]])
    assert_array_equal(display.points_[0].get_array(), table[:, 2])
    assert display.colorbar_.ax.get_ylabel() == "weight"
    single = LatentDisplay.from_predictions(latent[:, :1], np.repeat([0, 1], 100))
    assert len(single.stairs_) == 2 and not single.points_
    assert_allclose(sum(s.get_data().values.sum() for s in single.stairs_), 2)


def test_latents_that_are_no_places_are_refused(
    table: Array, mixture: GaussianMixture, density: VAEDensity
) -> None:
    codes = VAEDensity(prior=CodebookPrior(n_codes=4), **QUICK).fit(table)
    with pytest.raises(ValueError, match="latents are codes"):
        LatentDisplay.from_estimator(codes, table)
    with pytest.raises(ValueError, match="needs a density with transform"):
        LatentDisplay.from_estimator(mixture, table)
    with pytest.raises(ValueError, match="each of latents must be an int"):
        LatentDisplay.from_estimator(density, table, latents=(0, 99))
    with pytest.raises(ValueError, match="Z must be finite"):
        LatentDisplay.from_predictions([[np.nan, 1.0]])


def test_dependence_is_a_table_without_its_diagonal(
    density: VAEDensity,
) -> None:
    display = DependenceDisplay.from_estimator(density, n_samples=4, random_state=0)
    information = density.dependence(4, 0)
    shown = np.ma.filled(display.image_.get_array(), np.nan)
    assert_allclose(shown, information)
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == ["x0", "x1", "x2"]
    assert len(display.text_) == 6
    assert display.text_[0].get_text() == f"{max(information[0, 1], 0):.2f}"


def test_columns_without_dependence_have_a_scale_too() -> None:
    """Estimates of nothing are negative by chance."""
    display = DependenceDisplay.from_predictions([[np.nan, -0.2], [-0.2, np.nan]])
    assert display.image_.get_clim() == (0, 0.01)
    assert [text.get_text() for text in display.text_] == ["0.00", "0.00"]
    scale = LogNorm(1e-3, 1)
    display = DependenceDisplay.from_predictions([[1.0, 0.5], [0.5, 1.0]], norm=scale)
    assert display.image_.norm is scale
    assert not DependenceDisplay.from_predictions([[1.0]]).text_


def test_only_the_strongest_dependences_of_many_columns() -> None:
    information = np.zeros((30, 30))
    information[3, 17] = information[17, 3] = 2.0
    information[5, 6] = information[6, 5] = 1.0
    names = [f"column {j}" for j in range(30)]
    display = DependenceDisplay.from_predictions(information, names, max_features=3)
    labels = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert labels == ["column 3", "column 5", "column 17"]
    assert not display.plot().text_
    for bad, message in [
        ([[0.0, 1.0]], r"must have shape \(D, D\)"),
        (np.zeros((2, 2)), "feature_names has 30 names"),
    ]:
        with pytest.raises(ValueError, match=message):
            DependenceDisplay.from_predictions(bad, names)
    with pytest.raises(ValueError, match="needs a density with dependence"):
        DependenceDisplay.from_estimator(KernelDensity().fit([[0.0]]))


# Explanations and comparisons


def test_explanation_begins_with_the_strangest_column(
    table: Array, detector: DensityOutlierDetector
) -> None:
    rows = table[:3].copy()
    rows[1, 1] += 30
    explanation = detector.explain(rows)
    display = ExplanationDisplay.from_explanation(explanation, row=1)
    same = ExplanationDisplay.from_estimator(detector, rows, row=1, max_features=2)
    worst = np.minimum(explanation.given_others, explanation.alone)[1]
    assert_array_equal(display.order(), np.argsort(worst))
    widths = [bar.get_width() for bar in display.given_others_bars_]
    assert_allclose(widths, explanation.given_others[1][display.order()])
    widths = [bar.get_width() for bar in same.alone_bars_]
    assert_allclose(widths, explanation.alone[1][display.order()[:2]])
    first = display.ax_.get_yticklabels()[0].get_text()
    assert first.startswith(f"x1 = {rows[1, 1]:.4g}\nusual: ")


def test_contributions_without_an_end_are_marked(
    table: Array, detector: DensityOutlierDetector
) -> None:
    explanation = detector.explain(table[:1])
    endless = explanation.alone.copy()
    endless[0, 2] = -np.inf
    display = ExplanationDisplay.from_explanation(replace(explanation, alone=endless))
    assert [text.get_text().strip() for text in display.text_] == ["−∞"]
    assert np.isfinite([bar.get_width() for bar in display.alone_bars_]).all()
    with pytest.raises(ValueError, match="row must be an int at least 0 and at most 0"):
        ExplanationDisplay.from_explanation(explanation, row=1)
    with pytest.raises(TypeError, match="explanation must be an Explanation"):
        ExplanationDisplay.from_explanation("because")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs a detector with explain"):
        ExplanationDisplay.from_estimator(GaussianMixture(), table)


def test_comparison_is_in_order_with_intervals(table: Array) -> None:
    comparison = compare_densities(
        {"kernels": KernelDensity(bandwidth=9.0), "one": GaussianMixture()},
        table,
        random_state=0,
    )
    display = ComparisonDisplay.from_comparison(comparison, n_errors=1)
    assert display.names == ("one", "kernels")
    points, _, (bars,) = display.errorbar_.lines
    assert_array_equal(points.get_xdata(), comparison.difference[::-1])
    length = np.diff([segment[:, 0] for segment in bars.get_segments()])[:, 0]
    assert_allclose(length, 2 * comparison.difference_error[::-1])
    of_folds = comparison.scores.fold_difference(1)[:, ::-1]
    assert_array_equal([p.get_xdata() for p in display.fold_points_], of_folds)


def test_infinite_differences_are_marked() -> None:
    display = ComparisonDisplay.from_predictions(
        ["a", "b", "c"], [0.0, -np.inf, 1.0], [0.0, np.nan, 0.1], reference="a"
    )
    (mark,) = display.text_
    assert "−∞" in mark.get_text() and mark.get_position()[1] == -1
    with pytest.raises(ValueError, match=r"difference must have shape \(1,\)"):
        ComparisonDisplay.from_predictions(["a"], [0.0, 1.0], [0.0], reference="a")
    with pytest.raises(TypeError, match="must be a DensityComparison"):
        ComparisonDisplay.from_comparison("a")  # type: ignore[arg-type]


# What all of them have in common


def test_long_names_are_told_apart_by_their_ends() -> None:
    names = [f"category with a long name {k}" for k in range(12)]
    short = {shortened(name, 16) for name in names}
    assert len(short) == 12 and {len(name) for name in short} == {16}
    assert shortened("short") == "short"


def test_styles_differ_in_grey_too() -> None:
    styles = [str(line_style(k)) for k in range(20)]
    assert len(set(styles)) == len(styles)
    dashes = [str(line_style(k)["linestyle"]) for k in range(5)]
    markers = [marker_style(k)["marker"] for k in range(len(COLORS))]
    assert len(set(dashes)) == 5 and len(set(markers)) == len(COLORS)


def test_a_display_draws_where_it_is_told_and_changes_no_settings() -> None:
    before = dict(matplotlib.rcParams)
    _, (left, right) = plt.subplots(1, 2)
    display = ScoreDisplay.from_predictions([1.0, 2.0], ax=right, ec="red", lw=3)
    assert display.ax_ is right and display.figure_ is left.figure
    assert display.stairs_[0].get_linewidth() == 3
    assert display.stairs_[0].get_edgecolor() == (1, 0, 0, 1)
    assert not left.has_data()
    assert dict(matplotlib.rcParams) == before
    display.plot(left)
    assert display.ax_ is left


def test_what_to_install_for_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'skvae\[plot\]'"):
        ScoreDisplay.from_predictions([1.0, 2.0])
