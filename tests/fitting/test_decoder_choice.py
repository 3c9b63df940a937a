"""What decoder="auto" tries, and what it takes."""

from typing import Any

import numpy as np
import pytest

from skvae import AutoregressiveDecoder, MLPDecoder, VAEDensity
from skvae.fitting import job
from tests.conftest import QUICK

Array = np.ndarray

AUTO = {**QUICK, "decoder": "auto"}


def designs(n_rows: int, seed: int) -> Array:
    """Return rows that repeat forty designs, and an outcome that depends on them."""
    recipes = np.random.default_rng(0).uniform(-2, 2, size=(40, 4))
    rng = np.random.default_rng(seed)
    rows = recipes[rng.integers(len(recipes), size=n_rows)]
    rows = rows + 0.01 * rng.normal(size=rows.shape)
    outcome = np.sin(rows.sum(1)) + 0.3 * rng.normal(size=n_rows)
    return np.c_[rows, outcome]


def test_columns_that_tell_of_one_another_get_an_autoregressive_decoder() -> None:
    settings: dict[str, Any] = {
        "companion": None,
        "max_iter": 200,
        "learning_rate": 0.01,
        "hidden_layer_sizes": (32, 32),
        "marginal_transform": None,
        "evidence_tol": 0.3,
        "random_state": 0,
    }
    table, others = designs(600, seed=1), designs(100, seed=2)
    auto = VAEDensity(**settings).fit(table)
    assert isinstance(auto.decoder_, AutoregressiveDecoder)
    mlp = VAEDensity(decoder="mlp", **settings).fit(table)
    assert isinstance(mlp.decoder_, MLPDecoder)
    lead = auto.score_samples(others) - mlp.score_samples(others)
    assert lead.mean() > 3 * lead.std() / np.sqrt(len(lead))


def test_the_chosen_decoder_is_that_of_a_fit_by_name() -> None:
    """Pilots leave no trace in the model."""
    table = designs(300, seed=1)
    settings = {**AUTO, "max_iter": 30, "marginal_transform": None}
    auto = VAEDensity(**settings).fit(table)
    named = VAEDensity(**{**settings, "decoder": auto.decoder_}).fit(table)
    np.testing.assert_array_equal(auto.score_samples(table), named.score_samples(table))


@pytest.mark.parametrize(
    ("n_rows", "settings", "n_tried"),
    [
        (300, {}, 4),
        (300, {"marginal_transform": None}, 2),
        (300, {"decoder": "mlp"}, 2),
        (300, {"decoder": "autoregressive"}, 2),
        (300, {"decoder": "mlp", "marginal_transform": "normal"}, 0),
        # Latents are asked for.
        (300, {"n_components": 2}, 2),
        # Nothing to choose by.
        (300, {"early_stopping": False}, 0),
        # Many rows per column.
        (4499, {}, 4),
        (4500, {}, 2),
    ],
)
def test_what_is_tried(
    n_rows: int,
    settings: dict[str, Any],
    n_tried: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainers: list[Any] = []

    class Watched(job.Trainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            trainers.append(self)

    monkeypatch.setattr(job, "Trainer", Watched)
    VAEDensity(**{**AUTO, "max_iter": 1, **settings}).fit(designs(n_rows, seed=1))
    assert len(trainers) == max(n_tried, 1)  # the winner's training is the fit


def test_partial_fit_tries_nothing() -> None:
    density = VAEDensity(**AUTO).partial_fit(designs(300, seed=1))
    assert isinstance(density.decoder_, MLPDecoder)
