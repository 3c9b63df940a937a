"""The parameters of a model as one vector."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from skvae.training.flat import FlatParameters

Decays = Callable[[nn.Parameter], bool]


def make_model() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.SiLU(), nn.Linear(5, 2)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    return model


def loss_of(model: nn.Module, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(20, 3, dtype=torch.float64, generator=generator)
    return model(x).square().mean()


def is_matrix(parameter: nn.Parameter) -> bool:
    return parameter.dim() == 2


@pytest.mark.parametrize("clip_norm", [0.1, 1e6])
def test_steps_are_those_of_torch_on_many_tensors(clip_norm: float) -> None:
    model, twin = make_model(), make_model()
    flat = FlatParameters(model.parameters(), is_matrix)
    ours = torch.optim.AdamW(
        [
            {"params": [flat.decayed], "weight_decay": 0.3},
            {"params": [flat.others], "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    others = [p for p in twin.parameters() if not is_matrix(p)]
    theirs = torch.optim.AdamW(
        [
            {"params": list(filter(is_matrix, twin.parameters())), "weight_decay": 0.3},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    for seed in range(20):
        norm = flat.set_gradient(loss_of(model, seed), clip_norm)
        ours.step()
        theirs.zero_grad()
        loss_of(twin, seed).backward()
        expected = nn.utils.clip_grad_norm_(twin.parameters(), clip_norm)
        theirs.step()
        torch.testing.assert_close(norm, expected)
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_values_and_names_of_the_model_stay() -> None:
    model, twin = make_model(), make_model()
    FlatParameters(model.parameters(), is_matrix)
    assert model.state_dict().keys() == twin.state_dict().keys()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


def test_vector_follows_weights_that_are_loaded_and_copies_are_apart() -> None:
    model = make_model()
    flat = FlatParameters(model.parameters(), is_matrix)
    copied = copy.deepcopy(model)
    zeros = {name: torch.zeros_like(p) for name, p in model.state_dict().items()}
    model.load_state_dict(zeros)
    assert not flat.decayed.any()
    assert not flat.others.any()
    assert all(p.any() for p in copied.parameters())


def test_parameters_that_are_not_trained_or_not_used_stay() -> None:
    model = make_model()
    model.unused = nn.Parameter(torch.ones(4))
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    flat = FlatParameters(model.parameters(), is_matrix)
    optimiser = torch.optim.SGD([flat.decayed, flat.others], lr=0.1)
    flat.set_gradient(loss_of(nn.Sequential(*model), 0), 1.0)
    optimiser.step()
    assert torch.equal(model[0].weight, before)
    assert (model.unused == 1).all()


@pytest.mark.parametrize("decays", [lambda p: True, lambda p: False])
def test_one_of_the_parts_may_be_empty(decays: Decays) -> None:
    model = make_model()
    flat = FlatParameters(model.parameters(), decays)
    before = [p.clone() for p in model.parameters()]
    optimiser = torch.optim.AdamW([flat.decayed, flat.others], lr=0.1, fused=True)
    flat.set_gradient(loss_of(model, 0), 1.0)
    optimiser.step()
    for one, other in zip(model.parameters(), before, strict=True):
        assert not torch.equal(one, other)
