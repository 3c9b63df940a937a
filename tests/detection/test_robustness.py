"""Detectors on tables as they come: contaminated, degenerate, scored far away."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from skvae import DensityOutlierDetector, OutlierCommittee

Array = np.ndarray

DISTANCES = 10.0 ** np.arange(1, 6.5, 0.5)  # standard deviations


def detector(**settings: object) -> DensityOutlierDetector:
    """Return a detector with the default density, quick."""
    settings = {"max_iter": 3, "random_state": 0, **settings}
    return DensityOutlierDetector(OutlierCommittee(**settings))


def degenerate_table() -> Array:
    """Return columns that are normal, constant, repeated, whole and mostly zero."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(150, 2))
    return np.c_[
        normal,
        np.full(150, 7.0),
        normal[:, 0],
        np.round(2 * normal[:, 1]),
        np.where(rng.random(150) < 0.8, 0, rng.exponential(size=150)),
    ]


@pytest.fixture(scope="module")
def fitted() -> DensityOutlierDetector:
    return detector().fit(degenerate_table())


def directions() -> list[Array]:
    axes = np.eye(6)
    rng = np.random.default_rng(1)
    return [*axes, *-axes, *rng.normal(size=(6, 6)), np.array([1, 0, 0, 1, 0, 0])]


def test_far_scores_are_finite_and_fall_in_every_direction(
    fitted: DensityOutlierDetector,
) -> None:
    table = degenerate_table()
    # A constant column is scaled by its value.
    deviation = np.where(table.std(0) > 0, table.std(0), np.abs(table.mean(0)))
    ways = np.stack(directions())[:, None] * deviation
    rows = (table.mean(0) + DISTANCES[:, None] * ways).reshape(-1, 6)
    scores = fitted.score_samples(rows).reshape(len(ways), -1)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()
    assert_array_equal(fitted.predict(rows), -1)
    assert_array_equal(
        fitted.p_values(rows[len(DISTANCES) - 1 :: len(DISTANCES)]), 1 / 151
    )


def test_row_that_breaks_a_repeated_column_is_strange(
    fitted: DensityOutlierDetector,
) -> None:
    table = degenerate_table()
    broken = table[:20].copy()
    broken[:, 3] = -np.sign(broken[:, 3]) * 3
    assert fitted.score_samples(broken).max() < np.median(fitted.score_samples(table))


def test_anomalies_in_the_training_rows_do_not_spoil_the_order() -> None:
    rng = np.random.default_rng(0)

    def normal(n: int) -> Array:
        angle = rng.uniform(0, 2 * np.pi, n)
        return np.c_[np.cos(angle), np.sin(angle)] + 0.1 * rng.normal(size=(n, 2))

    def strange(n: int) -> Array:
        return rng.uniform(-4, 4, size=(n, 2))

    train, test = normal(600), np.r_[normal(300), strange(100)]
    is_strange = np.repeat([False, True], [300, 100])
    learner = detector(max_iter=60)

    def area(n_strange: int) -> float:
        rows = np.r_[train[n_strange:], strange(n_strange)]
        scores = clone(learner).fit(rows).score_samples(test)
        return roc_auc_score(is_strange, -scores)

    clean = area(0)
    assert clean > 0.93
    for n_strange in (6, 60):
        assert area(n_strange) > clean - 0.03


def test_default_density_is_a_clone_of_its_own(table: Array) -> None:
    first, second = DensityOutlierDetector(), DensityOutlierDetector()
    assert isinstance(first._density(), OutlierCommittee)
    assert first._density() is not second._density()
    assert first.get_params() == second.get_params()
