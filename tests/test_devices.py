"""Fits and scores keep all of their tensors on one device: a pretended one."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skvae import AutoregressiveDecoder, VAEDensity
from skvae.evidence.blocks import DRAWS_AT_ONCE
from tests.conftest import QUICK
from tests.elsewhere import pretended_device


def answers(density: VAEDensity, table: np.ndarray) -> list[np.ndarray]:
    far = table[:5] + 30 * table.std(0)
    rows = np.r_[table[:40], far]
    return [
        density.score_samples(rows),
        density.evidence(rows, threshold=0.0).log_density,
        density.bounds(rows[:5], [3]).iwae[0],
        density.transform(rows),
        density.sample(5, random_state=0),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"marginal_transform": "normal", "early_stopping": False},
        {"prior": "vamp", "posterior": "diagonal", "likelihood": "student_t"},
        {"prior": "flow", "posterior": "flow", "objective": "dreg"},
        {"n_components": (2, 1), "prior": "normal", "background": None},
        {"n_components": 1, "max_evidence_samples": 1024},
        {"decoder": "autoregressive"},
        {"decoder": AutoregressiveDecoder((8,), reads_latents=False)},
    ],
    ids=str,
)
def test_fits_and_scores_mix_no_devices(
    settings: dict[str, Any], table: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device computes what the processor computes: the numbers are the same."""
    monkeypatch.setitem(DRAWS_AT_ONCE, "meta", DRAWS_AT_ONCE["cpu"])
    settings = {**QUICK, "max_evidence_samples": 256, **settings}
    here = VAEDensity(**settings).fit(table)
    expected = answers(here, table)
    with pretended_device() as device:
        for module in ("fitting.fit", "base"):
            monkeypatch.setattr(f"skvae.{module}.check_device", lambda _: device)
        there = VAEDensity(**settings).fit(table)
        found = answers(there, table)
    assert all(
        parameter.device.type == "cpu" for parameter in there.model_.parameters()
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert_array_equal(ours, theirs)


def test_the_pretended_device_notices_a_mixture() -> None:
    with pretended_device() as device:
        away = torch.ones(3).to(device)
        assert (away + 1).device == device
        assert float((away * 2).sum()) == 6
        with pytest.raises(RuntimeError, match="mixes devices"):
            away + torch.ones(3)
        assert torch.equal((away + away).cpu(), torch.full((3,), 2.0))
