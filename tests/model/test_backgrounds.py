"""The contract of backgrounds, for every variant there is, and their scipy twins."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import Tensor

from skvae.model import BuildContext, ClosedFormPart
from skvae.model.backgrounds import (
    BackgroundModule,
    BackgroundSpec,
    IndependentBackground,
    MixedBackground,
    StudentTBackground,
)
from skvae.model.features import ColumnKind, Support
from skvae.model.spec import registered

N, B, D = 200, 5, 3
FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed

MIXED = (
    ColumnKind("count"),
    ColumnKind("real"),
    ColumnKind("category", n_values=3),
)
KINDS: dict[str, tuple[ColumnKind, ...]] = {
    "real": (ColumnKind(),) * D,
    "binary": (ColumnKind("binary"),) * D,
    "count": (ColumnKind("count"),) * D,
    "category": (
        ColumnKind("category", n_values=3),
        ColumnKind("category", n_values=2),
        ColumnKind("category", n_values=4),
    ),
}

SPECS: list[BackgroundSpec] = [
    *(spec() for spec in registered(BackgroundSpec).values()),
    StudentTBackground(weight=0.4, df=1),
    StudentTBackground(df=30.0),
]
CASES = [
    *((spec, KINDS[support]) for spec in SPECS for support in spec.supports),
    (MixedBackground(), MIXED),
    (IndependentBackground(), (*KINDS["count"][:1], *KINDS["category"][:2])),
]
every_background = pytest.mark.parametrize(
    ("spec", "kinds"),
    CASES,
    ids=[f"{spec!r}-{'-'.join(k.support for k in kinds)}" for spec, kinds in CASES],
)
every_variant = pytest.mark.parametrize(
    "variant", registered(BackgroundSpec).values(), ids=lambda v: v.__name__
)
several_df = pytest.mark.parametrize("df", [1, 3.0, 30.0])

MakeContext = Callable[..., BuildContext]
MIXING = torch.tensor(
    [[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-1.0, 0.5, 2.0]], dtype=torch.float64
)


def table_of(kinds: tuple[ColumnKind, ...], n_rows: int = N, seed: int = 0) -> Tensor:
    """Return correlated columns of these kinds."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(n_rows, D, dtype=torch.float64, generator=generator)
    table = normal @ MIXING.T + torch.tensor([0.5, -2.0, 0.0]).double()
    columns = [
        {
            "real": column,
            "binary": (column > 0).double(),
            "count": (1.5 * column).exp().floor(),
            "category": (column.sigmoid().pow(2) * max(kind.n_values, 1)).floor(),
        }[kind.support]
        for column, kind in zip(table.T, kinds, strict=False)
    ]
    return torch.stack(columns, 1)


def table_for(support: Support, n_rows: int = N, seed: int = 0) -> Tensor:
    return table_of(KINDS[support], n_rows, seed)


def fitted(
    spec: BackgroundSpec,
    context: BuildContext,
    table: Tensor | None = None,
    weight: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> BackgroundModule:
    module = spec.build(context).to(dtype)
    table = table_of(context.modelled_kinds) if table is None else table
    weight = torch.ones(len(table), dtype=torch.float64) if weight is None else weight
    module.initialise(table.to(dtype), weight)
    return module


def of_kinds(
    make_context: MakeContext, kinds: tuple[ColumnKind, ...], **sizes: int
) -> BuildContext:
    context = make_context(n_features=len(kinds), **sizes)
    return replace(context, kinds=kinds)


def narrow(context: BuildContext) -> BuildContext:
    """Return the context with floors that hardly count."""
    return replace(context, scale_floor=torch.full((context.n_features,), 1e-6))


@every_background
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(
    spec: BackgroundSpec,
    kinds: tuple[ColumnKind, ...],
    dtype: torch.dtype,
    make_context: MakeContext,
) -> None:
    module = fitted(spec, of_kinds(make_context, kinds), dtype=dtype)
    x = table_of(kinds, B, seed=1).to(dtype)
    sample = module.sample(7, torch.Generator().manual_seed(0))
    assert sample.shape == (7, D)
    assert module.log_prob(x).shape == module.typicality(x).shape == (B,)
    assert sample.dtype == module.log_prob(x).dtype == module.typicality(x).dtype
    assert sample.dtype == dtype
    assert sample.isfinite().all()
    assert module.log_prob(x).isfinite().all()


@every_background
def test_it_fits_the_table_better_than_before(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    table = table_of(kinds)
    before = spec.build(of_kinds(make_context, kinds)).double().log_prob(table).mean()
    assert (
        fitted(spec, of_kinds(make_context, kinds)).log_prob(table).mean()
        > before + 0.05
    )


@every_background
def test_total_probability_is_one(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    """Of every column alone."""
    table = table_of(kinds)
    # Tails of a Cauchy distribution beyond 1e12 have a mass of 1e-12.
    step = torch.linspace(-28, 28, 20_001, dtype=torch.float64)
    # The power tail of counts has a mass of c / (c + n) / 10 beyond n.
    n_counts = 200_000
    for j, kind in enumerate(kinds):
        one = fitted(spec, of_kinds(make_context, (kind,)), table[:, j : j + 1])
        if kind.support == "real":
            density = one.log_prob(step.sinh()[:, None]).exp()
            total = torch.trapezoid(density * step.cosh(), step)
        else:
            n_values = {"binary": 2, "count": n_counts}.get(kind.support, kind.n_values)
            values = torch.arange(n_values).double()[:, None]
            total = one.log_prob(values).exp().sum()
            if kind.support == "count":
                mean = max(float(table[:, j].mean()), 0.05)
                total = total + 0.1 * mean / (mean + n_counts)
        assert float(total) == pytest.approx(1, abs=1e-9)


@every_background
def test_density_is_that_of_columns_or_of_all_at_once(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    table = table_of(kinds)
    together = fitted(spec, of_kinds(make_context, kinds)).log_prob(table)
    apart = torch.zeros_like(together)
    real = [j for j, kind in enumerate(kinds) if kind.support == "real"]
    groups = [[j] for j in range(D) if j not in real] + ([real] if real else [])
    for group in groups:
        context = of_kinds(make_context, tuple(kinds[j] for j in group))
        apart += fitted(spec, context, table[:, group]).log_prob(table[:, group])
    torch.testing.assert_close(apart, together, rtol=1e-6, atol=1e-6)


@every_background
def test_share_is_weight_times_density(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    module = fitted(spec, of_kinds(make_context, kinds))
    x = table_of(kinds, B, seed=1)
    share = spec.weight * module.log_prob(x).exp()
    part = ClosedFormPart.weighted(module.log_prob(x), module.weight)
    torch.testing.assert_close((part.log_odds + part.log_weight).exp(), share)
    log_p = torch.linspace(-9, 0, B, dtype=torch.float64)
    mixed = part.mix(log_p).exp()
    torch.testing.assert_close(mixed, (1 - spec.weight) * log_p.exp() + share)


@every_background
def test_samples_are_those_of_the_generator(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    before = torch.get_rng_state()
    module = fitted(spec, of_kinds(make_context, kinds))
    one, same, other = (
        module.sample(50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@every_background
def test_saved_state_opens_in_another_module(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    one, other = (
        fitted(spec, of_kinds(make_context, kinds)),
        spec.build(of_kinds(make_context, kinds)).double(),
    )
    x = table_of(kinds, B, seed=1)
    assert not torch.equal(other.log_prob(x), one.log_prob(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.log_prob(x), one.log_prob(x))


@every_background
def test_integer_weights_equal_repeated_rows(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    count = torch.tensor([1, 2, 5]).repeat(25)
    table = table_of(kinds, len(count))
    context = of_kinds(make_context, kinds, n_rows=int(count.sum()))
    weighted = fitted(spec, context, table, count.double())
    repeated = fitted(spec, context, table.repeat_interleave(count, 0))
    even = fitted(spec, context, table)
    torch.testing.assert_close(weighted.log_prob(table), repeated.log_prob(table))
    assert (weighted.log_prob(table) - even.log_prob(table)).abs().max() > 1e-3


@every_variant
@pytest.mark.parametrize("weight", [0, 1, -0.1, 1.5, math.nan, math.inf, "0.1", None])
def test_weight_has_to_be_between_zero_and_one(
    variant: type[BackgroundSpec], weight: object, make_context: MakeContext
) -> None:
    message = rf"weight of {variant.__name__} .*between 0 and 1.*got {weight!r}"
    with pytest.raises(ValueError, match=message):
        variant(weight=weight).build(make_context())


@pytest.mark.parametrize("df", [0, -1.0, math.nan, math.inf, "3", None])
def test_student_t_rejects_other_degrees_of_freedom(
    df: object, make_context: MakeContext
) -> None:
    with pytest.raises(ValueError, match=rf"df of StudentTBackground.*got {df!r}"):
        StudentTBackground(df=df).build(make_context())


# Student-t


def scatter_of(module: BackgroundModule) -> Tensor:
    return module.tril @ module.tril.T


@several_df
@pytest.mark.parametrize("n_features", [1, D])
def test_student_t_equals_scipy(
    df: float, n_features: int, make_context: MakeContext
) -> None:
    table = table_for("real")[:, :n_features]
    context = make_context(n_features=n_features)
    module = fitted(StudentTBackground(df=df), context, table)
    twin = stats.multivariate_t(
        module.location.numpy(), scatter_of(module).numpy(), df=df
    )
    x = 10 * table_for("real", 20, seed=1)[:, :n_features]
    np.testing.assert_allclose(
        module.log_prob(x).numpy(), twin.logpdf(x.numpy()), rtol=1e-10
    )


@pytest.mark.parametrize("df", [0.7, 1, 3.0, 1e4])
def test_student_t_samples_follow_the_density(
    df: float, make_context: MakeContext
) -> None:
    """Of distance and of direction, by Kolmogorov-Smirnov; false-alarm rate 1e-4."""
    module = fitted(StudentTBackground(df=df), make_context())
    sample = module.sample(20_000, torch.Generator().manual_seed(1))
    centred = (sample - module.location).numpy()
    # Another factor of the scatter than the one that made the sample.
    values, vectors = np.linalg.eigh(scatter_of(module).numpy())
    standard = centred @ vectors / np.sqrt(values)
    square = np.square(standard).sum(1)
    assert stats.kstest(square / D, stats.f(D, df).cdf).pvalue > FALSE_ALARM
    # A coordinate of a point on the unit sphere in three dimensions is uniform.
    for cosine in (standard / np.sqrt(square)[:, None]).T:
        assert stats.kstest(cosine, stats.uniform(-1, 2).cdf).pvalue > FALSE_ALARM


@several_df
def test_student_t_of_one_column_is_the_maximum_likelihood(
    df: float, make_context: MakeContext
) -> None:
    x = stats.t(df, loc=3, scale=2).rvs(300, random_state=0)
    module = fitted(
        StudentTBackground(df=df),
        narrow(make_context(n_features=1)),
        torch.from_numpy(x)[:, None],
    )
    _, location, scale = stats.t.fit(x, fdf=df)
    assert float(module.location) == pytest.approx(location, abs=1e-3)
    assert float(module.tril) == pytest.approx(scale, rel=1e-3)


def test_student_t_is_close_to_the_weighted_maximum_likelihood(
    make_context: MakeContext,
) -> None:
    """Within 0.003 nats a row: the scatter is drawn to its diagonal by 1 %."""
    table, df = table_for("real"), 3.0
    weight = torch.rand(
        N, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    module = fitted(StudentTBackground(df=df), narrow(make_context()), table, weight)
    share = (weight / weight.sum()).numpy()
    lower = np.tril_indices(D)

    def loss(parameters: np.ndarray) -> float:
        tril = np.zeros((D, D))
        tril[lower] = parameters[D:]
        twin = stats.multivariate_t(parameters[:D], tril @ tril.T, df=df)
        return -float(share @ twin.logpdf(table.numpy()))

    start = np.r_[table.mean(0).numpy(), np.linalg.cholesky(np.cov(table.T))[lower]]
    best = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-4})
    reached = float(weight @ module.log_prob(table) / weight.sum())
    assert -best.fun - 3e-3 < reached < -best.fun + 1e-6
    np.testing.assert_allclose(module.location.numpy(), best.x[:D], atol=0.02)


def test_location_of_student_t_is_a_stationary_point(
    make_context: MakeContext,
) -> None:
    table = table_for("real")
    module = fitted(StudentTBackground(), make_context(), table)
    module.location.requires_grad_()
    module.log_prob(table).mean().backward()
    assert module.location.grad.abs().max() < 1e-8


def test_few_far_rows_hardly_move_student_t(make_context: MakeContext) -> None:
    clean = table_for("real")
    spread = clean.std(0)
    spoilt = clean.clone()
    spoilt[: N // 50] += 1000 * spread
    one, other = (
        fitted(StudentTBackground(), make_context(), table) for table in (clean, spoilt)
    )
    assert ((other.location - one.location) / spread).abs().max() < 0.1
    ratio = scatter_of(other).diagonal() / scatter_of(one).diagonal()
    assert ((ratio > 0.8) & (ratio < 1.5)).all()
    twin = table_for("real", seed=1)
    loss = one.log_prob(twin).mean() - other.log_prob(twin).mean()
    assert loss < 0.05


def degenerate(name: str) -> Tensor:
    x = table_for("real")
    return {
        "constant column": torch.cat([x, torch.full((N, 1), 3.7).double()], 1),
        "duplicated columns": torch.cat([x, x], 1),
        "sum of columns": torch.cat([x, x.sum(1, keepdim=True)], 1),
        "one row": x[:1],
        "equal rows": x[:1].repeat(9, 1),
        "fewer rows than columns": x[:12].reshape(4, 9),
    }[name]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "name",
    [
        "constant column",
        "duplicated columns",
        "sum of columns",
        "one row",
        "equal rows",
        "fewer rows than columns",
    ],
)
def test_student_t_of_a_degenerate_table_is_a_density(
    name: str, dtype: torch.dtype, make_context: MakeContext
) -> None:
    table = degenerate(name)
    context = make_context(n_features=table.shape[1])
    module = fitted(StudentTBackground(), context, table, dtype=dtype)
    assert (module.tril.diagonal() > 0).all()
    # In float32, the last digit of the floor's square is lost beside a scatter of one.
    assert (scatter_of(module).diagonal().sqrt() > 0.99 * context.scale_floor).all()
    here = table[0].to(dtype)
    off = here + 10 * torch.eye(len(here), dtype=dtype)
    assert module.log_prob(table.to(dtype)).isfinite().all()
    assert module.log_prob(off).isfinite().all()
    assert (module.log_prob(off) < module.log_prob(here[None])).all()
    assert module.sample(9, torch.Generator().manual_seed(0)).isfinite().all()


@several_df
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_student_t_falls_along_a_ray_as_a_power(
    df: float, dtype: torch.dtype, make_context: MakeContext
) -> None:
    module = fitted(StudentTBackground(df=df), make_context(), dtype=dtype)
    direction = torch.tensor([1.0, -2.0, 0.5], dtype=dtype)
    distance = torch.tensor([1e1, 1e2, 1e3, 1e4, 1e5, 1e6], dtype=dtype)
    fall = module.log_prob(distance[:, None] * direction).diff()
    assert (fall < 0).all()
    assert float(fall[-1]) == pytest.approx(-(df + D) * math.log(10), rel=1e-3)


# Independent columns


def test_independent_equals_scipy(make_context: MakeContext) -> None:
    table = table_for("binary")
    module = fitted(
        IndependentBackground(), make_context(n_rows=N, support="binary"), table
    )
    rate = (table.sum(0).numpy() + 0.5) / (N + 1)
    cube = np.array(list(itertools.product([0.0, 1.0], repeat=D)))
    np.testing.assert_allclose(
        module.log_prob(torch.from_numpy(cube)).numpy(),
        stats.bernoulli.logpmf(cube, rate).sum(1),
        rtol=1e-10,
    )


def test_independent_samples_follow_the_masses(make_context: MakeContext) -> None:
    """Chi-square statistic of all eight rows; false-alarm rate 1e-4."""
    module = fitted(IndependentBackground(), make_context(support="binary"))
    cube = torch.tensor(list(itertools.product([0.0, 1.0], repeat=D))).double()
    sample = module.sample(20_000, torch.Generator().manual_seed(1))
    count = (sample[:, None] == cube).all(-1).sum(0).numpy()
    assert count.sum() == 20_000
    mass = module.log_prob(cube).exp().numpy()
    assert stats.chisquare(count, 20_000 * mass).pvalue > FALSE_ALARM


def test_value_that_a_column_never_has_keeps_some_mass(
    make_context: MakeContext,
) -> None:
    table = torch.tensor([0.0, 1.0, 1.0]).double().repeat(N, 1)
    module = fitted(
        IndependentBackground(), make_context(n_rows=N, support="binary"), table
    )
    seen, unseen = module.log_prob(torch.stack([table[0], 1 - table[0]]))
    assert float(seen) == pytest.approx(D * math.log1p(-0.5 / (N + 1)))
    assert float(unseen) == pytest.approx(D * math.log(0.5 / (N + 1)))


def test_categories_have_smoothed_frequencies(make_context: MakeContext) -> None:
    kind = ColumnKind("category", n_values=4)
    table = torch.tensor([0.0, 0.0, 2.0, 1.0, 0.0]).double()[:, None]
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5]).double()
    context = of_kinds(make_context, (kind,))
    module = fitted(IndependentBackground(), context, table, weight)
    count = np.array([3.5, 4.0, 3.0, 0.0]) + 0.5
    ours = module.log_prob(torch.arange(4).double()[:, None]).exp()
    np.testing.assert_allclose(ours.numpy(), count / count.sum(), rtol=1e-7)


def test_counts_equal_a_mixture_of_scipys(make_context: MakeContext) -> None:
    """The far part is floor(c (1 / u − 1)) with u uniform: a discrete Lomax."""
    table = table_for("count")[:, :1]
    context = of_kinds(make_context, KINDS["count"][:1])
    module = fitted(IndependentBackground(), context, table)
    mean, variance = float(table.mean()), float(table.var(correction=0))
    assert variance > mean
    size = mean**2 / (variance - mean)
    x = np.arange(60.0)
    near = stats.nbinom.pmf(x, size, size / (size + mean))
    lomax = stats.lomax(1, scale=mean)
    far = lomax.cdf(x + 1) - lomax.cdf(x)
    ours = module.log_prob(torch.from_numpy(x)[:, None]).exp().numpy()
    np.testing.assert_allclose(ours, 0.9 * near + 0.1 * far, rtol=1e-5)


def test_far_counts_fall_as_a_power(make_context: MakeContext) -> None:
    module = fitted(
        IndependentBackground(),
        of_kinds(make_context, KINDS["count"][:1]),
        table_for("count")[:, :1],
    )
    x = torch.tensor([1e6, 1e9, 1e12, 1e15]).double()[:, None]
    fall = module.log_prob(x).diff().numpy()
    np.testing.assert_allclose(fall, -2 * 3 * math.log(10), rtol=1e-4)


@pytest.mark.parametrize("kinds", [KINDS["count"], MIXED], ids=["count", "mixed"])
def test_samples_of_each_column_follow_the_masses(
    kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    """Chi-square, Kolmogorov-Smirnov for real columns; false-alarm rate 1e-4."""
    table, n = table_of(kinds), 20_000
    module = fitted(MixedBackground(), of_kinds(make_context, kinds), table)
    sample = module.sample(n, torch.Generator().manual_seed(3)).numpy()
    for j, kind in enumerate(kinds):
        one = fitted(
            MixedBackground(), of_kinds(make_context, (kind,)), table[:, j : j + 1]
        )
        if kind.support == "real":
            grid = torch.linspace(-12, 12, 20_001).double()
            density = one.log_prob(grid.sinh()[:, None]).exp() * grid.cosh()
            cdf = torch.cumulative_trapezoid(density, grid).numpy()
            result = stats.kstest(
                sample[:, j],
                lambda x, g=grid, c=cdf: np.interp(x, g.sinh().numpy()[1:], c),
            )
        else:
            values = torch.arange(kind.n_values or 40).double()[:, None]
            mass = n * one.log_prob(values).exp().numpy()
            count = np.bincount(sample[:, j].astype(int).clip(max=len(mass)))
            count = np.r_[count, np.zeros(len(mass) + 1 - len(count))]
            mass = np.r_[mass, n - mass.sum()]
            rare = mass < 5
            assert count[mass < 1e-9].sum() == 0
            result = stats.chisquare(
                np.r_[count[~rare], count[rare].sum()],
                np.r_[mass[~rare], mass[rare].sum() + 1e-9],
                sum_check=False,
            )
        assert result.pvalue > FALSE_ALARM, kind


def test_independent_is_not_for_real_columns(make_context: MakeContext) -> None:
    with pytest.raises(ValueError, match="column 1 is real"):
        IndependentBackground().build(of_kinds(make_context, MIXED))
