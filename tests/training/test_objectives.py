"""Training objectives against their definitions."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from skvae.model import VAE, LatentDraw
from skvae.model.priors import MixturePrior
from skvae.training.objectives import ELBO, IWAE

MakeModel = Callable[..., VAE]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def rows() -> Tensor:
    z = normal(60, 1)
    return torch.cat([z, 0.5 * z + 0.3 * normal(60, 1, seed=1)], 1)


@pytest.fixture
def model(make_model: MakeModel, rows: Tensor) -> VAE:
    vae = make_model(rows.float()).double()
    with torch.no_grad():
        for seed, parameter in enumerate(vae.parameters()):
            parameter.add_(0.2 * normal(*parameter.shape, seed=seed))
    return vae


def gradients(vae: VAE, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(vae.parameters())))


def test_closed_form_and_sampled_elbo_agree_in_expectation(
    model: VAE, rows: Tensor
) -> None:
    x = rows[:5]
    with torch.no_grad():
        draw = model.draw(x, normal(20_000, 5, 1))
        sampled = dataclasses.replace(draw, kl=None)
        closed, estimated = ELBO().bound(draw, 0.0), ELBO().bound(sampled, 0.0)
        difference = draw.log_q_z - draw.log_p_z - draw.kl
    assert draw.kl is not None
    error = difference.std(0) / len(difference) ** 0.5
    assert ((closed - estimated).abs() < 5 * error).all()
    assert not torch.equal(closed, estimated)


def test_elbo_without_closed_form_is_the_mean_log_weight(
    make_model: MakeModel, rows: Tensor
) -> None:
    vae = make_model(rows.float(), MixturePrior(n_modes=2)).double()
    draw = vae.draw(rows, normal(3, 60, 1))
    assert draw.kl is None
    torch.testing.assert_close(ELBO(n_samples=3).bound(draw, 0.0), draw.log_w.mean(0))


def test_iwae_gradient_is_the_weighted_gradient_of_log_weights(
    model: VAE, rows: Tensor
) -> None:
    noise = normal(8, 60, 1)
    bound = IWAE(n_samples=8).bound(model.draw(rows, noise), 0.0).sum()
    log_w = model.draw(rows, noise).log_w
    weighted = (log_w.softmax(0).detach() * log_w).sum()
    for ours, expected in zip(
        gradients(model, bound), gradients(model, weighted), strict=True
    ):
        torch.testing.assert_close(ours, expected)


def test_iwae_is_the_log_of_the_mean_weight() -> None:
    weight = torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 1.0]], dtype=torch.float64)
    zero = torch.zeros_like(weight)
    draw = LatentDraw(
        z=zero[..., None], log_p_x=weight.log(), log_p_z=zero, log_q_z=zero
    )
    torch.testing.assert_close(
        IWAE().bound(draw, 0.0), torch.tensor([3.0, 3.0], dtype=torch.float64).log()
    )


def test_iwae_of_one_draw_is_the_sampled_elbo(model: VAE, rows: Tensor) -> None:
    draw = dataclasses.replace(model.draw(rows, normal(1, 60, 1)), kl=None)
    torch.testing.assert_close(IWAE().bound(draw, 0.0), ELBO().bound(draw, 0.0))


def test_iwae_keeps_its_value_under_huge_weights() -> None:
    log_w = torch.tensor([[-1e5], [-1e5 + math.log(3)]], dtype=torch.float64)
    zero = torch.zeros_like(log_w)
    draw = LatentDraw(z=zero[..., None], log_p_x=log_w, log_p_z=zero, log_q_z=zero)
    assert IWAE().bound(draw, 0.0).item() == pytest.approx(-1e5 + math.log(2), abs=1e-9)


def test_iwae_draws_once_in_its_first_part() -> None:
    objective = IWAE(n_samples=6, first_part=0.25)
    draws = [objective.n_draws(progress) for progress in (0.0, 0.24, 0.25, 0.9)]
    assert draws == [1, 1, 6, 6]
    assert IWAE(n_samples=6, first_part=0.0).n_draws(0.0) == 6
    assert IWAE(n_samples=6, first_part=1.0).n_draws(0.999) == 1


@pytest.mark.parametrize("first_part", [-0.1, 1.1, "half", float("nan")])
def test_iwae_rejects_other_first_parts(first_part: object) -> None:
    with pytest.raises(ValueError, match=r"first_part of IWAE must be in \[0, 1\]"):
        IWAE(first_part=first_part).n_draws(0.0)


@pytest.mark.parametrize("objective", [ELBO, IWAE])
@pytest.mark.parametrize("n_samples", [0, -3, 1.5, "many"])
def test_objectives_reject_other_numbers_of_draws(
    objective: type, n_samples: object
) -> None:
    with pytest.raises(ValueError, match=r"n_samples.*positive int"):
        objective(n_samples=n_samples).n_draws(0.0)
