"""The autoregressive decoder: what it reads, where it starts, how rows are drawn."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite import hermgauss
from scipy import stats
from torch import Tensor, nn

from skvae.evidence import RowNoise, row_hash
from skvae.evidence.proposals import EncoderProposal, QuadratureProposal
from skvae.evidence.sampling import Budget
from skvae.model import VAE, BuildContext, LinearStart
from skvae.model.decoders import AutoregressiveDecoder, MLPDecoder
from skvae.model.features import ColumnKind
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    GaussianLikelihood,
    LikelihoodSpec,
    MixtureLikelihood,
)
from skvae.model.posteriors import FullPosterior
from skvae.model.priors import MixturePrior, NormalPrior, PriorSpec
from skvae.training import linear_start

K, B, D, L = 4, 6, 3, 2
FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed
CUT_OFF = AutoregressiveDecoder((8, 8), reads_latents=False)

MakeContext = Callable[..., BuildContext]
MakeVAE = Callable[..., VAE]
Perturb = Callable[..., nn.Module]
Rows = Callable[..., Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def start_of(features: Tensor, n_components: int = L) -> LinearStart:
    return linear_start(
        features,
        torch.ones(len(features), dtype=torch.float64),
        n_components,
        torch.full((features.shape[1],), 0.01, dtype=torch.float64),
        torch.Generator().manual_seed(0),
    )


# What it reads

ORDERS: list[str | Sequence[int]] = ["given", "random", (2, 0, 1), np.array([1, 2, 0])]
MIXED = (
    ColumnKind("category", n_values=3),
    ColumnKind(),
    ColumnKind("count", center=1.0, scale=0.5),
    ColumnKind("category", n_values=2),
)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("kinds", [(), MIXED], ids=["real", "mixed and one given"])
@pytest.mark.parametrize("sizes", [None, (), (2,), (9, 7)])
def test_no_column_reads_itself_or_later_ones(
    order: str | Sequence[int],
    kinds: tuple[ColumnKind, ...],
    sizes: tuple[int, ...] | None,
    make_context: MakeContext,
    perturb: Perturb,
) -> None:
    context = replace(make_context(), kinds=kinds)
    module = perturb(
        AutoregressiveDecoder(sizes, order).build(context, 4, 2), scale=1.0
    ).double()
    assert sorted(module.order.tolist()) == list(range(D))
    if not isinstance(order, str):
        assert module.order.tolist() == list(order)
    owner = context.features().owner
    z, features = normal(1, 1, L), normal(1, len(owner), seed=1)
    jacobian = torch.autograd.functional.jacobian(
        lambda features: module(z, features)[0, 0], features
    )[:, :, 0]
    before: set[int] = set(range(D, len(kinds)))
    for column in module.order.tolist():
        for feature, other in enumerate(owner.tolist()):
            reached = jacobian[:, column, feature] != 0
            assert reached[:2].all() if other in before else not reached.any()
        before.add(column)


def test_orders_that_are_shuffled_depend_on_the_seed_alone(
    make_context: MakeContext,
) -> None:
    one, same, other = (
        AutoregressiveDecoder(order="random")
        .build(make_context(n_features=30, seed=seed), 1, 1)
        .order.tolist()
        for seed in (0, 0, 1)
    )
    assert one == same
    assert one != other
    assert one != list(range(30))


@pytest.mark.parametrize(
    "order",
    ["backwards", (0, 1), (0, 1, 1), (1, 2, 3), (0.0, 1.0, 2.0), None, 3, [[0, 1, 2]]],
)
def test_other_orders_are_refused(order: object, make_context: MakeContext) -> None:
    with pytest.raises(ValueError, match=r"order of AutoregressiveDecoder.*0 to 2"):
        AutoregressiveDecoder(order=order).build(make_context(), 1, 1)


def test_cutting_off_is_a_bool(make_context: MakeContext) -> None:
    with pytest.raises(TypeError, match="reads_latents of AutoregressiveDecoder"):
        AutoregressiveDecoder(reads_latents="no").build(make_context(), 1, 1)


@pytest.mark.parametrize("sizes", [(), (8, 8)])
def test_of_one_column_it_is_the_plain_decoder(
    sizes: tuple[int, ...], make_context: MakeContext
) -> None:
    context = make_context(n_features=1)
    ours = AutoregressiveDecoder(sizes).build(context, 4, 2).double()
    plain = MLPDecoder(sizes).build(context, 4, 2).double()
    with torch.no_grad():
        plain.network.skip.copy_(normal(2, L))
        plain.network.bias.copy_(normal(4, seed=1))
        ours.network.skip[:, :L] = plain.network.skip
        ours.network.bias.copy_(plain.network.bias)
        if sizes:
            plain.network.output.copy_(normal(4, 8, seed=2))
            ours.network.output.copy_(plain.network.output)
            ours.network.first.weight[:, :L] = plain.network.hidden[0].weight
            ours.network.first.bias.copy_(plain.network.hidden[0].bias)
            ours.network.hidden[0].load_state_dict(
                plain.network.hidden[1].state_dict(), strict=False
            )
    z, features = normal(K, B, L, seed=3), normal(B, 1, seed=4)
    torch.testing.assert_close(ours(z, features), plain(z, features))


# Where it starts


@pytest.mark.parametrize("reads_latents", [True, False])
@pytest.mark.parametrize("order", ["given", (3, 1, 0, 2)])
def test_start_is_the_ridge_regression_on_what_comes_before(
    reads_latents: bool, order: str | Sequence[int], make_context: MakeContext
) -> None:
    """Column by column, against the normal equations; weights are repeated rows."""
    table = normal(300, 4) @ normal(4, 4, seed=1) + 5
    start = start_of(table, 1)
    weight = torch.arange(300, dtype=torch.float64) % 3
    module = AutoregressiveDecoder(order=order, reads_latents=reads_latents).build(
        make_context(n_features=4, n_components=1), 1, 1
    )
    linear = module.double().regress(replace(start, sample_weight=weight))
    mean = (weight @ table) / weight.sum()
    torch.testing.assert_close(linear.decoder_bias, mean)
    inputs = [start.z] if reads_latents else []
    inputs = torch.cat([*inputs, table - mean], 1)
    torch.testing.assert_close(linear.z, inputs)
    n_latents = inputs.shape[1] - 4
    read = list(range(n_latents))
    repeated = inputs.repeat_interleave(weight.long(), 0)
    for column in module.order.tolist():
        x, y = repeated[:, read], repeated[:, n_latents + column]
        expected = torch.zeros(inputs.shape[1], dtype=torch.float64)
        gram = x.T @ x / len(x) + 1e-3 * torch.eye(len(read), dtype=torch.float64)
        expected[read] = torch.linalg.solve(gram, x.T @ y / len(x))
        torch.testing.assert_close(linear.decoder_weight[column], expected)
        left = (y - x @ expected[read]).square().mean().sqrt()
        torch.testing.assert_close(linear.residual_scale[column], left)
        read.append(n_latents + column)


def test_start_reads_no_category_of_the_same_column(make_context: MakeContext) -> None:
    context = replace(make_context(), kinds=MIXED)
    codes = torch.arange(300) % 3
    table = torch.stack(
        [codes, normal(300)[:, None][:, 0] + codes, codes % 2 + 1, codes % 2], 1
    )
    features = context.features().double()(table.double())
    module = AutoregressiveDecoder().build(context, 3, 1).double()
    linear = module.regress(start_of(features))
    owner = context.features().owner
    slope = linear.decoder_weight[:, L:]
    # The given column, of number 3, is read by all others.
    comes_before = torch.where(owner == 3, -1, owner) < owner[:, None]
    comes_before[owner == 3] = False
    assert (slope[~comes_before] == 0).all()
    assert (slope[comes_before] != 0).any()


def test_start_of_dependent_columns_is_finite(make_context: MakeContext) -> None:
    column = normal(50, 1)
    table = torch.cat([column, column, torch.ones(50, 1).double()], 1)
    module = AutoregressiveDecoder().build(make_context(), 1, 1).double()
    linear = module.regress(start_of(table))
    for name, value in vars(linear).items():
        assert name == "given_weight" or value.isfinite().all()
    assert (linear.residual_scale >= 0.01 - 1e-9).all()


@pytest.mark.parametrize(
    "likelihood", [GaussianLikelihood(), MixtureLikelihood(3)], ids=repr
)
def test_vae_starts_at_the_linear_autoregressive_model(
    likelihood: LikelihoodSpec, make_context: MakeContext
) -> None:
    table = normal(300, D) @ normal(D, D, seed=1)
    start = start_of(table)
    vae = VAE.build(
        make_context(),
        NormalPrior(),
        FullPosterior(),
        AutoregressiveDecoder(),
        likelihood,
    ).double()
    linear = vae.decoder.regress(start)
    vae.initialise(start)
    expected = linear.z @ linear.decoder_weight.T + linear.decoder_bias
    raw = vae.raw(table, start.z[None])
    torch.testing.assert_close(vae.likelihood.mean(raw)[0], expected, rtol=0, atol=1e-5)


# How rows are drawn


def conditional_uniforms(vae: VAE, rows: Tensor, z: Tensor) -> np.ndarray:
    """Return P(X_i ≤ x_i | x before i, z) of columns that are mixtures, (N, D)."""
    raw = vae.raw(rows, z[None])[0]
    location, log_scale, logit = raw.chunk(3, -2)
    standard = (rows[:, None] - location) / (log_scale.exp() + vae.likelihood.floor)
    cumulative = logit.softmax(-2) * torch.special.ndtr(standard)
    return cumulative.sum(-2).numpy()


@pytest.mark.parametrize("order", ["given", (1, 0)])
def test_real_rows_follow_the_density(
    order: str | Sequence[int], make_context: MakeContext, perturb: Perturb
) -> None:
    """Kolmogorov-Smirnov tests of both conditional uniforms, and of their dependence.

    With latents cut off, the uniforms are independent if rows follow p(x); the
    false-alarm rate of each test is 1e-4.
    """
    decoder = AutoregressiveDecoder((8, 8), order, reads_latents=False)
    context = make_context(n_features=2)
    vae = VAE.build(
        context, NormalPrior(), FullPosterior(), decoder, MixtureLikelihood(2)
    ).double()
    perturb(vae, scale=0.5)
    with torch.no_grad():
        rows = vae.generate(1500, torch.Generator().manual_seed(0))
        uniform = conditional_uniforms(vae, rows, torch.zeros(1, L).double())
    for column in range(2):
        assert stats.kstest(uniform[:, column], "uniform").pvalue > FALSE_ALARM
    assert stats.spearmanr(*uniform.T).pvalue > FALSE_ALARM


def test_real_rows_follow_the_density_given_latents(
    make_vae: MakeVAE, perturb: Perturb
) -> None:
    """As above, with a latent vector for each row; false-alarm rate 1e-4 each."""
    decoder = AutoregressiveDecoder((8, 8), (2, 0, 1))
    vae = make_vae(NormalPrior(), FullPosterior(), MixtureLikelihood(2), decoder)
    perturb(vae.double(), scale=0.4)
    generator = torch.Generator().manual_seed(0)
    z = normal(1000, L)
    with torch.no_grad():
        rows = vae._column_by_column(
            z, None, lambda raw: vae.likelihood.sample(raw, generator)
        )
        uniform = conditional_uniforms(vae, rows, z)
    for column in range(D):
        assert stats.kstest(uniform[:, column], "uniform").pvalue > FALSE_ALARM
    assert stats.spearmanr(uniform).pvalue[np.triu_indices(D, 1)].min() > FALSE_ALARM
    assert stats.spearmanr(uniform, z).pvalue[:D, D:].min() > FALSE_ALARM


def test_binary_rows_follow_the_masses(make_vae: MakeVAE, perturb: Perturb) -> None:
    """Chi-square test over all eight rows; false-alarm rate 1e-4."""
    vae = make_vae(NormalPrior(), FullPosterior(), BernoulliLikelihood(), CUT_OFF)
    perturb(vae.double(), scale=0.7)
    every = torch.cartesian_prod(*[torch.arange(2.0)] * D).double()
    with torch.no_grad():
        mass = vae.log_likelihood(every, torch.zeros(1, 1, L).double())[0].exp()
        drawn = vae.generate(4000, torch.Generator().manual_seed(0))
    assert mass.sum().item() == pytest.approx(1, abs=1e-9)
    count = (drawn[:, None] == every).all(-1).sum(0)
    assert stats.chisquare(count, 4000 * mass).pvalue > FALSE_ALARM
    # Columns are not independent, which a wrong order of drawing would make them.
    share = drawn.mean(0)
    independent = (share * every + (1 - share) * (1 - every)).prod(1)
    assert stats.chisquare(count, 4000 * independent).pvalue < 1e-6


def test_given_columns_condition_what_is_drawn(
    make_context: MakeContext, perturb: Perturb
) -> None:
    """Two-sample test of the rows for two given values; each row has its own."""
    context = replace(make_context(n_features=2), kinds=(ColumnKind(),) * 3)
    vae = VAE.build(
        context,
        NormalPrior(),
        FullPosterior(),
        AutoregressiveDecoder((8, 8)),
        GaussianLikelihood(),
    ).double()
    perturb(vae, scale=0.1)
    with torch.no_grad():
        vae.decoder.network.skip[:, -1] = 1
    given = torch.tensor([-1.0, 1.0]).double().repeat(300)[:, None]
    with torch.no_grad():
        rows = vae.generate(600, torch.Generator().manual_seed(0), given)
        assert rows.shape == (600, 2)
        for column in range(2):
            low, high = rows[::2, column].numpy(), rows[1::2, column].numpy()
            assert stats.ks_2samp(low, high).pvalue < 1e-6


def test_decoded_mean_is_the_mean_column_by_column(make_vae: MakeVAE) -> None:
    decoder = AutoregressiveDecoder((8, 8), (2, 0, 1))
    vae = make_vae(NormalPrior(), FullPosterior(), GaussianLikelihood(), decoder)
    z = normal(B, L).float()
    with torch.no_grad():
        decoded = vae.decode(z)
        means = vae.likelihood.mean(vae.raw(decoded, z[None]))[0]
    torch.testing.assert_close(decoded, means)


# Without latents


@pytest.mark.parametrize("prior", [NormalPrior(), MixturePrior(n_modes=3)], ids=repr)
def test_without_latents_log_p_is_exact(
    prior: PriorSpec, make_vae: MakeVAE, rows: Rows
) -> None:
    vae = make_vae(prior, FullPosterior(), MixtureLikelihood(), CUT_OFF).double()
    x = rows("real").double()
    noise = RowNoise(row_hash(x.numpy(), 0))
    with torch.no_grad():
        exact = vae.log_likelihood(x, normal(1, 1, L))[0]
        for z in (normal(K, len(x), L), 5 * normal(K, 1, L)):
            every = vae.log_likelihood(x, z)
            assert every.shape == (K, len(x))
            torch.testing.assert_close(every, exact.expand(K, -1))
        estimate = EncoderProposal().estimate(vae, x, noise, Budget(8, 8, 0.1))
        assert vae.embed(x).shape == (len(x), L)
    torch.testing.assert_close(estimate.log_density, exact)
    assert estimate.standard_error.max() < 1e-6


@pytest.mark.parametrize("order", ["given", (1, 0)])
def test_without_latents_the_density_integrates_to_one(
    order: str | Sequence[int], make_context: MakeContext, perturb: Perturb
) -> None:
    """Over 601² points of two columns, to 1e-6."""
    decoder = AutoregressiveDecoder((8, 8), order, reads_latents=False)
    vae = VAE.build(
        make_context(n_features=2),
        NormalPrior(),
        FullPosterior(),
        decoder,
        MixtureLikelihood(2),
    ).double()
    perturb(vae, scale=0.2)
    axis = torch.linspace(-25, 25, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        log_p = vae.log_likelihood(grid, torch.zeros(1, 1, L).double())[0]
    density = log_p.exp().unflatten(0, (601, 601))
    total = torch.trapezoid(torch.trapezoid(density, axis), axis)
    assert float(total) == pytest.approx(1, abs=1e-6)


# With latents


def test_latents_for_all_rows_weigh_as_latents_of_each_row(
    make_vae: MakeVAE, rows: Rows
) -> None:
    vae = make_vae(
        NormalPrior(), FullPosterior(), MixtureLikelihood(), AutoregressiveDecoder()
    ).double()
    x, z = rows("real").double(), normal(K, 1, L)
    with torch.no_grad():
        shared = vae.log_likelihood(x, z)
        each = vae.log_likelihood(x, z.expand(-1, len(x), -1))
    torch.testing.assert_close(shared, each)


def test_quadrature_is_the_integral_over_a_latent(
    make_context: MakeContext, perturb: Perturb, rows: Rows
) -> None:
    """Gauss-Hermite quadrature of p(x | z) over one latent, to 1e-6."""
    vae = VAE.build(
        make_context(n_components=1),
        NormalPrior(),
        FullPosterior(),
        AutoregressiveDecoder((8, 8)),
        MixtureLikelihood(2),
    ).double()
    perturb(vae, scale=0.2)
    x = rows("real").double()
    points, weights = hermgauss(150)
    z = torch.from_numpy(2**0.5 * points)[:, None, None]
    log_weight = torch.from_numpy(np.log(weights / np.pi**0.5))
    noise = RowNoise(row_hash(x.numpy(), 0))
    with torch.no_grad():
        log_p = (vae.log_likelihood(x, z) + log_weight[:, None]).logsumexp(0)
        estimate = QuadratureProposal().estimate(vae, x, noise, Budget(8, 8, 0.1))
    torch.testing.assert_close(estimate.log_density, log_p, rtol=0, atol=1e-6)
