"""Minibatches and the split of weighted rows."""

import pytest
import torch
from torch import Tensor

from skvae.training import split_weights
from skvae.training.batches import epoch_batches


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def epoch(weight: Tensor, n_draws: int, batch_size: int, seed: int = 0) -> list[Tensor]:
    return list(
        epoch_batches(weight.double().cumsum(0), n_draws, batch_size, generator(seed))
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_rows", [1, 7, 1000, 4097])
def test_unit_weights_draw_every_row_once(n_rows: int, seed: int) -> None:
    drawn = torch.cat(epoch(torch.ones(n_rows), n_rows, 64, seed))
    assert torch.equal(drawn.sort().values, torch.arange(n_rows))


@pytest.mark.parametrize("seed", range(5))
def test_integer_weights_draw_as_many_copies(seed: int) -> None:
    weight = torch.arange(500) % 4 + 1
    n_draws = int(weight.sum())
    drawn = torch.cat(epoch(weight, n_draws, 64, seed))
    assert torch.equal(torch.bincount(drawn, minlength=500), weight)


def test_weights_scaled_to_the_draws_keep_their_ratio() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0]) / 7
    drawn = torch.cat(epoch(weight, 600, 64))
    assert torch.bincount(drawn).tolist() == [100, 200, 300]


@pytest.mark.parametrize(
    ("n_draws", "batch_size"), [(10, 3), (100, 100), (101, 100), (5, 64), (1000, 7)]
)
def test_batches_are_no_larger_than_asked_for_and_nearly_equal(
    n_draws: int, batch_size: int
) -> None:
    sizes = [len(batch) for batch in epoch(torch.ones(n_draws), n_draws, batch_size)]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == n_draws


def test_order_is_random_and_follows_the_seed() -> None:
    one, same, other = (
        torch.cat(epoch(torch.ones(100), 100, 10, seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, torch.arange(100))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n_rows", "n_valid"), [(100, 10), (10, 5), (1000, 1)])
def test_split_of_unit_weights_gives_disjoint_sets(
    n_rows: int, n_valid: int, seed: int
) -> None:
    train, valid = split_weights(torch.ones(n_rows).double(), n_valid, generator(seed))
    assert torch.equal(train + valid, torch.ones(n_rows).double())
    assert set(valid.tolist()) == {0.0, 1.0}
    assert valid.sum() == n_valid


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n_rows", "n_valid"), [(105, 10), (100, 30), (7, 5)])
def test_split_has_the_number_of_validation_rows_when_it_does_not_divide(
    n_rows: int, n_valid: int, seed: int
) -> None:
    _, valid = split_weights(torch.ones(n_rows).double(), n_valid, generator(seed))
    assert valid.sum() == n_valid


@pytest.mark.parametrize("seed", range(5))
def test_split_of_weights_sums_to_the_weights(seed: int) -> None:
    weight = torch.rand(200, dtype=torch.float64, generator=generator(9)) * 3
    train, valid = split_weights(weight, 20, generator(seed))
    torch.testing.assert_close(train + valid, weight)
    assert (train >= 0).all()
    assert (valid >= 0).all()


def test_copies_of_a_row_may_be_divided() -> None:
    train, valid = split_weights(torch.tensor([100.0]).double(), 10, generator())
    assert (train.item(), valid.item()) == (90.0, 10.0)


def test_split_without_validation_rows_trains_on_all() -> None:
    train, valid = split_weights(torch.ones(5).double(), 0, generator())
    assert torch.equal(train, torch.ones(5).double())
    assert (valid == 0).all()


def test_every_row_is_chosen_for_validation_equally_often() -> None:
    """Largest of 40 counts over 2,000 splits; false-alarm rate about 1e-4."""
    source = generator()
    count = sum(
        split_weights(torch.ones(40).double(), 10, source)[1] for _ in range(2000)
    )
    expected, deviation = 500, (2000 * 0.25 * 0.75) ** 0.5
    assert (count - expected).abs().max() < 4.8 * deviation
