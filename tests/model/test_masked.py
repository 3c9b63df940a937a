"""The masked network: what an output reads, exactly, and where it starts."""

import pytest
import torch
from torch import Tensor

from skvae.model.networks import INPUT_BOUND, MaskedMLP, dropout_from

L, P, P_LINEAR = 2, 3, 1
GIVEN = -1


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def network(
    input_rank: list[int],
    output_rank: list[int],
    hidden_layer_sizes: tuple[int, ...] = (16, 16),
    n_latents: int = L,
    dropout: float = 0.0,
    moved: bool = True,
) -> MaskedMLP:
    result = MaskedMLP(
        n_latents,
        torch.tensor(input_rank),
        torch.tensor(output_rank),
        hidden_layer_sizes,
        P,
        P_LINEAR,
        dropout,
        torch.Generator().manual_seed(0),
    ).double()
    if moved:
        with torch.no_grad():
            for seed, parameter in enumerate(result.parameters()):
                parameter.add_(normal(*parameter.shape, seed=seed + 10))
    return result


# Ranks of inputs and outputs: one input per output and in order; reversed; inputs in
# groups, as of categories; others that every output reads; a single output.
RANKS = [
    ([0, 1, 2, 3], [0, 1, 2, 3]),
    ([3, 2, 1, 0], [3, 2, 1, 0]),
    ([1, 1, 1, 0, 2, 2], [1, 0, 2]),
    ([2, 0, 1, GIVEN, GIVEN], [2, 0, 1]),
    ([0], [0]),
    ([0, GIVEN], [0]),
]
# No hidden layers; fewer units than outputs; changing widths; residual layers.
SIZES = [(), (1,), (2, 2), (7, 4), (16, 16, 16)]

every_network = pytest.mark.parametrize(
    ("ranks", "sizes"), [(ranks, sizes) for ranks in RANKS for sizes in SIZES]
)


@every_network
def test_jacobian_is_exactly_zero_for_inputs_that_do_not_come_before(
    ranks: tuple[list[int], list[int]], sizes: tuple[int, ...]
) -> None:
    input_rank, output_rank = ranks
    f = network(input_rank, output_rank, sizes)
    z, x = normal(1, 1, L), normal(1, len(input_rank), seed=1)
    jacobian = torch.autograd.functional.jacobian(lambda x: f(z, x)[0, 0], x)
    for column, rank in enumerate(output_rank):
        for number, other in enumerate(input_rank):
            reached = jacobian[:, column, 0, number] != 0
            # The location is linear in all that comes before, so none is missing.
            assert not reached.any() if other >= rank else reached[:P_LINEAR].all()


@every_network
def test_every_output_reads_every_latent(
    ranks: tuple[list[int], list[int]], sizes: tuple[int, ...]
) -> None:
    f = network(*ranks, sizes)
    z, x = normal(1, 1, L), normal(1, len(ranks[0]), seed=1)
    jacobian = torch.autograd.functional.jacobian(lambda z: f(z, x)[0, 0], z)
    n_moved = P if sizes else P_LINEAR
    assert (jacobian[:n_moved] != 0).all()


def test_wide_network_bends_all_numbers_by_all_inputs_before() -> None:
    f = network([0, 1, 2, 3, GIVEN], [0, 1, 2, 3], (16, 16))
    z, x = normal(1, 1, L), normal(1, 5, seed=1)
    jacobian = torch.autograd.functional.jacobian(lambda x: f(z, x)[0, 0], x)
    before = torch.tensor([0, 1, 2, 3, GIVEN]) < torch.arange(4)[:, None]
    assert torch.equal(jacobian[:, :, 0] != 0, before.expand(P, -1, -1))


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("sizes", [size for size in SIZES if size != (1,)])
def test_gradient_reaches_every_parameter_and_no_masked_weight(
    ranks: tuple[list[int], list[int]], sizes: tuple[int, ...]
) -> None:
    f = network(*ranks, sizes)
    f(normal(4, 30, L), normal(30, len(ranks[0]), seed=1)).square().sum().backward()
    for name, parameter in f.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    for mask, weight in [
        (f.skip_mask, f.skip),
        *((layer.mask, layer.weight) for layer in f.hidden),
    ]:
        assert (weight.grad[mask == 0] == 0).all()
        assert (weight.grad[mask == 1] != 0).any()


def test_network_starts_as_its_linear_map() -> None:
    f = network([0, 1, 2], [0, 1, 2], moved=False)
    with torch.no_grad():
        f.skip.copy_(normal(*f.skip.shape))
        f.bias.copy_(normal(*f.bias.shape, seed=1))
    z, x = normal(4, 5, L), normal(5, 3, seed=2)
    read = torch.cat([z, x.expand(4, -1, -1)], -1)
    expected = f.bias.expand(4, 5, -1).clone()
    expected[..., :3] += read @ (f.skip * f.skip_mask).T
    torch.testing.assert_close(f(z, x), expected.unflatten(-1, (P, 3)))


def test_network_is_linear_beyond_its_bound() -> None:
    f = network([0, 1, 2], [0, 1, 2])
    z, x = normal(1, 50, L).sign() * INPUT_BOUND, normal(50, 3, seed=1).sign() * 9
    middle, far, farther = (f(s * z, s * x) for s in (1, 11, 21))
    torch.testing.assert_close(farther - far, far - middle)


def test_latents_for_all_rows_are_latents_of_each_row() -> None:
    f, x = network([0, 1, 2], [0, 1, 2]), normal(5, 3)
    z = normal(4, 1, L, seed=1)
    torch.testing.assert_close(f(z, x), f(z.expand(-1, 5, -1), x))


def test_network_without_latents_has_one_answer_for_all() -> None:
    f, x = network([0, 1, 2], [0, 1, 2], n_latents=0), normal(5, 3)
    assert f(torch.empty(1, 1, 0).double(), x).shape == (1, 5, P, 3)


def test_dropout_masks_come_from_the_given_generator() -> None:
    f = network([0, 1, 2], [0, 1, 2], dropout=0.5)
    z, x = normal(4, 50, L), normal(50, 3, seed=1)
    plain, results = f(z, x), []
    for seed in (0, 0, 1):
        with dropout_from(f, torch.Generator().manual_seed(seed)):
            results.append(f(z, x))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert torch.equal(f(z, x), plain)


def test_weight_matrices_decay_and_nothing_else_does() -> None:
    f = network([0, 1, 2], [0, 1, 2], (16, 16, 16))
    decayed = {id(weight) for weight in f.decayed()}
    names = {name for name, p in f.named_parameters() if id(p) in decayed}
    assert names == {"first.weight", "hidden.0.weight", "hidden.1.weight", "output"}
    assert not list(network([0, 1], [0, 1], ()).decayed())
