"""The contract of priors, posteriors and decoders, for every variant there is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from skvae.model import BuildContext, LinearStart
from skvae.model.decoders import DecoderSpec
from skvae.model.distributions import LatentDistribution
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import MixturePrior, NormalPrior, PriorSpec
from skvae.model.spec import registered

K, B, D, L = 7, 5, 3, 2
FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed

every_prior = pytest.mark.parametrize("spec", registered(PriorSpec).values())
every_posterior = pytest.mark.parametrize("spec", registered(PosteriorSpec).values())
every_decoder = pytest.mark.parametrize("spec", registered(DecoderSpec).values())
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])

MakeContext = Callable[..., BuildContext]
Perturb = Callable[..., nn.Module]


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=dtype, generator=generator)


def linear_start(n_features: int = D, n_components: int = L) -> LinearStart:
    return LinearStart(
        encoder_weight=normal(n_components, n_features, seed=11),
        encoder_bias=normal(n_components, seed=12),
        encoder_tril=normal(n_components, n_components, seed=13).tril(-1)
        + torch.diag(torch.linspace(0.3, 0.9, n_components, dtype=torch.float64)),
        decoder_weight=normal(n_features, n_components, seed=14),
        decoder_bias=normal(n_features, seed=15),
        residual_scale=torch.linspace(0.5, 2, n_features, dtype=torch.float64),
        features=normal(200, n_features, seed=17),
        z=normal(200, n_components, seed=16),
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
    """Compare one-dimensional samples with the integral of the density.

    False-alarm rate 1e-4, by the Kolmogorov-Smirnov test.
    """
    noise = normal(n_samples, 1, distribution.noise_dim, seed=4)
    z, _ = distribution.rsample(noise)
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
    make_context: MakeContext,
    perturb: Perturb,
) -> None:
    prior = perturb(spec().build(make_context())).to(dtype)()
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
    spec: type[PriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    prior = perturb(spec().build(make_context())).double()()
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
    spec: type[PriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    module = perturb(spec().build(make_context(n_components=1)), scale=0.7)
    with torch.no_grad():
        assert_samples_follow_log_prob(module.double()())


@every_posterior
def test_posterior_samples_follow_its_density(
    spec: type[PosteriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    module = perturb(spec().build(make_context(n_components=1))).double()
    with torch.no_grad():
        assert_samples_follow_log_prob(module(normal(1, D)))


@every_prior
def test_prior_mean_is_the_mean_of_its_samples(
    spec: type[PriorSpec], make_context: MakeContext, perturb: Perturb
) -> None:
    with torch.no_grad():
        prior = perturb(spec().build(make_context()), scale=0.7).double()()
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


@pytest.mark.parametrize(
    "family", [PriorSpec, PosteriorSpec, DecoderSpec], ids=lambda f: f.__name__
)
def test_saved_weights_open_in_another_module(
    family: type, make_context: MakeContext, perturb: Perturb
) -> None:
    x, z = normal(B, D), normal(K, B, L)
    for spec in registered(family).values():
        extra = (4, 2) if family is DecoderSpec else ()
        one, other = (
            spec().build(make_context(seed=seed), *extra).double() for seed in (0, 1)
        )
        perturb(one)
        other.load_state_dict(one.state_dict())
        if family is DecoderSpec:
            torch.testing.assert_close(other(z, x), one(z, x))
        else:
            inputs = (x,) if family is PosteriorSpec else ()
            torch.testing.assert_close(
                other(*inputs).log_prob(z), one(*inputs).log_prob(z)
            )


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


@every_prior
def test_prior_starts_close_to_the_latents_of_the_start(
    spec: type[PriorSpec], make_context: MakeContext
) -> None:
    start = linear_start()
    module = spec().build(make_context()).double()
    module.initialise(start)
    standard = torch.distributions.Normal(0.0, 1.0)
    reference = standard.log_prob(start.z).sum(-1).mean()
    with torch.no_grad():
        assert module().log_prob(start.z[None]).mean() > reference - 0.02
