"""Levels of latents: prior and posterior of a ladder."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from skvae.model import VAE, BuildContext, LinearStart
from skvae.model.decoders import MLPDecoder
from skvae.model.distributions import CholeskyGaussian, DiagonalGaussian, MergedStep
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.networks import LevelModule
from skvae.model.posteriors import (
    DiagonalPosterior,
    FullPosterior,
    LadderPosterior,
    PosteriorSpec,
)
from skvae.model.priors import (
    CodebookPrior,
    LadderPrior,
    MixturePrior,
    NormalPrior,
    PriorSpec,
    VampPrior,
)
from skvae.model.spec import registered
from skvae.training import linear_start

K, B, D = 6, 5, 4
LEVELS = (3, 2, 1)
L = sum(LEVELS)

MakeContext = Callable[..., BuildContext]
MakeLadder = Callable[..., VAE]
Perturb = Callable[..., nn.Module]

every_pair = pytest.mark.parametrize(
    ("prior", "posterior"),
    [
        (prior, posterior)
        for prior in registered(PriorSpec).values()
        for posterior in registered(PosteriorSpec).values()
        if prior is not CodebookPrior  # which has no density
    ],
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def make_ladder(make_context: MakeContext, perturb: Perturb) -> MakeLadder:
    """Return a function that builds a perturbed VAE with a ladder."""

    def make(
        prior: PriorSpec | None = None,
        posterior: PosteriorSpec | None = None,
        levels: tuple[int, ...] = LEVELS,
        moved: bool = True,
    ) -> VAE:
        vae = VAE.build(
            make_context(n_features=D, n_components=sum(levels)),
            LadderPrior(levels, top=prior or MixturePrior()),
            LadderPosterior(levels, top=posterior or FullPosterior()),
            MLPDecoder(),
            GaussianLikelihood(),
        ).double()
        return perturb(vae, scale=0.1) if moved else vae

    return make


@every_pair
def test_densities_of_draws_are_their_log_prob(
    prior: type[PriorSpec], posterior: type[PosteriorSpec], make_ladder: MakeLadder
) -> None:
    vae = make_ladder(prior(), posterior())
    for latents in (vae.prior(), vae.encode(normal(B, D))):
        z, log_p = latents.rsample(normal(K, B, latents.noise_dim))
        assert z.shape == (K, B, L)
        torch.testing.assert_close(log_p, latents.log_prob(z), rtol=1e-9, atol=1e-9)


@every_pair
def test_one_level_is_the_flat_model(
    prior: type[PriorSpec],
    posterior: type[PosteriorSpec],
    make_ladder: MakeLadder,
    make_context: MakeContext,
    perturb: Perturb,
) -> None:
    context = make_context(n_features=D, n_components=2)
    likelihood = GaussianLikelihood()
    flat = VAE.build(context, prior(), posterior(), MLPDecoder(), likelihood).double()
    ladder = make_ladder(prior(), posterior(), levels=(2,), moved=False)
    x = normal(200, D)
    start = start_of(x, levels=(2,))
    for model in (flat, ladder):
        model.initialise(start)
        perturb(model)
    noise = normal(K, len(x), flat.encode(x).noise_dim)
    ours, theirs = (model.draw(x, noise) for model in (ladder, flat))
    assert torch.equal(ours.log_w, theirs.log_w)
    assert (ours.kl is None) == (theirs.kl is None)


def start_of(x: Tensor, levels: tuple[int, ...]) -> LinearStart:
    return linear_start(
        x,
        torch.ones(len(x), dtype=x.dtype),
        levels[0],
        torch.full((x.shape[1],), 1e-3, dtype=x.dtype),
        torch.Generator().manual_seed(0),
        n_above=sum(levels[1:]),
    )


@pytest.mark.parametrize("which", ["prior", "posterior"])
def test_samples_follow_the_density(which: str, make_ladder: MakeLadder) -> None:
    """Marginals of two levels by quadrature; false-alarm rate 1e-4 each."""
    vae = make_ladder(NormalPrior(), levels=(1, 1))
    with torch.no_grad():
        latents = vae.prior() if which == "prior" else vae.encode(normal(1, D))
        z, _ = latents.rsample(normal(20_000, 1, latents.noise_dim, seed=4))
        middle, reach = z.mean(0)[0], 9 * z.std(0)[0]
        axis = torch.linspace(-1, 1, 401, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis) * reach + middle
        density = latents.log_prob(grid[:, None]).exp().view(len(axis), -1)
    for level in range(2):
        step = float(axis[1] - axis[0])
        marginal = density.sum(1 - level) * step * reach[1 - level]
        points = (axis * reach[level] + middle[level]).numpy()
        cdf = torch.cumulative_trapezoid(marginal, torch.from_numpy(points))
        assert cdf[-1] == pytest.approx(1, abs=1e-4)
        interpolated = torch.cat([torch.zeros(1).double(), cdf]).numpy()
        result = kstest(
            z[:, 0, level].numpy(),
            lambda v, points=points, cdf=interpolated: np.interp(v, points, cdf),
        )
        assert result.pvalue > 1e-4


def test_merging_is_the_product_of_two_gaussians() -> None:
    """Of the prior's N(μ, σ²) and a message N(m, s²), up to its constant."""
    level = LevelModule(1, 2, (), torch.Generator()).double()
    with torch.no_grad():
        level.network.skip.copy_(normal(2, 1))
        level.network.bias.copy_(normal(4, seed=1))
    above, z = normal(K, B, 1, seed=2), normal(K, B, 2, seed=3)
    message_mean, scale = normal(B, 2, seed=4), normal(B, 2, seed=5).exp()
    precision = scale.square().reciprocal()
    eye = torch.eye(2, dtype=torch.float64).expand(B, 2, 2)
    step = MergedStep(level, message_mean * precision, precision, eye)
    product = DiagonalGaussian(*level(above)).log_prob(z) + DiagonalGaussian(
        message_mean, scale
    ).log_prob(z)
    other = normal(K, B, 2, seed=6)
    product_there = DiagonalGaussian(*level(above)).log_prob(other) + DiagonalGaussian(
        message_mean, scale
    ).log_prob(other)
    torch.testing.assert_close(
        step.log_prob(z, above) - step.log_prob(other, above), product - product_there
    )


def test_a_step_with_correlations_is_a_full_gaussian() -> None:
    level = LevelModule(1, 3, (), torch.Generator()).double()
    above, z = torch.zeros(K, B, 1).double(), normal(K, B, 3)
    precision = normal(B, 3, seed=1).exp()
    correlating = normal(B, 3, 3, seed=2).tril(-1) + torch.eye(3).double()
    step = MergedStep(level, normal(B, 3, seed=3), precision, correlating)
    scale = (1 + precision).rsqrt()
    full = CholeskyGaussian(
        normal(B, 3, seed=3) / (1 + precision), scale[..., None] * correlating
    )
    torch.testing.assert_close(step.log_prob(z, above), full.log_prob(z))


def test_ladder_starts_at_the_flat_model(make_ladder: MakeLadder) -> None:
    """Its bottom level; those above are close to the prior and not decoded."""
    x = normal(300, 2) @ normal(2, D, seed=1) + 0.3 * normal(300, D, seed=2)
    start = start_of(x, LEVELS)
    flat = start_of(x, LEVELS[:1])
    ladder = make_ladder(NormalPrior(), DiagonalPosterior(), moved=False)
    ladder.initialise(start)
    q = ladder.encode(x)
    noise = normal(K, len(x), q.noise_dim)
    z, _ = q.rsample(noise)
    torch.testing.assert_close(start.z[:, :3], flat.z)
    expected = x @ flat.encoder_weight.T + flat.encoder_bias
    torch.testing.assert_close(q.mean[:, :3], expected)
    # The third of the latents has no direction of its own: it starts as the prior.
    scale = flat.encoder_tril.diagonal()
    torch.testing.assert_close(z[..., :3], expected + scale * noise[..., :3])
    raw = ladder.raw(x, z)
    moved = torch.cat([z[..., :3], z[..., 3:] + 5], -1)
    assert torch.equal(ladder.raw(x, moved), raw)
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(ladder.prior().log_prob(z), standard)


def test_latents_above_start_as_draws_of_the_prior() -> None:
    """Their second moments, to five standard errors of 2,000 rows."""
    x = normal(2000, D) @ normal(D, D, seed=1)
    start = start_of(x, (3, 2))
    covariance = torch.cov(start.z[:, 3:].T)
    assert (covariance - torch.eye(2)).abs().max() < 5 * (2 / 2000) ** 0.5
    assert (start.decoder_weight[:, 3:] == 0).all()
    correlation = torch.corrcoef(start.z.T)[3:, :2]
    assert (correlation.diagonal() > 0.2).all()
    mean = x @ start.encoder_weight.T + start.encoder_bias
    residual = (start.z - mean) @ torch.linalg.inv(start.encoder_tril).T
    assert (torch.cov(residual.T) - torch.eye(5)).abs().max() < 5 * (2 / 2000) ** 0.5


def test_start_of_some_latents_is_their_marginal() -> None:
    x = normal(100, D)
    start = start_of(x, (3, 2))
    index = torch.tensor([1, 4])
    some = start.of_latents(index)
    covariance = start.encoder_tril @ start.encoder_tril.T
    torch.testing.assert_close(
        some.encoder_tril @ some.encoder_tril.T, covariance[index][:, index]
    )
    assert torch.equal(some.z, start.z[:, index])
    assert torch.equal(some.features, start.features)
    assert start.of_latents(torch.arange(5)) is start


def test_mean_is_the_mean_of_the_samples(make_ladder: MakeLadder) -> None:
    vae = make_ladder()
    with torch.no_grad():
        for latents in (vae.prior(), vae.encode(normal(B, D))):
            z, _ = latents.rsample(normal(20_000, B, latents.noise_dim))
            error = z.std(0) / len(z) ** 0.5
            assert ((z.mean(0) - latents.mean).abs() < 5 * error).all()


def test_selected_rows_and_a_row_alone_have_the_same_distribution(
    make_ladder: MakeLadder,
) -> None:
    vae, rows = make_ladder(), torch.tensor([3, 0])
    x, z = normal(B, D), normal(K, B, L)
    together = vae.encode(x)
    expected = together.log_prob(z)[:, rows]
    torch.testing.assert_close(together.select(rows).log_prob(z[:, rows]), expected)
    torch.testing.assert_close(vae.encode(x[rows]).log_prob(z[:, rows]), expected)
    prior = vae.prior()
    torch.testing.assert_close(prior.select(rows).log_prob(z), prior.log_prob(z))


def test_detached_chain_passes_gradients_to_latents_only(
    make_ladder: MakeLadder,
) -> None:
    vae, z = make_ladder(), normal(K, B, L).requires_grad_()
    for latents in (vae.prior(), vae.encode(normal(B, D))):
        z.grad = None
        plain = latents.log_prob(z)
        (expected,) = torch.autograd.grad(plain.sum(), z)
        log_p = latents.detached().log_prob(z)
        torch.testing.assert_close(log_p, plain)
        log_p.sum().backward()
        torch.testing.assert_close(z.grad, expected)
    assert all(p.grad is None for p in vae.parameters())


def test_gradient_reaches_every_parameter(make_ladder: MakeLadder) -> None:
    vae, x = make_ladder(VampPrior(n_pseudo_inputs=3)), normal(B, D)
    draw = vae.draw(x, normal(K, B, vae.encode(x).noise_dim))
    draw.log_w.mean().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_a_copys_encoder_follows_the_copys_prior(
    duplicate: Callable[[VAE], VAE], make_ladder: MakeLadder, perturb: Perturb
) -> None:
    vae, x, z = make_ladder(), normal(B, D), normal(K, B, L)
    before = vae.encode(x).log_prob(z)
    twin = duplicate(vae)
    assert torch.equal(twin.encode(x).log_prob(z), before)
    perturb(twin.prior)
    assert not torch.equal(twin.encode(x).log_prob(z), before)
    assert torch.equal(vae.encode(x).log_prob(z), before)
    assert not any(name.startswith("posterior._") for name in vae.state_dict())


def test_far_rows_and_latents_have_finite_densities(make_ladder: MakeLadder) -> None:
    vae = make_ladder()
    q = vae.encode(1e3 * normal(B, D))
    assert q.log_prob(1e3 * normal(K, B, L)).isfinite().all()
    assert vae.prior().log_prob(1e3 * normal(K, B, L)).isfinite().all()


@pytest.mark.parametrize("spec", [LadderPrior, LadderPosterior])
@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((), "non-empty tuple"),
        (6, "non-empty tuple"),
        ((4, 0), "each of levels of .* positive int"),
        ((4, 1), "5 latents, but the model has 6"),
    ],
)
def test_levels_that_do_not_fit_are_refused(
    spec: type[LadderPrior | LadderPosterior],
    levels: Any,
    message: str,
    make_context: MakeContext,
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        spec(levels).build(make_context(n_components=6))
    assert spec.__name__ in str(caught.value)


def test_ladder_prior_asks_for_its_posterior(make_context: MakeContext) -> None:
    context = make_context(n_components=3)
    prior = LadderPrior((2, 1)).build(context)
    with pytest.raises(TypeError, match="needs a LadderPosterior"):
        prior.connect(FullPosterior().build(context))


def test_ladder_posterior_asks_for_its_prior(make_context: MakeContext) -> None:
    posterior = LadderPosterior((2, 1)).build(make_context(n_components=3))
    with pytest.raises(RuntimeError, match="has to follow a LadderPrior"):
        posterior(torch.zeros(1, 3))
