"""DistilledDensity: a student that imitates a teacher, and knows how well."""

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from skvae import (
    AutoregressiveDecoder,
    DensityOutlierDetector,
    DistilledDensity,
    VAEDensity,
)
from tests.conftest import QUICK

NETWORK = {**QUICK, "decoder": AutoregressiveDecoder((24, 24), reads_latents=False)}
STUDENT = VAEDensity(**{**NETWORK, "max_iter": 60})


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.r_[rng.normal(-2, 0.5, (200, 2)), rng.normal(1, 1.0, (300, 2))]


@pytest.fixture(scope="module")
def mixture(rows: np.ndarray) -> FrozenEstimator:
    return FrozenEstimator(GaussianMixture(2, random_state=0).fit(rows))


@pytest.fixture(scope="module")
def distilled(mixture: FrozenEstimator, rows: np.ndarray) -> DistilledDensity:
    return DistilledDensity(
        mixture, student=STUDENT, n_samples=2000, random_state=0
    ).fit(rows)


def test_auto_takes_the_share_that_held_out_rows_prefer(
    distilled: DistilledDensity, mixture: FrozenEstimator, rows: np.ndarray
) -> None:
    others = [
        DistilledDensity(
            mixture, student=STUDENT, n_samples=2000, row_share=share, random_state=0
        ).fit(rows)
        for share in (0.03, 0.3)
    ]
    # The teacher is the same: the smaller gap is the higher mean log-density.
    best = min(others, key=lambda other: other.gap_)
    assert distilled.row_share_ == best.row_share
    assert distilled.gap_ == best.gap_


def test_student_comes_close_to_a_known_teacher(
    distilled: DistilledDensity, mixture: FrozenEstimator
) -> None:
    fresh, _ = mixture.estimator.sample(2000)
    gap = mixture.score_samples(fresh) - distilled.score_samples(fresh)
    # A Kullback–Leibler divergence: positive, but for four standard errors.
    assert gap.mean() > -4 * gap.std() / np.sqrt(len(gap))
    assert gap.mean() < 0.1
    assert abs(distilled.gap_) < 0.1 + 4 * distilled.gap_error_
    error = np.hypot(gap.std() / np.sqrt(len(gap)), distilled.divergence_error_)
    assert abs(distilled.divergence_ - gap.mean()) < 4 * error
    assert 0.3 < distilled.gap_spread_ / gap.std() < 3


def test_student_is_a_density(distilled: DistilledDensity) -> None:
    axis = np.linspace(-12, 12, 601)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    mass = np.exp(distilled.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1, abs=5e-3)


def test_student_is_exact_and_samples_nothing(
    distilled: DistilledDensity, rows: np.ndarray
) -> None:
    evidence = distilled.student_.evidence(rows)
    assert not evidence.standard_error.any()
    assert (evidence.n_samples == 1).all()
    assert_array_equal(evidence.log_density, distilled.score_samples(rows))
    alone = [distilled.score_samples(row[None])[0] for row in rows[:20]]
    assert_array_equal(alone, evidence.log_density[:20])


@pytest.mark.parametrize("row_share", [0.0, 0.25])
def test_student_gets_drawn_rows_and_rows_of_the_table(
    row_share: float, mixture: FrozenEstimator, rows: np.ndarray
) -> None:
    """A kernel density is a sum over its rows, so that its weights can be read."""
    far = np.array([[50.0, 50.0]])
    table = np.r_[rows, np.repeat(far, 100, axis=0)]
    distilled = DistilledDensity(
        mixture,
        student=KernelDensity(),
        n_samples=900,
        row_share=row_share,
        validation_fraction=1e-6,  # one row, all copies of it
        random_state=1,
    ).fit(table)
    at_far = np.exp(distilled.score_samples(far)[0]) * 2 * np.pi
    n_train = 599  # another row is held out
    assert at_far == pytest.approx(row_share * 100 / n_train, abs=1e-9)


def test_gap_is_measured_on_held_out_rows(rows: np.ndarray) -> None:
    """Student and teacher are constant: their difference is the same for all rows."""
    teacher = FrozenEstimator(GaussianMixture(random_state=0).fit(rows))
    same = DistilledDensity(teacher, student=Copy(teacher, 0.25), n_samples=10).fit(
        rows
    )
    assert same.gap_ == pytest.approx(0.25)
    assert same.gap_error_ == pytest.approx(0, abs=1e-7)
    assert same.gap_spread_ == pytest.approx(0, abs=1e-7)


class Copy(KernelDensity):
    """A student that is a known density, lower by some nats."""

    def __init__(self, density: Any = None, lower: float = 0.0) -> None:
        super().__init__()
        self.density = density
        self.lower = lower

    def score_samples(self, X: Any) -> np.ndarray:
        return self.density.score_samples(X) - self.lower


def test_weights_reach_teacher_and_student(rows: np.ndarray) -> None:
    weight = np.r_[np.full(200, 1e-3), np.ones(300)]
    distilled = DistilledDensity(
        KernelDensity(bandwidth=0.3),
        student=KernelDensity(bandwidth=0.3),
        n_samples=500,
        random_state=0,
    ).fit(rows, sample_weight=weight)
    left, right = distilled.score_samples([[-2.0, -2.0], [1.0, 1.0]])
    assert left < right - 2


def test_default_teacher_and_student(rows: np.ndarray) -> None:
    distilled = DistilledDensity(
        VAEDensity(**QUICK), n_samples=300, row_share=0.1, random_state=0
    ).fit(rows[::10])
    assert isinstance(distilled.teacher_, VAEDensity)
    assert not distilled.student_.decoder_.reads_latents
    assert np.isfinite(distilled.score(rows))
    assert distilled.sample(5, random_state=0).shape == (5, 2)


def test_students_of_mixed_tables_read_frames() -> None:
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    height = rng.normal(size=300)
    frame = pd.DataFrame(
        {
            "height": height,
            "kind": np.where(height + rng.normal(size=300) > 0, "tall", "short"),
            "visits": rng.poisson(np.exp(0.3 * height)),
        }
    )
    teacher = VAEDensity(**QUICK, likelihood="auto")
    student = VAEDensity(**NETWORK, likelihood="auto")
    distilled = DistilledDensity(
        teacher, student=student, n_samples=500, random_state=0
    )
    distilled.fit(frame)
    assert distilled.student_.schema_.names == ("height", "kind", "visits")
    assert np.isfinite(distilled.score_samples(frame)).all()
    with pytest.raises(ValueError, match="'kind'"):
        distilled.score_samples(frame.assign(kind="huge"))


def test_same_seed_same_student_and_pickles_keep_it(
    mixture: FrozenEstimator, rows: np.ndarray, distilled: DistilledDensity
) -> None:
    again = DistilledDensity(
        mixture, student=STUDENT, n_samples=2000, random_state=0
    ).fit(rows)
    assert again.gap_ == distilled.gap_
    opened = pickle.loads(pickle.dumps(distilled))
    assert_array_equal(again.score_samples(rows), opened.score_samples(rows))
    assert_array_equal(distilled.sample(7, 3), opened.sample(7, 3))


def test_a_frozen_teacher_stays_as_it_is(
    mixture: FrozenEstimator, rows: np.ndarray, distilled: DistilledDensity
) -> None:
    assert_array_equal(
        distilled.teacher_.score_samples(rows), mixture.score_samples(rows)
    )


def test_searches_and_detectors_take_it(rows: np.ndarray) -> None:
    distilled = DistilledDensity(
        KernelDensity(), student=KernelDensity(), n_samples=200, random_state=0
    )
    grid = {"teacher__bandwidth": [0.3, 3.0], "student__bandwidth": [0.3]}
    search = GridSearchCV(distilled, grid, cv=3).fit(rows)
    assert search.best_params_["teacher__bandwidth"] == 0.3
    detector = DensityOutlierDetector(distilled, contamination=0.1).fit(rows)
    assert detector.predict([[30.0, -30.0]]) == [-1]


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"teacher": "gmm"}, TypeError, "teacher must be an estimator"),
        ({"student": GaussianMixture()}, ValueError, "fit of student"),
        ({"student": GaussianMixture}, TypeError, "student must be an estimator"),
        ({"n_samples": 0}, ValueError, "n_samples"),
        ({"row_share": 1.0}, ValueError, "row_share"),
        ({"row_share": -0.1}, ValueError, "row_share"),
        ({"row_share": "some"}, TypeError, "row_share"),
        ({"validation_fraction": 0}, ValueError, "validation_fraction"),
    ],
)
def test_bad_parameters_are_named(
    parameters: dict[str, Any], error: type[Exception], message: str, rows: np.ndarray
) -> None:
    distilled = DistilledDensity(
        **{"teacher": KernelDensity(), "student": KernelDensity(), **parameters}
    )
    with pytest.raises(error, match=message):
        distilled.fit(rows)
    assert not hasattr(distilled, "student_")


def test_teachers_have_to_draw(rows: np.ndarray) -> None:
    class NoDraws(KernelDensity):
        sample = None

    with pytest.raises(TypeError, match="has no sample"):
        DistilledDensity(NoDraws(), student=KernelDensity()).fit(rows)
