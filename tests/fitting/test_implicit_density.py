"""Densities whose posterior has no density."""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from skvae import (
    ConditionalVAEDensity,
    ImplicitPosterior,
    InfoObjective,
    VAEDensity,
    VampPrior,
    load,
    save,
)

Array = NDArray[np.float64]

SETTINGS: dict[str, Any] = {
    "n_components": 2,
    "posterior": ImplicitPosterior(
        noise_layer_sizes=(16,), critic_layer_sizes=(16,), hidden_layer_sizes=(16,)
    ),
    "hidden_layer_sizes": (16,),
    "decoder": "mlp",
    "companion": None,
    "marginal_transform": "normal",
    "max_iter": 6,
    "random_state": 0,
    "n_importance_samples": 16,
    "max_evidence_samples": 256,
    "evidence_tol": 0.2,
}

pytestmark = pytest.mark.filterwarnings("ignore:The log-density of")


@pytest.fixture(scope="module")
def table() -> Array:
    rng = np.random.default_rng(0)
    size = np.abs(rng.normal(size=(200, 1)))
    curve = np.hstack([size, np.sin(2 * size), np.cos(2 * size)])
    return curve + 0.2 * rng.normal(size=curve.shape)


@pytest.fixture(scope="module")
def density(table: Array) -> VAEDensity:
    return VAEDensity(**SETTINGS).fit(table)


def test_same_seed_gives_the_same_scores_and_so_do_files_and_pickles(
    density: VAEDensity, table: Array, tmp_path: Path
) -> None:
    scores = density.score_samples(table[:20])
    assert np.isfinite(scores).all()
    again = clone(density).fit(table)
    save(density, tmp_path / "file")
    for other in (again, load(tmp_path / "file"), pickle.loads(pickle.dumps(density))):
        assert np.array_equal(other.score_samples(table[:20]), scores)


def test_scores_and_latents_of_a_row_depend_on_that_row_alone(
    density: VAEDensity, table: Array
) -> None:
    order = np.random.default_rng(1).permutation(40)
    assert np.array_equal(
        density.score_samples(table[:40][order]),
        density.score_samples(table[:40])[order],
    )
    latents = density.transform(table[:40])
    assert np.array_equal(density.transform(table[7:8])[0], latents[7])


def test_integer_weights_are_repetitions(table: Array) -> None:
    weight = 1 + np.arange(60) % 2
    weighted = VAEDensity(**SETTINGS).fit(table[:60], sample_weight=weight)
    repeated = VAEDensity(**SETTINGS).fit(np.repeat(table[:60], weight, axis=0))
    assert np.array_equal(
        weighted.score_samples(table[:9]), repeated.score_samples(table[:9])
    )


def test_history_has_no_bound_that_rests_on_the_critic(
    density: VAEDensity, table: Array
) -> None:
    """But the evidence of validation rows, from the density that stands for it."""
    assert all(math.isnan(record["bound"]) for record in density.history_)
    evidence = [record["evidence"] for record in density.history_]
    assert np.isfinite(evidence).any()
    report = density.diagnose(table)
    assert math.isnan(report.training_bound)
    assert np.isfinite(report.bound).all()
    for gap, error in zip(report.bound_gap, report.bound_gap_error, strict=True):
        assert gap > -4 * error - 0.02


def test_training_that_goes_on_keeps_the_critics_optimiser(table: Array) -> None:
    going_on = VAEDensity(**SETTINGS)
    for _ in range(2):
        going_on.partial_fit(table)
    state = going_on._optimiser_state["state"]
    critic = going_on.model_.posterior.critic
    n_weights = sum(parameter.numel() for parameter in critic.parameters())
    assert sum(len(state[number]["exp_avg"]) for number in (2, 3)) == n_weights
    assert all(float(slot["step"]) > 0 for slot in state.values())


@pytest.mark.parametrize(
    "change",
    [
        {"decoder": "autoregressive"},
        {"n_components": (1, 1)},
        {"prior": VampPrior(2)},
        {"prior": "codebook"},
        {"objective": "elbo", "prior": "normal"},
        {"objective": InfoObjective("dreg", mutual_information=1.0)},
        {"likelihood": "gaussian", "background": None, "objective": "stl"},
    ],
    ids=lambda change: ", ".join(map(str, change.values())),
)
def test_it_works_with_other_parts_and_missing_cells(
    change: dict[str, Any], table: Array
) -> None:
    rows = table[:60].copy()
    rows[::5, 1] = np.nan
    fitted = VAEDensity(**{**SETTINGS, "max_iter": 2, **change}).fit(rows)
    assert np.isfinite(fitted.score_samples(rows[:4])).all()
    assert np.isfinite(fitted.impute(rows[:4], random_state=0)).all()


def test_conditional_densities_take_it(table: Array) -> None:
    settings = {key: value for key, value in SETTINGS.items() if key != "companion"}
    fitted = ConditionalVAEDensity(**settings).fit(table[:, :1], table[:, 1:])
    assert np.isfinite(fitted.score_samples(table[:9, :1], table[:9, 1:])).all()
