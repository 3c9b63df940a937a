"""Terms of the aggregate posterior, beside a bound."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from skvae.model import VAE, Aggregate, ClosedFormPart, LatentDraw
from skvae.model.distributions import CholeskyGaussian, StandardNormal
from skvae.model.priors import CodebookPrior
from skvae.training import Trainer
from skvae.training.objectives import (
    ELBO,
    IWAE,
    DReG,
    InfoObjective,
    ObjectiveSpec,
)
from skvae.training.objectives.info import (
    maximum_mean_discrepancy,
    mutual_information,
)

MakeModel = Callable[..., VAE]
MakeTrainer = Callable[..., Trainer]

FALSE_ALARM = 1e-4


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def table(n_rows: int = 60) -> Tensor:
    z = normal(n_rows, 1)
    return torch.cat([z, 0.5 * z + 0.3 * normal(n_rows, 1, seed=1)], 1)


def expected_kernel(
    mean: Tensor, covariance: Tensor, other: tuple[Tensor, Tensor], length: float
) -> float:
    """Return E exp(−|a − b|² / 2ℓ²) of two Gaussians: their difference's density."""
    n = len(mean)
    total = covariance + other[1] + length**2 * torch.eye(n, dtype=mean.dtype)
    log_density = MultivariateNormal(mean - other[0], total).log_prob(
        torch.zeros_like(mean)
    )
    return float(log_density.exp()) * (2 * math.pi * length**2) ** (n / 2)


@pytest.mark.parametrize("n_rows", [2, 7])
def test_discrepancy_is_unbiased_for_gaussians_also_with_weights(n_rows: int) -> None:
    mean = torch.tensor([0.8, -0.3], dtype=torch.float64)
    tril = torch.tensor([[0.5, 0.0], [0.4, 1.2]], dtype=torch.float64)
    one = mean, tril @ tril.T
    other = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    length = 1.3
    truth = (
        expected_kernel(*one, one, length)
        + expected_kernel(*other, other, length)
        - 2 * expected_kernel(*one, other, length)
    )
    weight = torch.linspace(0.2, 1, n_rows, dtype=torch.float64)
    noise, prior = normal(4000, n_rows, 2), normal(4000, 5, 2, seed=1)
    found = torch.stack(
        [
            maximum_mean_discrepancy(mean + z @ tril.T, y, length, weight)
            for z, y in zip(noise, prior, strict=True)
        ]
    )
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - truth) < norm.isf(FALSE_ALARM / 2) * error
    assert error < 0.05 * truth


def test_information_of_a_linear_gaussian_encoder_is_bounded_by_the_closed_form() -> (
    None
):
    """And close to it where it is far below the logarithm of the batch size."""
    n_rows, scale = 200, 0.8
    weight = torch.ones(n_rows, dtype=torch.float64)
    truth = 0.5 * math.log(1 + 1 / scale**2)
    found = []
    for seed in range(300):
        x = normal(n_rows, 1, seed=seed)
        encoder = CholeskyGaussian(x, scale * torch.ones_like(x)[..., None])
        z, _ = encoder.rsample(normal(1, n_rows, 1, seed=1000 + seed))
        batch = Aggregate(encoder, z[0], z[0])
        found.append(mutual_information(batch.log_q_z(), weight))
    estimate = torch.stack(found)
    error = estimate.std() / len(estimate) ** 0.5
    assert estimate.mean() < truth + norm.isf(FALSE_ALARM) * error
    assert estimate.mean() > truth - 0.02
    narrow = CholeskyGaussian(x, 1e-6 * torch.ones_like(x)[..., None])
    told_apart = mutual_information(Aggregate(narrow, x, x).log_q_z(), weight)
    assert float(told_apart) == pytest.approx(math.log(n_rows))


def test_rows_without_weight_have_no_part_in_the_terms() -> None:
    z, y = normal(6, 2), normal(6, 2, seed=1)
    weight = torch.tensor([1.0, 1, 0, 1, 0, 1], dtype=torch.float64)
    kept = weight > 0
    torch.testing.assert_close(
        maximum_mean_discrepancy(z, y, 1.0, weight),
        maximum_mean_discrepancy(z[kept], y, 1.0, weight[kept]),
    )
    pairs = normal(6, 6, seed=2)
    torch.testing.assert_close(
        mutual_information(pairs, weight),
        mutual_information(pairs[kept][:, kept], weight[kept]),
    )


def drawn(vae: VAE, x: Tensor, objective: ObjectiveSpec) -> LatentDraw:
    draw = vae.draw(
        x,
        normal(2, len(x), 1),
        path_gradient=objective.path_gradient,
        training=True,
    )
    aggregate = vae.aggregate(x, torch.Generator().manual_seed(0))
    return dataclasses.replace(draw, aggregate=aggregate)


@pytest.mark.parametrize("base", [ELBO(), IWAE(), DReG()], ids=repr)
def test_bound_is_that_of_the_base_and_terms_end_when_they_are_released(
    base: ObjectiveSpec, make_model: MakeModel
) -> None:
    x = table()
    vae = make_model(x.float()).double()
    objective = InfoObjective(base, mmd=3.0, mutual_information=0.5, released=0.6)
    assert objective.path_gradient == base.path_gradient
    for progress in (0.0, 0.59, 0.6, 0.9):
        assert objective.n_draws(progress) == base.n_draws(progress)
        draw = drawn(vae, x, objective)
        found = objective.bound(draw, progress)
        assert torch.equal(found, base.bound(draw, progress))
        is_held = progress < 0.6
        assert objective.reads_aggregate(progress) == is_held
        assert bool(objective.of_batch(draw, progress) != 0) == is_held


def test_terms_add_with_their_weights_and_are_none_of_an_encoder_that_is_computed(
    make_model: MakeModel,
) -> None:
    x = table()
    vae = make_model(x.float()).double()
    draw = drawn(vae, x, ELBO())
    assert draw.aggregate is not None
    length, weight = 2.0, torch.ones(len(x), dtype=x.dtype)
    mmd = maximum_mean_discrepancy(
        draw.aggregate.z, draw.aggregate.prior_z, length, weight
    )
    information = mutual_information(draw.aggregate.log_q_z(), weight)
    term = InfoObjective(mmd=3.0, mutual_information=0.5, bandwidth=2.0)
    torch.testing.assert_close(term.of_batch(draw, 0.0), -3.0 * mmd + 0.5 * information)
    codes = make_model(x.float(), CodebookPrior(4)).double()
    assert codes.aggregate(x, torch.Generator()) is None
    assert term.of_batch(codes.draw(x, normal(1, len(x), 1)), 0.0) == 0


def test_terms_move_the_encoder_and_nothing_else(make_model: MakeModel) -> None:
    x = table()
    vae = make_model(x.float()).double()
    with torch.no_grad():
        for seed, parameter in enumerate(vae.parameters()):
            parameter.add_(0.2 * normal(*parameter.shape, seed=seed))
    for objective in (
        InfoObjective(mmd=1.0),
        InfoObjective(mmd=0.0, mutual_information=1.0),
    ):
        vae.zero_grad()
        objective.of_batch(drawn(vae, x, objective), 0.0).backward()
        for name, parameter in vae.named_parameters():
            reached = parameter.grad is not None and bool(parameter.grad.any())
            assert reached == name.startswith("posterior."), name


def test_gradient_of_the_discrepancy_pulls_latents_to_the_prior() -> None:
    shift = nn.Parameter(torch.tensor([1.0, 0.0], dtype=torch.float64))
    prior = StandardNormal(torch.zeros(2, dtype=torch.float64))
    y, _ = prior.rsample(normal(1, 400, 2, seed=1))
    weight = torch.ones(400, dtype=torch.float64)
    discrepancy = maximum_mean_discrepancy(normal(400, 2) + shift, y[0], 1.4, weight)
    discrepancy.backward()
    assert shift.grad is not None
    assert shift.grad[0] > 5 * shift.grad[1].abs()


def test_what_the_background_explains_counts_less(make_model: MakeModel) -> None:
    x = table()
    vae = make_model(x.float()).double()
    draw = drawn(vae, x, ELBO())
    # The first half of the rows are the background's.
    odds = torch.where(torch.arange(len(x)) < 30, 1e3, -1e3).double()
    mixed = dataclasses.replace(draw, closed_form=ClosedFormPart(odds, -0.1, odds))
    assert draw.aggregate is not None
    half = torch.ones(30, dtype=x.dtype)
    expected = maximum_mean_discrepancy(
        draw.aggregate.z[30:], draw.aggregate.prior_z, 1.0, half
    )
    found = InfoObjective(mmd=1.0).of_batch(mixed, 0.0)
    torch.testing.assert_close(found, -expected)


def test_training_with_a_strong_discrepancy_brings_the_aggregate_to_the_prior(
    make_trainer: MakeTrainer,
) -> None:
    found = []
    for mmd in (0.0, 300.0):
        trainer = make_trainer(
            InfoObjective(ELBO(beta=0.01, released=1.0), mmd=mmd, released=1.0),
            n_epochs=30,
            n_valid=0,
        )
        trainer.run()
        x = trainer.data.x
        with torch.no_grad():
            batch = trainer.model.aggregate(x, torch.Generator().manual_seed(1))
        assert batch is not None
        weight = torch.ones(len(x))
        found.append(maximum_mean_discrepancy(batch.z, batch.prior_z, 1.0, weight))
    free, drawn_together = found
    assert drawn_together < 0.5 * free


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("mmd", -1.0),
        ("mmd", math.inf),
        ("mutual_information", "much"),
        ("bandwidth", 0),
        ("bandwidth", -2.0),
        ("released", 1.5),
    ],
)
def test_parameters_that_make_no_sense_are_named(
    parameter: str, value: object, make_model: MakeModel
) -> None:
    x = table()
    vae = make_model(x.float()).double()
    with pytest.raises(ValueError, match=f"{parameter} of InfoObjective"):
        InfoObjective(**{parameter: value}).of_batch(drawn(vae, x, ELBO()), 0.0)
