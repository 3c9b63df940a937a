"""The contract of likelihoods, for every variant there is, and their scipy twins."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import log_softmax, logsumexp
from torch import Tensor, nn

from skvae.model import BuildContext, LinearStart
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    GaussianLikelihood,
    LikelihoodModule,
    LikelihoodSpec,
    LogisticMixtureLikelihood,
    MixtureLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    StudentTLikelihood,
)
from skvae.model.spec import registered

K, B, D, L = 4, 5, 3, 2
FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed

SPECS: list[LikelihoodSpec] = [
    *(spec() for spec in registered(LikelihoodSpec).values()),
    *(GaussianLikelihood(scale=scale) for scale in ("row", "column", 0.7)),
    MixtureLikelihood(n_modes=1),
    MixtureLikelihood(n_modes=3),
    LogisticMixtureLikelihood(n_modes=1),
    StudentTLikelihood(df=9),
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

with_an_order = pytest.mark.parametrize(
    "spec", [spec for spec in SPECS if spec.support != "category"], ids=repr
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


def context_of(
    spec: LikelihoodSpec, make_context: MakeContext, **sizes: float
) -> BuildContext:
    return make_context(support=spec.support, **sizes)


def start_for(context: BuildContext, features: Tensor | None = None) -> LinearStart:
    """Return a linear model of a table of such columns."""
    n = context.n_inputs
    return LinearStart(
        encoder_weight=normal(L, n),
        encoder_bias=normal(L),
        encoder_tril=torch.eye(L, dtype=torch.float64),
        decoder_weight=normal(n, L, seed=6),
        decoder_bias=normal(n, seed=7),
        residual_scale=torch.linspace(0.5, 2, n, dtype=torch.float64),
        features=normal(50, n) if features is None else features,
        z=normal(50 if features is None else len(features), L),
        sample_weight=torch.linspace(
            1, 2, 50 if features is None else len(features), dtype=torch.float64
        ),
    )


def built(
    spec: LikelihoodSpec,
    context: BuildContext,
    perturb: Perturb | None = None,
) -> LikelihoodModule:
    """Return the module with units other than one, as a start gives."""
    module = spec.build(context).double()
    if perturb is not None:
        module = perturb(module)
    module.initialise(start_for(context))
    return module


def values_of(
    spec: LikelihoodSpec, context: BuildContext
) -> tuple[Tensor, Tensor, Tensor]:
    """Return values, their weights in sums over a column, and cells (G, D) of them.

    Cells that a column cannot have weigh nothing.
    """
    if spec.support == "real":
        # Dense near zero and far enough for the tails.
        step = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
        grid = step.sinh()
        weight = (step.cosh() * (step[1] - step[0]))[:, None].expand(-1, D)
        return grid, weight, grid[:, None].expand(-1, D)
    n_values = {
        "binary": [2] * D,
        "count": [5000] * D,
        "category": [kind.n_values for kind in context.modelled_kinds],
    }[spec.support]
    grid = torch.arange(max(n_values)).double()
    allowed = grid[:, None] < torch.tensor(n_values)
    return grid, allowed.double(), grid[:, None].where(allowed, 0.0)


@every_likelihood
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(
    spec: LikelihoodSpec, dtype: torch.dtype, make_context: MakeContext, rows: Rows
) -> None:
    module = spec.build(context_of(spec, make_context)).to(dtype)
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
    module = spec.build(context_of(spec, make_context)).double()
    raw, x = raw_for(module, K, B, D), rows(spec.support).double()
    torch.testing.assert_close(
        module.log_prob(x, raw), module.column_log_prob(x, raw).sum(-1)
    )


@every_likelihood
def test_single_precision_has_the_digits_where_the_likelihood_says_so(
    spec: LikelihoodSpec, make_context: MakeContext, rows: Rows
) -> None:
    """The error is relative to log-densities and to z-scores, of up to a hundred."""
    context = context_of(spec, make_context)
    single, double = spec.build(context), spec.build(context).double()
    x = rows(spec.support, 400).double()
    raw = raw_for(double, K, len(x), D)
    if spec.support == "real":
        x = 10 * x
    x, raw = x.float().double(), raw.float().double()  # without rounding of the input
    log_p = double.column_log_prob(x, raw)
    error = (single.column_log_prob(x.float(), raw.float()).double() - log_p).abs()
    is_enough = bool((error <= 1e-4 + 1e-6 * log_p.abs()).all())
    assert is_enough or not double.reads_in_single
    continuous = (GaussianLikelihood, MixtureLikelihood, LogisticMixtureLikelihood)
    if isinstance(spec, continuous) or spec.support in ("binary", "category"):
        assert double.reads_in_single


@every_likelihood
@pytest.mark.parametrize("hidden", [math.nan, math.inf, -7.5, 1e30])
def test_hidden_cells_change_nothing(
    spec: LikelihoodSpec, hidden: float, make_context: MakeContext, rows: Rows
) -> None:
    """Neither densities nor gradients, whatever a hidden cell holds."""
    module = spec.build(context_of(spec, make_context)).double()
    raw = raw_for(module, K, B, D).requires_grad_()
    x = rows(spec.support).double()
    observed = normal(B, D, seed=3) > -0.3
    assert not observed.all()
    cells = module.column_log_prob(x, raw)
    expected = (cells * observed).sum(-1)
    spoilt = x.where(observed, hidden)
    ours = module.log_prob(spoilt, raw, observed)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    (wanted,) = torch.autograd.grad(expected.sum(), raw)
    (gradient,) = torch.autograd.grad(ours.sum(), raw)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-12)


@every_likelihood
def test_every_cell_reads_its_own_parameters(
    spec: LikelihoodSpec, make_context: MakeContext, rows: Rows
) -> None:
    module = spec.build(context_of(spec, make_context)).double()
    raw, x = raw_for(module, K, B, D), rows(spec.support).double()
    together = module.column_log_prob(x, raw)
    alone = module.column_log_prob(x[2:3], raw[3:4, 2:3])
    torch.testing.assert_close(alone, together[3:4, 2:3])


@every_likelihood
def test_total_probability_of_a_cell_is_one(
    spec: LikelihoodSpec, make_context: MakeContext, perturb: Perturb
) -> None:
    context = context_of(spec, make_context)
    module = built(spec, context, perturb)
    raw = raw_for(module, K, 1, D)
    _, weight, cells = values_of(spec, context)
    with torch.no_grad():
        log_p = module.column_log_prob(cells, raw.expand(-1, len(cells), -1, -1))
    total = (log_p.exp() * weight).sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


@with_an_order
def test_mean_is_the_mean_of_samples(
    spec: LikelihoodSpec, make_context: MakeContext, perturb: Perturb
) -> None:
    module = built(spec, context_of(spec, make_context), perturb)
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
    """One test a column, Kolmogorov-Smirnov or chi-square; false-alarm rate 1e-4."""
    context = context_of(spec, make_context, scale_ceiling=ceiling)
    module = built(spec, context, perturb)
    raw = raw_for(module, 1, D, seed=4)
    n = 20_000
    grid, weight, cells = values_of(spec, context)
    with torch.no_grad():
        sample = module.sample(
            raw.expand(n, -1, -1, -1), torch.Generator().manual_seed(5)
        )[:, 0].numpy()
        log_p = module.column_log_prob(cells, raw[None].expand(-1, len(grid), -1, -1))
    mass = (log_p[0].exp() * weight).numpy()
    for drawn, masses in zip(sample.T, mass.T, strict=True):
        if spec.support == "real":
            cdf = masses.cumsum() - masses / 2
            result = stats.kstest(drawn, partial(np.interp, xp=grid.numpy(), fp=cdf))
        else:
            assert set(drawn) <= set(grid[masses > 0].tolist())
            count = np.bincount(drawn.astype(int), minlength=len(grid))
            often = n * masses >= 10
            observed = np.r_[count[often], count[~often].sum()]
            expected = n * np.r_[masses[often], masses[~often].sum()]
            kept = expected > 1e-6
            assert observed[~kept].sum() == 0
            result = stats.chisquare(observed[kept], expected[kept], sum_check=False)
        assert result.pvalue > FALSE_ALARM


@every_likelihood
def test_samples_are_those_of_the_generator(
    spec: LikelihoodSpec, make_context: MakeContext
) -> None:
    module = spec.build(context_of(spec, make_context)).double()
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
    one = built(spec, context_of(spec, make_context), perturb)
    other = spec.build(context_of(spec, make_context, seed=1)).double()
    other.load_state_dict(one.state_dict())
    raw, x = raw_for(one, K, B, D), rows(spec.support).double()
    torch.testing.assert_close(other.log_prob(x, raw), one.log_prob(x, raw))


@real_likelihoods
def test_start_has_the_mean_and_scale_of_the_linear_model(
    spec: LikelihoodSpec, make_context: MakeContext
) -> None:
    context = context_of(spec, make_context)
    module = spec.build(context).double()
    start = start_for(context)
    weight, bias, scale = start.decoder_weight, start.decoder_bias, start.residual_scale
    slope, offset = module.initialise(start)
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
    module = built(MixtureLikelihood(n_modes=n_modes), context)
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


def twin_at(spec: LikelihoodSpec, deviation: np.ndarray, value: float) -> object:
    """Return the scipy distribution of a location of zero and such a scale."""
    if isinstance(spec, LogisticMixtureLikelihood):
        return stats.logistic(scale=deviation * math.sqrt(3) / math.pi)
    if isinstance(spec, StudentTLikelihood):
        learnt = 1 + math.exp(min(max(value, -3), 7))
        return stats.t(learnt if spec.df == "column" else spec.df, scale=deviation)
    return stats.norm(scale=deviation)


def with_all_at(
    spec: LikelihoodSpec, context: BuildContext, value: float
) -> tuple[LikelihoodModule, Tensor]:
    """Return module and raw parameters of this value, but for locations of zero."""
    module = spec.build(context).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    raw = torch.full((1, 1, module.n_parameters, D), value, dtype=torch.float64)
    raw[:, :, : module.n_linear] = 0
    return module, raw


@learnt_scales
@pytest.mark.parametrize("value", [-1e4, -60.0, -8.0])
def test_no_scale_falls_below_the_floor(
    spec: LikelihoodSpec, value: float, make_context: MakeContext
) -> None:
    """The density of a cell is at most that at the floor."""
    context = make_context()
    module, raw = with_all_at(spec, context, value)
    with torch.no_grad():
        peak = module.column_log_prob(torch.zeros(1, D).double(), raw)[0, 0].numpy()
    floor = context.scale_floor.double().numpy()
    assert (peak <= twin_at(spec, floor, value).logpdf(0) + 1e-9).all()


@learnt_scales
@pytest.mark.parametrize("value", [5.0, 60.0, 1e4])
def test_large_scales_are_the_floor_and_the_ceiling(
    spec: LikelihoodSpec, value: float, make_context: MakeContext
) -> None:
    context = make_context(scale_ceiling=1.5)
    module, raw = with_all_at(spec, context, value)
    x = torch.linspace(-9, 9, D, dtype=torch.float64)[None]
    with torch.no_grad():
        ours = module.column_log_prob(x, raw)[0, 0].numpy()
    scale = (context.scale_floor.double() + 1.5).numpy()
    expected = twin_at(spec, scale, value).logpdf(x[0].numpy())
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


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


@every_likelihood
@with_and_without_ceiling
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_densities_and_gradients_of_extreme_parameters_are_finite(
    spec: LikelihoodSpec,
    ceiling: float,
    value: float,
    make_context: MakeContext,
    rows: Rows,
) -> None:
    module = spec.build(context_of(spec, make_context, scale_ceiling=ceiling))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    raw = torch.full((K, B, module.n_parameters, D), value, requires_grad=True)
    log_p = module.log_prob(rows(spec.support), raw)
    assert log_p.isfinite().all()
    log_p.sum().backward()
    for tensor in (raw, *module.parameters()):
        assert tensor.grad is None or tensor.grad.isfinite().all()


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
    module = built(MixtureLikelihood(n_modes=n_modes), context)
    raw = raw_for(module, n_draws, 2, D).requires_grad_()
    x = normal(2, D, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(module.column_log_prob, (x, raw))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@with_and_without_ceiling
def test_fused_mixture_gradient_equals_autograd(
    ceiling: float, dtype: torch.dtype, make_context: MakeContext
) -> None:
    context = make_context(scale_ceiling=ceiling)
    module = built(MixtureLikelihood(n_modes=3), context)
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


# The likelihoods that are not Gaussian


@pytest.mark.parametrize("n_modes", [1, 2, 5])
def test_logistic_mixture_equals_scipy(
    n_modes: int, make_context: MakeContext, rows: Rows
) -> None:
    context = make_context()
    module = built(LogisticMixtureLikelihood(n_modes=n_modes), context)
    raw, x = raw_for(module, K, B, D), rows("real").double()
    unit = np.linspace(0.5, 2, D)
    location, log_scale, logit = np.split(raw.numpy(), 3, axis=2)
    deviation = unit * np.exp(log_scale) + context.scale_floor.double().numpy()
    parts = stats.logistic.logpdf(
        x.numpy()[:, None], unit * location, deviation * math.sqrt(3) / math.pi
    )
    log_weight = logit - logsumexp(logit, axis=2, keepdims=True)
    ours = module.column_log_prob(x, raw).numpy()
    np.testing.assert_allclose(ours, logsumexp(log_weight + parts, axis=2), rtol=1e-9)


@pytest.mark.parametrize("df", ["column", 0.8, 3.0, 40])
def test_student_t_equals_scipy(
    df: str | float, make_context: MakeContext, perturb: Perturb, rows: Rows
) -> None:
    context = make_context()
    module = built(StudentTLikelihood(df=df), context, perturb)
    raw, x = raw_for(module, K, B, D), 5 * rows("real").double()
    unit = np.linspace(0.5, 2, D)
    degrees = df
    if df == "column":
        degrees = 1 + module.log_df.detach().exp().numpy()
        assert np.ptp(degrees) > 0.1
    location, log_scale = raw.numpy()[:, :, 0], raw.numpy()[:, :, 1]
    deviation = unit * np.exp(log_scale) + context.scale_floor.double().numpy()
    expected = stats.t.logpdf(x.numpy(), degrees, unit * location, deviation)
    ours = module.column_log_prob(x, raw).detach().numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


@pytest.mark.parametrize("df", ["row", 0, -1.0, math.nan, math.inf, True, None])
def test_student_t_rejects_other_degrees_of_freedom(
    df: object, make_context: MakeContext
) -> None:
    with pytest.raises(ValueError, match=r"df of StudentTLikelihood.*'column'"):
        StudentTLikelihood(df=df).build(make_context())


@pytest.mark.parametrize("variant", [MixtureLikelihood, LogisticMixtureLikelihood])
def test_number_of_modes_has_to_be_positive(
    variant: type[LikelihoodSpec], make_context: MakeContext
) -> None:
    with pytest.raises(ValueError, match=rf"n_modes of {variant.__name__}.*'auto'"):
        variant(n_modes=0).build(make_context())


def test_categorical_equals_the_softmax(make_context: MakeContext, rows: Rows) -> None:
    context = make_context(support="category")
    module = CategoricalLikelihood().build(context).double()
    raw, x = 3 * raw_for(module, K, B, D), rows("category").double()
    ours = module.column_log_prob(x, raw).numpy()
    codes = x.numpy().astype(int)
    for d, kind in enumerate(context.modelled_kinds):
        log_mass = log_softmax(raw.numpy()[:, :, : kind.n_values, d], axis=2)
        expected = np.take_along_axis(log_mass, codes[None, :, d, None], 2)[..., 0]
        np.testing.assert_allclose(ours[..., d], expected, rtol=1e-9)


def test_mean_of_categories_is_the_most_probable_one(
    make_context: MakeContext,
) -> None:
    context = make_context(support="category")
    module = CategoricalLikelihood().build(context).double()
    raw = raw_for(module, K, B, D)
    raw[:, :, 2, 1] = 99  # the second column has two categories
    for d, kind in enumerate(context.modelled_kinds):
        expected = raw[:, :, : kind.n_values, d].argmax(-1)
        assert torch.equal(module.mean(raw)[..., d], expected.double())


def test_categorical_takes_categories_only(make_context: MakeContext) -> None:
    with pytest.raises(ValueError, match="column 0 is none"):
        CategoricalLikelihood().build(make_context())


def test_poisson_equals_scipy(make_context: MakeContext, rows: Rows) -> None:
    context = make_context(support="count")
    module = built(PoissonLikelihood(), context)
    raw, x = raw_for(module, K, B, D), rows("count").double()
    mean = np.exp(module.log_mean.unit.numpy() * raw.numpy()[:, :, 0])
    ours = module.column_log_prob(x, raw).numpy()
    expected = stats.poisson.logpmf(x.numpy(), mean)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    np.testing.assert_allclose(module.mean(raw).numpy(), mean, rtol=1e-6)


@pytest.mark.parametrize("factor", [1, 700])
def test_negative_binomial_equals_scipy(
    factor: int, make_context: MakeContext, rows: Rows
) -> None:
    context = make_context(support="count")
    module = built(NegativeBinomialLikelihood(), context)
    raw, x = raw_for(module, K, B, D), factor * rows("count").double()
    mean = np.exp(module.log_mean.unit.numpy() * raw.numpy()[:, :, 0])
    size = np.exp(raw.numpy()[:, :, 1])
    ours = module.column_log_prob(x, raw).numpy()
    expected = stats.nbinom.logpmf(x.numpy(), size, size / (size + mean))
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("x", [1e3, 1e6, 1e9, 1e12, 1e15])
def test_negative_binomial_of_far_counts_is_exact(
    x: float, make_context: MakeContext
) -> None:
    """With r = 3 the coefficient is (x + 1)(x + 2) / 2."""
    module = NegativeBinomialLikelihood().build(
        make_context(n_features=1, support="count")
    )
    log_mean = 25.0
    raw = torch.tensor([log_mean, math.log(3)], dtype=torch.float64)
    raw = raw[None, None, :, None]
    count = torch.tensor([[x]], dtype=torch.float64)
    ours = float(module.double().column_log_prob(count, raw))
    share = -math.log1p(3 * math.exp(-log_mean))
    expected = (
        math.log(x + 1)
        + math.log(x + 2)
        - math.log(2)
        - 3 * math.log1p(math.exp(log_mean) / 3)
        + x * share
    )
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("spec", [PoissonLikelihood(), NegativeBinomialLikelihood()])
def test_counts_are_as_exact_in_float32(
    spec: LikelihoodSpec, make_context: MakeContext
) -> None:
    """The terms of a log-mass are a million times as large as their sum."""
    context = make_context(n_features=1, support="count")
    x = torch.tensor([[1e6], [999_000.0]])
    raw = torch.full((1, 2, spec.build(context).n_parameters, 1), math.log(1e6))
    one = spec.build(context).column_log_prob(x, raw)
    other = spec.build(context).double().column_log_prob(x.double(), raw.double())
    torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-3)


def test_start_of_categories_has_frequencies_and_slopes_of_the_linear_model(
    make_context: MakeContext,
) -> None:
    context = make_context(support="category")
    module = CategoricalLikelihood().build(context).double()
    owner = context.features().owner
    mass = normal(len(owner)).exp() + 0.1
    mass = mass / torch.zeros(D).double().index_add(0, owner, mass)[owner]
    # Probabilities that go up with a latent go down elsewhere in the column.
    weight = 0.1 * normal(len(owner), L, seed=6)
    for d in range(D):
        weight[owner == d] -= weight[owner == d].mean(0)
    start = replace(start_for(context), decoder_bias=mass, decoder_weight=weight)
    slope, offset = module.initialise(start)
    assert slope.shape == (module.n_linear, D, L)
    assert offset.shape == (module.n_parameters, D)

    def masses(z: Tensor) -> Tensor:
        raw = offset + torch.einsum("pdl,l->pd", slope, z)
        return raw.masked_fill(~module.allowed, -torch.inf).softmax(0)

    at_zero = torch.zeros(L, dtype=torch.float64)
    cells = module.allowed.T
    torch.testing.assert_close(masses(at_zero).T[cells], mass)
    jacobian = torch.autograd.functional.jacobian(masses, at_zero)
    torch.testing.assert_close(jacobian.transpose(0, 1)[cells], weight)


@pytest.mark.parametrize("spec", [PoissonLikelihood(), NegativeBinomialLikelihood()])
def test_start_of_counts_has_mean_slope_and_variance_of_the_table(
    spec: LikelihoodSpec, make_context: MakeContext
) -> None:
    context = make_context(support="count")
    module = spec.build(context).double()
    x = (3 * normal(200, D).exp()).floor()
    start = start_for(context, context.features().double()(x))
    start = replace(start, decoder_weight=0.2 * start.decoder_weight)
    slope, offset = module.initialise(start)
    raw = offset.repeat(len(x), 1, 1)
    raw[:, :1] += torch.einsum("pdl,bl->bpd", slope, start.z)
    share = start.sample_weight / start.sample_weight.sum()
    mean = module.mean(raw)
    torch.testing.assert_close(share @ mean, share @ x, rtol=1e-5, atol=1e-5)
    # d log m / d log(1 + m) = (1 + m) / m, at the column's mean.
    scale = torch.tensor([kind.scale for kind in context.modelled_kinds]).double()
    gain = scale * (1 + 1 / (share @ x))
    expected = gain[:, None] * start.decoder_weight
    ours = slope[0] * module.log_mean.unit[:, None]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    if isinstance(spec, NegativeBinomialLikelihood):
        variance = mean + mean.square() / raw[:, 1].exp()
        residual = share @ (x - mean).square()
        torch.testing.assert_close(share @ variance, residual, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", [PoissonLikelihood(), NegativeBinomialLikelihood()])
def test_start_of_a_column_of_zeros_is_finite(
    spec: LikelihoodSpec, make_context: MakeContext
) -> None:
    context = make_context(support="count")
    module = spec.build(context).double()
    zeros = torch.zeros(20, D, dtype=torch.float64)
    start = start_for(context, context.features().double()(zeros))
    for tensor in module.initialise(start):
        assert tensor.isfinite().all()
