"""The snippets of the documentation run as they are written, with quick fits."""

import re
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

import skvae
from skvae import (
    DensityOutlierDetector,
    DistilledDensity,
    OutlierCommittee,
    VAEDensity,
)
from skvae.base import BaseVAEDensity
from tests.conftest import QUICK
from tests.persistence.test_files import WidePrior, WidePriorModule

ROOT = Path(__file__).parents[2]
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

Names = dict[str, Any]
Start = Callable[[np.ndarray], Names]


def snippets(page: str) -> list[str]:
    return SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))


# What a page supposes to be there before its first snippet.


def rows(table: np.ndarray) -> Names:
    return {"X": table[:150], "X_new": table[150:]}


def nothing(table: np.ndarray) -> Names:
    return {}


def with_companion(table: np.ndarray) -> Names:
    BaseVAEDensity.__init__.__kwdefaults__["companion"] = "auto"  # as it was
    return {}


def mixed_frame(table: np.ndarray) -> Names:
    rng = np.random.default_rng(0)
    visits, age = rng.poisson(2.0, size=60), rng.normal(40, 9, size=60)
    return {"frame": pd.DataFrame({"visits": visits, "age": age})}


def targets(table: np.ndarray) -> Names:
    X, y = table[:, :2], table[:, 2]
    split = {"X_train": X[:150], "X_test": X[150:], "y_train": y[:150]}
    return {"X": X, "y": y, **split, "y_test": y[150:]}


def kept_fits(table: np.ndarray) -> Names:
    own = VAEDensity(prior=WidePrior()).fit(table)
    skvae.save(own, "own.skvae")
    classes = {"MyPrior": WidePrior, "MyPriorModule": WidePriorModule}
    return {"density": VAEDensity().fit(table), "X": table, **classes}


# Pages whose snippets take a second or so, and those that take longer.
QUICK_PAGES: dict[str, Start] = {
    "docs/components/decoders.md": nothing,
    "docs/components/likelihoods.md": mixed_frame,
    "docs/compression.md": rows,
    "docs/density.md": rows,
    "docs/displays.md": rows,
    "docs/outliers.md": rows,
    "docs/speed.md": rows,
    "docs/stacking.md": rows,
}
LONG_PAGES: dict[str, Start] = {
    "README.md": nothing,
    "docs/companions.md": with_companion,
    "docs/components/conditional.md": targets,
    "docs/files.md": kept_fits,
    "docs/index.md": nothing,
    "docs/missing.md": nothing,
    "docs/start.md": nothing,
}
SCALE = "docs/scale.md"
# Each snippet of these needs nothing of those before it.
APART = {
    "docs/displays.md",
    "docs/outliers.md",
    "docs/speed.md",
    "docs/stacking.md",
}


@pytest.fixture(autouse=True)
def _quick_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let fits with default parameters be quick ones, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name, value in {**QUICK, "random_state": None}.items():
        monkeypatch.setitem(BaseVAEDensity.__init__.__kwdefaults__, name, value)
    monkeypatch.setitem(OutlierCommittee.__init__.__kwdefaults__, "max_iter", 3)
    monkeypatch.setitem(DistilledDensity.__init__.__kwdefaults__, "n_samples", 200)


def run(page: str, text: str, names: Names) -> None:
    with warnings.catch_warnings():
        # Quick fits are unfinished, and say so.
        warnings.simplefilter("ignore")
        exec(compile(text, page, "exec"), names)


def run_page(
    page: str, start: Callable[[np.ndarray], Names], table: np.ndarray
) -> None:
    names = start(table)
    for snippet in snippets(page):
        run(page, snippet, start(table) if page in APART else names)


def test_every_snippet_is_run() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {page.relative_to(ROOT).as_posix() for page in pages}
    shown = {page for page in shown if not page.startswith("docs/_build")}
    found = {page for page in shown if snippets(page)}
    assert found == {*QUICK_PAGES, *LONG_PAGES, SCALE}


@pytest.mark.parametrize("page", QUICK_PAGES)
def test_snippets_of_a_page_run(page: str, table: np.ndarray) -> None:
    run_page(page, QUICK_PAGES[page], table)


@pytest.mark.docs
@pytest.mark.parametrize("page", LONG_PAGES)
def test_snippets_of_a_page_that_take_longer_run(page: str, table: np.ndarray) -> None:
    run_page(page, LONG_PAGES[page], table)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set what a launcher of one process would set."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_PORT": port}
    for name, value in {**settings, "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.docs
@pytest.mark.usefixtures("one_process")
def test_snippets_of_scale_run(table: np.ndarray) -> None:
    import dask.dataframe
    from distributed import LocalCluster

    frame = pd.DataFrame(table, columns=["a", "b", "c"])
    frame["id"] = np.arange(len(frame))
    folder = Path("folder-of-parquet-files")
    folder.mkdir()
    frame.to_parquet(folder / "one.parquet")
    batches, mapped, together, cluster = snippets(SCALE)
    names = {"detector": DensityOutlierDetector(VAEDensity()).fit(frame)}
    run(SCALE, batches, names)
    run(SCALE, mapped, names)
    assert len(pd.read_parquet("scores.parquet")) == len(frame)
    run(SCALE, together, {"own_files": [frame]})
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
    ) as workers:
        # A client without an address would start a cluster for each core.
        here = cluster.replace("Client()", "Client(workers)")
        names |= {
            "frame": dask.dataframe.from_pandas(frame, npartitions=2),
            "workers": workers,
        }
        run(SCALE, here, names)
        assert np.isfinite(names["frame"]["log_density"].compute()).all()


def test_scores_of_scaled_columns_turn_into_those_of_the_original_ones(
    table: np.ndarray,
) -> None:
    """A density scales columns by itself: without the scaler, the fit is the same."""
    snippet = next(s for s in snippets("docs/density.md") if "make_pipeline" in s)
    *lines, result = snippet.strip().splitlines()
    assert result.startswith("pipeline.score(X_new) - ")
    names = rows(table)
    run("docs/density.md", "\n".join(lines), names)
    original = eval(result.partition("#")[0], names)
    scaled = names["pipeline"].score(table[150:])
    alone = VAEDensity(random_state=0).fit(table[:150]).score(table[150:])
    # Few draws of other noise: scores agree to a tenth of a nat or so.
    assert_allclose(original, alone, atol=0.3)
    assert abs(scaled - alone) > 2
