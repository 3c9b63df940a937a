"""The variational autoencoder as the sum of its components."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from skvae.model import VAE, ClosedFormPart, LatentDraw
from skvae.model.backgrounds import IndependentBackground, StudentTBackground
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    GaussianLikelihood,
    LikelihoodSpec,
    MixtureLikelihood,
)
from skvae.model.posteriors import FullPosterior, PosteriorSpec
from skvae.model.priors import MixturePrior, NormalPrior, PriorSpec
from skvae.model.spec import registered
from skvae.training.objectives import ObjectiveSpec
from tests.pairs import covering

K, B, D, L = 4, 6, 3, 2

COMBINATIONS = covering(
    [
        list(registered(family).values())
        for family in (PriorSpec, PosteriorSpec, DecoderSpec, LikelihoodSpec)
    ]
)
every_combination = pytest.mark.parametrize(
    ("prior", "posterior", "decoder", "likelihood"), COMBINATIONS
)
every_objective = pytest.mark.parametrize(
    "objective", registered(ObjectiveSpec).values()
)

with_each_background = pytest.mark.parametrize(
    ("likelihood", "background"),
    [
        (GaussianLikelihood(), StudentTBackground(weight=0.3)),
        (BernoulliLikelihood(), IndependentBackground(weight=0.3)),
    ],
    ids=repr,
)

MakeVAE = Callable[..., VAE]
Rows = Callable[..., Tensor]


def noise_for(
    vae: VAE, x: Tensor, n_draws: int = K, *, training: bool = False
) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = n_draws, len(x), vae.encode(x, training=training).noise_dim
    return torch.randn(shape, dtype=x.dtype, generator=generator)


@every_combination
@every_objective
def test_gradient_of_the_objective_reaches_every_parameter(
    prior: type[PriorSpec],
    posterior: type[PosteriorSpec],
    decoder: type[DecoderSpec],
    likelihood: type[LikelihoodSpec],
    objective: type[ObjectiveSpec],
    make_vae: MakeVAE,
    rows: Rows,
) -> None:
    vae = make_vae(prior(), posterior(), likelihood(), decoder())
    x = rows(likelihood.support, n_rows=B)
    draw = vae.draw(
        x,
        noise_for(vae, x, training=True),
        path_gradient=objective().path_gradient,
        training=True,
    )
    bound = objective().bound(draw, 0.5)
    assert bound.shape == (B,)
    bound.mean().backward()
    for name, parameter in vae.named_parameters():
        if vae.encoder_is_exact and name.startswith("posterior."):
            continue
        if name.startswith("posterior.critic."):
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@every_combination
def test_draw_agrees_with_the_parts_of_the_model(
    prior: type[PriorSpec],
    posterior: type[PosteriorSpec],
    decoder: type[DecoderSpec],
    likelihood: type[LikelihoodSpec],
    make_vae: MakeVAE,
    rows: Rows,
) -> None:
    vae = make_vae(prior(), posterior(), likelihood(), decoder()).double()
    x = rows(likelihood.support, n_rows=B).double()
    with torch.no_grad():
        draw = vae.draw(x, noise_for(vae, x))
        if vae.prior.is_finite:  # one draw stands for all codes
            assert draw.z.shape == (1, B, L)
            torch.testing.assert_close(draw.log_w[0], vae.exact_log_prob(x))
            return
        assert draw.z.shape == (K, B, L)
        expected = vae.log_joint(x, draw.z) - vae.encode(x).log_prob(draw.z)
        torch.testing.assert_close(draw.log_w, expected)
        torch.testing.assert_close(draw.log_p_x, vae.log_likelihood(x, draw.z))
        torch.testing.assert_close(draw.log_p_z, vae.prior().log_prob(draw.z))


@every_combination
def test_saved_model_opens_in_another(
    prior: type[PriorSpec],
    posterior: type[PosteriorSpec],
    decoder: type[DecoderSpec],
    likelihood: type[LikelihoodSpec],
    make_vae: MakeVAE,
    rows: Rows,
) -> None:
    one, other = (
        make_vae(prior(), posterior(), likelihood(), decoder(), seed=seed)
        for seed in (0, 1)
    )
    x = rows(likelihood.support, n_rows=B)
    noise = noise_for(one, x)
    with torch.no_grad():
        assert not torch.equal(other.draw(x, noise).log_w, one.draw(x, noise).log_w)
        other.load_state_dict(one.state_dict())
        assert torch.equal(other.draw(x, noise).log_w, one.draw(x, noise).log_w)


@every_combination
def test_rows_are_drawn_from_the_generator_and_fit_the_support(
    prior: type[PriorSpec],
    posterior: type[PosteriorSpec],
    decoder: type[DecoderSpec],
    likelihood: type[LikelihoodSpec],
    make_vae: MakeVAE,
) -> None:
    vae = make_vae(prior(), posterior(), likelihood(), decoder())
    before = torch.get_rng_state()
    with torch.no_grad():
        one, same, other = (
            vae.generate(50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
        )
    assert torch.equal(torch.get_rng_state(), before)
    assert one.shape == (50, D)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    if likelihood.support == "binary":
        assert set(one.unique().tolist()) <= {0.0, 1.0}
    if likelihood.support in ("count", "category"):
        assert (one == one.floor().clamp(min=0)).all()


def test_draws_of_a_row_do_not_depend_on_the_batch(
    make_vae: MakeVAE, rows: Rows
) -> None:
    vae = make_vae(MixturePrior(), FullPosterior(), MixtureLikelihood()).double()
    x = rows("real", n_rows=B).double()
    noise = noise_for(vae, x)
    with torch.no_grad():
        together = vae.draw(x, noise).log_w
        alone = vae.draw(x[3:4], noise[:, 3:4]).log_w
    torch.testing.assert_close(alone, together[:, 3:4])


def test_embedding_and_decoding_are_means(make_vae: MakeVAE, rows: Rows) -> None:
    vae = make_vae(NormalPrior(), FullPosterior(), GaussianLikelihood())
    x = rows("real", n_rows=B)
    with torch.no_grad():
        z = vae.embed(x)
        assert z.shape == (B, L)
        assert vae.decode(z).shape == (B, D)
        decoded = vae.likelihood.mean(vae.raw(x, z[None]))[0]
        torch.testing.assert_close(vae.decode(z), decoded)


def test_log_weight_is_joint_over_proposal() -> None:
    draw = LatentDraw(
        z=torch.zeros(1, 1, 1),
        log_p_x=torch.tensor([[-1.0]]),
        log_p_z=torch.tensor([[-2.0]]),
        log_q_z=torch.tensor([[-4.0]]),
    )
    assert draw.log_w.item() == 1.0


# Backgrounds


@with_each_background
def test_background_is_one_part_of_a_mixture(
    likelihood: LikelihoodSpec,
    background: StudentTBackground | IndependentBackground,
    make_vae: MakeVAE,
    rows: Rows,
) -> None:
    vae = make_vae(
        NormalPrior(), FullPosterior(), likelihood, background=background
    ).double()
    x = rows(likelihood.support, n_rows=B).double()
    log_p = torch.linspace(-9, 0, B, dtype=torch.float64)
    share = 0.3 * vae.background.log_prob(x).exp()
    closed_form = vae.closed_form(x)
    ours = (closed_form.log_odds + closed_form.log_weight).exp()
    torch.testing.assert_close(ours, share)
    mixed = closed_form.mix(log_p)
    torch.testing.assert_close(mixed.exp(), 0.7 * log_p.exp() + share)


@with_each_background
def test_draw_knows_its_background(
    likelihood: LikelihoodSpec,
    background: StudentTBackground | IndependentBackground,
    make_vae: MakeVAE,
    rows: Rows,
) -> None:
    vae = make_vae(
        NormalPrior(), FullPosterior(), likelihood, background=background
    ).double()
    x = rows(likelihood.support, n_rows=B).double()
    draw = vae.draw(x, noise_for(vae, x))
    log_p = draw.log_mean_w
    torch.testing.assert_close(log_p.exp(), draw.log_w.exp().mean(0))
    expected = vae.closed_form(x)
    mixed = draw.closed_form.mix(log_p)
    torch.testing.assert_close(mixed, expected.mix(log_p))
    share = 0.7 * (log_p - mixed).exp()
    torch.testing.assert_close(draw.closed_form.latent_share(log_p), share)
    torch.testing.assert_close(expected.latent_share(log_p), share)
    vae.background = None
    draw = vae.draw(x, noise_for(vae, x))
    assert draw.closed_form.log_odds is None
    assert torch.equal(draw.closed_form.mix(log_p), log_p)
    assert (draw.closed_form.latent_share(log_p) == 1).all()


def test_without_background_the_latent_part_is_all(
    make_vae: MakeVAE, rows: Rows
) -> None:
    vae = make_vae(NormalPrior(), FullPosterior(), GaussianLikelihood())
    x = rows("real", n_rows=B)
    log_p = torch.linspace(-9, 0, B)
    assert vae.background is None
    closed_form = vae.closed_form(x)
    assert closed_form.log_odds is None
    assert torch.equal(closed_form.mix(log_p), log_p)
    assert (closed_form.latent_share(log_p) == 1).all()
    assert closed_form[:2] is closed_form


def test_rows_are_drawn_from_the_background_at_its_rate(make_vae: MakeVAE) -> None:
    """Binomial test; false-alarm rate 1e-4."""
    vae = make_vae(
        NormalPrior(),
        FullPosterior(),
        GaussianLikelihood("column"),
        background=StudentTBackground(weight=0.3),
    ).double()
    n = 5000
    with torch.no_grad():
        vae.background.location.fill_(1e6)
        far = vae.generate(n, torch.Generator().manual_seed(0)) > 1e5
    assert torch.equal(far.all(1), far.any(1))
    assert stats.binomtest(int(far[:, 0].sum()), n, 0.3).pvalue > 1e-4


def test_rows_of_the_background_do_not_pull_the_latent_part(
    make_vae: MakeVAE, rows: Rows
) -> None:
    vae = make_vae(
        NormalPrior(),
        FullPosterior(),
        GaussianLikelihood("column"),
        background=StudentTBackground(),
    ).double()
    x = 1e4 * rows("real", n_rows=B).double()
    largest = []
    for part in (ClosedFormPart(), vae.closed_form(x)):
        vae.zero_grad()
        log_p = vae.draw(x, noise_for(vae, x)).log_w.logsumexp(0) - np.log(K)
        part.mix(log_p).mean().backward()
        largest.append(max(float(p.grad.abs().max()) for p in vae.parameters()))
    assert largest[0] > 1
    assert largest[1] < 1e-9
