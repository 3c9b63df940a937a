"""The companion of a density: its share, its part in scores and draws, its limits."""

import pickle
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from skvae import (
    AutoregressiveDecoder,
    GaussianMixtureCompanion,
    TreeCompanion,
    VAEDensity,
)
from tests.conftest import QUICK

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with another seed
SMALL = GaussianMixtureCompanion(n_modes=(1, 2), bandwidths=(0.2, 0.5))
WITH = {**QUICK, "marginal_transform": None, "companion": SMALL}
EXACT = {**WITH, "decoder": AutoregressiveDecoder((8,), reads_latents=False)}


def gaussian(n_rows: int = 300, n_columns: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(n_columns, n_columns))
    return 5 + rng.normal(size=(n_rows, n_columns)) @ mixing


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return gaussian()


@pytest.fixture(scope="module")
def density(rows: np.ndarray) -> VAEDensity:
    return VAEDensity(**WITH).fit(rows)


def companion_of(density: VAEDensity):
    assert density.companion_density_ is not None
    return density.companion_density_


def test_density_is_not_behind_a_gaussian_where_that_is_right(
    density: VAEDensity, rows: np.ndarray
) -> None:
    others = gaussian(2000, seed=2)
    behind = GaussianMixture(1).fit(rows).score(others) - density.score(others)
    assert behind < 0.03
    assert companion_of(density).weight > 0.8


def test_scores_are_those_of_the_mixture(rows: np.ndarray) -> None:
    density = VAEDensity(**EXACT).fit(rows)
    companion = companion_of(density)
    reader = replace(density._reader(), companion=None)
    stages = reader.stages(density._budget(), density.n_components_)
    latent = reader.evidence(rows, stages, 0).log_density
    of_companion, broad = companion.log_density(rows)
    share = companion.weight
    joint = [np.log1p(-share) + latent, np.log(share) + of_companion]
    evidence = density.evidence(rows)
    np.testing.assert_allclose(evidence.log_density, np.logaddexp(*joint), rtol=1e-9)
    rest = np.log(share) + np.log(np.exp(of_companion) - np.exp(broad))
    np.testing.assert_allclose(
        evidence.companion_share, np.exp(rest - evidence.log_density), atol=1e-8
    )
    bounds = density.bounds(rows, (5,))
    np.testing.assert_allclose(bounds.iwae[0], evidence.log_density, atol=1e-4)


def test_share_of_the_error_is_that_of_the_latent_part(
    density: VAEDensity, rows: np.ndarray
) -> None:
    alone = replace(density._reader(), companion=None)
    stages = alone.stages(density._budget(), density.n_components_)
    without = alone.evidence(rows[:50], stages, 0)
    evidence = density.evidence(rows[:50])
    assert (evidence.standard_error < without.standard_error + 1e-12).all()
    assert (evidence.companion_share + evidence.background_share <= 1 + 1e-12).all()


def test_density_integrates_to_one() -> None:
    density = VAEDensity(**WITH).fit(gaussian(200, 1))
    grid = np.linspace(-20, 30, 2001)
    total = np.trapezoid(np.exp(density.score_samples(grid[:, None])), grid)
    assert total == pytest.approx(1, abs=0.01)


def test_draws_have_the_density() -> None:
    density = VAEDensity(**WITH).fit(gaussian(200, 1))
    grid = np.linspace(-20, 30, 2001)
    of_grid = np.exp(density.score_samples(grid[:, None]))
    cdf = np.concatenate([[0], np.cumsum((of_grid[1:] + of_grid[:-1]) / 2)])
    drawn = density.sample(3000, random_state=1)[:, 0]
    values = np.interp(drawn, grid, cdf / cdf[-1])
    assert stats.kstest(values, "uniform").pvalue > FALSE_ALARM


def test_a_row_has_the_same_score_whatever_the_others_are(
    density: VAEDensity, rows: np.ndarray
) -> None:
    together = density.score_samples(rows)
    np.testing.assert_array_equal(density.score_samples(rows[::-1]), together[::-1])
    np.testing.assert_array_equal(density.score_samples(rows[:7]), together[:7])


def test_far_rows_belong_to_the_background_and_stay_finite(
    density: VAEDensity, rows: np.ndarray
) -> None:
    far = rows.mean(0) + 10.0 ** np.array([2, 6, 30, 150])[:, None]
    evidence = density.evidence(far)
    assert np.isfinite(evidence.log_density).all()
    assert (np.diff(evidence.log_density[:3]) < 0).all()
    np.testing.assert_allclose(evidence.background_share, 1)


def test_weights_count_rows() -> None:
    rows = gaussian(60)
    counts = np.arange(60) % 3
    settings = {**WITH, "companion": GaussianMixtureCompanion()}
    weighted = VAEDensity(**settings).fit(rows, sample_weight=counts)
    repeated = VAEDensity(**settings).fit(np.repeat(rows, counts, axis=0))
    np.testing.assert_allclose(
        weighted.score_samples(rows), repeated.score_samples(rows), rtol=1e-9
    )


def test_repeated_rows_do_not_reward_kernels_for_knowing_them() -> None:
    rows = np.repeat(gaussian(60), 5, axis=0)
    density = VAEDensity(**{**WITH, "companion": "gaussian_mixture"}).fit(rows)
    shares = companion_of(density).shares
    narrow = sum(w for name, w in shares.items() if name.startswith("kernels of 0.0"))
    assert narrow < 0.1


@pytest.mark.parametrize("n_rows", [2, 3, 5, 9, 20])
def test_few_rows(n_rows: int) -> None:
    density = VAEDensity(**{**WITH, "companion": "auto"}).fit(gaussian(n_rows))
    assert (density.companion_density_ is None) == (n_rows < 3)
    assert np.isfinite(density.score_samples(gaussian(30, seed=3))).all()


def test_few_rows_of_which_most_are_equal() -> None:
    rows = np.repeat([[1.0, 2.0], [1.0, 3.0], [4.0, 2.0]], [30, 1, 1], axis=0)
    density = VAEDensity(**{**WITH, "companion": "auto"}).fit(rows)
    assert np.isfinite(density.score_samples(rows)).all()


@pytest.mark.parametrize("seed", range(12))
def test_few_distinct_rows_that_may_all_validate(seed: int) -> None:
    rows = np.repeat([[1.0, 3.0], [2.0, 1.0], [3.0, 3.0], [4.0, 1.0]], 4, axis=0)
    density = VAEDensity(**{**WITH, "random_state": seed}).fit(rows)
    assert np.isfinite(density.score_samples(rows)).all()


def test_ten_rows_are_not_far_behind_a_gaussian_with_the_right_prior() -> None:
    leads = []
    for seed in range(4):
        density = VAEDensity(random_state=0, max_iter=50).fit(gaussian(10, seed=seed))
        others = gaussian(500, seed=10)
        best = max(
            GaussianMixture(1, covariance_type=kind, random_state=0)
            .fit(gaussian(10, seed=seed))
            .score(others)
            for kind in ("full", "diag", "spherical")
        )
        leads.append(density.score(others) - best)
    assert np.mean(leads) > -0.5


def test_no_companion(rows: np.ndarray) -> None:
    for settings in ({"companion": None}, {"early_stopping": False}):
        density = VAEDensity(**{**WITH, **settings}).fit(rows)
        assert density.companion_density_ is None
        assert (density.evidence(rows[:9]).companion_share == 0).all()


def test_companion_does_not_change_the_training(rows: np.ndarray) -> None:
    """But which of its weights are kept, and when it ends."""

    def objectives(companion: object) -> list[float]:
        density = VAEDensity(**{**WITH, "companion": companion}).fit(rows)
        return [record["objective"] for record in density.history_]

    assert objectives(None) == objectives(SMALL)


def test_partial_fit_has_none_and_a_warm_start_finds_its_share_again(
    rows: np.ndarray,
) -> None:
    density = VAEDensity(**WITH).partial_fit(rows)
    assert density.companion_density_ is None
    density.set_params(warm_start=True).fit(rows)
    assert companion_of(density).weight > 0.5


def test_parts_can_be_chosen(rows: np.ndarray) -> None:
    density = clone(VAEDensity(**{**QUICK, "companion": "gaussian_mixture"}))
    density.set_params(companion__bandwidths=(), companion__n_modes=(1,)).fit(rows)
    of_modes = ("1 mode", "1 mode, shrunk by 5", "1 mode, pooled by 5")
    tied = "1 mode, pooled by 10000"
    assert set(companion_of(density).shares) <= {"student_t", *of_modes, tied}
    assert type(density.companion_) is GaussianMixtureCompanion


def test_zeros_and_ones_have_trees(binary_table: np.ndarray) -> None:
    settings = {**QUICK, "companion": TreeCompanion(n_trees=(1, 2), n_products=(3,))}
    density = VAEDensity(likelihood="bernoulli", **settings).fit(binary_table)
    assert companion_of(density).weight > 0
    assert np.isfinite(density.score_samples(binary_table)).all()
    drawn = density.sample(50, random_state=0)
    assert np.isin(drawn, (0, 1)).all()
    default = VAEDensity(likelihood="bernoulli", **{**QUICK, "companion": "auto"})
    assert type(default.fit(binary_table).companion_) is TreeCompanion


def test_masses_of_all_rows_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    table = (rng.random((200, 4)) < rng.random((2, 4))[rng.integers(2, size=200)]) * 1.0
    settings = {**QUICK, "companion": "tree", "evidence_tol": 0.05}
    settings["max_evidence_samples"] = 4096
    density = VAEDensity(likelihood="bernoulli", **settings).fit(table)
    every = np.array(np.meshgrid(*[[0, 1]] * 4)).reshape(4, -1).T
    assert np.exp(density.score_samples(every)).sum() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("companion", "message"),
    [
        ("gaussian", "companion='gaussian' is unknown. Allowed: 'auto', None, "),
        (3, "companion must be"),
        ("tree", "companion='tree' is for binary or category columns"),
    ],
)
def test_bad_companions(companion: object, message: str, rows: np.ndarray) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        VAEDensity(**{**QUICK, "companion": companion}).fit(rows)


def test_companion_survives_files(
    density: VAEDensity, rows: np.ndarray, tmp_path: Path
) -> None:
    expected = density.score_samples(rows)
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(again.score_samples(rows), expected)
    joblib.dump(density, tmp_path / "density")
    mapped = joblib.load(tmp_path / "density", mmap_mode="r")
    np.testing.assert_array_equal(mapped.score_samples(rows), expected)


def test_report_has_all_that_was_tried(rows: np.ndarray) -> None:
    settings = {**WITH, "decoder": "auto", "marginal_transform": "auto"}
    density = VAEDensity(**settings).fit(rows)
    report, companion = density.fit_report_, companion_of(density)
    assert report.pilots == density.pilots_
    assert report.companion_share == companion.weight
    assert [part["name"] for part in report.companion] == list(companion.held_out)
    shares = [float(str(part["share"])) for part in report.companion]
    assert sum(shares) == pytest.approx(companion.weight)
    others = gaussian(4000, seed=4)
    of_one = GaussianMixture(1).fit(rows).score(others)
    scores = {str(part["name"]): part["evidence"] for part in report.companion}
    # Of rows that were held out, in the units of the columns.
    assert scores["1 mode"] == pytest.approx(of_one, abs=0.25)
    text = str(report)
    for name in (*companion.held_out, "autoregressive, normal", "chosen"):
        assert name in text


def test_few_rows_have_no_race() -> None:
    settings = {**WITH, "decoder": "auto", "marginal_transform": "auto"}
    density = VAEDensity(**settings).fit(gaussian(99))
    assert density.pilots_ == []
    assert any(margin is not None for margin in density.columns_.maps)
    without = VAEDensity(**{**settings, "companion": None}).fit(gaussian(99))
    assert all(margin is None for margin in without.columns_.maps)
    assert len(VAEDensity(**settings).fit(gaussian(100)).pilots_) >= 4


def test_wide_tables_have_none_by_default() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 257))
    density = VAEDensity(**{**WITH, "companion": "auto", "max_iter": 1}).fit(rows)
    assert density.companion_ is None
