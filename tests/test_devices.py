"""Fits, scores and questions keep their tensors on one device: a pretended one.

Every operation of torch raises an error if tensors of the pretended device meet others,
or a generator of another device, as on CUDA. This sees what is made on the processor
and used elsewhere, and what NumPy is to read before it has come back. The numbers have
to be those of the processor. It does not see what CUDA alone does: kernels that are
missing or that compute other bits, memory, streams, and random numbers, which are the
processor's here. Nor does it see what is neither in these fits nor in these questions.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skvae import (
    AutoregressiveDecoder,
    GaussianMixtureCompanion,
    MixedLikelihood,
    VAEDensity,
)
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


def answers_about_gaps(density: VAEDensity, table: np.ndarray) -> list[np.ndarray]:
    rows = table[np.isnan(table[:, 0])][:2]
    return [
        density.score_samples(rows),
        density.impute(rows),
        *density.impute(rows, n_draws=1),
        density.conditional(rows, 0).quantile(0.3),
        *density.surprise(rows[:1]),
    ]


def both_answers(
    settings: dict[str, Any],
    table: np.ndarray,
    answers: Callable[[VAEDensity, np.ndarray], list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> VAEDensity:
    """Compare the answers of both devices; return the density of the pretended one."""
    monkeypatch.setitem(DRAWS_AT_ONCE, "meta", DRAWS_AT_ONCE["cpu"])
    settings = {**QUICK, "max_evidence_samples": 256, **settings}
    expected = answers(VAEDensity(**settings).fit(table), table)
    with pretended_device() as device:
        for module in ("fitting.fit", "base"):
            monkeypatch.setattr(f"skvae.{module}.check_device", lambda _: device)
        there = VAEDensity(**settings).fit(table)
        found = answers(there, table)
    for ours, theirs in zip(found, expected, strict=True):
        assert_array_equal(ours, theirs)
    return there


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
    there = both_answers(settings, table, answers, monkeypatch)
    assert all(
        parameter.device.type == "cpu" for parameter in there.model_.parameters()
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"decoder": AutoregressiveDecoder((8,))},
        {"companion": GaussianMixtureCompanion((1,), (0.3,)), "likelihood": "mixture"},
    ],
    ids=str,
)
def test_questions_about_gaps_mix_no_devices(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of a real column, a count, zeros and ones, and categories."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=40)
    table = np.c_[z, rng.poisson(np.exp(1 + z / 2)), z > 0, rng.integers(3, size=40)]
    if "likelihood" not in settings:
        kinds = {1: "negative_binomial", 2: "bernoulli", 3: "categorical"}
        settings = {**settings, "likelihood": MixedLikelihood(kinds)}
    missing = rng.random(table.shape) < 0.2
    missing[:, 2] &= ~missing.all(1)
    table = np.where(missing, np.nan, table)
    settings = {**settings, "max_evidence_samples": 32, "n_components": 2}
    both_answers(settings, table, answers_about_gaps, monkeypatch)


def test_the_pretended_device_notices_a_mixture() -> None:
    with pretended_device() as device:
        away = torch.ones(3).to(device)
        assert (away + 1).device == device
        assert float((away * 2).sum()) == 6
        with pytest.raises(RuntimeError, match="mixes devices"):
            away + torch.ones(3)
        chosen = torch.tensor([0, 2])
        assert away[chosen].device == device
        with pytest.raises(RuntimeError, match="mixes devices"):
            torch.ones(3)[chosen.to(device)]
        with pytest.raises(RuntimeError, match="mixes devices"):
            away[chosen] = torch.ones(2)
        generator = torch.Generator(device)
        assert torch.rand(2, generator=generator, device=device).device == device
        with pytest.raises(RuntimeError, match="mixes devices"):
            torch.rand(2, generator=generator)
        with pytest.raises(RuntimeError, match="mixes devices"):
            torch.rand(2, generator=torch.Generator(), device=device)
        with pytest.raises((TypeError, RuntimeError)):
            away.numpy()
        assert torch.equal((away + away).cpu(), torch.full((3,), 2.0))
