"""Gradients through the latents alone have the right mean."""

from collections.abc import Callable

import pytest
import torch
from scipy.stats import t as student_t
from torch import Tensor, nn

from skvae.model import VAE, BuildContext, LatentDraw, LinearStart
from skvae.model.backgrounds.student_t import StudentTBackgroundModule
from skvae.model.distributions import LatentDistribution
from skvae.model.posteriors import PosteriorModule
from skvae.model.priors import MixturePrior, PriorModule, PriorSpec
from skvae.model.spec import registered
from skvae.training.objectives import (
    ELBO,
    IWAE,
    DReG,
    ObjectiveSpec,
    StickingTheLanding,
)

MakeModel = Callable[..., VAE]

N_REPEATS = 200
FALSE_ALARM = 1e-4  # of the comparison of all parameters of one model, by Bonferroni


class PathELBO(ELBO):
    """The ELBO of a posterior without a score."""

    path_gradient = True


class PathIWAE(IWAE):
    """The importance-weighted bound of a posterior without a score."""

    path_gradient = True


# Each with the objective that has the same gradients in expectation.
PAIRS = [
    (StickingTheLanding(n_samples=1), ELBO(n_samples=1)),
    (StickingTheLanding(n_samples=3), ELBO(n_samples=3)),
    (DReG(n_samples=1), IWAE(n_samples=1)),
    (DReG(n_samples=4), IWAE(n_samples=4)),
    (PathIWAE(n_samples=4, first_part=0), IWAE(n_samples=4, first_part=0)),
    (PathELBO(n_samples=2, beta=0.3), ELBO(n_samples=2, beta=0.3)),
]
every_pair = pytest.mark.parametrize(("path", "plain"), PAIRS, ids=repr)
with_and_without_background = pytest.mark.parametrize("background", [False, True])


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


class OfTheEncoderModule(PriorModule):
    """The encoder's distribution of one row, which is learnt."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.full((1, n_features), 0.2))

    def connect(self, posterior: PosteriorModule) -> None:
        self.encoder = posterior

    def forward(self) -> LatentDistribution:
        return self.encoder(self.row)

    def initialise(self, start: LinearStart) -> None:
        pass


class OfTheEncoder(PriorSpec):
    """A prior made of the encoder: gradients of log p(z) reach both."""

    def build(self, context: BuildContext) -> OfTheEncoderModule:
        return OfTheEncoderModule(context.n_features)


@pytest.fixture
def rows() -> Tensor:
    z = normal(32, 1)
    return torch.cat([z, 0.5 * z + 0.3 * normal(32, 1, seed=1)], 1)


@pytest.fixture
def make_biased(make_model: MakeModel, rows: Tensor) -> MakeModel:
    """Return a function that makes a model whose encoder is not its posterior."""

    def make(*, background: bool, prior: PriorSpec | None = None) -> VAE:
        prior = MixturePrior(n_modes=2) if prior is None else prior
        vae = make_model(rows.float(), prior).double()
        with torch.no_grad():
            for seed, parameter in enumerate(vae.parameters()):
                parameter.add_(0.15 * normal(*parameter.shape, seed=seed))
            if background:
                vae.background = half_of_the_rows(vae, rows)
        return vae

    return make


def half_of_the_rows(vae: VAE, rows: Tensor) -> StudentTBackgroundModule:
    """Return a background that takes about half of the rows."""
    floor = torch.full((2,), 1e-3, dtype=torch.float64)
    background = StudentTBackgroundModule(0.5, 3.0, floor)
    background.initialise(rows, torch.ones(len(rows)))
    latent = vae.draw(rows, normal(64, len(rows), 1)).log_mean_w
    odds = float((background.log_prob(rows) - latent).median().exp())
    background.weight = 1 / (1 + odds)
    return background


def gradients(vae: VAE, objective: ObjectiveSpec, x: Tensor, noise: Tensor) -> Tensor:
    """Return the gradient that training would follow, one long vector."""
    draw = vae.draw(x, noise, path_gradient=objective.path_gradient)
    bound = draw.closed_form.mix(objective.bound(draw, 0.0)).mean()
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(bound, list(vae.parameters()))]
    )


def differences(
    vae: VAE, path: ObjectiveSpec, plain: ObjectiveSpec, x: Tensor
) -> Tensor:
    """Return differences of gradients from the same noise, (N_REPEATS, parameters)."""
    n_draws = plain.n_samples  # type: ignore[attr-defined]
    found = []
    for seed in range(N_REPEATS):
        noise = normal(n_draws, len(x), 1, seed=1000 + seed)
        found.append(gradients(vae, path, x, noise) - gradients(vae, plain, x, noise))
    return torch.stack(found)


def largest_t(sample: Tensor) -> tuple[float, float]:
    """Return the largest |t| of the columns' means and a limit for chance.

    Chance exceeds the limit in a share of at most `FALSE_ALARM` of all comparisons.
    """
    deviation = sample.std(0)
    varies = deviation > 1e-12
    error = deviation[varies] / len(sample) ** 0.5
    limit = student_t.isf(FALSE_ALARM / (2 * int(varies.sum())), len(sample) - 1)
    return float((sample.mean(0)[varies] / error).abs().max()), float(limit)


@every_pair
@with_and_without_background
def test_path_gradients_agree_with_plain_ones_in_expectation(
    path: ObjectiveSpec,
    plain: ObjectiveSpec,
    background: bool,
    make_biased: MakeModel,
    rows: Tensor,
) -> None:
    found, limit = largest_t(
        differences(make_biased(background=background), path, plain, rows)
    )
    assert found < limit


@with_and_without_background
def test_prior_of_the_encoder_is_part_of_the_model(
    background: bool, make_biased: MakeModel, rows: Tensor
) -> None:
    vae = make_biased(background=background, prior=OfTheEncoder())
    path, plain = DReG(n_samples=3), IWAE(n_samples=3)
    found, limit = largest_t(differences(vae, path, plain, rows))
    assert found < limit


class NotSquared(DReG):
    """The importance-weighted bound with path gradients that are weighed once."""

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        return draw.log_mean_w


class WithoutShare(DReG):
    """Path gradients that leave out the share of the background."""

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        weight = draw.log_w.detach().softmax(0).unsqueeze(-1)
        draw.z.register_hook(lambda gradient: weight * gradient)
        return draw.log_mean_w


@pytest.mark.parametrize(
    ("wrong", "background"),
    [
        (NotSquared(n_samples=1), True),
        (NotSquared(n_samples=4), False),
        (WithoutShare(n_samples=4), True),
    ],
    ids=repr,
)
def test_biased_gradients_would_be_found(
    wrong: DReG, background: bool, make_biased: MakeModel, rows: Tensor
) -> None:
    vae = make_biased(background=background)
    plain = IWAE(n_samples=wrong.n_samples)
    found, limit = largest_t(differences(vae, wrong, plain, rows))
    assert found > 2 * limit


@every_pair
@with_and_without_background
def test_value_and_gradients_of_the_model_are_the_same(
    path: ObjectiveSpec,
    plain: ObjectiveSpec,
    background: bool,
    make_biased: MakeModel,
    rows: Tensor,
) -> None:
    vae = make_biased(background=background)
    noise = normal(plain.n_samples, len(rows), 1)  # type: ignore[attr-defined]
    values, parts = [], []
    for objective in (path, plain):
        draw = vae.draw(rows, noise, path_gradient=objective.path_gradient)
        values.append(draw.closed_form.mix(objective.bound(draw, 0.0)))
        model = [*vae.prior.parameters(), *vae.decoder.parameters()]
        parts.append(torch.autograd.grad(values[-1].sum(), model))
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*parts)


@with_and_without_background
def test_doubly_reparameterised_single_draw_sticks_the_landing(
    background: bool, make_biased: MakeModel, rows: Tensor
) -> None:
    vae, noise = make_biased(background=background), normal(1, len(rows), 1)
    one = gradients(vae, DReG(n_samples=1), rows, noise)
    other = gradients(vae, StickingTheLanding(), rows, noise)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("objective", registered(ObjectiveSpec).values())
def test_bounds_have_values_without_gradients(
    objective: type[ObjectiveSpec], make_biased: MakeModel, rows: Tensor
) -> None:
    vae = make_biased(background=True)
    with torch.no_grad():
        draw = vae.draw(
            rows, normal(2, len(rows), 1), path_gradient=objective.path_gradient
        )
        assert objective().bound(draw, 0.0).isfinite().all()


def test_path_draw_reaches_the_encoder_through_latents_alone(
    make_biased: MakeModel, rows: Tensor
) -> None:
    vae, noise = make_biased(background=False), normal(3, len(rows), 1)
    plain, path = (vae.draw(rows, noise, path_gradient=flag) for flag in (False, True))
    torch.testing.assert_close(path.log_q_z, plain.log_q_z)
    assert path.kl is None
    (through_z,) = torch.autograd.grad(path.log_q_z.sum(), path.z, retain_graph=True)
    encoder = list(vae.posterior.parameters())
    by_hand = torch.autograd.grad(path.z, encoder, through_z, retain_graph=True)
    torch.testing.assert_close(
        torch.autograd.grad(path.log_q_z.sum(), encoder), by_hand
    )
