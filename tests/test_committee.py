"""The committee of views, a detector's default density."""

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from skvae import DensityOutlierDetector, OutlierCommittee
from tests.detection.test_mixed_tables import mixed_frame

Array = np.ndarray

VIEWS = ["density", "normal_scores", "few_modes", "convolved", "tails"]


def correlated(n: int, seed: int) -> Array:
    """Return rows near a line in two of the three columns."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    return np.c_[z, z + 0.05 * rng.normal(size=n), rng.exponential(size=n)]


@pytest.fixture(scope="module")
def fitted() -> OutlierCommittee:
    return OutlierCommittee(max_iter=10, random_state=0).fit(correlated(400, 0))


def test_a_row_is_as_strange_as_its_strangest_view_says(
    fitted: OutlierCommittee,
) -> None:
    rows = correlated(60, 1)
    views = fitted.score_views(rows)
    assert list(fitted.views_) == list(fitted.tails_) == VIEWS
    assert views.shape == (60, 5)
    assert (views <= 0).all()
    assert_array_equal(fitted.score_samples(rows), views.min(1))


def test_views_see_different_outliers(fitted: OutlierCommittee) -> None:
    usual = fitted.score_views(correlated(400, 1))
    off_the_line = np.array([[1.0, 0.0, 1.0]])
    far_out = np.array([[0.0, 0.0, 30.0]])
    of_line = dict(zip(VIEWS, fitted.score_views(off_the_line)[0], strict=True))
    of_far = dict(zip(VIEWS, fitted.score_views(far_out)[0], strict=True))
    lowest = dict(zip(VIEWS, usual.min(0), strict=True))
    # Each cell alone is usual, and noise of 0.3 hides the line.
    assert of_line["few_modes"] < 2 * lowest["few_modes"]
    assert of_line["tails"] > lowest["tails"]
    assert of_far["tails"] < lowest["tails"]
    scores = fitted.score_samples(np.r_[off_the_line, far_out])
    assert (scores < fitted.score_samples(correlated(400, 1)).min()).all()


def test_probabilities_of_new_rows_are_right(fitted: OutlierCommittee) -> None:
    """Each view's share of 2,000 rows below 5 %.

    The 60 held-out rows alone make an error of 2.8 points, and bounds are at four.
    """
    below = fitted.score_views(correlated(2000, 2)) < np.log(0.05)
    assert (below.mean(0) < 0.05 + 4 * 0.028).all()
    assert (below.mean(0) > 0).all()


def test_rows_are_held_out_by_their_content() -> None:
    rows = correlated(300, 0)
    rows[200:] = rows[:100]
    committee = OutlierCommittee(max_iter=1, random_state=0)
    chosen = committee.fit(rows).calibrated_
    assert_array_equal(chosen[200:], chosen[:100])
    assert 0.1 < chosen.mean() < 0.2
    order = np.random.default_rng(0).permutation(300)
    assert_array_equal(clone(committee).fit(rows[order]).calibrated_, chosen[order])
    other = clone(committee).set_params(random_state=1).fit(rows).calibrated_
    assert (other != chosen).any()


@pytest.mark.parametrize(("n_rows", "n_held_out"), [(2, 0), (5, 0), (30, 10), (90, 25)])
def test_few_rows_hold_out_more(n_rows: int, n_held_out: int) -> None:
    committee = OutlierCommittee(max_iter=1, random_state=0)
    committee.fit(correlated(n_rows, 0))
    assert committee.calibrated_.sum() == n_held_out
    assert np.isfinite(committee.score_samples(correlated(10, 1))).all()


def test_weights_are_repetitions_and_zero_is_none() -> None:
    rows = correlated(120, 0)
    weight = np.random.default_rng(0).integers(0, 3, 120)
    committee = OutlierCommittee(max_iter=2, random_state=0)
    weighted = committee.fit(rows, sample_weight=weight).score_samples(rows)
    repeated = clone(committee).fit(np.repeat(rows, weight, axis=0))
    assert_allclose(weighted, repeated.score_samples(rows), rtol=1e-4)


def test_scores_depend_on_the_row_alone(fitted: OutlierCommittee) -> None:
    rows = correlated(101, 3)
    scores = fitted.score_samples(rows)
    assert_array_equal(fitted.score_samples(rows[::-1])[::-1], scores)
    assert_array_equal(
        np.r_[[fitted.score_samples(row[None])[0] for row in rows[:5]]], scores[:5]
    )
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).score_samples(rows), scores)
    again = clone(fitted).fit(correlated(400, 0))
    assert_array_equal(again.score_samples(rows), scores)


def test_missing_cells_are_read(fitted: OutlierCommittee) -> None:
    rows = correlated(300, 0)
    missing = np.random.default_rng(0).random(rows.shape) < 0.2
    rows[missing & ~missing.all(1, keepdims=True)] = np.nan
    committee = OutlierCommittee(max_iter=2, random_state=0).fit(rows)
    new = correlated(20, 1)
    new[:, 1] = np.nan
    assert np.isfinite(committee.score_samples(new)).all()
    assert np.isfinite(fitted.score_samples(new)).all()
    new[:, 2] = 50
    assert (committee.score_samples(new) < committee.score_samples(rows).min()).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_two_valued_columns_are_categories_and_a_third_value_is_rare(
    weighted: bool,
) -> None:
    rng = np.random.default_rng(0)
    flags = (rng.random((300, 3)) < [0.5, 0.1, 0.3]).astype(float)
    flags[:, 2] = flags[:, 0]
    rows = np.c_[rng.normal(size=300), flags]
    weight = np.ones(300) if weighted else None
    committee = OutlierCommittee(max_iter=5, random_state=0)
    committee.fit(rows, sample_weight=weight)
    kinds = committee.density_.schema_.kinds
    assert [kind.support for kind in kinds] == ["real"] + ["category"] * 3
    third = rows[:20].copy()
    third[:, 1] = 2
    assert np.isfinite(committee.score_samples(third)).all()
    score = committee.score_samples
    assert (score(third) < score(rows[:20])).all()


def test_tables_of_text_alone_have_one_view() -> None:
    frame = mixed_frame(200)[["kind", "shop"]]
    committee = OutlierCommittee(max_iter=2, random_state=0).fit(frame)
    assert list(committee.views_) == ["density"]
    assert np.isfinite(committee.score_samples(frame)).all()


def test_frames_are_read_by_name() -> None:
    frame = mixed_frame(200)
    committee = OutlierCommittee(max_iter=2, random_state=0).fit(frame)
    scores = committee.score_samples(frame)
    assert list(committee.views_) == VIEWS
    with pytest.warns(UserWarning, match="valid feature names"):
        assert_array_equal(committee.score_samples(frame.to_numpy()), scores)
    with pytest.raises(ValueError, match="feature names"):
        committee.score_samples(frame.rename(columns={"level": "height"}))
    assert committee.sample(3).shape == (3, 6)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_iter", 0),
        ("max_iter", "many"),
        ("calibration_fraction", 0.0),
        ("calibration_fraction", 1.0),
        ("device", "tpu"),
    ],
)
def test_bad_parameters_are_named(parameter: str, value: Any) -> None:
    committee = OutlierCommittee(**{parameter: value})
    with pytest.raises((TypeError, ValueError), match=parameter):
        committee.fit(correlated(20, 0))
    assert not hasattr(committee, "views_")


def test_draws_and_surprise_are_those_of_the_density(fitted: OutlierCommittee) -> None:
    assert_array_equal(fitted.sample(4, 1), fitted.density_.sample(4, 1))
    row = np.array([[1.0, 0.0, 1.0]])
    expected = fitted.density_.surprise(row).surprise
    assert_array_equal(fitted.surprise(row).surprise, expected)
    detector = DensityOutlierDetector(
        OutlierCommittee(max_iter=2), reference="model", max_reference_rows=50
    ).fit(correlated(100, 0))
    explanation = detector.explain(row, 4, surprise=True)
    assert explanation.surprise.shape == (1, 3)


def test_outliers_among_the_training_rows_are_found_by_the_stiff_views() -> None:
    """A tenth of the rows are one tight cluster, far out in every column."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(900, 4))
    cluster = np.array([6.0, -6.0, 6.0, 6.0]) + 0.05 * rng.normal(size=(140, 4))
    committee = OutlierCommittee(random_state=0, max_iter=40)
    committee.fit(np.r_[rows[:700], cluster[:70]])
    strange = np.repeat([0, 1], [200, 70])
    new = np.r_[rows[700:], cluster[70:]]
    assert roc_auc_score(strange, -committee.score_samples(new)) > 0.9
    density = committee.score_views(new)[:, VIEWS.index("density")]
    assert roc_auc_score(strange, -density) < 0.9
