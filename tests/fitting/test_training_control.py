"""How a fit starts, goes on, stops, is watched and recovers."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae import VAEDensity
from tests.conftest import QUICK

RECORD = {
    "epoch",
    "objective",
    "bound",
    "evidence",
    "reconstruction",
    "kl",
    "learning_rate",
    "seconds",
}


@pytest.fixture(scope="module")
def ring() -> np.ndarray:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 400)
    return np.c_[np.cos(angle), np.sin(angle)] + 0.1 * rng.normal(size=(400, 2))


# History


@pytest.mark.parametrize("early_stopping", [True, False])
def test_history_has_one_finite_record_per_epoch(
    early_stopping: bool, table: np.ndarray
) -> None:
    fitted = VAEDensity(early_stopping=early_stopping, **QUICK).fit(table)
    assert fitted.n_iter_ == len(fitted.history_) == 3
    assert [record["epoch"] for record in fitted.history_] == [1, 2, 3]
    for record in fitted.history_:
        assert record.keys() == RECORD
        assert all(type(value) in (int, float) for value in record.values())
        finite = RECORD if early_stopping else RECORD - {"evidence"}
        assert all(math.isfinite(record[name]) for name in finite)
        assert record["learning_rate"] > 0
        assert record["seconds"] > 0
        if not early_stopping:
            assert math.isnan(record["evidence"])
    assert 0 <= fitted.best_iter_ <= 3


def test_history_is_in_the_units_of_the_input(ring: np.ndarray) -> None:
    settings = {**QUICK, "max_iter": 5, "objective": "elbo", "early_stopping": True}
    base = VAEDensity(**settings).fit(ring).history_
    scaled = VAEDensity(**settings).fit(ring * [4.0, 0.5]).history_
    shift = math.log(4.0 * 0.5)
    for a, b in zip(base, scaled, strict=True):
        for name in ("objective", "bound", "evidence", "reconstruction"):
            assert b[name] == pytest.approx(a[name] - shift, abs=1e-4)
        assert b["kl"] == pytest.approx(a["kl"], abs=1e-4)


def test_the_elbo_in_the_history_is_reconstruction_minus_kl(ring: np.ndarray) -> None:
    """That of the latent part, that is; a background adds its share."""
    latent = VAEDensity(prior="normal", objective="elbo", background=None, **QUICK)
    for record in latent.fit(ring).history_:
        difference = record["reconstruction"] - record["kl"]
        assert record["objective"] == pytest.approx(difference, abs=1e-4)


def test_the_learning_rate_rises_then_falls(ring: np.ndarray) -> None:
    fitted = VAEDensity(
        **{**QUICK, "max_iter": 20}, learning_rate=0.01, early_stopping=False
    ).fit(ring)
    rates = [record["learning_rate"] for record in fitted.history_]
    assert max(rates) <= 0.01
    assert rates[-1] < 0.1 * max(rates)
    assert rates[0] < max(rates)


# Early stopping


def test_training_improves_the_density(ring: np.ndarray) -> None:
    settings = {**QUICK, "max_evidence_samples": 256}
    short = VAEDensity(**{**settings, "max_iter": 1}).fit(ring)
    long = VAEDensity(**{**settings, "max_iter": 200}).fit(ring)
    assert long.score(ring) > short.score(ring) + 0.1
    assert long.history_[-1]["objective"] > long.history_[0]["objective"] + 0.1


def test_early_stopping_ends_training_that_no_longer_helps() -> None:
    noise = np.random.default_rng(0).normal(size=(150, 4))
    settings = {**QUICK, "max_iter": 400, "learning_rate": 0.02}
    fitted = VAEDensity(early_stopping=True, n_iter_no_change=5, **settings).fit(noise)
    assert fitted.n_iter_ < 400
    assert fitted.best_iter_ <= fitted.n_iter_ - 5


def test_the_best_epoch_is_kept() -> None:
    noise = np.random.default_rng(0).normal(size=(150, 4))
    settings = {**QUICK, "learning_rate": 0.02, "early_stopping": True}
    longer = VAEDensity(**{**settings, "max_iter": 60}, n_iter_no_change=60).fit(noise)
    scores = [
        record["evidence"]
        for record in longer.history_
        if math.isfinite(record["evidence"])
    ]
    best = longer.history_[longer.best_iter_ - 1]["evidence"]
    assert longer.best_iter_ < 60
    assert longer.best_iter_ == 0 or best == max(scores)


def test_without_early_stopping_all_epochs_are_used() -> None:
    noise = np.random.default_rng(0).normal(size=(150, 4))
    fitted = VAEDensity(early_stopping=False, n_iter_no_change=1, **QUICK).fit(noise)
    assert fitted.n_iter_ == fitted.best_iter_ == 3


def test_no_training_stops_before_it_has_been_judged(ring: np.ndarray) -> None:
    """Of 1,000 epochs about 40 are validated; patience is shorter than their gaps."""
    settings = {**QUICK, "max_iter": 1000, "n_iter_no_change": 10, "tol": 0.0}
    density = VAEDensity(**settings, marginal_transform=None).fit(ring)
    validated = [r["epoch"] for r in density.history_ if np.isfinite(r["evidence"])]
    assert density.n_iter_ == validated[-1]
    since = [epoch for epoch in validated if epoch > density.best_iter_]
    assert density.n_iter_ == 1000 or len(since) >= 2
    assert density.best_iter_ > 0


def test_patience_counts_epochs_without_enough_gain(ring: np.ndarray) -> None:
    settings = {**QUICK, "max_iter": 60, "early_stopping": True}
    strict = VAEDensity(n_iter_no_change=2, tol=1e3, **settings).fit(ring)
    assert strict.n_iter_ == 3


# Going on


def test_a_warm_start_goes_on_where_the_last_fit_ended(ring: np.ndarray) -> None:
    settings = {**QUICK, "max_iter": 15, "max_evidence_samples": 256}
    density = VAEDensity(warm_start=True, **settings).fit(ring)
    first, columns = density.score(ring), density.columns_
    history = list(density.history_)
    density.fit(ring)
    assert density.score(ring) > first
    assert density.n_iter_ == 30
    assert density.history_[:15] == history
    assert [record["epoch"] for record in density.history_] == list(range(1, 31))
    assert 15 <= density.best_iter_ <= 30
    assert density.columns_ is columns


def test_without_a_warm_start_a_fit_forgets(ring: np.ndarray) -> None:
    density = VAEDensity(**QUICK).fit(ring)
    first = density.score_samples(ring[:40])
    density.fit(ring)
    assert density.n_iter_ == 3
    assert_array_equal(density.score_samples(ring[:40]), first)


def test_a_warm_start_keeps_its_units_on_other_rows(ring: np.ndarray) -> None:
    density = VAEDensity(warm_start=True, **QUICK).fit(ring)
    center, scale = density.columns_.center, density.columns_.scale
    density.fit(3 * ring + 1)
    assert_array_equal(density.columns_.center, center)
    assert_array_equal(density.columns_.scale, scale)
    assert np.isfinite(density.score(3 * ring + 1))


def test_a_first_warm_fit_is_a_cold_one(ring: np.ndarray) -> None:
    warm = VAEDensity(warm_start=True, **QUICK).fit(ring)
    cold = VAEDensity(**QUICK).fit(ring)
    assert_array_equal(warm.score_samples(ring[:40]), cold.score_samples(ring[:40]))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_going_on_with_other_columns_is_an_error(method: str, ring: np.ndarray) -> None:
    density = VAEDensity(warm_start=True, **QUICK).fit(ring)
    with pytest.raises(ValueError, match="X has 3 features, but VAEDensity is expec"):
        getattr(density, method)(np.ones((9, 3)))


def test_partial_fit_trains_one_epoch_a_call(ring: np.ndarray) -> None:
    settings = {**QUICK, "max_evidence_samples": 256}
    density = VAEDensity(**settings).partial_fit(ring)
    assert density.n_iter_ == len(density.history_) == 1
    first = density.score(ring)
    for _ in range(40):
        density.partial_fit(ring)
    assert density.n_iter_ == 41
    assert [record["epoch"] for record in density.history_] == list(range(1, 42))
    assert density.score(ring) > first + 0.05
    rates = {record["learning_rate"] for record in density.history_[1:]}
    assert rates == {density.learning_rate}


def test_partial_fit_learns_from_batches(ring: np.ndarray) -> None:
    density = VAEDensity(**{**QUICK, "max_evidence_samples": 256})
    batches = np.array_split(ring, 4)
    density.partial_fit(batches[0])
    first = density.score(ring)
    for _ in range(15):
        for batch in batches:
            density.partial_fit(batch)
    assert density.score(ring) > first


def test_partial_fit_goes_on_with_the_optimisers_state(ring: np.ndarray) -> None:
    def steps() -> list[float]:
        state = density._optimiser_state["state"]
        return [float(slot["step"]) for slot in state.values()]

    density = VAEDensity(**QUICK).partial_fit(ring)
    per_epoch = steps()
    assert set(per_epoch) == {2.0}
    density.partial_fit(ring)
    assert steps() == [2 * n for n in per_epoch]


def test_partial_fit_goes_on_from_a_fit(ring: np.ndarray) -> None:
    density = VAEDensity(**QUICK).fit(ring)
    columns, before = density.columns_, density.score_samples(ring[:40])
    density.partial_fit(ring)
    assert density.columns_ is columns
    assert density.n_iter_ == 4
    assert not np.array_equal(density.score_samples(ring[:40]), before)


def test_fit_after_partial_fit_starts_anew(ring: np.ndarray) -> None:
    density = VAEDensity(**QUICK).partial_fit(ring).fit(ring)
    fresh = VAEDensity(**QUICK).fit(ring)
    assert_array_equal(density.score_samples(ring[:40]), fresh.score_samples(ring[:40]))
    assert density.n_iter_ == 3


@pytest.mark.parametrize(
    "change",
    [
        {"n_components": 1},
        {"hidden_layer_sizes": (4,)},
        {"prior": "normal"},
        {"likelihood": "gaussian"},
        {"posterior": "diagonal"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_fitted_attributes_describe_the_model_when_parameters_change_before_going_on(
    method: str, change: dict[str, Any], ring: np.ndarray
) -> None:
    density = VAEDensity(2, warm_start=True, **QUICK).fit(ring).set_params(**change)
    try:
        getattr(density, method)(ring)
    except ValueError as error:
        assert next(iter(change)) in str(error)
        return
    logits = getattr(density.model_.prior, "logit", None)
    assert (density.prior_.alias == "mixture") == (logits is not None)
    name = type(density.model_.likelihood).__name__.removesuffix("Module")
    assert type(density.likelihood_).__name__ == name
    name = type(density.model_.posterior).__name__.removesuffix("Module")
    assert type(density.posterior_).__name__ == name
    assert density.n_components_ == density.transform(ring).shape[1]


# Watching


def test_verbose_shows_a_bar_with_the_validation_score(
    ring: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = VAEDensity(verbose=1, early_stopping=True, **QUICK).fit(ring)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "VAEDensity: 100%" in shown.err
    assert "3/3" in shown.err
    last = fitted.history_[-1]["evidence"]
    assert f"validation {last:.4g} nats/row" in shown.err
    assert "<" in shown.err  # elapsed < left


def test_nothing_is_printed_by_default(
    ring: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    VAEDensity(**QUICK).fit(ring).score(ring)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


# scikit-learn's callbacks


@pytest.fixture
def callback() -> Any:
    return pytest.importorskip(
        "sklearn.callback", reason="callbacks came with scikit-learn 1.9"
    )


class Recorder:
    """A callback that records what its hooks get and can ask to stop."""

    def __init__(self, stop_after: float = math.inf) -> None:
        self.stop_after = stop_after
        self.tasks: list[tuple[str, str, int]] = []
        self.scores: list[float] = []
        self.samples: list[np.ndarray] = []
        self.torn_down = 0

    def setup(self, estimator: Any, context: Any) -> None:
        self.max_subtasks = context.max_subtasks

    def teardown(self, estimator: Any, context: Any) -> None:
        self.torn_down += 1

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.tasks.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, fitted_estimator: Any
    ) -> bool:
        self.tasks.append(("end", context.task_name, context.task_id))
        if context.task_name != "epoch":
            return False
        self.scores.append(fitted_estimator.score(X))
        self.samples.append(fitted_estimator.sample(2))
        return context.task_id + 1 >= self.stop_after


def test_callbacks_see_every_epoch_with_a_usable_estimator(
    callback: Any, ring: np.ndarray
) -> None:
    recorder = Recorder()
    density = VAEDensity(early_stopping=False, **QUICK).set_callbacks(recorder)
    density.fit(ring)
    assert recorder.max_subtasks == 3
    assert recorder.tasks == [
        ("begin", "fit", 0),
        *((what, "epoch", i) for i in range(3) for what in ("begin", "end")),
        ("end", "fit", 0),
    ]
    assert recorder.torn_down == 1
    assert len(set(recorder.scores)) == 3
    assert recorder.scores[-1] == density.score(ring)


def test_callbacks_do_not_change_the_fit(callback: Any, ring: np.ndarray) -> None:
    watched = VAEDensity(**QUICK).set_callbacks(Recorder()).fit(ring)
    alone = VAEDensity(**QUICK).fit(ring)
    assert_array_equal(watched.score_samples(ring[:40]), alone.score_samples(ring[:40]))


def test_a_callback_stops_the_fit(callback: Any, ring: np.ndarray) -> None:
    recorder = Recorder(stop_after=2)
    settings = {**QUICK, "max_iter": 10, "marginal_transform": None}
    density = VAEDensity(**settings).set_callbacks(recorder).fit(ring)
    assert density.n_iter_ == 2
    assert recorder.tasks[-1] == ("end", "fit", 0)
    assert recorder.torn_down == 1
    assert np.isfinite(density.score(ring[:40]))


def test_callbacks_watch_partial_fit(callback: Any, ring: np.ndarray) -> None:
    recorder = Recorder()
    density = VAEDensity(**QUICK).set_callbacks(recorder)
    density.partial_fit(ring).partial_fit(ring)
    assert [task for task in recorder.tasks if task[0] == "end"] == [
        ("end", "epoch", 0),
        ("end", "fit", 0),
    ] * 2


def test_callbacks_see_column_names(callback: Any, ring: np.ndarray) -> None:
    pd = pytest.importorskip("pandas")
    recorder = Recorder()
    density = VAEDensity(**QUICK, marginal_transform=None).set_callbacks(recorder)
    density.fit(pd.DataFrame(ring, columns=["x", "y"]))
    assert len(recorder.scores) == 3


def test_callbacks_see_the_epochs_after_the_race(
    callback: Any, ring: np.ndarray
) -> None:
    recorder = Recorder()
    settings = {**QUICK, "max_iter": 30}
    density = VAEDensity(**settings).set_callbacks(recorder).fit(ring)
    assert len(density.pilots_) == 2
    in_race = 3  # a tenth of the epochs, of either candidate
    assert recorder.max_subtasks == 30 - in_race
    assert len(recorder.scores) == density.n_iter_ - in_race


def test_a_failing_callback_leaves_the_estimator_unfitted(
    callback: Any, ring: np.ndarray
) -> None:
    class Failing(Recorder):
        def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
            raise ArithmeticError("the callback failed")

    recorder = Failing()
    density = VAEDensity(**QUICK).set_callbacks(recorder)
    with pytest.raises(ArithmeticError, match="the callback failed"):
        density.fit(ring)
    assert recorder.torn_down == 1
    assert not hasattr(density, "model_")


def test_a_scoring_monitor_logs_every_epoch(callback: Any, ring: np.ndarray) -> None:
    def nats(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        return estimator.score(X, sample_weight=sample_weight)

    monitor = callback.ScoringMonitor(scoring={"nats": nats})
    density = VAEDensity(early_stopping=False, **QUICK).set_callbacks(monitor)
    # The monitor of scikit-learn 1.9 computes no score where y is None.
    density.fit(ring, np.zeros(len(ring)))
    log = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["task_id"] for row in log] == [0, 1, 2]
    assert_allclose(log[-1]["nats"], density.score(ring))
    assert len({row["nats"] for row in log}) == 3


def test_scikit_learns_progress_bar_follows_the_fit(
    callback: Any, ring: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    VAEDensity(**QUICK).set_callbacks(callback.ProgressBar()).fit(ring)
    assert "VAEDensity" in capsys.readouterr().out
