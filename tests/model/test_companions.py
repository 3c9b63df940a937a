"""The contract of companions, for every way to fit one, and their twins elsewhere."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import Tensor

from skvae.model.companions import (
    CompanionFit,
    CompanionPool,
    CompanionSpec,
    CompanionTable,
    GaussianMixtureCompanion,
    TreeCompanion,
)
from skvae.model.companions._kernels import KernelDensity as Kernels
from skvae.model.companions._kernels import KernelDensityFit
from skvae.model.companions._mixtures import GaussianMixtureFit
from skvae.model.companions._products import ProductMixtureFit
from skvae.model.companions._trees import TreeMixtureFit
from skvae.model.features import ColumnKind
from skvae.model.spec import registered
from tests.model.companion_cases import (
    CASES,
    FALSE_ALARM,
    KINDS,
    WITH_OTHER,
    discrete_fits,
    discrete_rows,
    every_row,
    fit_of,
    fitted,
    floor_of,
    real_fits,
    rows_of,
)
from tests.model.companion_cases import real_rows as rows_of_columns

# Integrals over the plane are sums over a grid.
FLOOR = floor_of(2)
REAL_FITS: list[CompanionFit] = [
    *real_fits(2),
    GaussianMixtureFit(3, FLOOR),
    KernelDensityFit(0.1, FLOOR),
]
DISCRETE = (ProductMixtureFit, TreeMixtureFit)
every_case = pytest.mark.parametrize("case", CASES)


def real_rows(n_rows: int = 60, seed: int = 0) -> Tensor:
    return rows_of_columns(n_rows, seed=seed, n_columns=2)


@pytest.mark.parametrize("fit", REAL_FITS, ids=lambda fit: fit.name)
def test_density_of_real_columns_integrates_to_one(fit: CompanionFit) -> None:
    companion = fitted(fit, real_rows())
    # The tails of a Student-t fall slowly: the grid is finer in the middle.
    axis = np.sinh(np.linspace(-9, 9, 601)) / 20
    grid = torch.from_numpy(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
    density = companion.log_prob(grid).exp().reshape(len(axis), -1).numpy()
    inside = np.trapezoid(np.trapezoid(density, axis), axis)
    assert inside == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("kinds", [KINDS, WITH_OTHER], ids=["known", "other"])
def test_masses_of_all_rows_sum_to_one(kinds: tuple[ColumnKind, ...]) -> None:
    rows = every_row(kinds, unknown=True)
    for fit in discrete_fits(kinds):
        companion = fitted(fit, discrete_rows(kinds))
        assert float(companion.log_prob(rows).exp().sum()) == pytest.approx(1)


@every_case
def test_integer_weights_are_repeated_rows(case: str) -> None:
    fit, x = fit_of(case), rows_of(case)
    if getattr(fit, "n_modes", 1) > 1:
        pytest.skip("several modes start at clusters, which depend on distinct rows")
    counts = torch.arange(len(x)) % 3
    (weighted,) = fit.fit(x, counts[None].double())
    expected = fitted(fit, x.repeat_interleave(counts, 0))
    torch.testing.assert_close(weighted.log_prob(x), expected.log_prob(x))


@every_case
def test_several_weightings_are_several_fits(case: str) -> None:
    fit, x = fit_of(case), rows_of(case)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(2, len(x), generator=generator, dtype=torch.float64)
    weights[1, : len(x) // 4] = 0
    together = fit.fit(x, weights)
    for companion, weight in zip(together, weights, strict=True):
        if getattr(fit, "n_modes", 1) > 1 and isinstance(fit, GaussianMixtureFit):
            assert companion.log_prob(x).isfinite().all()
            continue
        (alone,) = fit.fit(x, weight[None])
        torch.testing.assert_close(companion.log_prob(x), alone.log_prob(x))


@pytest.mark.parametrize("fit", REAL_FITS, ids=lambda fit: fit.name)
def test_draws_of_real_columns_have_the_density(fit: CompanionFit) -> None:
    companion = fitted(fit, real_rows())
    drawn = companion.sample(4000, torch.Generator().manual_seed(0))
    # The distribution function of a direction, by quadrature of the density.
    axis = np.sinh(np.linspace(-9, 9, 501)) / 20
    grid = torch.from_numpy(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1))
    density = companion.log_prob(grid.reshape(-1, 2)).exp().reshape(len(axis), -1)
    for margin in (0, 1):
        of_axis = np.trapezoid(density.numpy(), axis, axis=1 - margin)
        steps = np.diff(axis) * (of_axis[1:] + of_axis[:-1]) / 2
        cdf = np.concatenate([[0], np.cumsum(steps)])
        values = np.interp(drawn[:, margin].numpy(), axis, cdf / cdf[-1])
        assert stats.kstest(values, "uniform").pvalue > FALSE_ALARM


def test_draws_of_discrete_columns_have_the_masses() -> None:
    rows = every_row(KINDS, unknown=False)
    for fit in discrete_fits(KINDS):
        companion = fitted(fit, discrete_rows())
        expected = companion.log_prob(rows).exp().numpy()
        drawn = companion.sample(4000, torch.Generator().manual_seed(0))
        counts = (drawn[:, None] == rows).all(2).sum(0).numpy()
        assert counts.sum() == 4000
        p_value = stats.chisquare(counts, 4000 * expected / expected.sum()).pvalue
        assert p_value > FALSE_ALARM


def test_mixture_is_as_likely_as_that_of_scikit_learn() -> None:
    x = real_rows(600)
    ours = fitted(GaussianMixtureFit(3, torch.full((2,), 1e-6).double()), x)
    theirs = GaussianMixture(3, tol=1e-6, random_state=0).fit(x.numpy())
    score = float(ours.log_prob(x).mean())
    assert score == pytest.approx(theirs.score(x.numpy()), abs=3e-3)


def test_equal_covariances_are_those_of_scikit_learn() -> None:
    x = real_rows(600)
    ours = fitted(GaussianMixtureFit(3, 1e-3 * FLOOR, 1e6, pooled=True), x)
    theirs = GaussianMixture(3, covariance_type="tied", tol=1e-6, random_state=0)
    expected = theirs.fit(x.numpy()).score(x.numpy())
    assert float(ours.log_prob(x).mean()) == pytest.approx(expected, abs=3e-3)


def test_one_gaussian_has_the_moments_of_the_rows() -> None:
    x = real_rows()
    ours = fitted(GaussianMixtureFit(1, FLOOR), x)
    covariance = np.cov(x.numpy().T, bias=True) + np.diag(FLOOR.numpy() ** 2)
    twin = stats.multivariate_normal(x.mean(0).numpy(), covariance)
    np.testing.assert_allclose(ours.log_prob(x), twin.logpdf(x.numpy()), rtol=1e-10)


def test_kernels_are_those_of_scikit_learn_around_whitened_rows() -> None:
    x = real_rows()
    ours = fitted(KernelDensityFit(0.3, 1e-9 * FLOOR), x)
    covariance = np.cov(x.numpy().T, bias=True)
    whitener = np.linalg.inv(np.linalg.cholesky(covariance))
    kernels = KernelDensity(bandwidth=0.3, leaf_size=len(x)).fit(x.numpy() @ whitener.T)
    grid = real_rows(40, seed=1)
    expected = kernels.score_samples(grid.numpy() @ whitener.T)
    expected += math.log(abs(np.linalg.det(whitener)))
    np.testing.assert_allclose(ours.log_prob(grid), expected, rtol=1e-9)


def test_kernels_far_from_everything_are_never_high() -> None:
    x = torch.cat([real_rows(), torch.full((1, 2), 1e9, dtype=torch.float64)])
    companion = fitted(KernelDensityFit(0.05, FLOOR), x)
    near = companion.log_prob(torch.full((1, 2), 1e9 + 1e7, dtype=torch.float64))
    assert isinstance(companion, Kernels)
    highest = -companion.tril.diagonal(dim1=1, dim2=2).log().sum()
    assert float(near) <= float(highest) - math.log(2 * math.pi)


def best_tree_score(joint: np.ndarray, n_columns: int) -> float:
    """Return the largest sum of mutual informations over all spanning trees."""
    pairs = list(itertools.combinations(range(n_columns), 2))
    best = -math.inf
    for edges in itertools.combinations(pairs, n_columns - 1):
        root = list(range(n_columns))

        def find(j: int, root: list[int] = root) -> int:
            return j if root[j] == j else find(root[j])

        for a, b in edges:
            root[find(a)] = find(b)
        if len({find(j) for j in range(n_columns)}) == 1:
            best = max(best, sum(joint[a, b] for a, b in edges))
    return best


def test_tree_is_the_best_of_all_trees() -> None:
    kinds = (ColumnKind("binary"),) * 5
    x = discrete_rows(kinds, 3000)
    x = x[:, [2, 0, 4, 1, 3]]
    tree = fitted(TreeMixtureFit(1, kinds), x)
    independent = fitted(ProductMixtureFit(1, kinds), x)
    gain = float((tree.log_prob(x) - independent.log_prob(x)).mean())
    information = np.zeros((5, 5))
    for a, b in itertools.combinations(range(5), 2):
        table = np.histogram2d(x[:, a].numpy(), x[:, b].numpy(), bins=2)[0] / len(x)
        apart = table.sum(1)[:, None] * table.sum(0)
        information[a, b] = np.sum(table * np.log(table / apart))
    assert gain == pytest.approx(best_tree_score(information, 5), rel=0.01)


def test_more_modes_are_more_likely_on_rows_of_several_sorts() -> None:
    rng = np.random.default_rng(0)
    kinds = (ColumnKind("binary"),) * 8
    sort = rng.integers(3, size=900)
    frequency = rng.random((3, 8))[sort]
    x = torch.from_numpy((rng.random((900, 8)) < frequency).astype(float))
    for fit in DISCRETE:
        one, three = (fitted(fit(n, kinds), x[:600]) for n in (1, 3))
        gain = (three.log_prob(x[600:]) - one.log_prob(x[600:])).mean()
        assert float(gain) > 0.05


def test_pool_is_the_mixture_of_its_parts_with_kernels_joined() -> None:
    x = real_rows()
    fits = [*REAL_FITS[:1], *(KernelDensityFit(h, FLOOR) for h in (0.1, 0.5))]
    fits[1:1] = REAL_FITS[2:4]
    parts = [fitted(fit, x) for fit in fits]
    weight = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)
    pool = CompanionPool.of(parts, weight)
    assert len(pool.parts) == 4
    log_p = torch.stack([part.log_prob(x) for part in parts])
    expected = (log_p + weight.log()[:, None]).logsumexp(0)
    log_prob, broad = pool.log_prob_and_broad(x)
    torch.testing.assert_close(log_prob, expected)
    torch.testing.assert_close(broad, log_p[0] + math.log(0.1))
    drawn = pool.sample(500, torch.Generator().manual_seed(0))
    assert drawn.shape == (500, 2)
    assert drawn.isfinite().all()


SPECS: Sequence[CompanionSpec] = [
    *(spec() for spec in registered(CompanionSpec).values()),
    GaussianMixtureCompanion(n_modes=(2,), bandwidths=()),
    TreeCompanion(n_trees=(2,), n_products=(), widths=()),
]


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_every_spec_has_a_broad_part_first_and_fits_few_rows(
    spec: CompanionSpec,
) -> None:
    real = "real" in spec.supports
    x = real_rows(4) if real else discrete_rows(n_rows=4)
    kinds = (ColumnKind(),) * 2 if real else KINDS
    floor = torch.full((x.shape[1],), 1e-3, dtype=torch.float64)
    series = spec.series(CompanionTable(len(x), floor, kinds))
    far = torch.full_like(x[:1], 1e3) if real else 1 - x[:1].clamp(max=1)
    scores = []
    for fits in series:
        for fit in fits:
            companion = fitted(fit, x)
            assert companion.log_prob(x).isfinite().all()
            scores.append(float(companion.log_prob(far)))
    if real:
        assert scores[0] == max(scores)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (GaussianMixtureCompanion(n_modes=(0,)), "n_modes"),
        (GaussianMixtureCompanion(bandwidths=(0.1, -1.0)), "bandwidths"),
        (TreeCompanion(n_trees=(1.5,)), "n_trees"),  # type: ignore[arg-type]
        (TreeCompanion(n_products=(-1,)), "n_products"),
        (TreeCompanion(widths=(1.0,)), "widths"),
    ],
    ids=repr,
)
def test_bad_parameters_are_named(spec: CompanionSpec, name: str) -> None:
    table = CompanionTable(10, FLOOR, (ColumnKind("binary"),) * 2)
    with pytest.raises(ValueError, match=name):
        spec.series(table)
