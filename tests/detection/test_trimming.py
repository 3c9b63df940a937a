"""Trimming: the rows that a detector's density is not fitted to."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from skvae import DensityOutlierDetector
from skvae.detection.typical import typical_rows

Array = np.ndarray


@pytest.fixture(scope="module")
def correlated() -> Array:
    """950 rows in a narrow band."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(950, 1)) + 0.3 * rng.normal(size=(950, 4))


@pytest.fixture(scope="module")
def off_the_band() -> Array:
    """100 rows that are alike: far from the band, but not in the tail of any column."""
    centre = [1.5, -1.5, 1.5, -1.5]
    return centre + 0.1 * np.random.default_rng(1).normal(size=(100, 4))


def ones(table: Array) -> Array:
    return np.ones(len(table))


def test_rows_against_the_correlation_are_trimmed(correlated, off_the_band) -> None:
    table = np.concatenate([correlated, off_the_band[:50]])
    typical = typical_rows(table, ones(table), 0.1)
    assert not typical[950:].any()
    assert typical.mean() == pytest.approx(0.9, abs=2e-3)


def test_rows_in_the_tails_are_trimmed_whatever_the_columns_shapes() -> None:
    table = np.exp(2 * np.random.default_rng(0).normal(size=(500, 3)))
    table[:5] = np.exp(4.4)
    assert not typical_rows(table, ones(table), 0.05)[:5].any()


def test_units_and_places_do_not_matter(correlated) -> None:
    moved = 1e6 + correlated * [1e-3, 1.0, 1e3, -5.0]
    assert_array_equal(
        typical_rows(moved, ones(moved), 0.2),
        typical_rows(correlated, ones(correlated), 0.2),
    )


def test_weights_are_repetitions(correlated) -> None:
    weight = np.random.default_rng(2).integers(1, 4, len(correlated))
    weighted = typical_rows(correlated, weight.astype(float), 0.13)
    repeated = np.repeat(correlated, weight, axis=0)
    assert_array_equal(
        np.repeat(weighted, weight), typical_rows(repeated, ones(repeated), 0.13)
    )


@pytest.mark.parametrize("share", [0.0, 0.05, 0.29, 0.5])
def test_no_more_than_the_share_is_trimmed(share: float) -> None:
    table = np.random.default_rng(3).normal(size=(100, 2))
    trimmed = ~typical_rows(table, ones(table), share)
    # Two rows are equally strange if each has the same rank, under one of the models.
    assert share - 0.02 < trimmed.mean() <= share


def test_equal_rows_stay_together_and_extreme_tables_have_no_surprises() -> None:
    equal = np.ones((20, 2))
    assert typical_rows(equal, ones(equal), 0.5).all()
    huge = np.array([[-1e308, 0.0], [1e308, 0.0], [0.0, 1e-300], [1.0, 0.0]] * 5)
    with np.errstate(all="raise", under="ignore"):
        assert typical_rows(huge, ones(huge), 0.5).any()


def test_stated_outliers_do_not_become_a_cluster(correlated, off_the_band) -> None:
    table = np.concatenate([correlated, off_the_band[:50]])
    new = np.concatenate([correlated[:400], off_the_band[50:]])
    is_odd = np.arange(len(new)) >= 400

    def area(**settings) -> tuple[float, DensityOutlierDetector]:
        density = GaussianMixture(5, random_state=0)
        detector = DensityOutlierDetector(density, **settings).fit(table)
        return roc_auc_score(is_odd, -detector.score_samples(new)), detector

    unstated, detector = area()
    assert detector.support_.all()
    stated, detector = area(contamination=0.05)
    assert unstated < 0.8
    assert stated > 0.99
    assert detector.support_.mean() == pytest.approx(0.8, abs=2e-3)
    assert not detector.support_[950:].any()
    # The threshold is a quantile of all rows, those that are trimmed included.
    assert (detector.predict(table) == -1).mean() == pytest.approx(0.05, abs=1e-3)
    assert len(detector.reference_scores_) == len(table)


@pytest.mark.parametrize(
    "settings",
    [
        {"contamination": "auto"},
        {"contamination": 0.1, "reference": "model"},
        {"contamination": 0.1, "trim_fraction": 0},
    ],
)
def test_nothing_is_trimmed_unless_outliers_are_stated(settings, correlated) -> None:
    density = KernelDensity()
    detector = DensityOutlierDetector(density, **settings).fit(correlated)
    assert detector.support_.all()


def test_held_out_rows_are_not_trimmed(correlated) -> None:
    detector = DensityOutlierDetector(
        KernelDensity(),
        reference="held_out",
        trim_fraction=0.25,
        contamination=0.1,
        random_state=0,
    ).fit(correlated)
    assert detector.support_.sum() == pytest.approx(0.75 * 0.8 * 950, abs=1)
    assert len(detector.reference_scores_) == 0.2 * 950


class FirstColumn(KernelDensity):
    """A density of the first column, whatever is in the others."""

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(np.asarray(X)[:, :1].astype(float), y, sample_weight)

    def score_samples(self, X):
        return super().score_samples(np.asarray(X)[:, :1].astype(float))


def test_tables_that_cannot_be_trimmed_are_named(correlated) -> None:
    frame = pd.DataFrame(correlated).astype({3: object})
    frame.iloc[5, 3] = None
    detector = DensityOutlierDetector(FirstColumn(), contamination=0.1)
    with pytest.warns(UserWarning, match=r"all training rows.*in column 3") as caught:
        detector.fit(frame)
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]
    assert detector.support_.all()
    detector.set_params(trim_fraction=0).fit(frame)
    assert detector.support_.all()
    with pytest.raises(ValueError, match=r"trim_fraction=0\.2 needs a table of finite"):
        detector.set_params(trim_fraction=0.2).fit(frame)


# Categories


@pytest.fixture(scope="module")
def categories() -> Array:
    """950 rows of three columns of five categories, rare ones together."""
    rng = np.random.default_rng(5)
    column = rng.choice(5, 950, p=[0.5, 0.3, 0.15, 0.04, 0.01])
    others = rng.choice(3, (950, 2), p=[0.6, 0.3, 0.1])
    return np.c_[column, np.where(column[:, None] == 4, 4, others)]


def test_rows_with_several_rare_categories_are_trimmed(correlated, categories) -> None:
    typical = typical_rows(correlated, ones(correlated), 0.1, categories)
    assert not typical[categories[:, 0] == 4].any()
    assert typical.mean() == pytest.approx(0.9, abs=2e-3)


def test_equally_frequent_categories_say_nothing_of_a_row(correlated) -> None:
    equal = np.arange(950)[:, None] % 95
    assert_array_equal(
        typical_rows(correlated, ones(correlated), 0.1, equal),
        typical_rows(correlated, ones(correlated), 0.1),
    )


def test_categories_alone_are_trimmed_the_rarest_first(categories) -> None:
    nothing = np.empty((950, 0))
    typical = typical_rows(nothing, ones(nothing), 0.1, categories[:, :1])
    assert_array_equal(typical, categories[:, 0] < 3)


def test_codes_of_categories_have_no_order(correlated, categories) -> None:
    other = np.array([[3.0, 7.0, -1.0, 0.0, 2.5]])[0][categories[:, 0].astype(int)]
    assert_array_equal(
        typical_rows(correlated, ones(correlated), 0.1, other[:, None]),
        typical_rows(correlated, ones(correlated), 0.1, categories[:, :1]),
    )


def test_weights_are_repetitions_of_categories(correlated, categories) -> None:
    weight = np.random.default_rng(2).integers(1, 4, len(correlated))
    weighted = typical_rows(correlated, weight.astype(float), 0.13, categories)
    table, codes = (
        np.repeat(part, weight, axis=0) for part in (correlated, categories)
    )
    assert_array_equal(
        np.repeat(weighted, weight), typical_rows(table, ones(table), 0.13, codes)
    )


def test_every_category_can_be_kept_by_its_least_strange_row(
    correlated, categories
) -> None:
    def trimmed(**settings: bool) -> Array:
        weight = ones(correlated)
        return typical_rows(correlated, weight, 0.1, categories, **settings)

    before, after = trimmed(), trimmed(every_category=True)
    rare = categories[:, 0] == 4
    assert not before[rare].any()
    assert after[rare].sum() == 1
    assert_array_equal(after[~rare], before[~rare])


@pytest.mark.parametrize(("value", "error"), [(0.6, ValueError), ("some", TypeError)])
def test_bad_share_is_named(value, error) -> None:
    with pytest.raises(error, match="trim_fraction must be"):
        DensityOutlierDetector(KernelDensity(), trim_fraction=value).fit(np.eye(5))
