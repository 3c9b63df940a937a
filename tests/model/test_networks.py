"""The residual network with a linear skip."""

import torch
from torch import Tensor

from skvae.model.networks import INPUT_BOUND, SkipMLP, dropout_from


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)


def network(
    hidden_layer_sizes: tuple[int, ...] = (16, 16),
    dropout: float = 0.0,
    started: bool = True,
) -> SkipMLP:
    result = SkipMLP(
        4, hidden_layer_sizes, 5, 3, dropout, torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        result.skip.copy_(normal(3, 4, seed=1))
        result.bias.copy_(normal(5, seed=2))
        if not started:
            result.output.copy_(normal(5, hidden_layer_sizes[-1], seed=3))
    return result


def linear_part(f: SkipMLP, x: Tensor) -> Tensor:
    slope = torch.cat([f.skip, torch.zeros(2, 4)])
    return x @ slope.T + f.bias


def test_network_starts_as_its_linear_map() -> None:
    f, x = network(), normal(50, 4, seed=4)
    torch.testing.assert_close(f(x), linear_part(f, x))


def test_network_without_hidden_layers_is_linear() -> None:
    f, x = network(()), normal(50, 4, seed=4)
    torch.testing.assert_close(f(x), linear_part(f, x))


def test_network_bends_within_its_bound() -> None:
    f, x = network(started=False), normal(50, 4, seed=4)
    residual = f(x) - linear_part(f, x)
    assert residual.std(0).min() > 0.01


def test_network_is_linear_beyond_its_bound() -> None:
    f = network(started=False)
    sign = normal(50, 4, seed=4).sign()
    x = sign * (INPUT_BOUND + normal(50, 4, seed=5).abs())
    further = x + sign * 100 * normal(50, 4, seed=6).abs()
    moved = f(further) - f(x)
    expected = linear_part(f, further) - linear_part(f, x)
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-3)


def test_network_takes_any_leading_shape() -> None:
    f, x = network(started=False), normal(2, 3, 4, seed=4)
    torch.testing.assert_close(f(x), f(x.reshape(6, 4)).reshape(2, 3, 5))


def test_first_weights_come_from_the_given_generator() -> None:
    before = torch.get_rng_state()
    one, other = network(), network()
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_dropout_masks_come_from_the_given_generator() -> None:
    f, x = network(dropout=0.5, started=False), normal(50, 4, seed=4)
    before = torch.get_rng_state()
    results = []
    for seed in (0, 0, 1):
        with dropout_from(f, torch.Generator().manual_seed(seed)):
            results.append(f(x))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_dropout_is_off_outside_its_block() -> None:
    f, x = network(dropout=0.5, started=False), normal(50, 4, seed=4)
    plain = f(x)
    with dropout_from(f, torch.Generator().manual_seed(0)):
        assert not torch.equal(f(x), plain)
    assert torch.equal(f(x), plain)


def test_dropout_keeps_the_mean_of_the_last_hidden_layer() -> None:
    f = network((16,), dropout=0.3, started=False)
    x = normal(1, 4, seed=4)
    with torch.no_grad(), dropout_from(f, torch.Generator().manual_seed(0)):
        draws = f(x.expand(20_000, 4))
        error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - f(x)[0]).abs() < 5 * error).all()
