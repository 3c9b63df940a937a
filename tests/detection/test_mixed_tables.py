"""Detectors on tables with text, categories and truth values beside numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.metrics import roc_auc_score

from skvae import DensityOutlierDetector, StackedDensity, VAEDensity
from skvae.base import BaseVAEDensity
from tests.conftest import QUICK

Array = np.ndarray


@pytest.fixture
def _quick_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the default density of a detector be a quick one."""
    for name in ("max_iter", "hidden_layer_sizes", "n_importance_samples"):
        defaults = BaseVAEDensity.__init__.__kwdefaults__
        monkeypatch.setitem(defaults, name, QUICK[name])


def numbers_of(n: int, seed: int) -> Array:
    """Return real, whole and 0-or-1 columns, which depend on one another."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    return np.c_[
        z + 0.3 * rng.normal(size=n),
        np.round(2 * z + rng.normal(size=n)),
        z + rng.normal(size=n) > 0,
    ]


def mixed_frame(n: int = 150, seed: int = 0) -> pd.DataFrame:
    """Return the same columns, and text that tells the sign of the first."""
    rng = np.random.default_rng(seed + 1)
    frame = pd.DataFrame(numbers_of(n, seed), columns=["level", "count", "flag"])
    frame["kind"] = np.where(frame["level"] > 0, "loud", "calm")
    frame["shop"] = rng.choice(["north", "south", "west"], n, p=[0.6, 0.3, 0.1])
    frame["open"] = rng.random(n) < 0.9
    return frame


CONTAINERS: dict[str, Any] = {
    "pandas": lambda frame: frame,
    "categories": lambda frame: frame.astype({"kind": "category"}),
    "polars": pl.from_pandas,
    "list": lambda frame: frame.to_numpy().tolist(),
    "objects": lambda frame: frame.to_numpy(),
}


@pytest.mark.usefixtures("_quick_defaults")
@pytest.mark.parametrize(
    ("container", "reference"),
    [(container, "training") for container in CONTAINERS]
    + [("pandas", "held_out"), ("pandas", "model"), ("polars", "model")],
)
def test_default_detector_reads_text_categories_and_truth_values(
    container: str, reference: str
) -> None:
    frame = mixed_frame()
    detector = DensityOutlierDetector(
        reference=reference, max_reference_rows=50, random_state=0
    ).fit(CONTAINERS[container](frame))
    density = detector.density_
    assert [kind.support for kind in density.schema_.kinds] == ["real"] * 3 + [
        "category"
    ] * 3
    assert (density.decoder, density.smoothing) == ("mlp", "auto")
    assert density.marginal_transform is None
    assert (density.evidence_tol, density.max_evidence_samples) == (0.3, 1024)
    scores = detector.score_samples(CONTAINERS[container](frame[:20]))
    assert np.isfinite(scores).all()


@pytest.mark.usefixtures("_quick_defaults")
def test_default_density_of_numbers_is_that_of_real_columns() -> None:
    table = numbers_of(150, 0)
    detector = DensityOutlierDetector(max_reference_rows=20, random_state=3).fit(table)
    density = detector.density_
    alone = VAEDensity(
        decoder="mlp",
        companion=None,
        marginal_transform=None,
        smoothing="auto",
        evidence_tol=0.3,
        max_evidence_samples=1024,
        random_state=density.random_state,
    ).fit(table)
    assert density.model_.state_dict().keys() == alone.model_.state_dict().keys()
    assert {kind.support for kind in density.schema_.kinds} == {"real"}
    rows = table[:30]
    assert_array_equal(detector.score_samples(rows), alone.score_samples(rows))


@pytest.mark.usefixtures("_quick_defaults")
def test_unknown_categories_are_outliers_and_text_for_numbers_an_error() -> None:
    detector = DensityOutlierDetector(max_reference_rows=20, random_state=0)
    detector.fit(mixed_frame())
    new = mixed_frame(20, seed=9)
    usual = detector.score_samples(new)
    assert (detector.score_samples(new.assign(shop="moon")) < usual - 1).all()
    with pytest.raises(ValueError, match=r"'level'.*held numbers in fit") as caught:
        detector.predict(new.assign(level="high"))
    assert "likelihood" not in str(caught.value)


def test_default_detector_finds_numbers_that_do_not_go_with_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = BaseVAEDensity.__init__.__kwdefaults__
    for name, value in {"max_iter": 30, "hidden_layer_sizes": (32, 32)}.items():
        monkeypatch.setitem(defaults, name, value)
    detector = DensityOutlierDetector(max_reference_rows=50, random_state=0)
    detector.fit(mixed_frame(600))
    usual = mixed_frame(200, seed=5)
    usual = usual[usual["level"].abs() > 0.5]
    strange = usual.assign(kind=np.where(usual["level"] > 0, "calm", "loud"))
    scores = np.r_[detector.score_samples(usual), detector.score_samples(strange)]
    assert roc_auc_score(np.repeat([0, 1], len(usual)), -scores) > 0.9


def test_lists_with_text_keep_their_numbers() -> None:
    rows = mixed_frame(60)[["level", "kind"]].to_numpy().tolist()
    density = VAEDensity(likelihood="auto", **QUICK)
    stack = StackedDensity([("vae", density)], refit=False).fit(rows)
    kinds = stack.estimators_[0].schema_.kinds
    assert [kind.support for kind in kinds] == ["real", "category"]


# Trimming


@pytest.mark.usefixtures("_quick_defaults")
def test_stated_outliers_are_trimmed_with_text_as_without() -> None:
    frame = mixed_frame()
    numbers = frame[["level", "count", "flag"]]
    odd = np.arange(8)
    frame.loc[odd, ["kind", "shop"]] = ["odd", "moon"]
    detector = DensityOutlierDetector(contamination=0.1, random_state=0)
    assert detector.fit(numbers).support_.mean() == pytest.approx(0.6, abs=0.02)
    detector.fit(frame)
    assert detector.support_.mean() == pytest.approx(0.6, abs=0.02)
    assert not detector.support_[odd].any()
    # No row that the density was fitted to has these categories; all are scored.
    assert "moon" not in detector.density_.schema_.categories[4]
    assert len(detector.reference_scores_) == 150
    assert (detector.predict(frame)[odd] == -1).all()


def test_a_density_that_refuses_unknown_categories_gets_them_all() -> None:
    frame = mixed_frame()
    frame.loc[:3, ["kind", "shop"]] = ["odd", "moon"]
    density = VAEDensity(likelihood="auto", **QUICK)
    detector = DensityOutlierDetector(density, contamination=0.1).fit(frame)
    assert detector.support_[:4].sum() == 1
    assert "moon" in detector.density_.schema_.categories[4]


@pytest.mark.usefixtures("_quick_defaults")
def test_identifiers_are_warned_of_at_the_callers_line() -> None:
    frame = mixed_frame().assign(name=[f"n{i}" for i in range(150)])
    with pytest.warns(UserWarning, match="'name' looks like an identifier") as caught:
        DensityOutlierDetector(contamination=0.05, random_state=0).fit(frame)
    assert {Path(warning.filename) for warning in caught} == {Path(__file__)}
