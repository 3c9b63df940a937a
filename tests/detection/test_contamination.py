"""Outliers that rows give away: a cliff where there are any, and only there."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from skvae import DensityOutlierDetector
from skvae.detection.contamination import STEEP, find_cliff

Array = np.ndarray


def table(kind: str, n_rows: int, seed: int) -> Array:
    """Return correlated rows of one source, with tails of several weights."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, 4)) @ rng.normal(size=(4, 4))
    if kind == "lognormal":
        return np.exp(rows / rows.std(0))
    if kind == "student_t":
        return rows / np.sqrt(rng.chisquare(2, size=(n_rows, 1)) / 2)
    if kind == "clusters":
        rows[: n_rows // 3] += 8
    return rows


def with_outliers(share: float, n_rows: int = 800, seed: int = 0) -> Array:
    """Return rows of which the last ones are far from the others, and alike."""
    rows = table("normal", n_rows, seed)
    n_odd = round(share * n_rows)
    rng = np.random.default_rng(seed + 1)
    rows[-n_odd:] = rows.mean(0) + 15 * rows.std(0) + 0.3 * rng.normal(size=(n_odd, 4))
    return rows


def ones(rows: Array) -> Array:
    return np.ones(len(rows))


@pytest.mark.parametrize("kind", ["normal", "student_t", "lognormal", "clusters"])
def test_tables_of_one_source_have_no_cliff(kind: str) -> None:
    """A Student-t distribution of 2 degrees of freedom has slopes of one half."""
    rows = table(kind, 500, 0)
    cliff = find_cliff(rows, ones(rows), 0)
    assert cliff is not None
    assert not cliff.is_steep


@pytest.mark.parametrize("share", [0.04, 0.05, 0.08])
def test_the_cliff_is_where_other_rows_begin(share: float) -> None:
    rows = with_outliers(share)
    cliff = find_cliff(rows, ones(rows), 0)
    assert cliff is not None
    assert cliff.is_steep
    # Each half has its own share, with a standard deviation of a seventh to a quarter.
    assert cliff.share == pytest.approx(share, rel=0.5)
    assert cliff.distance > 10


def test_few_rows_and_no_columns_say_nothing() -> None:
    assert find_cliff(np.ones((500, 0)), np.ones(500), 0) is None
    rows = table("normal", 150, 0)
    assert find_cliff(rows, ones(rows), 0) is None
    constant = np.ones((400, 2))
    assert find_cliff(constant, ones(constant), 0) is None


def test_weights_are_repetitions_and_order_does_not_matter() -> None:
    rows = with_outliers(0.05, 400)
    weight = np.random.default_rng(2).integers(1, 4, len(rows))
    weighted = find_cliff(rows, weight.astype(float), 0)
    repeated = np.repeat(rows, weight, axis=0)[::-1]
    assert find_cliff(repeated, ones(repeated), 0) == weighted


def test_what_is_found_is_trimmed_and_said() -> None:
    rows = with_outliers(0.05)
    detector = DensityOutlierDetector(GaussianMixture(3, random_state=0))
    detector.set_params(random_state=0).fit(rows)
    odd = np.arange(len(rows)) >= 760
    assert not detector.support_[odd].any()
    # The share is that of the cliff, which begins among the outliers.
    assert (detector.predict(rows[odd]) == -1).mean() > 0.7
    found = detector.trimming_
    assert detector.contamination_ == found.contamination
    assert found.contamination == pytest.approx(0.05, rel=0.5)
    assert found.n_trimmed == np.count_nonzero(~detector.support_)
    assert found.share == pytest.approx(4 * found.contamination)
    said = str(found)
    assert f"fitted to {detector.support_.sum()} of 800 rows" in said
    assert "% of outliers were found" in said
    assert "explain(X[~support_])" in said


def test_nothing_is_trimmed_where_nothing_is_found() -> None:
    rows = table("normal", 400, 0)
    detector = DensityOutlierDetector(GaussianMixture(random_state=0)).fit(rows)
    assert detector.support_.all()
    assert detector.contamination_ == 0.01
    assert "fitted to all of 400 rows" in str(detector.trimming_)
    assert f"not {STEEP}" in str(detector.trimming_)


@pytest.mark.parametrize("reference", ["held_out", "model"])
def test_a_rate_of_false_alarms_is_not_taken_for_a_share(reference: str) -> None:
    """Where references are clean rows, what is found changes the fit alone."""
    rows = with_outliers(0.05)
    detector = DensityOutlierDetector(
        GaussianMixture(3, random_state=0), reference=reference, random_state=0
    ).fit(rows)
    assert detector.trimming_.contamination is not None
    assert detector.contamination_ == pytest.approx(0.01)


def test_missing_cells_are_no_reason_to_complain() -> None:
    rows = with_outliers(0.05, 300)
    rows[0, 0] = np.nan
    detector = DensityOutlierDetector(Missing()).fit(rows)
    assert detector.support_.all()
    assert str(detector.trimming_) == "The density was fitted to all of 300 rows."


class Missing(GaussianMixture):
    """A density that takes missing cells."""

    def fit(self, X: Array, y: None = None) -> "Missing":
        return super().fit(np.nan_to_num(X))

    def score_samples(self, X: Array) -> Array:
        return super().score_samples(np.nan_to_num(X))

    def __sklearn_tags__(self):  # type: ignore[no-untyped-def]
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
