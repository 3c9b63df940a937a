"""Fits by two processes: the same density in both, as good as one process's."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import skvae
from skvae import VAEDensity, load
from skvae.distributed import fit_together

ROOT = Path(skvae.__file__).parent.parent
SETTINGS = {
    "max_iter": 30,
    "hidden_layer_sizes": (16,),
    "companion": None,
    "decoder": "mlp",
    "evidence_tol": 0.3,
    "n_importance_samples": 64,
}

PROCESS = """
import os, sys
import numpy as np, torch, torch.distributed as dist
torch.set_num_threads(1)
sys.path.insert(0, os.environ["ROOT"])
from tests.test_distributed import SETTINGS, bent
import skvae
from skvae.distributed import fit_together
dist.init_process_group("gloo")
rank = dist.get_rank()
what, folder = sys.argv[1:]
rows = bent(600)
own = rows[:400] if rank == 0 else rows[400:]
weight = None
settings = {**SETTINGS, "random_state": 0}
if what == "no seed":
    settings["random_state"] = None
if what == "weights":
    weight = np.ones(len(own)) + rank
if what == "race":
    settings |= {"decoder": "auto", "marginal_transform": "auto", "companion": "auto"}
if what == "critic":
    terms = skvae.InfoObjective(mutual_information=1.0)
    settings |= {"posterior": "implicit", "objective": terms, "max_iter": 3}
density = skvae.VAEDensity(**settings)
if what == "lost":
    if rank == 1:
        from skvae.training import Trainer
        advance = Trainer._advance_one
        def die(self, *arguments):
            if len(self.outcome.history) == 3:
                os.kill(os.getpid(), 9)
            advance(self, *arguments)
        Trainer._advance_one = die
    try:
        fit_together(density, own)
    except skvae.distributed.LostProcessError as error:
        assert "Process 0 of 2 has lost another one" in str(error)
        assert not hasattr(density, "model_")
        print("lost")
    sys.exit(0)
fit_together(density, own, weight)
skvae.save(density, f"{folder}/{what}-{rank}")
dist.destroy_process_group()
"""


def bent(n_rows: int, seed: int = 0) -> NDArray[np.float64]:
    """Return rows near a bent line."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    return np.c_[x, x**2 + 0.3 * rng.normal(size=n_rows)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run_two(what: str, folder: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run two processes that fit together; return how they ended."""
    common = {
        **os.environ,
        "ROOT": str(ROOT),
        "PYTHONPATH": str(ROOT),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    command = [sys.executable, "-W", "ignore", "-c", PROCESS, what, str(folder)]
    processes = [
        subprocess.Popen(
            command,
            env={**common, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    done = []
    for process in processes:
        out, errors = process.communicate(timeout=300)
        done.append(
            subprocess.CompletedProcess(command, process.returncode, out, errors)
        )
    return done


def both(what: str, folder: Path) -> list[VAEDensity]:
    for process in run_two(what, folder):
        assert process.returncode == 0, process.stderr
    return [load(folder / f"{what}-{rank}") for rank in range(2)]


@pytest.mark.parametrize(
    "what",
    [
        "plain",
        "weights",
        pytest.param("critic", marks=pytest.mark.slow),
        pytest.param("no seed", marks=pytest.mark.slow),
        pytest.param("race", marks=pytest.mark.slow),
    ],
)
def test_all_processes_get_the_same_density(what: str, tmp_path: Path) -> None:
    first, second = both(what, tmp_path)
    weights, others = first.model_.state_dict(), second.model_.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    rows = bent(50, seed=1)
    np.testing.assert_array_equal(first.score_samples(rows), second.score_samples(rows))
    assert len(first.history_) == len(second.history_)


@pytest.mark.slow
def test_it_is_as_good_as_the_fits_of_one_process(tmp_path: Path) -> None:
    """Within the spread of seeds: four standard deviations of five fits."""
    density, _ = both("plain", tmp_path)
    test = bent(1000, seed=2)
    alone = [
        VAEDensity(**SETTINGS, random_state=seed).fit(bent(600)).score(test)
        for seed in range(5)
    ]
    spread = max(float(np.std(alone, ddof=1)), 0.01)
    assert density.score(test) == pytest.approx(np.mean(alone), abs=4 * spread)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_lost_process_is_an_error_of_the_others(tmp_path: Path) -> None:
    first, second = run_two("lost", tmp_path)
    assert second.returncode == -signal.SIGKILL
    assert first.returncode == 0, first.stderr
    assert first.stdout.split() == ["lost"]


def test_what_cannot_be_fitted_together(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="There is no group of processes"):
        fit_together(VAEDensity(), bent(10))


@pytest.fixture
def alone(tmp_path: Path) -> Any:
    """A group of this process alone."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_one_process_is_a_group_too(tmp_path: Path) -> None:
    rows = pd.DataFrame(bent(100), columns=["a", "b"])
    density = VAEDensity(**{**SETTINGS, "max_iter": 2})
    assert fit_together(density, rows) is density
    assert list(density.feature_names_in_) == ["a", "b"]
    assert density.random_state is None
    with pytest.raises(ValueError, match="is for fits by one process"):
        fit_together(VAEDensity(checkpoint=tmp_path), rows)


@pytest.mark.slow
def test_the_example_runs_under_torchrun(tmp_path: Path) -> None:
    for number in range(3):
        pd.DataFrame(bent(300, number), columns=["a", "b"]).to_parquet(
            tmp_path / f"{number}.parquet"
        )
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", str(free_port())),
        str(ROOT / "examples" / "distributed" / "fit.py"),
        *(str(tmp_path / "density.skvae"), str(tmp_path), "--max-iter", "3"),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "density.skvae").n_features_in_ == 2
