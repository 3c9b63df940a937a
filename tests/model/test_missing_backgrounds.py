"""Backgrounds of rows with missing cells, for every variant there is."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from skvae.model import BuildContext
from skvae.model.backgrounds import (
    BackgroundModule,
    BackgroundSpec,
    IndependentBackground,
    MixedBackground,
    StudentTBackground,
)
from skvae.model.cells import DiscreteCells
from skvae.model.features import ColumnKind

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed
D = 4
REAL = (ColumnKind(),) * D
DISCRETE = (
    ColumnKind("binary"),
    ColumnKind("count"),
    ColumnKind("category", n_values=3, other=0.05),
    ColumnKind("category", n_values=4),
)
MIXED = (ColumnKind("count"), ColumnKind(), ColumnKind("binary"), ColumnKind())
CASES: list[tuple[BackgroundSpec, tuple[ColumnKind, ...]]] = [
    (StudentTBackground(), REAL),
    (StudentTBackground(df=0.7), REAL),
    (IndependentBackground(), DISCRETE),
    (MixedBackground(), MIXED),
]
every_background = pytest.mark.parametrize(
    ("spec", "kinds"), CASES, ids=[repr(spec) for spec, _ in CASES]
)
MakeContext = Callable[..., BuildContext]


def table_of(
    kinds: tuple[ColumnKind, ...], n_rows: int = 100, share: float = 0.0, seed: int = 0
) -> Tensor:
    """Return correlated columns, with a share of missing cells."""
    rng = np.random.default_rng(seed)
    mixing = np.tril(np.random.default_rng(1).normal(size=(D, D))) + np.eye(D)
    normal = rng.normal(size=(n_rows, D)) @ mixing.T
    columns = [
        {
            "real": column,
            "binary": (column > 0).astype(float),
            "count": np.floor(np.exp(column)),
            "category": np.floor(stats.norm.cdf(column) * max(kind.n_values, 1)),
        }[kind.support]
        for column, kind in zip(normal.T, kinds, strict=True)
    ]
    table = np.stack(columns, 1)
    table[rng.random(table.shape) < share] = np.nan
    return torch.from_numpy(table)


def fitted(
    spec: BackgroundSpec,
    kinds: tuple[ColumnKind, ...],
    make_context: MakeContext,
    table: Tensor,
    weight: Tensor | None = None,
) -> BackgroundModule:
    context = replace(make_context(n_features=len(kinds)), kinds=kinds)
    module = spec.build(context).double()
    module.initialise(table, torch.ones(len(table)) if weight is None else weight)
    return module


def generators(n_rows: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(n_rows)]


@every_background
def test_complete_rows_keep_their_bits_beside_incomplete_ones(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    complete = table_of(kinds, 96)
    module = fitted(spec, kinds, make_context, complete)
    mixed = complete.clone()
    mixed[1::2, 1] = torch.nan
    mixed[3] = torch.nan
    for of_rows in (module.log_prob, module.typicality):
        assert torch.equal(of_rows(mixed)[::2], of_rows(complete)[::2])
        incomplete = mixed[1::2]
        together = of_rows(mixed)[1::2]
        order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
        assert torch.equal(of_rows(incomplete[order]), together[order])
        assert together.isfinite().all()
    assert float(module.log_prob(mixed)[3]) == 0


@every_background
def test_density_is_that_of_a_cell_times_that_of_the_others(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    x = table_of(kinds, 50, 0.3)
    module = fitted(spec, kinds, make_context, x)
    for column in range(D):
        rows = x[~x[:, column].isnan()]
        others = rows.clone()
        others[:, column] = torch.nan
        cells = module.cell(rows, column)
        of_cell = cells.log_prob(rows[:, column : column + 1]).squeeze(1)
        torch.testing.assert_close(
            module.log_prob(rows), module.log_prob(others) + of_cell
        )
        assert cells.mean().isfinite().all()


@every_background
def test_drawn_cells_have_their_distributions(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    """By Kolmogorov-Smirnov, of jittered probabilities of discrete cells."""
    x = table_of(kinds, 600, 0.3)
    module = fitted(spec, kinds, make_context, x)
    rng = np.random.default_rng(0)
    for column, kind in enumerate(kinds):
        if kind.other:
            continue  # draws are among the known values
        missing = x.clone()
        missing[:, column] = torch.nan
        drawn = module.complete(missing, generators(len(x), 1000 * column))
        assert torch.equal(drawn.where(~missing.isnan(), 0), missing.nan_to_num(0))
        value = drawn[:, column : column + 1]
        cells = module.cell(x, column)
        level = cells.cdf(value).squeeze(1).numpy()
        if kind.support != "real":
            below = cells.cdf(value - 1).squeeze(1).numpy()
            level = below + rng.random(len(x)) * (level - below)
        assert stats.kstest(level, "uniform").pvalue > FALSE_ALARM


@every_background
def test_a_draw_depends_on_the_row_and_its_generator(
    spec: BackgroundSpec, kinds: tuple[ColumnKind, ...], make_context: MakeContext
) -> None:
    x = table_of(kinds, 60, 0.3)
    module = fitted(spec, kinds, make_context, x)
    together = module.complete(x, generators(60))
    assert torch.equal(module.complete(x[20:], generators(40, 20)), together[20:])
    assert together.isfinite().all()
    complete = ~x.isnan().any(1)
    assert torch.equal(together[complete], x[complete])


def test_marginal_of_student_t_is_that_of_scipy(make_context: MakeContext) -> None:
    module = fitted(StudentTBackground(), REAL, make_context, table_of(REAL))
    scatter = (module.tril @ module.tril.T).numpy()
    x = table_of(REAL, 20, seed=1)
    for n_observed in range(1, D):
        for columns in map(list, itertools.combinations(range(D), n_observed)):
            rows = torch.full_like(x, torch.nan)
            rows[:, columns] = x[:, columns]
            twin = stats.multivariate_t(
                module.location[columns].numpy(), scatter[np.ix_(columns, columns)], 3
            )
            np.testing.assert_allclose(
                module.log_prob(rows), twin.logpdf(x[:, columns].numpy()), rtol=1e-9
            )


def test_conditional_t_is_the_ratio_of_densities_of_scipy(
    make_context: MakeContext,
) -> None:
    module = fitted(StudentTBackground(), REAL, make_context, table_of(REAL))
    scatter = (module.tril @ module.tril.T).numpy()
    location = module.location.numpy()
    row = table_of(REAL, 1, seed=1)
    axis = np.linspace(-4, 4, 9)
    rows = np.repeat(row.numpy(), 9, 0)
    rows[:, 2] = axis
    ours = module.cell(row, 2).log_prob(torch.from_numpy(axis)[None])[0]
    others = [0, 1, 3]
    joint = stats.multivariate_t(location, scatter, 3).logpdf(rows)
    marginal = stats.multivariate_t(
        location[others], scatter[np.ix_(others, others)], 3
    ).logpdf(rows[:, others])
    np.testing.assert_allclose(ours, joint - marginal, rtol=1e-9)


def test_typicality_is_by_distance_and_number_of_observed_cells(
    make_context: MakeContext,
) -> None:
    module = fitted(StudentTBackground(), REAL, make_context, table_of(REAL))
    x = 50 * table_of(REAL, 20, seed=1)
    x[:, [0, 2]] = torch.nan
    scatter = (module.tril @ module.tril.T)[[1, 3]][:, [1, 3]]
    centred = x[:, [1, 3]] - module.location[[1, 3]]
    distance = (centred @ scatter.inverse() * centred).sum(1)
    expected = (16 * (3 + 2) / (3 + distance)).clamp(max=1).square()
    torch.testing.assert_close(module.typicality(x), expected)
    assert (expected < 1).any()


def test_location_and_scatter_are_found_with_cells_missing(
    make_context: MakeContext,
) -> None:
    """Location within 0.08 and scatter within 0.1, in units of the scales.

    The standard errors are 0.02 to 0.03, and the scatter is drawn to its diagonal.
    """
    mixing = np.tril(np.random.default_rng(1).normal(size=(D, D))) + 2 * np.eye(D)
    scatter = mixing @ mixing.T
    unit = np.sqrt(scatter.diagonal())
    rows = stats.multivariate_t(np.arange(D), scatter, 3).rvs(4000, random_state=0)
    missing = np.random.default_rng(2).random(rows.shape) < 0.3
    # A column is missing more often where another is large, which is observed.
    missing[:, 0] = (rows[:, 3] > 3) & (np.random.default_rng(3).random(4000) < 0.8)
    missing[:, 3] = False
    table = torch.from_numpy(np.where(missing, np.nan, rows))
    module = fitted(StudentTBackground(), REAL, make_context, table)
    shift = (module.location.numpy() - np.arange(D)) / unit
    assert np.abs(shift).max() < 0.08
    ours = (module.tril @ module.tril.T).numpy() / np.outer(unit, unit)
    assert np.abs(ours - scatter / np.outer(unit, unit)).max() < 0.1
    # Means of the observed cells are not the locations.
    naive = np.nanmean(table.numpy(), 0)
    assert abs(naive[0] - 0) / unit[0] > 0.12


def test_likelihood_of_observed_cells_is_highest_at_the_fit(
    make_context: MakeContext,
) -> None:
    """Among changes of single columns that are larger than those by the floor."""
    table = table_of(REAL, 400, 0.3)
    module = fitted(StudentTBackground(), REAL, make_context, table)
    best = module.log_prob(table).mean()
    for column in range(D):
        for factor in (0.9, 1.1):
            moved = module.marginal(torch.arange(D))
            moved.tril = moved.tril.clone()
            moved.tril[column] *= factor
            assert moved.log_prob(table).mean() < best
        for shift in (-0.1, 0.1):
            moved = module.marginal(torch.arange(D))
            moved.location = moved.location.clone()
            moved.location[column] += shift * moved.tril[column, column]
            assert moved.log_prob(table).mean() < best


def test_columns_and_rows_without_observed_cells_are_harmless(
    make_context: MakeContext,
) -> None:
    for spec, kinds in CASES:
        table = table_of(kinds, 60, 0.2)
        weight = torch.ones(60)
        table[:7] = torch.nan
        without = fitted(spec, kinds, make_context, table[7:], weight[7:])
        module = fitted(spec, kinds, make_context, table, weight)
        torch.testing.assert_close(module.log_prob(table), without.log_prob(table))
        table[:, 2] = torch.nan
        module = fitted(spec, kinds, make_context, table)
        assert module.log_prob(table).isfinite().all()
        assert module.complete(table, generators(60)).isfinite().all()
        module = fitted(spec, kinds, make_context, torch.full_like(table, torch.nan))
        assert (module.log_prob(table * torch.nan) == 0).all()


def test_masses_are_frequencies_of_observed_cells(make_context: MakeContext) -> None:
    table = table_of(DISCRETE, 300, 0.3)
    module = fitted(IndependentBackground(), DISCRETE, make_context, table)
    for column in (0, 3):
        seen = table[~table[:, column].isnan(), column]
        n_values = DISCRETE[column].n_values or 2
        count = torch.bincount(seen.long(), minlength=n_values) + 0.5
        cells = module.cell(table, column)
        assert isinstance(cells, DiscreteCells)
        expected = (count / count.sum()).double()
        torch.testing.assert_close(cells.log_mass()[0].exp(), expected)
    seen = table[~table[:, 1].isnan(), 1]
    assert float(module.mean[1]) == pytest.approx(float(seen.mean()))
