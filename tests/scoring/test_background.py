"""The background, as a parameter of VAEDensity."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from skvae import (
    BackgroundSpec,
    IndependentBackground,
    StudentTBackground,
    VAEDensity,
)
from tests.conftest import QUICK

DISTANCES = 10.0 ** np.arange(1, 7)  # standard deviations


def ray(table: np.ndarray, direction: list[float]) -> np.ndarray:
    return table.mean(0) + np.outer(DISTANCES, direction * table.std(0))


def share_of_background(density: VAEDensity, rows: np.ndarray) -> np.ndarray:
    """Return log ε p₀(x), in the units of the columns."""
    u, log_jacobian = density.columns_.to_model(rows)
    with torch.no_grad():
        part = density.model_.closed_form(torch.from_numpy(u))
    return (part.log_odds + part.log_weight).numpy() + log_jacobian


# The parameter


def test_default_is_a_student_t(density: VAEDensity) -> None:
    assert density.background == "auto"
    assert type(density.background_) is StudentTBackground
    assert density.model_.background.weight == density.background_.weight


def test_default_of_binary_columns_is_independent(binary_table: np.ndarray) -> None:
    density = VAEDensity(likelihood="bernoulli", **QUICK).fit(binary_table)
    assert type(density.background_) is IndependentBackground


def test_binary_value_that_is_never_seen_has_half_a_count(
    binary_table: np.ndarray,
) -> None:
    """Of all rows, however few of them are distinct."""
    table = np.c_[binary_table, np.zeros(400)]
    density = VAEDensity(likelihood="bernoulli", early_stopping=False, **QUICK)
    log_mass = density.fit(table).model_.background.log_mass[:, -1]
    assert float(log_mass[1] - log_mass[0]) == pytest.approx(
        np.log(0.5 / 400.5), abs=1e-4
    )


def test_none_is_no_background(table: np.ndarray) -> None:
    density = VAEDensity(background=None, **QUICK).fit(table)
    assert density.background_ is None
    assert density.model_.background is None
    assert np.isfinite(density.score_samples(table)).all()


@pytest.mark.parametrize("alias", ["student_t", "auto"])
def test_alias_stands_for_the_spec(alias: str, table: np.ndarray) -> None:
    by_alias = VAEDensity(background=alias, **QUICK).fit(table)
    by_spec = VAEDensity(background=StudentTBackground(), **QUICK).fit(table)
    assert_array_equal(by_alias.score_samples(table), by_spec.score_samples(table))


def test_spec_is_cloned_and_its_parameters_are_nested(table: np.ndarray) -> None:
    spec = StudentTBackground()
    density = VAEDensity(background=spec, **QUICK)
    density.set_params(background__weight=0.25, background__df=5.0).fit(table)
    assert density.background is spec
    assert density.background_ is not spec
    assert density.background_.get_params() == {"weight": 0.25, "df": 5.0}
    assert density.model_.background.weight == 0.25
    assert density.model_.background.df == 5.0


def test_fit_goes_on_with_the_background_that_it_has(table: np.ndarray) -> None:
    density = VAEDensity(background=StudentTBackground(weight=0.25), **QUICK)
    density.fit(table)
    before = density.model_.background.location.clone()
    density.partial_fit(table[:100])
    assert density.background_.weight == density.model_.background.weight == 0.25
    assert torch.equal(density.model_.background.location, before)


def test_pickle_keeps_the_background(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK).fit(table)
    opened = pickle.loads(pickle.dumps(density))
    rows = np.r_[table, ray(table, [1, -1, 1])]
    assert_array_equal(opened.score_samples(rows), density.score_samples(rows))


@pytest.mark.parametrize(
    ("background", "likelihood"),
    [
        ("student_t", "bernoulli"),
        (StudentTBackground(), "bernoulli"),
        ("independent", "mixture"),
        ("independent", "gaussian"),
    ],
    ids=repr,
)
def test_background_of_other_columns_than_the_likelihoods_is_refused(
    background: str | BackgroundSpec, likelihood: str, binary_table: np.ndarray
) -> None:
    density = VAEDensity(background=background, likelihood=likelihood, **QUICK)
    with pytest.raises(ValueError) as caught:
        density.fit(binary_table)
    for word in (f"background={background!r}", "real", "binary", "likelihood"):
        assert word in str(caught.value)


def test_unknown_alias_is_refused_with_the_list_of_known_ones(
    table: np.ndarray,
) -> None:
    with pytest.raises(ValueError, match="background='nonsense'") as caught:
        VAEDensity(background="nonsense", **QUICK).fit(table)
    for alias in ("student_t", "independent"):
        assert repr(alias) in str(caught.value)


@pytest.mark.parametrize("background", [3, True, 0.005, StudentTBackground], ids=repr)
def test_other_objects_are_refused(background: object, table: np.ndarray) -> None:
    with pytest.raises(TypeError, match="background must be"):
        VAEDensity(background=background, **QUICK).fit(table)


def test_bad_weight_is_refused_and_nothing_is_fitted(table: np.ndarray) -> None:
    density = VAEDensity(background=StudentTBackground(weight=1.0), **QUICK)
    with pytest.raises(ValueError, match=r"weight of StudentTBackground.*got 1\.0"):
        density.fit(table)
    assert not hasattr(density, "model_")


# Scores


@pytest.mark.parametrize("direction", [[1, 1, 1], [1, -1, 0.5], [0, 0, -1]], ids=str)
@pytest.mark.parametrize("marginal_transform", [None, "normal"])
def test_scores_fall_along_a_ray(
    marginal_transform: str | None, direction: list[float], table: np.ndarray
) -> None:
    density = VAEDensity(marginal_transform=marginal_transform, **QUICK).fit(table)
    rows = np.r_[table.mean(0, keepdims=True), ray(table, direction)]
    scores = density.score_samples(rows)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()


def test_no_score_is_below_the_share_of_the_background(
    density: VAEDensity, table: np.ndarray
) -> None:
    rows = np.r_[table, ray(table, [1, -1, 1])]
    share = share_of_background(density, rows)
    assert (density.score_samples(rows) >= share - 1e-9).all()


def test_scores_of_far_rows_are_the_share_of_the_background(
    density: VAEDensity, table: np.ndarray
) -> None:
    far = ray(table, [1, -1, 1])[2:]
    share = share_of_background(density, far)
    assert_allclose(density.score_samples(far), share, rtol=0, atol=1e-6)
    evidence = density.evidence(far)
    assert_allclose(evidence.standard_error, 0, atol=1e-6)


def test_samples_come_from_the_background_at_its_rate(table: np.ndarray) -> None:
    """Rows beyond 50 standard deviations; binomial test, false-alarm rate 1e-4."""
    weight, n = 0.3, 4000
    density = VAEDensity(
        background=StudentTBackground(weight=weight, df=1), **QUICK
    ).fit(table)

    def n_far(rows: np.ndarray) -> int:
        distance = np.abs(rows - table.mean(0)) / table.std(0)
        return int((distance > 50).any(1).sum())

    u = density.model_.background.sample(200_000, torch.Generator().manual_seed(1))
    chance = weight * n_far(density.columns_.to_table(u.numpy())) / 200_000
    assert n * chance > 10
    assert stats.binomtest(n_far(density.sample(n)), n, chance).pvalue > 1e-4


# Fits


def curved(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    z = rng.normal(size=(n_rows, 2))
    columns = np.c_[z[:, 0], z[:, 1] + 0.5 * z[:, 0] ** 2, z.sum(1)]
    return columns + 0.3 * rng.normal(size=(n_rows, 3))


@pytest.mark.filterwarnings("ignore:The log-density of:UserWarning")
def test_outliers_do_not_wreck_the_fit() -> None:
    """Of 5 % of the rows, 50 standard deviations away in all directions."""
    rng = np.random.default_rng(0)
    clean, test = curved(600, rng), curved(500, rng)
    direction = rng.normal(size=(30, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    spoilt = clean.copy()
    spoilt[:30] = 50 * clean.std(0) * direction
    settings = {
        **QUICK,
        "n_components": 2,
        "prior": "normal",
        "likelihood": "gaussian",
        "marginal_transform": None,
        "max_iter": 30,
        "batch_size": 64,
        "max_evidence_samples": 256,
    }

    def loss(background: str | None) -> float:
        scores = [
            VAEDensity(background=background, **settings).fit(rows).score(test)
            for rows in (clean[30:], spoilt)
        ]
        return scores[0] - scores[1]

    with_background = loss("auto")
    assert abs(with_background) < 0.15
    assert with_background < 0.1 * loss(None)


def test_start_trusts_clean_rows_fully_and_far_rows_not_at_all(
    density: VAEDensity, table: np.ndarray
) -> None:
    """Beyond four times the usual distance, trust falls as its −4th power."""

    def trust(rows: np.ndarray) -> np.ndarray:
        u, _ = density.columns_.to_model(rows)
        return density.model_.background.typicality(torch.from_numpy(u)).numpy()

    assert np.mean(trust(table) == 1) > 0.99
    far = trust(ray(table, [1, -1, 1]))
    assert_allclose(far[2:], far[2] * 1e-4 ** np.arange(4), rtol=1e-3)
    assert far[2] < 1e-4
