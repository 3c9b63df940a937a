"""Detectors on tables with text, categories and truth values beside numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from skvae import (
    DensityOutlierDetector,
    OutlierCommittee,
    StackedDensity,
    VAEDensity,
)
from tests.conftest import QUICK

Array = np.ndarray


def quick(**settings: Any) -> DensityOutlierDetector:
    """Return a detector with the default density, quick."""
    committee = OutlierCommittee(max_iter=3)
    return DensityOutlierDetector(committee, random_state=0, **settings)


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


@pytest.mark.parametrize(
    ("container", "reference"),
    [(container, "training") for container in CONTAINERS]
    + [("pandas", "held_out"), ("pandas", "model"), ("polars", "model")],
)
def test_default_detector_reads_text_categories_and_truth_values(
    container: str, reference: str
) -> None:
    frame = mixed_frame()
    detector = quick(reference=reference, max_reference_rows=50)
    detector.fit(CONTAINERS[container](frame))
    density = detector.density_.density_
    # "flag" has two values alone.
    assert [kind.support for kind in density.schema_.kinds] == ["real"] * 2 + [
        "category"
    ] * 4
    assert (density.decoder, density.smoothing) == ("mlp", "auto")
    assert density.marginal_transform is None
    scores = detector.score_samples(CONTAINERS[container](frame[:20]))
    assert np.isfinite(scores).all()


def test_unknown_categories_are_outliers_and_text_for_numbers_an_error() -> None:
    detector = quick(max_reference_rows=20).fit(mixed_frame())
    new = mixed_frame(20, seed=9)
    usual = detector.score_samples(new)
    unknown = detector.score_samples(new.assign(shop="moon"))
    # A row that is stranger in another view stays as strange as it was.
    assert (unknown <= usual).all()
    assert np.median(usual - unknown) > 1
    with pytest.raises(ValueError, match=r"'level'.*held numbers in fit") as caught:
        detector.predict(new.assign(level="high"))
    assert "likelihood" not in str(caught.value)


def test_default_detector_finds_numbers_that_do_not_go_with_the_text() -> None:
    detector = DensityOutlierDetector(
        OutlierCommittee(max_iter=60), max_reference_rows=50, random_state=0
    )
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


def test_stated_outliers_are_trimmed_with_text_as_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(OutlierCommittee.__init__.__kwdefaults__, "max_iter", 5)
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
    assert "moon" not in detector.density_.density_.schema_.categories[4]
    assert len(detector.reference_scores_) == 150
    scores = detector.score_samples(frame)
    assert scores[odd].max() < np.median(scores[8:])


def test_a_density_that_refuses_unknown_categories_gets_them_all() -> None:
    frame = mixed_frame()
    frame.loc[:3, ["kind", "shop"]] = ["odd", "moon"]
    density = VAEDensity(likelihood="auto", **QUICK)
    detector = DensityOutlierDetector(density, contamination=0.1).fit(frame)
    assert detector.support_[:4].sum() == 1
    assert "moon" in detector.density_.schema_.categories[4]


def test_identifiers_are_warned_of_at_the_callers_line() -> None:
    frame = mixed_frame().assign(name=[f"n{i}" for i in range(150)])
    with pytest.warns(UserWarning, match="'name' looks like an identifier") as caught:
        quick(contamination=0.05).fit(frame)
    assert {Path(warning.filename) for warning in caught} == {Path(__file__)}
