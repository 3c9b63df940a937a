"""Companions of rows with missing cells, for every way to fit one."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from skvae.model.companions import (
    Companion,
    CompanionPool,
    CompanionTable,
    GaussianMixtureCompanion,
    TreeCompanion,
)
from skvae.model.companions._kernels import KernelDensity, KernelDensityFit
from skvae.model.companions._mixtures import (
    GaussianMixture,
    GaussianMixtureFit,
    mixture_completion,
)
from skvae.model.companions._products import ProductMixtureFit
from skvae.model.features import ColumnKind
from tests.model.companion_cases import (
    CASES,
    FALSE_ALARM,
    KINDS,
    companion_of,
    discrete_fits,
    discrete_rows,
    every_row,
    fitted,
    floor_of,
    kinds_of_case,
    real_fits,
    real_rows,
)

D = 3
FLOOR = floor_of(D)
REAL_FITS = real_fits(D)
WITH_POOLS = [*CASES, "real-pool", "known-pool", "other-pool"]
every_case = pytest.mark.parametrize("case", WITH_POOLS)
known_cases = pytest.mark.parametrize(
    "case", [case for case in WITH_POOLS if not case.startswith("other")]
)
discrete_cases = pytest.mark.parametrize(
    "case", [case for case in WITH_POOLS if not case.startswith("real")]
)


def generators(n_rows: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(n_rows)]


@every_case
def test_bits_of_a_row_do_not_depend_on_the_others(case: str) -> None:
    companion, x = companion_of(case, 0.3)
    together = companion.log_prob(x)
    assert together.isfinite().all()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    assert torch.equal(companion.log_prob(x[order]), together[order])
    for some in (1, 5, 37):
        assert torch.equal(companion.log_prob(x[:some]), together[:some])
    complete = ~x.isnan().any(1)
    alone = companion.log_prob(x[complete])
    assert torch.equal(alone, together[complete])
    for some in (1, 5, 17):
        assert torch.equal(companion.log_prob(x[complete][:some]), alone[:some])
    nothing = torch.cat([x, torch.full_like(x[:1], torch.nan)])
    log_prob = companion.log_prob(nothing)
    assert torch.equal(log_prob[:-1], together)
    assert float(log_prob[-1]) == 0
    if isinstance(companion, CompanionPool):
        both = torch.stack(companion.log_prob_and_broad(nothing))
        assert torch.equal(both[0], log_prob)
        assert float(both[1, -1]) == float(companion.log_weight[0])
        assert torch.equal(
            torch.stack(companion.log_prob_and_broad(x[:5])), both[:, :5]
        )


@every_case
def test_density_is_that_of_a_cell_times_that_of_the_others(case: str) -> None:
    companion, x = companion_of(case, 0.3)
    for column in range(D):
        rows = x[~x[:, column].isnan()][:30]
        others = rows.clone()
        others[:, column] = torch.nan
        cells = companion.cell(others, column)
        of_cell = cells.log_prob(rows[:, column : column + 1]).squeeze(1)
        torch.testing.assert_close(
            companion.log_prob(rows), companion.log_prob(others) + of_cell
        )
        alone = companion.cell(rows[3:4], column)
        t = rows[3:4, column : column + 1]
        assert torch.equal(alone.log_prob(t)[0], cells.log_prob(rows[:, [column]])[3])
        assert torch.equal(alone.cdf(t)[0], cells.cdf(rows[:, [column]])[3])


@discrete_cases
def test_marginal_mass_is_the_sum_over_all_values(case: str) -> None:
    companion, _ = companion_of(case, 0.3)
    every = every_row(kinds_of_case(case), unknown=True)
    mass = companion.log_prob(every).exp()
    assert float(mass.sum()) == pytest.approx(1)
    for n_missing in (1, 2):
        for columns in map(list, itertools.combinations(range(D), n_missing)):
            rows = every.clone()
            rows[:, columns] = torch.nan
            same = (every[:, None] == rows) | rows.isnan()
            expected = (same.all(2).to(mass) * mass[:, None]).sum(0)
            torch.testing.assert_close(companion.log_prob(rows).exp(), expected)


def gaussians_of(companion: Companion) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, means and covariances of all Gaussians of a companion."""
    assert isinstance(companion, GaussianMixture | KernelDensity)
    covariance = companion.tril @ companion.tril.mT
    if isinstance(companion, GaussianMixture):
        return companion.log_weight.exp(), companion.mean, covariance
    n_rows = len(companion.centre)
    return (
        companion.row_log_weight.exp(),
        companion.centre,
        covariance.expand(n_rows, D, D),
    )


@pytest.mark.parametrize("case", ["real-3", "real-4"])
def test_marginal_density_is_that_of_scipy(case: str) -> None:
    companion, _ = companion_of(case, 0.0)
    weight, mean, covariance = (part.numpy() for part in gaussians_of(companion))
    x = real_rows(20, seed=5)
    for n_observed in (1, 2):
        for columns in map(list, itertools.combinations(range(D), n_observed)):
            rows = torch.full_like(x, torch.nan)
            rows[:, columns] = x[:, columns]
            index = np.ix_(columns, columns)
            expected = sum(
                w * stats.multivariate_normal(m[columns], c[index]).pdf(x[:, columns])
                for w, m, c in zip(weight, mean, covariance, strict=True)
            )
            np.testing.assert_allclose(companion.log_prob(rows).exp(), expected, 1e-8)


@known_cases
def test_drawn_cells_have_their_distributions(case: str) -> None:
    """By Kolmogorov-Smirnov, of jittered probabilities of discrete cells."""
    companion, _ = companion_of(case, 0.3)
    real = case.startswith("real")
    x = real_rows(400, 0.3, 7) if real else discrete_rows(KINDS, 400, 0.3, 7)
    rng = np.random.default_rng(0)
    for column in range(D):
        missing = x.clone()
        missing[:, column] = torch.nan
        drawn = companion.complete(missing, generators(len(x), 1000 * column))
        assert torch.equal(drawn.where(~missing.isnan(), 0), missing.nan_to_num(0))
        value = drawn[:, [column]]
        cells = companion.cell(x, column)
        level = cells.cdf(value).squeeze(1).numpy()
        if not real:
            below = cells.cdf(value - 1).squeeze(1).numpy()
            level = below + rng.random(len(x)) * (level - below)
        assert stats.kstest(level, "uniform").pvalue > FALSE_ALARM


@known_cases
def test_cells_are_drawn_together(case: str) -> None:
    """Draws of rows without an observed cell are like draws of whole rows."""
    companion, _ = companion_of(case, 0.0)
    n_rows = 1500
    nothing = torch.full((n_rows, D), torch.nan, dtype=torch.float64)
    ours = companion.complete(nothing, generators(n_rows)).numpy()
    whole = companion.sample(n_rows, torch.Generator().manual_seed(0)).numpy()
    if case.startswith("real"):
        for direction in np.random.default_rng(0).normal(size=(3, D)):
            found = stats.ks_2samp(ours @ direction, whole @ direction)
            assert found.pvalue > FALSE_ALARM
    else:
        both = np.concatenate([ours, whole])
        _, which = np.unique(both, axis=0, return_inverse=True)
        counts = np.stack(
            [
                np.bincount(part, minlength=which.max() + 1)
                for part in np.split(which.ravel(), 2)
            ]
        )
        assert stats.chi2_contingency(counts).pvalue > FALSE_ALARM


@every_case
def test_a_draw_depends_on_the_row_and_its_generator(case: str) -> None:
    companion, x = companion_of(case, 0.3)
    together = companion.complete(x, generators(len(x)))
    some = companion.complete(x[20:], generators(len(x) - 20, 20))
    assert torch.equal(some, together[20:])
    assert together.isfinite().all()
    complete = ~x.isnan().any(1)
    assert torch.equal(together[complete], x[complete])


def test_conditional_kernels_that_are_left_out_have_little_weight() -> None:
    x = real_rows(700)
    kernels = fitted(KernelDensityFit(0.15, FLOOR), x)
    rows = real_rows(40, seed=3)
    rows[::2, 2] = torch.nan
    t = rows[:, [1]]
    cells = kernels.cell(rows, 1)
    assert (cells.log_weight > -torch.inf).sum(1).min() == 256
    others = rows.clone()
    others[:, 1] = torch.nan
    expected = kernels.log_prob(rows) - kernels.log_prob(others)
    torch.testing.assert_close(
        cells.log_prob(t).squeeze(1), expected, rtol=0, atol=2e-2
    )
    axis = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    density = torch.stack(
        [
            kernels.log_prob(
                torch.stack([row[0].expand(2001), axis, row[2].expand(2001)], 1)
            )
            for row in rows[:4]
        ]
    )
    density = (density - kernels.log_prob(others[:4])[:, None]).exp()
    below = torch.cumulative_trapezoid(density, axis)
    ours = cells.cdf(axis.expand(40, -1))[:4, 1:]
    torch.testing.assert_close(ours, below, rtol=0, atol=3e-4)


@pytest.mark.parametrize("real", [True, False], ids=["real", "discrete"])
def test_fits_to_rows_with_gaps_beat_independent_columns(real: bool) -> None:
    share = 0.3
    if real:
        x, held_out = real_rows(400, share), real_rows(400, seed=9)
        independent = 0.0
        for column, value in zip(x.T, held_out.T, strict=True):
            seen = column[~column.isnan()][:, None]
            floor = FLOOR[:1]
            one = fitted(GaussianMixtureFit(5, floor, 3.0), seen)
            independent += float(one.log_prob(value[:, None]).mean())
        fits = [fit for fit in REAL_FITS if getattr(fit, "n_modes", 2) > 1][1:]
        gain = 0.5
    else:
        x, held_out = (
            discrete_rows(KINDS, 600, share),
            discrete_rows(KINDS, 600, seed=9),
        )
        independent = float(
            fitted(ProductMixtureFit(1, KINDS), x).log_prob(held_out).mean()
        )
        fits, gain = discrete_fits(KINDS)[1:], 0.1
    for fit in fits:
        score = float(fitted(fit, x).log_prob(held_out).mean())
        assert score > independent + gain, fit.name


def test_redrawn_mixture_is_nearly_as_good_as_that_of_complete_rows() -> None:
    """Within 0.3 nats, of 1.4 that draws by a Student-t distribution cost."""
    held_out = real_rows(500, seed=9)
    fit = GaussianMixtureFit(3, FLOOR, 5.0, completion=mixture_completion(FLOOR, 500))
    best, ours = (
        float(fitted(fit, real_rows(500, share)).log_prob(held_out).mean())
        for share in (0.0, 0.3)
    )
    assert best - 0.3 < ours < best


def test_a_weighting_is_fitted_without_the_rows_that_it_leaves_out() -> None:
    for real in (True, False):
        x = real_rows(share=0.3) if real else discrete_rows(share=0.3)
        weights = torch.ones(2, len(x), dtype=torch.float64)
        weights[1, ::3] = 0
        changed = x.clone()
        changed[::3] = changed[::3].flip(0)
        for fit in REAL_FITS if real else discrete_fits(KINDS):
            _, expected = fit.fit(x, weights)
            _, ours = fit.fit(changed, weights)
            torch.testing.assert_close(ours.log_prob(x), expected.log_prob(x))


@pytest.mark.parametrize("real", [True, False], ids=["real", "discrete"])
def test_every_fit_of_a_series_takes_gaps_and_few_rows(real: bool) -> None:
    spec = GaussianMixtureCompanion() if real else TreeCompanion()
    x = real_rows(6, 0.4) if real else discrete_rows(n_rows=6, share=0.4)
    kinds = (ColumnKind(),) * D if real else KINDS
    x[0] = torch.nan
    for fits in spec.series(CompanionTable(len(x), FLOOR, kinds)):
        for fit in fits:
            companion = fitted(fit, x)
            assert companion.log_prob(x).isfinite().all()
            assert companion.complete(x, generators(len(x))).isfinite().all()


def test_frequencies_are_those_of_observed_cells() -> None:
    x = discrete_rows(KINDS, 200, 0.4)
    independent = fitted(ProductMixtureFit(1, KINDS), x)
    for column, kind in enumerate(KINDS):
        seen = x[~x[:, column].isnan(), column].long()
        n_values = kind.n_values or 2
        count = torch.bincount(seen, minlength=n_values) + 1 / n_values
        mass = independent.cell(x[:1], column).log_mass()
        assert mass is not None
        torch.testing.assert_close(mass[0].exp(), (count / count.sum()).double())
