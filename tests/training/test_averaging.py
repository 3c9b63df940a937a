"""The running mean of the weights."""

import pytest
import torch
from torch import nn

from skvae.training.averaging import WeightAverage


@pytest.fixture
def model() -> nn.Linear:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1.0)
    return layer


def fill(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_average_of_constant_weights_is_that_constant(model: nn.Linear) -> None:
    average = WeightAverage(model, 0.9)
    for _ in range(20):
        average.update()
    assert all((value == 1).all() for value in average.average)


def test_first_steps_are_forgotten(model: nn.Linear) -> None:
    average = WeightAverage(model, 0.999)
    fill(model, 3.0)
    for _ in range(100):
        average.update()
    # With the final decay from the first step on it would be at 1.2.
    torch.testing.assert_close(
        average.average[0], torch.full((1, 2), 3.0), rtol=0, atol=1e-3
    )


def test_late_average_moves_by_the_final_decay(model: nn.Linear) -> None:
    average = WeightAverage(model, 0.9)
    for _ in range(1000):
        average.update()
    fill(model, 2.0)
    average.update()
    torch.testing.assert_close(average.average[0], torch.full((1, 2), 1.1))


def test_average_without_memory_is_the_present(model: nn.Linear) -> None:
    average = WeightAverage(model, 0.0)
    fill(model, 5.0)
    average.update()
    assert (average.average[0] == 5).all()


def test_reset_restarts_at_the_present(model: nn.Linear) -> None:
    average = WeightAverage(model, 0.9)
    fill(model, 4.0)
    average.reset()
    assert (average.average[0] == 4).all()


def test_live_weights_come_back_even_after_an_error(model: nn.Linear) -> None:
    average = WeightAverage(model, 0.9)
    fill(model, 7.0)
    with pytest.raises(RuntimeError, match="within"):
        with average.swapped_in():
            assert (model.weight == 1).all()
            raise RuntimeError("within")
    assert (model.weight == 7).all()
    assert (average.average[0] == 1).all()
