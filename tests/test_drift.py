"""The alarm for streams."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from skvae import DensityOutlierDetector, DriftAlarm

Array = np.ndarray


def rows(n: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Array:
    return shift + scale * np.random.default_rng(seed).normal(size=(n, 3))


@pytest.fixture(scope="module")
def detector() -> DensityOutlierDetector:
    density = GaussianMixture(random_state=0)
    return DensityOutlierDetector(density, reference="held_out", random_state=0).fit(
        rows(1000, 0)
    )


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.0, 1.4), (0.0, 0.6)])
def test_changes_are_found_and_later_rows_do_not_undo_the_alarm(
    detector: DensityOutlierDetector, shift: float, scale: float
) -> None:
    """Rows may become too strange, or too usual."""
    alarm = DriftAlarm(detector, random_state=0).update(rows(500, 1))
    assert alarm.alarm_at_ is None
    assert alarm.n_rows_seen_ == 500
    alarm.update(rows(300, 2, shift, scale))
    found = alarm.alarm_at_
    assert found is not None
    assert 500 <= found < 700
    assert alarm.update(rows(2000, 3)).alarm_at_ == found


def test_false_alarms_are_as_rare_as_stated(detector: DensityOutlierDetector) -> None:
    """Of 100 streams with new reference rows, 10 % may give one; 22 are four errors."""
    alarms = 0
    for seed in range(100):
        reference, stream = rows(200, 2 * seed + 10), rows(400, 2 * seed + 11)
        detector.fit_threshold(reference, false_positive_rate=0.05)
        alarm = DriftAlarm(detector, false_alarm_rate=0.1, random_state=seed)
        alarms += alarm.update(stream).alarm_at_ is not None
    assert alarms < 22


def test_calls_do_not_matter(detector: DensityOutlierDetector) -> None:
    stream = rows(60, 5)
    whole = DriftAlarm(detector, random_state=3).watch(stream)
    alarm = DriftAlarm(detector, random_state=3)
    parts = [alarm.watch(part) for part in np.array_split(stream, [1, 2, 30])]
    assert_array_equal(np.concatenate(parts), whole)
    assert alarm.log_capital_ == whole[-1]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("false_alarm_rate", 0.0), ("false_alarm_rate", 1.0), ("jump", -0.1)],
)
def test_bad_parameters_are_named(
    detector: DensityOutlierDetector, parameter: str, value: float
) -> None:
    with pytest.raises(ValueError, match=parameter):
        DriftAlarm(detector, **{parameter: value}).update(rows(3, 0))


def test_detectors_without_unseen_reference_rows_are_refused() -> None:
    with pytest.raises(TypeError, match="DensityOutlierDetector"):
        DriftAlarm(GaussianMixture()).update(rows(3, 0))
    detector = DensityOutlierDetector(GaussianMixture())
    with pytest.raises(NotFittedError):
        DriftAlarm(detector).update(rows(3, 0))
    alarm = DriftAlarm(detector.fit(rows(50, 0)))
    with pytest.raises(ValueError, match="reference='training'"):
        alarm.update(rows(3, 0))
    assert not hasattr(alarm, "n_rows_seen_")
    detector.fit_threshold(rows(200, 1))
    assert alarm.update(rows(3, 0)).n_rows_seen_ == 3
