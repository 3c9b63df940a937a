"""Views of a table, and the probabilities that make them comparable."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from skvae.detection.views import (
    MixtureView,
    RankUnits,
    StandardUnits,
    TailProbability,
    TailView,
)

Array = np.ndarray

ONE_ROW = np.zeros((1, 1))


def skewed(n: int = 400, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return np.c_[rng.exponential(size=n), rng.normal(3, 2, n), rng.integers(0, 3, n)]


def test_standard_units_weigh_rows_and_skip_missing_cells() -> None:
    # The sum of three 0.1 is not 0.3: the second column is constant all the same.
    rows = np.array([[1.0, 0.1, np.nan], [2.0, 0.1, np.nan], [np.nan, 0.1, np.nan]])
    units = StandardUnits.fit(rows, np.array([1.0, 3.0, 9.0]))
    assert_allclose(units.centre, [1.75, 0.1, 0])
    assert_allclose(units.scale, [np.sqrt(3) / 4, 0.1, 1])
    standard = units(rows)
    assert_array_equal(np.isnan(standard), np.isnan(rows))
    assert_allclose(standard[:2, 0], [-np.sqrt(3), 1 / np.sqrt(3)])


@pytest.mark.parametrize(
    ("units", "quantile"),
    [(RankUnits.normal, stats.norm.ppf), (RankUnits.laplace, stats.laplace.ppf)],
)
def test_rank_units_are_quantiles_of_middle_ranks(units, quantile) -> None:
    rows = skewed()
    scores = units(rows, np.ones(len(rows)))(rows)
    for column, found in zip(rows.T, scores.T, strict=True):
        middle = stats.rankdata(column)  # the mean rank of equal cells
        expected = quantile(middle / (len(column) + 1))
        expected = (expected - expected.mean()) / expected.std()
        assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("make", [RankUnits.normal, RankUnits.laplace])
def test_rank_units_go_on_beyond_the_range_and_keep_missing_cells(make) -> None:
    rows = skewed()
    units = make(rows, np.ones(len(rows)))
    ends = np.stack([rows.max(0) + far * rows.std(0) for far in (0, 1, 5, 1e3)])
    scores = units(ends)
    assert (np.diff(scores, axis=0) > 0).all()
    slope = 1 / units.of_scores.scale
    assert_allclose(scores[2] - scores[1], 4 * slope)
    ends[:, 1] = np.nan
    assert_array_equal(np.isnan(units(ends)), np.isnan(ends))
    assert_array_equal(units(ends)[:, 0], scores[:, 0])


def test_units_of_weights_are_those_of_repeated_rows() -> None:
    rows = skewed(60)
    weight = np.random.default_rng(1).integers(1, 4, 60)
    repeated = np.repeat(rows, weight, axis=0)
    new = skewed(50, seed=2)
    for make in (RankUnits.normal, RankUnits.laplace, StandardUnits.fit):
        weighted = make(rows, weight.astype(float))
        assert_allclose(weighted(new), make(repeated, np.ones(len(repeated)))(new))


def test_mixture_of_one_mode_is_the_normal_distribution_seen_through_noise() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 2)) @ [[2.0, 1.0], [0.0, 0.3]] + [5, -1]
    view = MixtureView.fit(rows, np.ones(500), [np.arange(500)], 1, noise=0.5)
    standard = (rows - rows.mean(0)) / rows.std(0)
    # With one mode, drawing covariances to their mean changes nothing.
    covariance = np.cov(standard.T, bias=True) + (0.5**2 + 0.03**2) * np.eye(2)
    new = rng.normal(size=(40, 2)) * 3
    expected = stats.multivariate_normal(np.zeros(2), covariance).logpdf(
        (new - rows.mean(0)) / rows.std(0)
    )
    assert_allclose(view.score(new, new), expected, rtol=1e-9)


def test_noise_makes_the_density_that_of_noisy_rows() -> None:
    """A Kolmogorov–Smirnov test with a false-alarm rate of 1e-4."""
    rng = np.random.default_rng(0)
    rows = np.r_[rng.normal(size=(300, 2)), rng.normal(5, 0.2, size=(300, 2))]
    sharp = MixtureView.fit(rows, np.ones(600), [np.arange(600)], 5).mixture
    generator = torch.Generator().manual_seed(0)
    noisy = sharp.sample(4000, generator)
    noisy = noisy + 0.3 * torch.empty_like(noisy).normal_(generator=generator)
    through = sharp.convolved(0.3)
    drawn = through.sample(4000, generator)
    p_value = stats.ks_2samp(through.log_prob(noisy), through.log_prob(drawn)).pvalue
    assert p_value > 1e-4


def test_few_rows_have_few_modes() -> None:
    rows = skewed(35)
    view = MixtureView.fit(rows, np.ones(35), [np.arange(35)], 20)
    assert len(view.mixture.log_weight) <= 3


def test_mixtures_of_parts_have_equal_shares() -> None:
    rows, weight = skewed(300), np.ones(300)
    parts = [np.arange(100), np.arange(100, 300)]
    both = MixtureView.fit(rows, weight, parts, 3)
    alone = [MixtureView.fit(rows, weight, [part], 3) for part in parts]
    first, second = (view.score(rows, rows) for view in alone)
    expected = np.logaddexp(first, second) - np.log(2)
    assert_allclose(both.score(rows, rows), expected, rtol=1e-9)


def test_tail_view_sums_squared_scores_of_observed_cells() -> None:
    rows = skewed()
    units = RankUnits.laplace(rows, np.ones(len(rows)))
    new = rows[:5].copy()
    new[0, 1] = np.nan
    view = TailView.fit(rows, np.ones(len(rows)))
    assert view is not None
    score = view.score(new, new)
    assert_allclose(score[1:], -(units(rows[1:5]) ** 2).sum(1))
    assert_allclose(score[0], -(units(rows[:1])[0, [0, 2]] ** 2).sum())


def test_columns_of_two_values_have_no_tails() -> None:
    rows, weight = skewed(), np.ones(len(skewed()))
    flag = (np.arange(len(rows)) % 20 == 0).astype(float)[:, None]
    with_flag = np.hstack([flag, rows])
    view, without = TailView.fit(with_flag, weight), TailView.fit(rows, weight)
    assert view is not None
    assert without is not None
    np.testing.assert_array_equal(
        view.score(with_flag, with_flag), without.score(rows, rows)
    )
    assert TailView.fit(flag, weight) is None


def test_tail_probability_of_an_exponential_tail_is_exact() -> None:
    """Within four standard errors of 4,000 scores, for rows as rare as e⁻¹²."""
    score = -np.random.default_rng(0).exponential(3, size=4000)
    tail = TailProbability.fit(score, np.ones(4000))
    assert tail.scale == pytest.approx(3, rel=4 / np.sqrt(1000))
    new = np.array([-36.0, -12.0, -3.0, -0.5])
    expected = new / 3  # log P(S ≤ s)
    error = 4 * (np.abs(expected) + 1) / np.sqrt(1000)
    assert (np.abs(tail.log_prob(new) - expected) < error).all()


def test_tail_probability_rises_and_has_no_jump() -> None:
    score = np.random.default_rng(0).normal(size=200)
    tail = TailProbability.fit(score, np.ones(200))
    grid = np.linspace(-60, 10, 5001)
    log_prob = tail.log_prob(grid)
    assert (np.diff(log_prob) >= 0).all()
    assert (np.diff(log_prob)[grid[1:] < tail.edge] > 0).all()
    assert np.abs(np.diff(log_prob)).max() < 0.2
    assert log_prob[-1] == 0


def test_tail_probability_of_equal_scores() -> None:
    tail = TailProbability.fit(np.full(5, 2.0), np.ones(5))
    assert_allclose(tail.log_prob(np.array([2.0, 3.0, -1.0])), [0, 0, np.log(0.25) - 3])
