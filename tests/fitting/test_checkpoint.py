"""Fits that are killed go on, to the result of an undisturbed fit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from skvae import ConditionalVAEDensity, VAEDensity, load
from skvae.training import Trainer
from tests.conftest import GIVEN_QUICK, QUICK

SETTINGS = {**QUICK, "max_iter": 8, "hidden_layer_sizes": (8,)}
# Two decoders and two margins, of which one goes on.
RACE = {**SETTINGS, "decoder": "auto", "max_iter": 40}

Killed = type("Killed", (BaseException,), {})


def kill_after(n_epochs: int, patch: pytest.MonkeyPatch) -> None:
    """Let training raise after so many epochs, of whichever trainers."""
    left = [n_epochs]
    advance_one = Trainer._advance_one

    def dying(self: Trainer, *arguments: Any) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        advance_one(self, *arguments)

    patch.setattr(Trainer, "_advance_one", dying)


def same(one: VAEDensity, other: VAEDensity) -> bool:
    """Return whether two densities have the same weights, records and pilots."""
    states = [density.model_.state_dict() for density in (one, other)]
    without_times = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in records]
        for density in (one, other)
        for records in (density.history_, density.pilots_)
    ]
    return (
        all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        and repr(without_times[0]) == repr(without_times[2])
        and repr(without_times[1]) == repr(without_times[3])
    )


@pytest.fixture(scope="module")
def undisturbed(table: NDArray[Any]) -> VAEDensity:
    """Return a fit with a race, which nothing has stopped."""
    return VAEDensity(**RACE).fit(table)


@pytest.mark.parametrize("stops", [(1,), (3, 2, 5), (30,), (60,)])
def test_a_killed_fit_goes_on_to_the_same_result(
    stops: tuple[int, ...],
    table: NDArray[Any],
    undisturbed: VAEDensity,
    tmp_path: Path,
) -> None:
    """Wherever it was: in the race, between its rounds, or after it."""
    assert len(undisturbed.pilots_) > 1
    density = VAEDensity(checkpoint=tmp_path, **RACE)
    for n_epochs in stops:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            kill_after(n_epochs, patch)
            density.fit(table)
    assert same(density.fit(table), undisturbed)
    rows = table[:20]
    np.testing.assert_array_equal(
        density.score_samples(rows), undisturbed.score_samples(rows)
    )


def test_no_finished_epoch_is_trained_again(
    table: NDArray[Any], tmp_path: Path
) -> None:
    settings = {**SETTINGS, "marginal_transform": None}
    density = VAEDensity(checkpoint=tmp_path, **settings)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after(5, patch)
        density.fit(table)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(3, patch)  # the rest of eight
        density.fit(table)
    assert len(density.history_) == 8
    with pytest.MonkeyPatch.context() as patch:
        kill_after(0, patch)
        density.fit(table)


def test_a_fit_without_a_seed_keeps_the_one_that_it_had(
    table: NDArray[Any], tmp_path: Path
) -> None:
    settings = {**SETTINGS, "random_state": None}
    one = VAEDensity(checkpoint=tmp_path, **settings).fit(table)
    assert same(VAEDensity(checkpoint=tmp_path, **settings).fit(table), one)
    assert not same(VAEDensity(checkpoint=tmp_path / "b", **settings).fit(table), one)


@pytest.mark.parametrize(
    ("change", "scale", "reason"),
    [
        ({}, 2.0, "the rows, their weights or their columns are others"),
        ({"batch_size": 64}, 1.0, "batch_size was 256 and is 64"),
        ({"prior": "normal"}, 1.0, "prior was 'mixture' and is 'normal'"),
        ({"random_state": 1}, 1.0, "random_state is another one"),
    ],
)
def test_the_checkpoint_of_another_fit_is_refused(
    change: dict[str, Any],
    scale: float,
    reason: str,
    table: NDArray[Any],
    tmp_path: Path,
) -> None:
    rows = table[:60]
    VAEDensity(checkpoint=tmp_path, **SETTINGS).fit(rows)
    other = VAEDensity(checkpoint=tmp_path, **{**SETTINGS, **change})
    with pytest.raises(ValueError, match=reason):
        other.fit(rows * scale)
    assert not hasattr(other, "model_")


def test_what_no_training_depends_on_may_change(
    table: NDArray[Any], tmp_path: Path
) -> None:
    one = VAEDensity(checkpoint=tmp_path, **SETTINGS).fit(table)
    settings = {**SETTINGS, "evidence_tol": 0.5}
    assert same(VAEDensity(checkpoint=tmp_path, **settings).fit(table), one)


def test_conditional_densities_have_checkpoints(
    table: NDArray[Any], tmp_path: Path
) -> None:
    x, y = table[:80, :2], table[:80, 2:]
    plain = ConditionalVAEDensity(**GIVEN_QUICK).fit(x, y)
    kept = ConditionalVAEDensity(checkpoint=tmp_path, **GIVEN_QUICK)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after(2, patch)
        kept.fit(x, y)
    assert same(kept.fit(x, y), plain)


def test_a_damaged_checkpoint_is_an_error(table: NDArray[Any], tmp_path: Path) -> None:
    density = VAEDensity(checkpoint=tmp_path, **SETTINGS).fit(table[:60])
    (file,) = tmp_path.glob("training-*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="cannot be opened"):
        density.fit(table[:60])


def test_only_paths_are_folders(table: NDArray[Any]) -> None:
    with pytest.raises(TypeError, match="checkpoint must be a path or None, got 3"):
        VAEDensity(checkpoint=3).fit(table)


SCRIPT = """
import sys
import numpy as np, torch
torch.set_num_threads(1)
from skvae import VAEDensity, save
rows = np.random.default_rng(0).normal(size=(400, 3)) @ np.ones((3, 3))
rows += np.random.default_rng(1).normal(size=(400, 3))
density = VAEDensity(
    checkpoint=sys.argv[1], max_iter=30, hidden_layer_sizes=(32,), companion=None,
    random_state=0,
).fit(rows)
save(density, sys.argv[2])
"""


def started(folder: Path, file: Path) -> subprocess.Popen:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder), str(file)]
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root})


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_twenty_killed_processes_of_twenty_go_on(tmp_path: Path) -> None:
    """Kill -9 at random moments, until a process ends by itself."""
    file = tmp_path / "undisturbed"
    begin = time.monotonic()
    assert started(tmp_path / "none", file).wait() == 0
    longest = time.monotonic() - begin
    expected = load(file)
    random = np.random.default_rng(0)
    for trial in range(20):
        folder, file = tmp_path / f"folder{trial}", tmp_path / f"file{trial}"
        process = started(folder, file)
        try:
            process.wait(timeout=longest * random.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert started(folder, file).wait() == 0
        assert same(load(file), expected)
