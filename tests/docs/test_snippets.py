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
    ConditionalVAEDensity,
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


def snippets(page: str) -> list[str]:
    return SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))


# What a page supposes to be there before its first snippet.


def rows(table: np.ndarray) -> Names:
    return {"X": table[:150], "X_new": table[150:]}


def nothing(table: np.ndarray) -> Names:
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


def parquet_and_detector(table: np.ndarray) -> Names:
    folder = Path("folder-of-parquet-files")
    folder.mkdir()
    frame = pd.DataFrame(table, columns=["a", "b", "c"])
    frame.assign(id=range(len(frame))).to_parquet(folder / "one.parquet")
    detector = DensityOutlierDetector(VAEDensity()).fit(table)
    return {"detector": detector, "own_files": [frame]}


STARTS: dict[str, Callable[[np.ndarray], Names]] = {
    "README.md": nothing,
    "docs/index.md": nothing,
    "docs/start.md": nothing,
    "docs/companions.md": nothing,
    "docs/missing.md": nothing,
    "docs/components/decoders.md": nothing,
    "docs/components/likelihoods.md": mixed_frame,
    "docs/components/conditional.md": targets,
    "docs/density.md": rows,
    "docs/outliers.md": rows,
    "docs/speed.md": rows,
    "docs/stacking.md": rows,
    "docs/files.md": kept_fits,
}
# Each snippet of these needs nothing of those before it.
APART = {"docs/outliers.md", "docs/speed.md", "docs/stacking.md"}


@pytest.fixture(autouse=True)
def _quick_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let fits with default parameters be quick ones, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    quick = {**QUICK, "random_state": None}
    for name, value in quick.items():
        monkeypatch.setitem(BaseVAEDensity.__init__.__kwdefaults__, name, value)
    monkeypatch.setitem(OutlierCommittee.__init__.__kwdefaults__, "max_iter", 3)
    monkeypatch.setitem(DistilledDensity.__init__.__kwdefaults__, "n_samples", 200)


def run(page: str, text: str, names: Names) -> None:
    with warnings.catch_warnings():
        # Quick fits are unfinished, and say so.
        warnings.simplefilter("ignore")
        exec(compile(text, page, "exec"), names)


@pytest.mark.parametrize("page", STARTS)
def test_snippets_of_a_page_run(page: str, table: np.ndarray) -> None:
    found = snippets(page)
    assert found
    names = STARTS[page](table)
    for snippet in found:
        run(page, snippet, dict(STARTS[page](table)) if page in APART else names)
