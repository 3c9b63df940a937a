"""The contract of likelihoods, for every variant there is, and their scipy twins."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from torch import Tensor, nn

from skvae.model import BuildContext, LinearStart
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    GaussianLikelihood,
    LikelihoodModule,
    LikelihoodSpec,
    MixtureLikelihood,
)
from skvae.model.spec import registered

K, B, D, L = 4, 5, 3, 2
FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed

SPECS: list[LikelihoodSpec] = [
    *(spec() for spec in registered(LikelihoodSpec).values()),
    *(GaussianLikelihood(scale=scale) for scale in ("row", "column", 0.7)),
    MixtureLikelihood(n_modes=1),
    MixtureLikelihood(n_modes=3),
]
every_likelihood = pytest.mark.parametrize("spec", SPECS, ids=repr)
real_likelihoods = pytest.mark.parametrize(
    "spec", [spec for spec in SPECS if spec.support == "real"], ids=repr
)
learnt_scales = pytest.mark.parametrize(
    "spec",
    [s for s in SPECS if s.support == "real" and s.get_params().get("scale") != 0.7],
    ids=repr,
)

with_and_without_ceiling = pytest.mark.parametrize("ceiling", [math.inf, 0.8])

MakeContext = Callable[..., BuildContext]
Perturb = Callable[..., nn.Module]
Rows = Callable[..., Tensor]


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=dtype, generator=generator)


def raw_for(module: LikelihoodModule, *shape: int, seed: int = 1) -> Tensor:
    return 0.7 * normal(*shape[:-1], module.n_parameters, shape[-1], seed=seed)


def with_units(module: LikelihoodModule) -> LikelihoodModule:
    """Give the module units other than one, as a start does."""
    start = LinearStart(
        encoder_weight=normal(L, D),
        encoder_bias=normal(L),
        encoder_tril=torch.eye(L, dtype=torch.float64),
        decoder_weight=normal(D, L),
        decoder_bias=normal(D),
        residual_scale=torch.linspace(0.5, 2, D, dtype=torch.float64),
        features=normal(50, D),
        z=normal(50, L),
        sample_weight=torch.full((50,), 1 / 50, dtype=torch.float64),
    )
    module.initialise(start)
    return module


@every_likelihood
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(
    spec: LikelihoodSpec, dtype: torch.dtype, make_context: MakeContext, rows: Rows
) -> None:
    module = spec.build(make_context()).to(dtype)
    raw, x = raw_for(module, K, B, D).to(dtype), rows(spec.support).to(dtype)
    cells = module.column_log_prob(x, raw)
    sample = module.sample(raw, torch.Generator().manual_seed(0))
    assert cells.shape == sample.shape == module.mean(raw).shape == (K, B, D)
    assert module.log_prob(x, raw).shape == (K, B)
    assert cells.dtype == sample.dtype == module.mean(raw).dtype == dtype


@every_likelihood
def test_density_of_a_row_is_the_product_over_its_columns(
    spec: LikelihoodSpec, make_context: MakeContext, rows: Rows
) -> None:
    module = spec.build(make_context()).double()
    raw, x = raw_for(module, K, B, D), rows(spec.support).double()
    torch.testing.assert_close(
        module.log_prob(x, raw), module.column_log_prob(x, raw).sum(-1)
    )


@every_likelihood
def test_every_cell_reads_its_own_parameters(
    spec: LikelihoodSpec, make_context: MakeContext, rows: Rows
) -> None:
    module = spec.build(make_context()).double()
    raw, x = raw_for(module, K, B, D), rows(spec.support).double()
    together = module.column_log_prob(x, raw)
    alone = module.column_log_prob(x[2:3], raw[3:4, 2:3])
    torch.testing.assert_close(alone, together[3:4, 2:3])


@every_likelihood
def test_total_probability_of_a_cell_is_one(
    spec: LikelihoodSpec, make_context: MakeContext, perturb: Perturb
) -> None:
    module = with_units(perturb(spec.build(make_context()).double()))
    raw = raw_for(module, K, 1, D)
    with torch.no_grad():
        if spec.support == "binary":
            cells = [
                module.column_log_prob(torch.full((1, D), value).double(), raw).exp()
                for value in (0.0, 1.0)
            ]
            total = cells[0] + cells[1]
        else:
            grid = torch.linspace(-60, 60, 60_001, dtype=torch.float64)
            cells = module.column_log_prob(
                grid[:, None].expand(-1, D), raw.expand(-1, len(grid), -1, -1)
            ).exp()
            total = torch.trapezoid(cells, grid, dim=1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


@every_likelihood
def test_mean_is_the_mean_of_samples(
    spec: LikelihoodSpec, make_context: MakeContext, perturb: Perturb
) -> None:
    module = with_units(perturb(spec.build(make_context()).double()))
    raw = raw_for(module, B, D).expand(20_000, -1, -1, -1)
    with torch.no_grad():
        sample = module.sample(raw, torch.Generator().manual_seed(3))
        error = sample.std(0) / len(sample) ** 0.5
        assert ((sample.mean(0) - module.mean(raw[0])).abs() < 5 * error).all()


@every_likelihood
@with_and_without_ceiling
def test_samples_follow_the_density(
    spec: LikelihoodSpec, ceiling: float, make_context: MakeContext, perturb: Perturb
) -> None:
    """One test a column: Kolmogorov-Smirnov or binomial, false-alarm rate 1e-4."""
    context = make_context(scale_ceiling=ceiling)
    module = with_units(perturb(spec.build(context).double()))
    raw = raw_for(module, 1, D, seed=4)
    n = 20_000
    with torch.no_grad():
        sample = module.sample(
            raw.expand(n, -1, -1, -1), torch.Generator().manual_seed(5)
        )[:, 0]
        for column in range(D):
            drawn = sample[:, column].numpy()
            if spec.support == "binary":
                one = torch.ones(1, D, dtype=torch.float64)
                mass = module.column_log_prob(one, raw[None]).exp()[0, 0, column]
                assert set(drawn) <= {0.0, 1.0}
                result = stats.binomtest(int(drawn.sum()), n, float(mass))
            else:
                grid = torch.linspace(-60, 60, 120_001, dtype=torch.float64)
                density = module.column_log_prob(
                    grid[:, None].expand(-1, D), raw.expand(1, len(grid), -1, -1)
                ).exp()[0, :, column]
                cdf = torch.cumulative_trapezoid(density, grid).numpy()
                result = stats.kstest(
                    drawn, partial(np.interp, xp=grid[1:].numpy(), fp=cdf)
                )
            assert result.pvalue > FALSE_ALARM


@every_likelihood
def test_samples_are_those_of_the_generator(
    spec: LikelihoodSpec, make_context: MakeContext
) -> None:
    module = spec.build(make_context()).double()
    raw = raw_for(module, 40, B, D)
    before = torch.get_rng_state()
    one, same, other = (
        module.sample(raw, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@every_likelihood
def test_saved_weights_open_in_another_module(
    spec: LikelihoodSpec, make_context: MakeContext, perturb: Perturb, rows: Rows
) -> None:
    one = with_units(perturb(spec.build(make_context()).double()))
    other = spec.build(make_context(seed=1)).double()
    other.load_state_dict(one.state_dict())
    raw, x = raw_for(one, K, B, D), rows(spec.support).double()
    torch.testing.assert_close(other.log_prob(x, raw), one.log_prob(x, raw))


@real_likelihoods
def test_start_has_the_mean_and_scale_of_the_linear_model(
    spec: LikelihoodSpec, make_context: MakeContext
) -> None:
    module = spec.build(make_context()).double()
    weight, bias = normal(D, L, seed=6), normal(D, seed=7)
    scale = torch.linspace(0.5, 2, D, dtype=torch.float64)
    slope, offset = module.initialise(
        LinearStart(
            encoder_weight=normal(L, D),
            encoder_bias=normal(L),
            encoder_tril=torch.eye(L, dtype=torch.float64),
            decoder_weight=weight,
            decoder_bias=bias,
            residual_scale=scale,
            features=normal(50, D),
            z=normal(50, L),
            sample_weight=torch.full((50,), 1 / 50, dtype=torch.float64),
        )
    )
    assert slope.shape == (module.n_linear, D, L)
    assert offset.shape == (module.n_parameters, D)
    z = normal(B, L, seed=8)
    raw = offset.double().repeat(B, 1, 1)
    raw[:, : module.n_linear] += torch.einsum("pdl,bl->bpd", slope, z)
    expected = z @ weight.T + bias
    torch.testing.assert_close(module.mean(raw), expected, rtol=0, atol=1e-5)
    if spec.get_params().get("scale") == 0.7:
        return
    with torch.no_grad():
        draws = module.sample(
            raw.expand(20_000, -1, -1, -1), torch.Generator().manual_seed(9)
        )
    spread = draws.std(0) / scale
    assert ((spread - 1).abs() < 0.05).all()


@pytest.mark.parametrize("scale", ["cell", "row", "column", 0.7])
def test_gaussian_equals_scipy(
    scale: str | float, make_context: MakeContext, perturb: Perturb, rows: Rows
) -> None:
    context = make_context()
    module = perturb(GaussianLikelihood(scale=scale).build(context).double())
    raw, x = raw_for(module, K, B, D), rows("real").double()
    factor = {
        "cell": lambda: raw[:, :, 1],
        "row": lambda: raw[:, :, 1].mean(-1, keepdim=True),
        "column": lambda: torch.zeros(D),
    }
    if isinstance(scale, str):
        log_scale = module.scale.log_scale.detach() + factor[scale]()
        deviation = log_scale.exp() + context.scale_floor
    else:
        deviation = scale / context.column_scale
    expected = stats.norm.logpdf(x.numpy(), raw[:, :, 0].numpy(), deviation.numpy())
    ours = module.column_log_prob(x, raw).detach().numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_modes", [1, 2, 5])
def test_mixture_equals_scipy(
    n_modes: int, make_context: MakeContext, rows: Rows
) -> None:
    context = make_context()
    module = with_units(MixtureLikelihood(n_modes=n_modes).build(context).double())
    raw, x = raw_for(module, K, B, D), rows("real").double()
    unit = np.linspace(0.5, 2, D)
    location, log_scale, logit = np.split(raw.numpy(), 3, axis=2)
    deviation = unit * np.exp(log_scale) + context.scale_floor.double().numpy()
    parts = stats.norm.logpdf(x.numpy()[:, None], unit * location, deviation)
    log_weight = logit - logsumexp(logit, axis=2, keepdims=True)
    ours = module.column_log_prob(x, raw).numpy()
    np.testing.assert_allclose(ours, logsumexp(log_weight + parts, axis=2), rtol=1e-9)


def test_bernoulli_equals_scipy(make_context: MakeContext, rows: Rows) -> None:
    module = BernoulliLikelihood().build(make_context()).double()
    raw, x = 3 * raw_for(module, K, B, D), rows("binary").double()
    expected = stats.bernoulli.logpmf(x.numpy(), raw[:, :, 0].sigmoid().numpy())
    ours = module.column_log_prob(x, raw).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_bernoulli_is_finite_for_certain_probabilities(
    make_context: MakeContext,
) -> None:
    module = BernoulliLikelihood().build(make_context(n_features=1)).double()
    raw = torch.tensor([-800.0, 800.0], dtype=torch.float64)[:, None, None, None]
    for value in (0.0, 1.0):
        x = torch.full((1, 1), value, dtype=torch.float64)
        assert module.column_log_prob(x, raw).isfinite().all()


@learnt_scales
@pytest.mark.parametrize("value", [-1e4, -60.0, -8.0])
def test_no_scale_falls_below_the_floor(
    spec: LikelihoodSpec, value: float, make_context: MakeContext
) -> None:
    """The density of a cell is at most that of a Gaussian at the floor."""
    context = make_context()
    module = spec.build(context).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
        raw = torch.full((1, 1, module.n_parameters, D), value, dtype=torch.float64)
        raw[:, :, : module.n_linear] = 0
        peak = module.column_log_prob(torch.zeros(1, D).double(), raw)
    highest = -context.scale_floor.double().log() - 0.5 * math.log(2 * math.pi)
    assert (peak <= highest + 1e-9).all()


@learnt_scales
@pytest.mark.parametrize("value", [5.0, 60.0, 1e4])
def test_large_scales_are_the_floor_and_the_ceiling(
    spec: LikelihoodSpec, value: float, make_context: MakeContext
) -> None:
    context = make_context(scale_ceiling=1.5)
    module = spec.build(context).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
        raw = torch.full((1, 1, module.n_parameters, D), value, dtype=torch.float64)
        raw[:, :, : module.n_linear] = 0
        x = torch.linspace(-9, 9, D, dtype=torch.float64)[None]
        ours = module.column_log_prob(x, raw)[0, 0]
    scale = context.scale_floor.double() + 1.5
    expected = stats.norm.logpdf(x[0].numpy(), scale=scale.numpy())
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9)


@learnt_scales
def test_ceiling_leaves_smaller_scales_alone(
    spec: LikelihoodSpec, make_context: MakeContext, rows: Rows
) -> None:
    free, capped = (
        spec.build(make_context(scale_ceiling=ceiling)).double()
        for ceiling in (math.inf, 1.5)
    )
    raw = raw_for(free, K, B, D).clamp(max=0.4)  # exp(0.4) is below 1.5
    x = rows("real").double()
    assert torch.equal(free.log_prob(x, raw), capped.log_prob(x, raw))


@learnt_scales
@with_and_without_ceiling
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_densities_and_gradients_of_extreme_parameters_are_finite(
    spec: LikelihoodSpec,
    ceiling: float,
    value: float,
    make_context: MakeContext,
    rows: Rows,
) -> None:
    module = spec.build(make_context(scale_ceiling=ceiling))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    raw = torch.full((K, B, module.n_parameters, D), value, requires_grad=True)
    log_p = module.log_prob(rows("real"), raw)
    assert log_p.isfinite().all()
    log_p.sum().backward()
    for tensor in (raw, *module.parameters()):
        assert tensor.grad.isfinite().all()


def plain_mixture(
    x: Tensor, raw: Tensor, unit: Tensor, floor: Tensor, ceiling: float
) -> Tensor:
    location, log_scale, logit = raw.chunk(3, -2)
    parts = torch.distributions.Normal(
        unit * location, (unit * log_scale.exp()).clamp(max=ceiling) + floor
    ).log_prob(x.unsqueeze(-2))
    return (logit.log_softmax(-2) + parts).logsumexp(-2)


@pytest.mark.parametrize("n_modes", [1, 3])
@pytest.mark.parametrize("n_draws", [1, 4])
@with_and_without_ceiling
def test_fused_mixture_gradient_passes_gradcheck(
    n_modes: int, n_draws: int, ceiling: float, make_context: MakeContext
) -> None:
    context = make_context(scale_ceiling=ceiling)
    module = with_units(MixtureLikelihood(n_modes=n_modes).build(context).double())
    raw = raw_for(module, n_draws, 2, D).requires_grad_()
    x = normal(2, D, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(module.column_log_prob, (x, raw))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@with_and_without_ceiling
def test_fused_mixture_gradient_equals_autograd(
    ceiling: float, dtype: torch.dtype, make_context: MakeContext
) -> None:
    context = make_context(scale_ceiling=ceiling)
    module = with_units(MixtureLikelihood(n_modes=3).build(context).double())
    module = module.to(dtype)
    raw = (3 * raw_for(module, K, B, D)).to(dtype)
    # The largest scale without a ceiling is 1e4; beyond it the gradient is zero.
    raw[0, 0, 3:6] = 12.0
    x, outer = normal(B, D, dtype=dtype), normal(K, B, D, dtype=dtype, seed=3)
    largest = min(ceiling, 1e4)
    gradients = []
    for log_prob in (
        module.column_log_prob,
        lambda x, raw: plain_mixture(x, raw, module.unit, module.floor, largest),
    ):
        inputs = x.clone().requires_grad_(), raw.clone().requires_grad_()
        gradients.append(torch.autograd.grad(log_prob(*inputs), inputs, outer))
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert (gradients[0][1][0, 0, 3:6] == 0).all()


def test_fused_mixture_leaves_its_inputs_alone(make_context: MakeContext) -> None:
    module = MixtureLikelihood(n_modes=3).build(make_context())
    raw = raw_for(module, K, B, D).float().requires_grad_()
    x = normal(B, D, dtype=torch.float32)
    copies = raw.detach().clone(), x.clone()
    module.log_prob(x, raw).sum().backward()
    assert torch.equal(raw, copies[0])
    assert torch.equal(x, copies[1])


@pytest.mark.parametrize("scale", ["columns", 0, -1.0, float("nan"), True, None])
def test_gaussian_rejects_other_scales(
    scale: object, make_context: MakeContext
) -> None:
    with pytest.raises(ValueError, match=r"scale of GaussianLikelihood.*'column'"):
        GaussianLikelihood(scale=scale).build(make_context())


def test_fixed_scale_is_in_the_units_of_the_columns(
    make_context: MakeContext,
) -> None:
    context = make_context()
    module = GaussianLikelihood(scale=2.0).build(context).double()
    raw = torch.zeros(1, 1, 1, D, dtype=torch.float64)
    peak = module.column_log_prob(torch.zeros(1, D).double(), raw)
    in_model_units = 2.0 / context.column_scale.double()
    expected = -in_model_units.log() - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(peak[0, 0], expected, rtol=1e-6, atol=1e-6)
