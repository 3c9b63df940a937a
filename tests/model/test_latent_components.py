"""The contract of priors, posteriors and decoders, for every variant there is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from torch import Tensor, nn

from skvae.model import BuildContext, LinearStart
from skvae.model.decoders import DecoderSpec
from skvae.model.distributions import CodeDistribution, LatentDistribution
from skvae.model.posteriors import FullPosterior, PosteriorSpec
from skvae.model.priors import (
    CodebookPrior,
    FlowPrior,
    MixturePrior,
    NormalPrior,
    PriorModule,
    PriorSpec,
)
from skvae.model.spec import ComponentSpec, registered

K, B, D, L = 7, 5, 3, 2
FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed

every_prior = pytest.mark.parametrize("spec", registered(PriorSpec).values())
every_density = pytest.mark.parametrize(
    "spec", [spec for spec in registered(PriorSpec).values() if spec != CodebookPrior]
)
every_posterior = pytest.mark.parametrize("spec", registered(PosteriorSpec).values())
every_decoder = pytest.mark.parametrize("spec", registered(DecoderSpec).values())
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])

MakeContext = Callable[..., BuildContext]
MakePrior = Callable[..., PriorModule]
Perturb = Callable[..., nn.Module]


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=dtype, generator=generator)


def linear_start(n_features: int = D, n_components: int = L) -> LinearStart:
    """Return an encoder whose draws, over the rows, are about standard normal."""
    scale = torch.linspace(0.3, 0.8, n_components, dtype=torch.float64)
    tril = 0.2 * normal(n_components, n_components, seed=13).tril(-1) + scale.diag()
    between = torch.eye(n_components, dtype=torch.float64) - tril @ tril.T
    direction = torch.linalg.qr(normal(n_features, n_components, seed=11)).Q
    weight = torch.linalg.cholesky(between) @ direction.T
    centre = normal(n_features, seed=12)
    bias = -weight @ centre
    features = normal(200, n_features, seed=17) + centre
    noise = normal(200, n_components, seed=16)
    return LinearStart(
        encoder_weight=weight,
        encoder_bias=bias,
        encoder_tril=tril,
        decoder_weight=normal(n_features, n_components, seed=14),
        decoder_bias=normal(n_features, seed=15),
        residual_scale=torch.linspace(0.5, 2, n_features, dtype=torch.float64),
        features=features,
        z=features @ weight.T + bias + noise @ tril.T,
        sample_weight=torch.full((200,), 1 / 200, dtype=torch.float64),
    )


def fitted_start(table: Tensor, z: Tensor) -> LinearStart:
    """Return a start whose decoder is the regression of rows on latents."""
    design = torch.cat([z, torch.ones(len(z), 1)], 1)
    solution = torch.linalg.lstsq(design, table).solution
    return replace(
        linear_start(),
        decoder_weight=solution[:-1].T,
        decoder_bias=solution[-1],
        residual_scale=(table - design @ solution).square().mean(0).sqrt(),
        features=table,
        z=z,
    )


def assert_samples_follow_log_prob(
    distribution: LatentDistribution, n_samples: int = 20_000
) -> None:
    """Compare one-dimensional samples with the integral of the density, or with masses.

    False-alarm rate 1e-4, by the Kolmogorov-Smirnov test, or Pearson's χ².
    """
    noise = normal(n_samples, 1, distribution.noise_dim, seed=4)
    z, _ = distribution.rsample(noise)
    if isinstance(distribution, CodeDistribution):
        mass = distribution.log_prob(distribution.points[:, None])[:, 0].exp()
        assert mass.sum() == pytest.approx(1)
        counts = (z[:, 0] == distribution.points.T).sum(0)
        assert chisquare(counts, n_samples * mass).pvalue > FALSE_ALARM
        return
    grid = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    density = distribution.log_prob(grid[:, None, None]).exp()[:, 0]
    cdf = torch.cumulative_trapezoid(density, grid)
    assert cdf[-1] == pytest.approx(1, abs=1e-6)

    def distribution_function(x: np.ndarray) -> np.ndarray:
        return np.interp(x, grid[1:].numpy(), cdf.numpy())

    result = kstest(z[:, 0, 0].numpy(), distribution_function)
    assert result.pvalue > FALSE_ALARM


@every_prior
@both_dtypes
def test_prior_draws_and_weighs_latents_in_its_dtype(
    spec: type[PriorSpec],
    dtype: torch.dtype,
    make_prior: MakePrior,
) -> None:
    prior = make_prior(spec(), dtype=dtype)()
    z, log_p = prior.rsample(normal(K, B, prior.noise_dim, dtype=dtype))
    assert z.shape == (K, B, L)
    assert log_p.shape == prior.log_prob(z).shape == (K, B)
    assert prior.mean.shape == (L,)
    assert z.dtype == log_p.dtype == prior.log_prob(z).dtype == dtype


@every_posterior
@both_dtypes
def test_posterior_draws_and_weighs_latents_in_its_dtype(
    spec: type[PosteriorSpec],
    dtype: torch.dtype,
    make_context: MakeContext,
    perturb: Perturb,
) -> None:
    module = perturb(spec().build(make_context())).to(dtype)
    q = module(normal(B, D, dtype=dtype))
    z, log_q = q.rsample(normal(K, B, q.noise_dim, dtype=dtype))
    assert z.shape == (K, B, L)
    assert log_q.shape == q.log_prob(z).shape == (K, B)
    assert q.mean.shape == (B, L)
    assert z.dtype == log_q.dtype == q.log_prob(z).dtype == dtype


@every_decoder
@both_dtypes
def test_decoder_gives_every_column_its_parameters(
    spec: type[DecoderSpec],
    dtype: torch.dtype,
    make_context: MakeContext,
    perturb: Perturb,
) -> None:
    module = perturb(spec().build(make_context(), n_parameters=4, n_linear=2))
    raw = module.to(dtype)(normal(K, B, L, dtype=dtype), normal(B, D, dtype=dtype))
    assert raw.shape == (K, B, 4, D)
    assert raw.dtype == dtype


@every_prior
def test_log_density_of_prior_draws_is_its_log_prob(
    spec: type[PriorSpec], make_prior: MakePrior
) -> None:
    prior = make_prior(spec())()
    z, log_p = prior.rsample(normal(K, B, prior.noise_dim))
    torch.testing.assert_close(log_p, prior.log_prob(z), rtol=1e-9, atol=1e-9)


@every_posterior
def test_log_density_of_posterior_draws_is_its_log_prob(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    q = perturb(spec().build(make_context())).double()(normal(B, D))
    z, log_q = q.rsample(normal(K, B, q.noise_dim))
    torch.testing.assert_close(log_q, q.log_prob(z), rtol=1e-9, atol=1e-9)


@every_posterior
def test_detached_posterior_is_the_same_out_of_reach_of_gradients(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    q = perturb(spec().build(make_context())).double()(normal(B, D))
    z = normal(K, B, L)
    assert q.log_prob(z).requires_grad
    detached = q.detached()
    assert not detached.log_prob(z).requires_grad
    torch.testing.assert_close(detached.log_prob(z), q.log_prob(z).detach())
    reached = z.clone().requires_grad_()
    expected = torch.autograd.grad(q.log_prob(reached).sum(), reached)
    found = torch.autograd.grad(detached.log_prob(reached).sum(), reached)
    torch.testing.assert_close(found, expected)


@every_prior
def test_prior_samples_follow_its_density(
    spec: type[PriorSpec], make_prior: MakePrior
) -> None:
    module = make_prior(spec(), scale=0.7, n_components=1)
    with torch.no_grad():
        assert_samples_follow_log_prob(module())


@every_posterior
def test_posterior_samples_follow_its_density(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    module = perturb(spec().build(make_context(n_components=1))).double()
    with torch.no_grad():
        assert_samples_follow_log_prob(module(normal(1, D)))


@every_prior
def test_prior_mean_is_the_mean_of_its_samples(
    spec: type[PriorSpec], make_prior: MakePrior
) -> None:
    with torch.no_grad():
        prior = make_prior(spec(), scale=0.7)()
        z, _ = prior.rsample(normal(20_000, 1, prior.noise_dim))
    error = z.std(0) / len(z) ** 0.5
    assert ((z.mean(0) - prior.mean).abs() < 5 * error).all()


@every_posterior
def test_posterior_mean_is_the_mean_of_its_samples(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    with torch.no_grad():
        q = perturb(spec().build(make_context())).double()(normal(B, D))
        z, _ = q.rsample(normal(20_000, B, q.noise_dim))
    error = z.std(0) / len(z) ** 0.5
    assert ((z.mean(0) - q.mean).abs() < 5 * error).all()


@every_posterior
def test_posterior_of_a_row_depends_on_that_row_alone(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    module = perturb(spec().build(make_context())).double()
    x, z = normal(B, D), normal(K, B, L)
    together = module(x).log_prob(z)
    alone = module(x[2:3]).log_prob(z[:, 2:3])
    torch.testing.assert_close(alone, together[:, 2:3])


@every_posterior
def test_posterior_starts_at_the_mean_of_the_linear_start(
    spec: type[PosteriorSpec], make_context: MakeContext
) -> None:
    start, x = linear_start(), normal(B, D)
    module = spec().build(make_context()).double()
    module.initialise(start)
    expected = x @ start.encoder_weight.T + start.encoder_bias
    torch.testing.assert_close(module(x).mean, expected)


@every_posterior
def test_posterior_starts_at_the_best_of_its_family(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    start, x = linear_start(), normal(1, D)
    module = spec().build(make_context(hidden_layer_sizes=())).double()
    module.initialise(start)
    target = torch.distributions.MultivariateNormal(
        x @ start.encoder_weight.T + start.encoder_bias, scale_tril=start.encoder_tril
    )
    noise = normal(4000, 1, L)

    @torch.no_grad()
    def divergence() -> float:
        z, log_q = module(x).rsample(noise)
        return float((log_q - target.log_prob(z)).mean())

    at_start = divergence()
    for seed in range(5):
        moved = perturb(module, scale=0.1, seed=seed)
        assert divergence() > at_start
        moved.initialise(start)


@every_decoder
def test_decoder_starts_at_the_linear_map(
    spec: type[DecoderSpec], make_context: MakeContext
) -> None:
    """Of what it reads: the latents or, as `regress` says, more."""
    module = spec().build(make_context(), n_parameters=4, n_linear=2).double()
    start = linear_start()
    linear = module.regress(start)
    slope = normal(2, D, 1, seed=5) * linear.decoder_weight
    offset = normal(4, D, seed=6)
    module.initialise(slope, offset)
    expected = offset.repeat(len(start.z), 1, 1)
    expected[:, :2] += torch.einsum("pdi,bi->bpd", slope, linear.z)
    torch.testing.assert_close(module(start.z[None], start.features)[0], expected)


@every_decoder
def test_residual_scale_is_what_the_linear_model_of_the_decoder_leaves(
    spec: type[DecoderSpec], make_context: MakeContext
) -> None:
    """And no more than what the latents alone leave, but for the ridge's 1 %."""
    table = normal(200, D, seed=17) @ normal(D, D, seed=18)
    start = fitted_start(table, normal(200, L, seed=16))
    module = spec().build(make_context(), n_parameters=4, n_linear=2).double()
    linear = module.regress(start)
    residual = table - linear.z @ linear.decoder_weight.T - linear.decoder_bias
    left = residual.square().mean(0).sqrt()
    torch.testing.assert_close(linear.residual_scale, left)
    assert (linear.residual_scale <= 1.01 * start.residual_scale).all()


@every_decoder
def test_saved_weights_open_in_another_decoder(
    spec: type[DecoderSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    x, z = normal(B, D), normal(K, B, L)
    one, other = (
        spec().build(make_context(seed=seed), n_parameters=4, n_linear=2).double()
        for seed in (0, 1)
    )
    perturb(one)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(z, x), one(z, x))


@every_posterior
def test_saved_weights_open_in_another_posterior(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    x, z = normal(B, D), normal(K, B, L)
    one, other = (spec().build(make_context(seed=seed)).double() for seed in (0, 1))
    perturb(one)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x).log_prob(z), one(x).log_prob(z))


@every_prior
def test_saved_weights_open_in_another_prior(
    spec: type[PriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    z = normal(K, B, L)
    one, other = (spec().build(make_context(seed=seed)).double() for seed in (0, 1))
    encoder = FullPosterior().build(make_context()).double()
    perturb(one)
    for prior in (one, other):
        prior.connect(encoder)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other().log_prob(z), one().log_prob(z))


def test_mixture_prior_of_one_standard_mode_is_the_normal_prior(
    make_context: MakeContext,
) -> None:
    mixture = MixturePrior(n_modes=1).build(make_context()).double()
    with torch.no_grad():
        # The scale of a mode is exp(log_scale) + 0.01.
        mixture.log_scale.fill_(float(np.log(0.99)))
    z = 2 * normal(K, B, L)
    plain = NormalPrior().build(make_context()).double()
    torch.testing.assert_close(mixture().log_prob(z), plain().log_prob(z))


def test_mixture_prior_has_as_many_modes_as_asked_for(
    make_context: MakeContext,
) -> None:
    module = MixturePrior(n_modes=7).build(make_context())
    assert module.means.shape == (7, L)


@pytest.mark.parametrize("n_modes", [0, -1, 2.5, "many", True])
def test_mixture_prior_rejects_other_numbers_of_modes(
    n_modes: object, make_context: MakeContext
) -> None:
    with pytest.raises(ValueError, match=r"n_modes of MixturePrior.*positive int"):
        MixturePrior(n_modes=n_modes).build(make_context())


def lead_over_the_standard_normal(prior: PriorModule, z: Tensor) -> float:
    standard = torch.distributions.Normal(0.0, 1.0)
    with torch.no_grad():
        lead = prior().log_prob(z[None]) - standard.log_prob(z).sum(-1)
    return float(lead.mean())


@every_density
def test_prior_starts_close_to_the_latents_of_the_start(
    spec: type[PriorSpec], make_prior: MakePrior
) -> None:
    """Closer than a normal distribution that is twice as wide as they are."""
    start = linear_start()
    wide = torch.distributions.Normal(0.0, 2.0).log_prob(start.z)
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(start.z)
    prior = make_prior(spec(), start=start)
    lead = lead_over_the_standard_normal(prior, start.z)
    assert lead > (wide - standard).sum(-1).mean()


@pytest.mark.parametrize("spec", [MixturePrior, NormalPrior, FlowPrior])
def test_prior_that_can_be_normal_starts_no_worse(
    spec: type[PriorSpec], make_prior: MakePrior
) -> None:
    start = linear_start()
    lead = lead_over_the_standard_normal(make_prior(spec(), start=start), start.z)
    assert lead > -0.02


# What training and scoring ask of every distribution


def distribution_of(
    family: type[ComponentSpec],
    spec: type[ComponentSpec],
    make_context: MakeContext,
    make_prior: MakePrior,
    perturb: Perturb,
) -> tuple[nn.Module, LatentDistribution]:
    if family is PriorSpec:
        module = make_prior(spec())
        return module, module()
    module = perturb(spec().build(make_context())).double()
    return module, module(normal(B, D))


every_latent_component = pytest.mark.parametrize(
    ("family", "spec"),
    [
        (family, spec)
        for family in (PriorSpec, PosteriorSpec)
        for spec in registered(family).values()
    ],
    ids=lambda value: value.__name__,
)


@every_latent_component
def test_log_density_is_finite_far_away(
    family: type[ComponentSpec],
    spec: type[ComponentSpec],
    make_context: MakeContext,
    make_prior: MakePrior,
    perturb: Perturb,
) -> None:
    if spec is CodebookPrior:
        pytest.skip("codes have masses, at their points alone")
    _, latents = distribution_of(family, spec, make_context, make_prior, perturb)
    directions = normal(K, B, L)
    for distance in (1.0, 10.0, 1e3):
        log_p = latents.log_prob(distance * directions)
        assert log_p.isfinite().all(), distance
    assert (log_p < -1e2).all()


@every_latent_component
def test_selected_rows_have_the_same_distributions(
    family: type[ComponentSpec],
    spec: type[ComponentSpec],
    make_context: MakeContext,
    make_prior: MakePrior,
    perturb: Perturb,
) -> None:
    _, latents = distribution_of(family, spec, make_context, make_prior, perturb)
    rows = torch.tensor([3, 0])
    some, z = latents.select(rows), normal(K, B, L)
    noise = normal(K, B, latents.noise_dim)
    torch.testing.assert_close(some.log_prob(z[:, rows]), latents.log_prob(z)[:, rows])
    for ours, of_all in zip(
        some.rsample(noise[:, rows]), latents.rsample(noise), strict=True
    ):
        torch.testing.assert_close(ours, of_all[:, rows])


@every_latent_component
def test_detached_distribution_passes_gradients_to_latents_only(
    family: type[ComponentSpec],
    spec: type[ComponentSpec],
    make_context: MakeContext,
    make_prior: MakePrior,
    perturb: Perturb,
) -> None:
    if spec is CodebookPrior:
        pytest.skip("codes have masses, which have no gradients at their points")
    module, latents = distribution_of(family, spec, make_context, make_prior, perturb)
    z = normal(K, B, L).requires_grad_()
    plain = latents.log_prob(z)
    (expected,) = torch.autograd.grad(plain.sum(), z)
    log_p = latents.detached().log_prob(z)
    torch.testing.assert_close(log_p, plain)
    log_p.sum().backward()
    torch.testing.assert_close(z.grad, expected)
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


@every_latent_component
def test_first_weights_come_from_the_generator_alone(
    family: type[ComponentSpec], spec: type[ComponentSpec], make_context: MakeContext
) -> None:
    before = torch.get_rng_state()
    one = spec().build(make_context()).state_dict()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        same = spec().build(make_context()).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert one.keys() == same.keys()
    assert all(torch.equal(one[name], same[name]) for name in one)
    if any("hidden" in name or "hyper" in name for name in one):
        other = spec().build(make_context(seed=1)).state_dict()
        assert any(not torch.equal(one[name], other[name]) for name in one)
