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


def test_validations_are_dense_first_and_end_with_the_last_epoch() -> None:
    schedule = Schedule(
        n_epochs=200, batch_size=1, learning_rate=1.0, weight_decay=0, n_validations=20
    )
    epochs = sorted(schedule.validation_epochs())
    assert epochs[-1] == 200
    assert len(epochs) <= 20
    gaps = np.diff([0, *epochs])
    assert gaps[:5].sum() < gaps[-5:].sum() / 2
    short = Schedule(n_epochs=1, batch_size=1, learning_rate=1.0, weight_decay=0)
    assert short.validation_epochs() == {1}
