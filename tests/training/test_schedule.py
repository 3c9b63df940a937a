"""How long and how fast training goes on."""

import math

import numpy as np
import pytest

from skvae.training import Schedule


@pytest.mark.parametrize("n_steps", [1, 5, 30, 2000])
@pytest.mark.parametrize("decay", [True, False])
def test_learning_rate_warms_up_in_a_tenth_of_the_steps_at_most(
    decay: bool, n_steps: int
) -> None:
    schedule = Schedule(
        n_epochs=1, batch_size=1, learning_rate=0.5, weight_decay=0, decay=decay
    )
    rate = [schedule.learning_rate_at(step, n_steps) for step in range(n_steps)]
    warmup = min(100, max(1, n_steps // 10))
    for step, value in enumerate(rate):
        rise = min(1, (step + 1) / warmup)
        fall = math.cos(0.5 * math.pi * step / n_steps) ** 2 if decay else 1
        assert value == pytest.approx(0.5 * rise * fall)


@pytest.mark.parametrize("steps_per_epoch", [1, 10, 100])
def test_validations_are_dense_first_and_end_with_the_last_epoch(
    steps_per_epoch: int,
) -> None:
    schedule = Schedule(n_epochs=500, batch_size=1, learning_rate=1.0, weight_decay=0)
    epochs = sorted(schedule.validation_epochs(steps_per_epoch))
    assert epochs[-1] == 500
    gaps = np.diff([0, *epochs])
    assert gaps[0] * steps_per_epoch <= max(25, steps_per_epoch)
    assert gaps[:-1].max() <= 0.08 * 500 + 1
    assert gaps[:5].sum() < gaps[-6:-1].sum() / 2
    assert len(epochs) < 100


@pytest.mark.parametrize("n_epochs", [1, 3, 40])
def test_short_trainings_are_validated_after_every_early_epoch(n_epochs: int) -> None:
    schedule = Schedule(
        n_epochs=n_epochs, batch_size=1, learning_rate=1.0, weight_decay=0
    )
    epochs = schedule.validation_epochs(1)
    assert epochs >= set(range(1, min(n_epochs, 12) + 1)) | {n_epochs}


def test_patience_grows_with_what_an_improvement_took() -> None:
    schedule = Schedule(
        n_epochs=1,
        batch_size=1,
        learning_rate=1.0,
        weight_decay=0,
        patience=10,
        patience_share=0.5,
    )
    assert [schedule.patience_at(epoch) for epoch in (0, 20, 100)] == [10, 10, 50]
