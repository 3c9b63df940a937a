"""What a fit does when it is interrupted or meets numbers that are not finite."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import ELBO, VAEDensity
from skvae.training.loop import Trainer
from tests.conftest import QUICK


@pytest.fixture(scope="module")
def ring() -> np.ndarray:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 400)
    return np.c_[np.cos(angle), np.sin(angle)] + 0.1 * rng.normal(size=(400, 2))


@contextmanager
def tampered_steps(
    monkeypatch: pytest.MonkeyPatch, tamper: Any, first: int, last: float = math.inf
) -> Iterator[None]:
    """Let training steps number `first` to `last` return what `tamper` returns."""
    step, count = Trainer._step, 0

    def tampered(self: Trainer, x: torch.Tensor) -> torch.Tensor | None:
        nonlocal count
        count += 1
        return tamper() if first <= count <= last else step(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", tampered)
        yield


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("after", [3, 4, 9])
def test_an_interrupted_fit_keeps_the_best_weights_and_says_so(
    after: int, early_stopping: bool, ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An epoch has two steps.
    settings = {**QUICK, "max_iter": 20, "early_stopping": early_stopping}
    density = VAEDensity(marginal_transform=None, **settings)
    with (
        tampered_steps(monkeypatch, interrupt, first=after),
        pytest.warns(ConvergenceWarning, match="interrupted.*best weights") as caught,
    ):
        density.fit(ring)
    assert len(caught) == 1
    assert 1 <= density.n_iter_ < 20
    assert density.best_iter_ <= density.n_iter_
    assert np.isfinite(density.score(ring[:40]))
    assert density.sample(3).shape == (3, 2)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("after", [1, 2])
def test_an_interruption_before_an_epoch_has_ended_leaves_the_estimator_as_it_was(
    after: int, early_stopping: bool, ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**QUICK, "early_stopping": early_stopping}
    new = VAEDensity(marginal_transform=None, **settings)
    fitted = VAEDensity(marginal_transform=None, warm_start=True, **settings).fit(ring)
    before = vars(fitted).copy()
    for fit in (new.fit, fitted.fit, fitted.partial_fit):
        with (
            tampered_steps(monkeypatch, interrupt, first=after),
            pytest.raises(KeyboardInterrupt),
        ):
            fit(ring)
    assert not hasattr(new, "n_iter_")
    assert vars(fitted) == before


@pytest.mark.parametrize("step", [1, 3, 6, 8])
def test_an_interrupted_pilot_leaves_the_estimator_as_it_was(
    step: int, ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the two pilots has two epochs of two steps."""
    settings = {**QUICK, "max_iter": 20, "early_stopping": True}
    density = VAEDensity(marginal_transform="auto", **settings)
    with (
        tampered_steps(monkeypatch, interrupt, first=step, last=step),
        pytest.raises(KeyboardInterrupt),
    ):
        density.fit(ring)
    assert not hasattr(density, "model_")


def test_a_grid_search_goes_on_after_an_interrupted_fit(
    ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the documentation of `fit` says."""
    settings = {**QUICK, "early_stopping": False, "batch_size": 400}
    density = VAEDensity(marginal_transform=None, **settings)
    search = GridSearchCV(density, {"prior": ["normal"]}, cv=2, refit=False)
    with (
        tampered_steps(monkeypatch, interrupt, first=2, last=2),
        pytest.warns(ConvergenceWarning, match="interrupted"),
    ):
        search.fit(ring)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    with (
        tampered_steps(monkeypatch, interrupt, first=1, last=1),
        pytest.raises(KeyboardInterrupt),
    ):
        search.fit(ring)


@pytest.mark.parametrize(
    ("method", "tamper", "step"),
    [
        ("fit", interrupt, 3),
        ("fit", lambda: None, 1),
        ("partial_fit", lambda: None, 1),
    ],
)
def test_warnings_point_at_the_callers_line(
    method: str,
    tamper: Any,
    step: int,
    ring: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    density = VAEDensity(marginal_transform=None, **QUICK)
    with (
        tampered_steps(monkeypatch, tamper, first=step),
        pytest.warns(ConvergenceWarning) as caught,
    ):
        getattr(density, method)(ring)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "name", ["density", "pipeline", "nested", "search", "search of pipelines"]
)
def test_every_call_that_has_something_to_say_warns_at_the_callers_line(
    name: str, ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python shows a warning once a line: each call has a line of its own here."""
    density = VAEDensity(marginal_transform=None, **QUICK)
    pipeline = make_pipeline(StandardScaler(), density)
    prior = {"vaedensity__prior": ["normal"]}
    estimator = {
        "density": density,
        "pipeline": pipeline,
        "nested": Pipeline([("outer", pipeline)]),
        "search": GridSearchCV(density, {"prior": ["normal"]}, cv=2, refit=True),
        "search of pipelines": GridSearchCV(pipeline, prior, cv=2, refit=False),
    }[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with tampered_steps(monkeypatch, lambda: None, first=1, last=1):
            estimator.fit(ring)
        with tampered_steps(monkeypatch, lambda: None, first=1, last=1):
            estimator.fit(ring)
    shown = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
    assert [w.filename for w in shown] == [__file__] * 2
    assert shown[1].lineno == shown[0].lineno + 2


def test_a_fit_goes_on_after_an_interruption(
    ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    density = VAEDensity(warm_start=True, marginal_transform=None, **QUICK)
    with (
        tampered_steps(monkeypatch, interrupt, first=3),
        pytest.warns(ConvergenceWarning, match="interrupted"),
    ):
        density.fit(ring)
    n_before = density.n_iter_
    density.fit(ring)
    assert density.n_iter_ == n_before + 3


@pytest.mark.parametrize("early_stopping", [True, False])
def test_one_bad_step_is_recovered_from_and_reported(
    early_stopping: bool, ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**QUICK, "max_iter": 8, "early_stopping": early_stopping}
    # Without "auto", no pilot has the first steps.
    density = VAEDensity(marginal_transform=None, **settings)
    with (
        tampered_steps(monkeypatch, lambda: None, first=6, last=6),
        pytest.warns(ConvergenceWarning, match=r"non-finite values 1 time.*halved"),
    ):
        density.fit(ring)
    bad = [i for i, r in enumerate(density.history_) if math.isnan(r["objective"])]
    assert len(bad) == 1
    assert density.n_iter_ == 8
    assert np.isfinite(density.score(ring[:40]))
    assert all(torch.isfinite(p).all() for p in density.model_.parameters())


def test_the_learning_rate_is_halved_after_a_bad_step(
    ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**QUICK, "max_iter": 8, "early_stopping": False}
    plain = VAEDensity(**settings).fit(ring)
    with (
        tampered_steps(monkeypatch, lambda: None, first=1, last=1),
        pytest.warns(ConvergenceWarning),
    ):
        hurt = VAEDensity(**settings).fit(ring)
    rates = [
        max(record["learning_rate"] for record in density.history_)
        for density in (plain, hurt)
    ]
    assert rates[1] == pytest.approx(rates[0] / 2, rel=0.2)


class NanNow(ELBO):
    """The ELBO, but nan whenever `is_bad` says so."""

    alias = ""
    is_bad: Any = staticmethod(lambda: True)

    def bound(self, draw: Any, progress: float) -> torch.Tensor:
        bound = super().bound(draw, progress)
        return bound * torch.nan if type(self).is_bad() else bound


def test_an_objective_that_is_nan_once_is_recovered_from(
    ring: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10_000))
    monkeypatch.setattr(NanNow, "is_bad", staticmethod(lambda: next(calls) == 4))
    density = VAEDensity(objective=NanNow(), early_stopping=False, **QUICK)
    with pytest.warns(ConvergenceWarning, match="non-finite values 1 time"):
        density.fit(ring)
    assert np.isfinite(density.score(ring[:40]))


@pytest.mark.parametrize("early_stopping", [True, False])
def test_training_that_is_never_finite_keeps_the_start_and_is_reported(
    early_stopping: bool, ring: np.ndarray
) -> None:
    settings = {**QUICK, "max_iter": 30, "early_stopping": early_stopping}
    density = VAEDensity(objective=NanNow(), marginal_transform=None, **settings)
    with pytest.warns(ConvergenceWarning, match="non-finite values") as caught:
        density.fit(ring)
    assert len(caught) == 1
    assert density.n_iter_ <= 30
    assert density.best_iter_ == 0
    assert np.isfinite(density.score_samples(ring[:40])).all()
    assert all(torch.isfinite(p).all() for p in density.model_.parameters())


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("learning_rate", [1e3, 1e300])
@pytest.mark.parametrize("max_iter", [1, 10])
def test_a_far_too_large_learning_rate_leaves_a_finite_density(
    max_iter: int, learning_rate: float, early_stopping: bool, ring: np.ndarray
) -> None:
    """Also where it is the last step that spoils the weights."""
    settings = {**QUICK, "max_iter": max_iter, "early_stopping": early_stopping}
    density = VAEDensity(
        learning_rate=learning_rate, marginal_transform=None, **settings
    )
    with pytest.warns(ConvergenceWarning, match="learning_rate"):
        density.fit(ring)
    assert np.isfinite(density.score_samples(ring[:40])).all()
    assert np.isfinite(density.sample(500)).all()
