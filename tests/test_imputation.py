"""DensityImputer: missing cells by a density, beside scikit-learn's imputers."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest, norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from skvae import DensityImputer, VAEDensity
from skvae.members.gaussian_mixture import ImputingMixture, covariances_of
from tests.conftest import QUICK

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with other draws
MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[2.0, 1.2, 0.3], [1.2, 1.5, -0.4], [0.3, -0.4, 1.0]])


def with_gaps(rows: np.ndarray, share: float = 0.2, seed: int = 1) -> np.ndarray:
    """Return rows with cells missing at random, but none that is missing whole."""
    rows = rows.copy()
    missing = np.random.default_rng(seed).random(rows.shape) < share
    missing[missing.all(1), 0] = False
    rows[missing] = np.nan
    return rows


def conditional(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of the missing cells of a normal row."""
    m = np.isnan(row)
    slope = COVARIANCE[np.ix_(m, ~m)] @ np.linalg.inv(COVARIANCE[np.ix_(~m, ~m)])
    mean = MEAN[m] + slope @ (row[~m] - MEAN[~m])
    return mean, COVARIANCE[np.ix_(m, m)] - slope @ COVARIANCE[np.ix_(~m, m)]


def mixture_of(
    weights: Any, means: Any, covariances: Any, kind: str = "full"
) -> GaussianMixture:
    """Return a mixture with these parameters, as if it had been fitted."""
    mixture = GaussianMixture(len(weights), covariance_type=kind)
    mixture.weights_, mixture.means_ = np.array(weights), np.array(means)
    mixture.covariances_ = np.array(covariances)
    mixture.converged_, mixture.n_features_in_ = True, mixture.means_.shape[1]
    mixture.precisions_cholesky_ = np.linalg.inv(mixture.covariances_)
    return mixture


@pytest.fixture(scope="module")
def gaps(table: np.ndarray) -> np.ndarray:
    return with_gaps(table)


@pytest.fixture(scope="module")
def imputer(gaps: np.ndarray) -> DensityImputer:
    return DensityImputer(VAEDensity(**QUICK), random_state=0).fit(gaps)


@pytest.fixture
def normal() -> DensityImputer:
    known = FrozenEstimator(mixture_of([1.0], [MEAN], [COVARIANCE]))
    rows = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 10)
    return DensityImputer(known, random_state=0).fit(rows)


# What is filled in?


@pytest.mark.parametrize("sample_posterior", [False, True])
@pytest.mark.parametrize("density", [VAEDensity(**QUICK), GaussianMixture(2)])
def test_observed_cells_stay_and_missing_ones_are_filled_in(
    density: Any, sample_posterior: bool, gaps: np.ndarray
) -> None:
    before = gaps.copy()
    imputer = DensityImputer(
        density, sample_posterior=sample_posterior, random_state=0
    ).fit(gaps)
    filled = imputer.transform(gaps)
    observed = ~np.isnan(gaps)
    assert_array_equal(filled[observed], gaps[observed])
    assert np.isfinite(filled).all()
    assert_array_equal(gaps, before)
    assert_array_equal(imputer.transform(filled), filled)


def test_result_is_what_the_density_imputes(
    imputer: DensityImputer, gaps: np.ndarray
) -> None:
    assert_array_equal(imputer.transform(gaps), imputer.density_.impute(gaps))
    drawing = clone(imputer).set_params(sample_posterior=True, random_state=3)
    (drawn,) = drawing.fit(gaps).density_.impute(gaps, n_draws=1, random_state=3)
    assert_array_equal(drawing.transform(gaps), drawn)


def test_tables_without_missing_cells_are_fine(table: np.ndarray) -> None:
    imputer = DensityImputer(GaussianMixture(2, random_state=0)).fit(table)
    assert_array_equal(imputer.transform(table), table)
    alone = GaussianMixture(2, random_state=0).fit(table)
    assert_array_equal(imputer.density_.means_, alone.means_)


def test_default_density_is_a_seeded_vae_density(table: np.ndarray) -> None:
    assert isinstance(DensityImputer()._density(), VAEDensity)
    imputer = DensityImputer(VAEDensity(**{**QUICK, "random_state": None}))
    seeds = []
    for _ in range(2):
        seeded = clone(imputer).set_params(random_state=5).fit(table)
        seeds.append(seeded.density_.random_state)
    assert seeds[0] == seeds[1] is not None


def test_float32_stays_float32(imputer: DensityImputer, gaps: np.ndarray) -> None:
    single = gaps.astype(np.float32)
    filled = imputer.transform(single)
    assert filled.dtype == np.float32
    observed = ~np.isnan(gaps)
    assert_array_equal(filled[observed], single[observed])


# Gaussian mixtures


def test_mixture_of_one_fills_in_conditional_means(normal: DensityImputer) -> None:
    rows = np.array([[np.nan, 1.0, 0.0], [2.0, np.nan, np.nan], [np.nan] * 3])
    filled = normal.transform(rows)
    for row, complete in zip(rows, filled, strict=True):
        missing = np.isnan(row)
        expected = conditional(row)[0] if not missing.all() else MEAN
        assert_allclose(complete[missing], expected, rtol=1e-12)


def test_mixture_of_two_weighs_its_modes_by_the_observed_cells() -> None:
    means = MEAN + np.array([[0.0, 0.0, 0.0], [1.0, 3.0, -2.0]])
    covariances = np.array([COVARIANCE, np.diag([1.0, 2.0, 0.5])])
    known = FrozenEstimator(mixture_of([0.3, 0.7], means, covariances))
    imputer = DensityImputer(known).fit(np.zeros((2, 3)))
    (row,) = imputer.transform([[np.nan, 0.5, np.nan]])
    scale = np.sqrt(covariances[:, 1, 1])
    share = np.array([0.3, 0.7]) * norm(means[:, 1], scale).pdf(0.5)
    slope = covariances[:, :, 1] / covariances[:, 1, 1, None]
    of_modes = means + slope * (0.5 - means[:, 1:2])
    assert_allclose(row[[0, 2]], (share @ of_modes / share.sum())[[0, 2]], rtol=1e-12)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_covariances_of_all_types_are_those_of_the_log_density(
    kind: str, table: np.ndarray
) -> None:
    mixture = GaussianMixture(3, covariance_type=kind, random_state=0).fit(table)
    full = mixture_of(mixture.weights_, mixture.means_, covariances_of(mixture))
    full.precisions_cholesky_ = np.linalg.cholesky(
        np.linalg.inv(np.array(covariances_of(mixture)))
    )
    assert_allclose(full.score_samples(table), mixture.score_samples(table), rtol=1e-9)
    gaps = with_gaps(table)
    by_type, by_full = (ImputingMixture(each).impute(gaps) for each in (mixture, full))
    assert_allclose(by_type, by_full, rtol=1e-12)


def test_draws_of_a_mixture_have_the_conditional_distribution(
    normal: DensityImputer,
) -> None:
    """Kolmogorov-Smirnov, false-alarm rate 1e-4 each."""
    normal.set_params(sample_posterior=True)
    row = np.array([2.0, np.nan, np.nan])
    # The same row again and again, and rows that are all different.
    drawn = normal.transform(np.tile(row, (3000, 1)))[:, 1:]
    mean, covariance = conditional(row)
    standard = np.linalg.solve(np.linalg.cholesky(covariance), (drawn - mean).T)
    for cells in (*standard, (standard[0] + standard[1]) / 2**0.5):
        assert kstest(cells, "norm").pvalue > FALSE_ALARM
    rows = np.random.default_rng(2).multivariate_normal(MEAN, COVARIANCE, 3000)
    rows[:, 0] = np.nan
    drawn = normal.transform(rows)[:, 0]
    means = np.array([conditional(row)[0][0] for row in rows])
    scale = conditional(rows[0])[1][0, 0] ** 0.5
    assert kstest((drawn - means) / scale, "norm").pvalue > FALSE_ALARM


def test_draws_choose_modes_by_their_shares() -> None:
    """A binomial test, false-alarm rate below 1e-4 (four standard deviations)."""
    known = mixture_of([0.3, 0.7], [[-5.0, 0.0], [5.0, 0.0]], [np.eye(2)] * 2)
    imputer = DensityImputer(FrozenEstimator(known), sample_posterior=True)
    imputer.set_params(random_state=0).fit(np.zeros((2, 2)))
    rows = np.c_[np.full(4000, np.nan), np.linspace(-1, 1, 4000)]
    share = (imputer.transform(rows)[:, 0] > 0).mean()
    assert abs(share - 0.7) < 4 * (0.21 / 4000) ** 0.5


def test_mixture_is_fitted_to_incomplete_rows_as_to_complete_ones() -> None:
    rng = np.random.default_rng(0)
    rows = rng.multivariate_normal(MEAN, COVARIANCE, 4000)
    rows[2000:] += [8.0, 0.0, -8.0]
    mixture = GaussianMixture(2, random_state=0)
    imputer = DensityImputer(mixture, random_state=0).fit(with_gaps(rows, 0.3))
    fitted = imputer.density_
    first, second = fitted.means_[:, 0].argsort()
    means = fitted.means_[[first, second]] - [[0.0, 0.0, 0.0], [8.0, 0.0, -8.0]]
    # A few standard errors of what 70 % of the cells say.
    assert_allclose(means, [MEAN, MEAN], atol=0.15)
    for mode in (first, second):
        assert_allclose(fitted.covariances_[mode], COVARIANCE, atol=0.25)
    assert not fitted.warm_start
    assert not hasattr(mixture, "means_")


# Randomness


@pytest.mark.parametrize("density", [VAEDensity(**QUICK), GaussianMixture(2)])
def test_draws_of_a_row_do_not_depend_on_its_company(
    density: Any, gaps: np.ndarray
) -> None:
    imputer = DensityImputer(density, sample_posterior=True, random_state=0).fit(gaps)
    filled = imputer.transform(gaps)
    assert_array_equal(imputer.transform(gaps), filled)
    order = np.random.default_rng(0).permutation(len(gaps))[:40]
    assert_allclose(imputer.transform(gaps[order]), filled[order], rtol=1e-12)
    assert_allclose(imputer.transform(gaps[order[:1]]), filled[order[:1]], rtol=1e-12)
    copied = pickle.loads(pickle.dumps(imputer))
    assert_array_equal(copied.transform(gaps), filled)


@pytest.mark.parametrize("density", [VAEDensity(**QUICK), GaussianMixture(2)])
def test_equal_rows_get_draws_of_their_own(density: Any, gaps: np.ndarray) -> None:
    imputer = DensityImputer(density, sample_posterior=True, random_state=0).fit(gaps)
    row = np.array([[0.3, np.nan, 100.0]])
    drawn = imputer.transform(np.tile(row, (50, 1)))[:, 1]
    assert len(np.unique(drawn)) == 50
    assert drawn[0] == imputer.transform(row)[0, 1]


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_calls_draw_anew_without_an_integer(
    random_state: Any, normal: DensityImputer
) -> None:
    normal.set_params(sample_posterior=True, random_state=random_state)
    row = [[0.0, np.nan, 1.0]]
    assert normal.transform(row)[0, 1] != normal.transform(row)[0, 1]


def test_seeds_draw_differently(normal: DensityImputer) -> None:
    rows = [[0.0, np.nan, 1.0]]
    normal.set_params(sample_posterior=True)
    drawn = [
        normal.set_params(random_state=seed).transform(rows)[0, 1]
        for seed in (0, 1, 2, np.int64(2))
    ]
    assert len(set(drawn)) == 3


# Columns


@pytest.fixture
def hollow(gaps: np.ndarray) -> np.ndarray:
    return np.insert(gaps, 1, np.nan, axis=1)


def test_empty_columns_are_dropped(hollow: np.ndarray, gaps: np.ndarray) -> None:
    imputer = DensityImputer(GaussianMixture(random_state=0)).fit(hollow)
    assert_array_equal(imputer.empty_features_, [1])
    assert imputer.density_.n_features_in_ == 3
    alone = DensityImputer(GaussianMixture(random_state=0)).fit(gaps)
    assert_array_equal(imputer.transform(hollow), alone.transform(gaps))
    assert_array_equal(imputer.get_feature_names_out(), ["x0", "x2", "x3"])


def test_empty_columns_are_filled_with_zeros_if_kept(hollow: np.ndarray) -> None:
    imputer = DensityImputer(GaussianMixture(), keep_empty_features=True).fit(hollow)
    hollow[3, 1] = 7.0  # observed later
    filled = imputer.transform(hollow)
    assert filled.shape == hollow.shape
    assert_array_equal(filled[:, 1], np.where(np.arange(len(hollow)) == 3, 7.0, 0.0))


def test_a_table_without_observed_cells_is_an_error() -> None:
    with pytest.raises(ValueError, match="no observed cell"):
        DensityImputer(GaussianMixture()).fit(np.full((5, 2), np.nan))


def test_indicator_says_which_cells_were_missing(table: np.ndarray) -> None:
    rows = table.copy()
    rows[::3, 1] = np.nan
    imputer = DensityImputer(GaussianMixture(), add_indicator=True).fit(rows)
    rows[1, 0] = np.nan  # a column that was complete has no indicator
    filled = imputer.transform(rows)
    assert filled.shape == (len(rows), 4)
    assert_array_equal(filled[:, 3], np.isnan(rows[:, 1]))
    names = ["x0", "x1", "x2", "missingindicator_x1"]
    assert_array_equal(imputer.get_feature_names_out(), names)


def test_names_of_frames(hollow: np.ndarray) -> None:
    frame = pd.DataFrame(hollow, columns=list("abcd"), index=np.arange(len(hollow)) * 2)
    imputer = DensityImputer(GaussianMixture(), add_indicator=True).fit(frame)
    assert isinstance(imputer.transform(frame), np.ndarray)
    assert_array_equal(imputer.feature_names_in_, list("abcd"))
    names = [*"acd", *(f"missingindicator_{name}" for name in "abcd")]
    assert_array_equal(imputer.get_feature_names_out(), names)
    framed = imputer.set_output(transform="pandas").transform(frame)
    assert list(framed.columns) == names
    assert_array_equal(framed.index, frame.index)
    with pytest.raises(ValueError, match="feature names"):
        imputer.transform(frame.rename(columns={"a": "z"}))


# Text and categories


@pytest.fixture(scope="module")
def mixed(table: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": table[:, 0],
            "colour": pd.Categorical(np.where(table[:, 1] > -3, "red", "blue")),
            "kind": np.where(table[:, 2] > 100, "a", "b").astype(object),
            "none": np.full(len(table), np.nan),
        },
        index=[f"row {i}" for i in range(len(table))],
    )
    return frame.mask(rng.random(frame.shape) < 0.15)


def mixed_imputer(**parameters: Any) -> DensityImputer:
    density = VAEDensity(likelihood="auto", **{**QUICK, "max_iter": 2})
    return DensityImputer(density, random_state=0, **parameters)


@pytest.mark.parametrize("sample_posterior", [False, True])
def test_categories_go_through_as_a_frame_of_the_same_dtypes(
    sample_posterior: bool, mixed: pd.DataFrame
) -> None:
    imputer = mixed_imputer(sample_posterior=sample_posterior).fit(mixed)
    filled = imputer.transform(mixed)
    kept = mixed.drop(columns="none")
    assert list(filled.columns) == list(kept.columns)
    assert (filled.dtypes == kept.dtypes).all()
    assert_array_equal(filled.index, mixed.index)
    assert not filled.isna().any().any()
    observed = kept.notna()
    assert (filled.where(observed).eq(kept) | ~observed).all().all()


def test_categories_with_all_that_may_stand_beside_them(mixed: pd.DataFrame) -> None:
    imputer = mixed_imputer(add_indicator=True, keep_empty_features=True).fit(mixed)
    filled = imputer.transform(mixed)
    assert list(filled.columns) == list(imputer.get_feature_names_out())
    assert (filled["none"] == 0).all()
    assert_array_equal(filled["missingindicator_kind"], mixed["kind"].isna())
    objects = mixed.to_numpy(dtype=object)
    cells = clone(imputer).fit(objects).transform(objects)
    assert cells.dtype == object
    assert cells.shape == filled.shape
    assert_array_equal(cells[:, 3:].astype(float), filled.iloc[:, 3:].astype(float))
    assert not pd.isna(cells).any()
    observed = ~pd.isna(objects)
    assert_array_equal(cells[:, :4][observed], objects[observed])


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("given", ["pandas", "polars"])
def test_categories_come_in_the_frame_that_is_asked_for(
    given: str, container: str, mixed: pd.DataFrame
) -> None:
    table = mixed if given == "pandas" else pl.from_pandas(mixed)
    imputer = mixed_imputer(add_indicator=True).fit(table)
    plain = imputer.transform(table)
    framed = imputer.set_output(transform=container).transform(table)
    assert type(framed).__module__.startswith(container)
    assert list(framed.columns) == list(imputer.get_feature_names_out())
    assert_array_equal(np.asarray(framed), np.asarray(plain))


# Beside other estimators


def test_pipeline_and_grid_search(gaps: np.ndarray) -> None:
    target = np.nan_to_num(gaps[:, 0])
    pipeline = make_pipeline(
        DensityImputer(GaussianMixture(), random_state=0), Ridge()
    ).fit(gaps, target)
    assert pipeline.score(gaps, target) > 0.5
    search = GridSearchCV(
        pipeline, {"densityimputer__density__n_components": [1, 3]}, cv=2
    ).fit(gaps, target)
    best = search.best_estimator_["densityimputer"].density_
    assert best.n_components == search.best_params_.popitem()[1]


@pytest.mark.parametrize("density", [VAEDensity(**QUICK), GaussianMixture(2)])
def test_a_frozen_density_is_not_fitted_again(
    density: Any, table: np.ndarray, gaps: np.ndarray
) -> None:
    fitted = clone(density).fit(table)
    imputer = DensityImputer(FrozenEstimator(fitted), random_state=0)
    rows = gaps[:20].copy()
    rows[:, 1] = np.nan  # which the density knows nevertheless
    filled = imputer.fit(rows).transform(rows)
    assert imputer.density_.estimator is fitted
    given = fitted if hasattr(fitted, "impute") else ImputingMixture(fitted)
    assert_array_equal(filled, given.impute(rows))
    with pytest.raises(ValueError, match="fitted to 3 columns, but X has 2"):
        imputer.fit(rows[:, :2])


# Errors


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"density": KernelDensity()}, TypeError, "density must .* no impute"),
        ({"density": VAEDensity}, TypeError, "density must .* a class"),
        ({"density": 3}, TypeError, "density must .* no fit"),
        ({"sample_posterior": "yes"}, ValueError, "sample_posterior must"),
        ({"add_indicator": 2}, ValueError, "add_indicator must"),
        ({"keep_empty_features": None}, ValueError, "keep_empty_features must"),
    ],
)
def test_errors_name_the_parameter(
    parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DensityImputer(**parameters).fit(np.eye(4))


def test_infinity_is_refused(imputer: DensityImputer, gaps: np.ndarray) -> None:
    rows = gaps.copy()
    rows[2, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        imputer.transform(rows)
    with pytest.raises(ValueError, match="infinity"):
        DensityImputer(GaussianMixture()).fit(rows)


def test_an_unfitted_imputer_or_frozen_density_is_an_error(gaps: np.ndarray) -> None:
    with pytest.raises(NotFittedError):
        DensityImputer().transform(gaps)
    with pytest.raises(NotFittedError):
        DensityImputer(FrozenEstimator(GaussianMixture())).fit(gaps)


def test_a_density_that_fails_is_named_and_changes_nothing(gaps: np.ndarray) -> None:
    imputer = DensityImputer(GaussianMixture(n_components=500))
    with pytest.raises(ValueError, match="density of the training rows"):
        imputer.fit(gaps)
    assert not hasattr(imputer, "n_features_in_")


def test_missing_cells_are_allowed() -> None:
    assert get_tags(DensityImputer()).input_tags.allow_nan
