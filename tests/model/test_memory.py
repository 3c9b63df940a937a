"""Sizes that cannot work: an error at once, with the memory that they would need."""

from typing import Any

import numpy as np
import pytest

from skvae import (
    IWAE,
    AutoregressiveDecoder,
    FlowPosterior,
    FlowPrior,
    LogisticMixtureLikelihood,
    MixtureLikelihood,
    MixturePrior,
    MLPDecoder,
    VAEDensity,
    VampPrior,
)
from skvae.model import memory
from tests.conftest import QUICK

memory_of_this_machine = memory._memory_of_machine


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_memory_of_machine", lambda: 2**34)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_components": 10**9},
        {"n_components": (10**9, 2)},
        {"hidden_layer_sizes": (10**6, 10**6)},
        {"hidden_layer_sizes": (10**9,)},
        {"prior": MixturePrior(n_modes=10**9)},
        {"prior": VampPrior(n_pseudo_inputs=10**9)},
        {"likelihood": MixtureLikelihood(n_modes=10**9)},
        {"likelihood": LogisticMixtureLikelihood(n_modes=10**9)},
        {"decoder": MLPDecoder(hidden_layer_sizes=(10**9,))},
        {"decoder": AutoregressiveDecoder(hidden_layer_sizes=(10**9,))},
        {"decoder": "autoregressive", "likelihood": MixtureLikelihood(n_modes=10**9)},
        {"objective": IWAE(n_samples=10**9)},
        {"prior": FlowPrior(n_bins=10**9)},
        {"posterior": FlowPosterior(flow_layer_sizes=(10**9,))},
    ],
    ids=str,
)
def test_a_fit_that_cannot_work_is_refused(
    parameters: dict[str, Any], table: np.ndarray
) -> None:
    density = VAEDensity(**{**QUICK, "marginal_transform": None, **parameters})
    with pytest.raises(ValueError, match=r"at least [0-9,]+ GiB .* has 16 GiB"):
        density.fit(table)


def test_a_network_of_thousands_of_layers_is_refused(table: np.ndarray) -> None:
    density = VAEDensity(**{**QUICK, "hidden_layer_sizes": (8,) * 3000})
    with pytest.raises(ValueError, match="at most 100 layers, got 3000"):
        density.fit(table)


def test_draws_that_cannot_be_held_are_refused(
    density: VAEDensity, table: np.ndarray
) -> None:
    for read in (
        lambda: density.evidence(table, max_samples=10**12),
        lambda: density.bounds(table, (1, 10**12)),
        lambda: density.sample(10**12),
        lambda: density.impute(table, n_draws=10**10),
        lambda: density.conditional(table, [0]).sample(10**10),
        lambda: (
            VAEDensity(**QUICK)
            .fit(table)
            .set_params(max_evidence_samples=10**12)
            .score_samples(table)
        ),
    ):
        with pytest.raises(ValueError, match=r"at least [0-9,]+ GiB"):
            read()


def test_the_machines_memory_is_known() -> None:
    assert memory_of_this_machine() >= 2**28
