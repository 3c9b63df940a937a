"""Training objectives against their definitions."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from skvae.model import VAE, ClosedFormPart, LatentDraw
from skvae.model.priors import MixturePrior
from skvae.model.spec import registered
from skvae.training.objectives import ELBO, IWAE, DReG, ObjectiveSpec

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
    parameters = list(vae.parameters())
    return list(torch.autograd.grad(value, parameters, retain_graph=True))


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


def test_elbo_with_a_background_is_the_mean_log_weight(
    model: VAE, rows: Tensor
) -> None:
    draw = model.draw(rows, normal(3, 60, 1))
    part = ClosedFormPart(torch.zeros_like(rows[:, 0]))
    mixed = dataclasses.replace(draw, closed_form=part)
    torch.testing.assert_close(ELBO().bound(mixed, 0.0), draw.log_w.mean(0))


# Weightings of the divergence


def weighted(draw: LatentDraw, beta: float) -> Tensor:
    assert draw.kl is not None
    return draw.log_p_x.mean(0) - beta * draw.kl


@pytest.mark.parametrize("progress", [0.0, 0.5, 0.99])
def test_elbo_without_weighting_is_the_plain_elbo(
    progress: float, model: VAE, rows: Tensor
) -> None:
    draw = model.draw(rows, normal(2, 60, 1))
    plain = weighted(draw, 1.0)
    assert torch.equal(ELBO(n_samples=2).bound(draw, progress), plain)
    spelt = ELBO(n_samples=2, beta=1, warmup=0, free_bits=0, released=1)
    assert torch.equal(spelt.bound(draw, progress), plain)


@pytest.mark.parametrize(
    ("objective", "betas"),
    [
        (ELBO(beta=0.5), (0.5, 0.5, 0.5, 1.0, 1.0)),
        (ELBO(beta=4.0, released=1.0), (4.0, 4.0, 4.0, 4.0, 4.0)),
        (ELBO(warmup=0.4), (0.0, 0.5, 1.0, 1.0, 1.0)),
        (ELBO(beta=2.0, warmup=0.8), (0.0, 0.5, 1.0, 1.0, 1.0)),
        (ELBO(beta=2.0, warmup=0.8, released=0.9), (0.0, 0.5, 1.0, 2.0, 1.0)),
        (ELBO(warmup=1.0, released=1.0), (0.0, 0.2, 0.4, 0.8, 0.95)),
        (ELBO(beta=3.0, released=0.0), (1.0, 1.0, 1.0, 1.0, 1.0)),
    ],
    ids=repr,
)
def test_weight_of_the_divergence_over_the_training(
    objective: ELBO, betas: tuple[float, ...], model: VAE, rows: Tensor
) -> None:
    draw = model.draw(rows, normal(1, 60, 1))
    for progress, beta in zip((0.0, 0.2, 0.4, 0.8, 0.95), betas, strict=True):
        found = objective.bound(draw, progress)
        torch.testing.assert_close(found, weighted(draw, beta))


def test_free_bits_stop_the_gradient_of_small_divergences_alone(
    model: VAE, rows: Tensor
) -> None:
    draw = model.draw(rows, normal(1, 60, 1))
    divergence = draw.kl.mean().item()
    reconstruction = gradients(model, draw.log_p_x.mean())
    plain = gradients(model, weighted(draw, 1.0).mean())
    for free_bits, expected in [
        (1.01 * divergence, reconstruction),
        (0.99 * divergence, plain),
    ]:
        bound = ELBO(free_bits=free_bits).bound(draw, 0.0).mean()
        value = draw.log_p_x.mean() - max(free_bits, divergence)
        torch.testing.assert_close(bound, value)
        found = gradients(model, bound)
        torch.testing.assert_close(found, expected)
    released = ELBO(free_bits=100.0).bound(draw, 0.8)
    assert torch.equal(released, weighted(draw, 1.0))


def test_weighted_sample_of_the_divergence(make_model: MakeModel, rows: Tensor) -> None:
    vae = make_model(rows.float(), MixturePrior(n_modes=2)).double()
    draw = vae.draw(rows, normal(3, 60, 1))
    ratio = draw.log_q_z - draw.log_p_z
    torch.testing.assert_close(
        ELBO(n_samples=3, beta=0.3).bound(draw, 0.0),
        (draw.log_p_x - 0.3 * ratio).mean(0),
    )


@pytest.mark.parametrize(
    ("parameter", "value", "allowed"),
    [
        ("beta", -0.1, "a number from 0"),
        ("beta", "one", "a number from 0"),
        ("beta", float("nan"), "a number from 0"),
        ("free_bits", -1, "a number from 0"),
        ("free_bits", float("inf"), "a number from 0"),
        ("warmup", 1.1, r"in \[0, 1\]"),
        ("released", -0.1, r"in \[0, 1\]"),
        ("released", "late", r"in \[0, 1\]"),
    ],
)
def test_elbo_rejects_other_weightings(
    parameter: str, value: object, allowed: str, model: VAE, rows: Tensor
) -> None:
    draw = model.draw(rows, normal(1, 60, 1))
    with pytest.raises(ValueError, match=f"{parameter} of ELBO must be {allowed}, got"):
        ELBO(**{parameter: value}).bound(draw, 0.0)


# Importance-weighted bounds


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


@pytest.mark.parametrize("variant", [IWAE, DReG])
def test_importance_weighting_draws_once_in_its_first_part(variant: type) -> None:
    objective = variant(n_samples=6, first_part=0.25)
    draws = [objective.n_draws(progress) for progress in (0.0, 0.24, 0.25, 0.9)]
    assert draws == [1, 1, 6, 6]
    assert variant(n_samples=6, first_part=0.0).n_draws(0.0) == 6
    assert variant(n_samples=6, first_part=1.0).n_draws(0.999) == 1


@pytest.mark.parametrize("variant", [IWAE, DReG])
@pytest.mark.parametrize("first_part", [-0.1, 1.1, "half", float("nan")])
def test_importance_weighting_rejects_other_first_parts(
    variant: type, first_part: object
) -> None:
    message = rf"first_part of {variant.__name__} must be in \[0, 1\]"
    with pytest.raises(ValueError, match=message):
        variant(first_part=first_part).n_draws(0.0)


@pytest.mark.parametrize(
    "objective",
    # Others have an objective inside that says how many draws there are.
    [o for o in registered(ObjectiveSpec).values() if "n_samples" in o().get_params()],
)
@pytest.mark.parametrize("n_samples", [0, -3, 1.5, "many"])
def test_objectives_reject_other_numbers_of_draws(
    objective: type, n_samples: object
) -> None:
    with pytest.raises(ValueError, match=r"n_samples.*positive int"):
        objective(n_samples=n_samples).n_draws(0.0)
