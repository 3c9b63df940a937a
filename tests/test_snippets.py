"""The snippets of the documentation run as they are written."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skvae import DistilledDensity, OutlierCommittee, VAEDensity
from skvae.base import BaseVAEDensity
from tests.conftest import QUICK

ROOT = Path(__file__).parents[1]
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = (
    "docs/displays.md",
    "docs/outliers.md",
    "docs/speed.md",
    "docs/stacking.md",
)


@pytest.fixture
def _quick_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fits with default parameters be quick ones."""
    for name, value in {**QUICK, "random_state": None}.items():
        monkeypatch.setitem(BaseVAEDensity.__init__.__kwdefaults__, name, value)
    monkeypatch.setitem(OutlierCommittee.__init__.__kwdefaults__, "max_iter", 3)
    monkeypatch.setitem(DistilledDensity.__init__.__kwdefaults__, "n_samples", 200)


def snippets(page: str) -> list[str]:
    return SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("_quick_defaults")
@pytest.mark.parametrize("page", PAGES)
def test_each_snippet_of_a_page_needs_nothing_but_rows(
    page: str, table: np.ndarray
) -> None:
    found = snippets(page)
    assert found
    for snippet in found:
        names: dict[str, Any] = {"X": table[:150], "X_new": table[150:]}
        with warnings.catch_warnings():
            # Quick fits are unfinished, and say so.
            warnings.simplefilter("ignore")
            exec(compile(snippet, page, "exec"), names)


@pytest.mark.usefixtures("_quick_defaults")
def test_readme_turns_scores_of_scaled_columns_into_those_of_the_original_ones(
    table: np.ndarray,
) -> None:
    """A density scales columns by itself: without the scaler, the fit is the same."""
    snippet = next(s for s in snippets("README.md") if "StandardScaler" in s)
    *lines, result = snippet.strip().splitlines()
    assert result.startswith("pipeline.score(X_test) - ")
    names: dict[str, Any] = {
        "VAEDensity": VAEDensity,
        "X_train": table[:150],
        "X_test": table[150:],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec("\n".join(lines), names)
        original = eval(result.partition("#")[0], names)
        scaled = names["pipeline"].score(table[150:])
        alone = VAEDensity(random_state=0).fit(table[:150]).score(table[150:])
    # Few draws of other noise: scores agree to a tenth of a nat or so.
    assert_allclose(original, alone, atol=0.3)
    assert abs(scaled - alone) > 2
