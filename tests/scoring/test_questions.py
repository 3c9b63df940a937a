"""Questions that need less than a log-density are answered with fewer draws."""

import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skvae import DensityOutlierDetector, Evidence, VAEDensity
from skvae.model import VAE
from skvae.scoring.reader import RowReader
from tests.conftest import QUICK

USUAL = {**QUICK, "max_iter": 40, "evidence_tol": 0.1, "max_evidence_samples": 4096}


@pytest.fixture(scope="module")
def bent() -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2))
    noise = 0.2 * rng.normal(size=(600, 4))
    return np.c_[z, z[:, :1] * z[:, 1:], np.sin(2 * z[:, :1])] + noise


@pytest.fixture(scope="module")
def usual(bent: np.ndarray) -> VAEDensity:
    return VAEDensity(**{**USUAL, "n_importance_samples": 64}).fit(bent[:400])


@pytest.fixture(scope="module")
def full(usual: VAEDensity, bent: np.ndarray) -> Evidence:
    """Return the answer that no threshold is asked for."""
    return usual.evidence(bent)


# Which side of a threshold?


@pytest.mark.parametrize("quantile", [0.02, 0.3, 0.9])
def test_sides_are_those_of_the_full_answer(
    quantile: float, usual: VAEDensity, full: Evidence, bent: np.ndarray
) -> None:
    threshold = float(np.quantile(full.log_density, quantile))
    side = usual.evidence(bent, threshold=threshold)
    differs = (side.log_density < threshold) != (full.log_density < threshold)
    error = np.hypot(side.standard_error, full.standard_error)
    assert (abs(full.log_density - threshold)[differs] < 5 * error[differs]).all()
    assert differs.mean() < 0.02


def test_rows_far_above_the_threshold_need_sixteen_draws(
    usual: VAEDensity, full: Evidence, bent: np.ndarray
) -> None:
    threshold = float(full.log_density.min()) - 9
    side = usual.evidence(bent, threshold=threshold)
    assert (side.log_density > threshold).all()
    assert (side.n_samples == 16).mean() > 0.99
    assert side.n_samples.sum() < 0.2 * full.n_samples.sum()


def test_sides_do_not_depend_on_the_other_rows(
    usual: VAEDensity, bent: np.ndarray
) -> None:
    together = usual.evidence(bent[400:], threshold=-3.0).log_density
    reversed_ = usual.evidence(bent[:399:-1], threshold=-3.0).log_density[::-1]
    assert_array_equal(together, reversed_)
    alone = [usual.evidence(row[None], threshold=-3.0) for row in bent[400:412]]
    assert_array_equal(together[:12], [one.log_density[0] for one in alone])


def test_predictions_of_a_detector_need_fewer_draws(bent: np.ndarray) -> None:
    detector = DensityOutlierDetector(
        VAEDensity(**USUAL), contamination=0.05, random_state=0
    ).fit(bent[:400])
    asked: list[Any] = []
    read = RowReader.evidence

    def counted(self: RowReader, *arguments: Any) -> Any:
        asked.append(read(self, *arguments))
        return asked[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowReader, "evidence", counted)
        labels = detector.predict(bent[400:])
        decision = detector.decision_function(bent[400:])
    assert (labels == np.where(decision < 0, -1, 1)).mean() > 0.99
    assert asked[0].n_samples.sum() < 0.97 * asked[1].n_samples.sum()


@pytest.mark.parametrize("threshold", [np.nan, np.inf, "low"])
def test_thresholds_are_numbers(threshold: Any, usual: VAEDensity) -> None:
    with pytest.raises((TypeError, ValueError), match="threshold"):
        usual.evidence(np.zeros((1, 4)), threshold=threshold)


def test_a_single_proposal_has_no_threshold(usual: VAEDensity) -> None:
    with pytest.raises(ValueError, match=r"threshold=0\.0 and proposal"):
        usual.evidence(np.zeros((1, 4)), threshold=0.0, proposal="encoder")


# What is the mean?


def test_score_is_the_mean_log_density(usual: VAEDensity, bent: np.ndarray) -> None:
    rows = bent[400:]
    weight = np.random.default_rng(0).uniform(size=len(rows))
    precise = usual.evidence(rows, tol=0.02, max_samples=2**15).log_density
    for w in (None, weight):
        score = usual.score(rows, sample_weight=w)
        mean = np.average(precise, weights=w)
        # Four standard errors of rows that are read to 0.3 nats.
        assert score == pytest.approx(mean, abs=4 * 0.3 / np.sqrt(len(rows)))


# How long will it take?


def test_progress_is_shown_if_scoring_takes_long(
    usual: VAEDensity,
    full: Evidence,
    bent: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.setattr("skvae.scoring.progress.DELAY", 0.0)
    monkeypatch.setattr("skvae.scoring.progress.ROWS_BETWEEN", 100)
    usual.score_samples(bent[:200])
    assert not capsys.readouterr().err
    usual.set_params(verbose=1)
    try:
        shown = usual.score_samples(bent)
    finally:
        usual.set_params(verbose=0)
    assert_array_equal(shown, full.log_density)
    assert "VAEDensity: 100%" in capsys.readouterr().err


def test_short_scorings_show_nothing(
    usual: VAEDensity, bent: np.ndarray, capsys: Any
) -> None:
    usual.set_params(verbose=1)
    try:
        usual.score_samples(bent[:5])
    finally:
        usual.set_params(verbose=0)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_interrupted_scoring_ends_at_once_and_leaves_the_estimator_intact(
    n_threads: int, usual: VAEDensity, full: Evidence, bent: np.ndarray
) -> None:
    draw_from, n_calls = VAE.draw_from, 0

    def interrupted(self: VAE, *arguments: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            raise KeyboardInterrupt
        return draw_from(self, *arguments)

    torch.set_num_threads(n_threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(VAE, "draw_from", interrupted)
            with pytest.raises(KeyboardInterrupt):
                usual.score_samples(np.tile(bent, (20, 1)))
            time.sleep(0.1)
            assert n_calls < 40  # the other thread ends its block of rows, of thousands
    finally:
        torch.set_num_threads(1)
    assert_array_equal(usual.score_samples(bent), full.log_density)
