"""The same input gives the same output, whatever happens around it."""

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skvae import Evidence, GaussianLikelihood, VAEDensity
from tests.conftest import QUICK

UNSEEDED = {**QUICK, "random_state": None}

VARIANTS = {
    "defaults": {"decoder": "auto"},
    "stopping, normal margins, dropout": {
        "early_stopping": True,
        "marginal_transform": "normal",
        "dropout": 0.2,
    },
    "no stopping, simple parts": {
        "early_stopping": False,
        "prior": "normal",
        "posterior": "diagonal",
        "likelihood": GaussianLikelihood(scale="row"),
        "objective": "elbo",
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_seed_gives_the_same_model_to_the_last_bit(
    name: str, table: np.ndarray
) -> None:
    settings = {**QUICK, **VARIANTS[name]}
    a, b = (VAEDensity(**settings).fit(table) for _ in range(2))
    assert_array_equal(a.score_samples(table), b.score_samples(table))
    assert_array_equal(a.sample(20), b.sample(20))
    assert_array_equal(a.transform(table), b.transform(table))


def test_fitting_again_is_fitting_anew(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK).fit(table)
    first = density.score_samples(table)
    density.fit(-table)
    density.fit(table)
    assert_array_equal(density.score_samples(table), first)


def test_different_seeds_give_different_models(table: np.ndarray) -> None:
    a, b = (VAEDensity(**{**QUICK, "random_state": seed}).fit(table) for seed in (0, 1))
    assert not np.array_equal(a.score_samples(table), b.score_samples(table))
    c, d = (VAEDensity(**UNSEEDED).fit(table) for _ in range(2))
    assert not np.array_equal(c.score_samples(table), d.score_samples(table))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_fit_does_not_depend_on_the_order_of_the_rows(
    name: str, table: np.ndarray
) -> None:
    order = np.random.default_rng(0).permutation(len(table))
    settings = {**QUICK, **VARIANTS[name]}
    a = VAEDensity(**settings).fit(table)
    b = VAEDensity(**settings).fit(table[order])
    assert_array_equal(a.score_samples(table), b.score_samples(table))
    assert_array_equal(a.sample(20), b.sample(20))


def test_a_random_state_instance_is_drawn_from(table: np.ndarray) -> None:
    def fits() -> list[np.ndarray]:
        state = np.random.RandomState(3)
        density = VAEDensity(**{**QUICK, "random_state": state})
        return [density.fit(table).score_samples(table) for _ in range(2)]

    first, second = fits(), fits()
    assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


# Scores


@pytest.fixture(scope="module")
def wide() -> tuple[VAEDensity, np.ndarray]:
    """Return a density of eight columns and rows near and far, some repeated."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8))
    density = VAEDensity(**{**QUICK, "hidden_layer_sizes": (32, 32)}).fit(rows)
    # Few rows between near and far: each goes through all stages, the others do not.
    near_and_far = np.r_[rows[:60], 3 * rows[:5], 20 * rows[:5], rows[:5]]
    assert len(set(density.evidence(near_and_far).n_stages)) > 2
    return density, near_and_far


@pytest.fixture(scope="module")
def expected(wide: tuple[VAEDensity, np.ndarray]) -> Evidence:
    """Return the evidence of all rows of `wide`, read at once."""
    density, rows = wide
    return density.evidence(rows)


def test_scoring_twice_gives_the_same_bits(
    wide: tuple[VAEDensity, np.ndarray], expected: Evidence
) -> None:
    density, rows = wide
    assert_array_equal(density.score_samples(rows), expected.log_density)
    for name, values in vars(density.evidence(rows)).items():
        assert_array_equal(values, getattr(expected, name))


@pytest.mark.parametrize("size", [1, 7, 64])
def test_scores_do_not_depend_on_the_batch(
    size: int, wide: tuple[VAEDensity, np.ndarray], expected: Evidence
) -> None:
    density, rows = wide
    parts = [
        density.evidence(rows[begin : begin + size])
        for begin in range(0, len(rows), size)
    ]
    assert_allclose(
        np.concatenate([part.log_density for part in parts]),
        expected.log_density,
        rtol=1e-10,
        atol=1e-10,
    )
    assert_array_equal(
        np.concatenate([part.n_samples for part in parts]), expected.n_samples
    )


@pytest.mark.filterwarnings("ignore:The log-density of")
@pytest.mark.parametrize(
    "settings", [{}, {"background": None}, {"n_components": (3, 2)}], ids=str
)
def test_nothing_about_a_row_depends_on_the_others_to_the_last_bit(
    settings: dict[str, Any], table: np.ndarray
) -> None:
    density = VAEDensity(**{**QUICK, **settings}).fit(table)
    rows = np.r_[table[::4], table[:3] * 2]
    together = vars(density.evidence(rows))
    alone = [vars(density.evidence(row[None])) for row in rows]
    for name, values in together.items():
        assert_array_equal(values, [evidence[name][0] for evidence in alone])


def test_latents_and_decoded_rows_do_not_depend_on_the_others(
    wide: tuple[VAEDensity, np.ndarray],
) -> None:
    density, rows = wide
    latents = density.transform(rows)
    decoded = density.inverse_transform(latents)
    for some in (slice(0, 1), slice(3, 70), slice(5, None)):
        assert_array_equal(density.transform(rows[some]), latents[some])
        assert_array_equal(density.inverse_transform(latents[some]), decoded[some])


def test_scores_do_not_depend_on_the_order_of_the_rows(
    wide: tuple[VAEDensity, np.ndarray], expected: Evidence
) -> None:
    density, rows = wide
    order = np.random.default_rng(0).permutation(len(rows))
    assert_allclose(
        density.score_samples(rows[order]),
        expected.log_density[order],
        rtol=1e-10,
        atol=1e-10,
    )


def test_equal_rows_have_equal_scores(wide: tuple[VAEDensity, np.ndarray]) -> None:
    density, rows = wide
    scores = density.score_samples(np.r_[rows, rows])
    assert_allclose(scores[: len(rows)], scores[len(rows) :], rtol=1e-10, atol=1e-10)


def test_negative_zero_is_zero(wide: tuple[VAEDensity, np.ndarray]) -> None:
    density, rows = wide
    rows = rows[:5].copy()
    rows[:, 2] = 0.0
    negative = rows.copy()
    negative[:, 2] = -0.0
    assert_array_equal(density.score_samples(rows), density.score_samples(negative))


def test_scores_do_not_depend_on_the_number_of_threads(
    wide: tuple[VAEDensity, np.ndarray], expected: Evidence
) -> None:
    density, rows = wide
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        scores = density.score_samples(rows)
        assert_allclose(scores, expected.log_density, rtol=1e-10, atol=1e-10)
    finally:
        torch.set_num_threads(n_threads)


def test_concurrent_threads_score_as_one(
    wide: tuple[VAEDensity, np.ndarray], expected: Evidence
) -> None:
    density, rows = wide
    results: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(
            target=lambda i=i: results.update({i: density.score_samples(rows)})
        )
        for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for scores in results.values():
        assert_allclose(scores, expected.log_density, rtol=1e-10, atol=1e-10)


def test_scores_do_not_depend_on_random_state(table: np.ndarray) -> None:
    density = VAEDensity(**QUICK).fit(table)
    expected = density.score_samples(table)
    density.set_params(random_state=7)
    assert_array_equal(density.score_samples(table), expected)
    density.set_params(random_state=None)
    assert_array_equal(density.score_samples(table), expected)


# Samples


def test_samples_follow_the_estimators_int_seed(
    table: np.ndarray, density: VAEDensity
) -> None:
    assert_array_equal(density.sample(10), density.sample(10))
    assert_array_equal(density.sample(10, random_state=0), density.sample(10))
    assert not np.array_equal(density.sample(10, random_state=1), density.sample(10))
    unseeded = VAEDensity(**UNSEEDED).fit(table)
    assert not np.array_equal(unseeded.sample(10), unseeded.sample(10))
    assert_array_equal(
        unseeded.sample(10, random_state=4), unseeded.sample(10, random_state=4)
    )


def test_samples_advance_a_random_state_instance(density: VAEDensity) -> None:
    state = np.random.RandomState(0)
    first, second = (density.sample(10, random_state=state) for _ in range(2))
    assert not np.array_equal(first, second)
    again = density.sample(10, random_state=np.random.RandomState(0))
    assert_array_equal(again, first)


# Global state

USES: dict[str, Callable[[VAEDensity, np.ndarray], object]] = {
    "fit": lambda density, table: density.fit(table),
    "partial_fit": lambda density, table: density.partial_fit(table),
    "score": lambda density, table: density.score(table),
    "evidence": lambda density, table: density.evidence(table, random_state=3),
    "sample": lambda density, table: density.sample(5),
    "transform": lambda density, table: density.transform(table),
}


def global_state() -> tuple[object, ...]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return (
        kind,
        keys.tobytes(),
        *rest,
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        np.geterr(),
    )


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("seed", [0, None])
def test_global_state_is_left_alone(
    use: str, seed: int | None, table: np.ndarray
) -> None:
    density = VAEDensity(**{**QUICK, "random_state": seed})
    if use not in ("fit", "partial_fit"):
        density.fit(table)
    before = global_state()
    USES[use](density, table)
    assert global_state() == before


def test_global_seeds_do_not_reach_the_estimator(table: np.ndarray) -> None:
    results = []
    saved = torch.get_rng_state(), random.getstate()
    legacy = np.random.get_state()  # noqa: NPY002
    try:
        for seed in (0, 1):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            density = VAEDensity(**QUICK).fit(table)
            results.append(np.r_[density.score_samples(table), density.sample(9).flat])
    finally:
        torch.set_rng_state(saved[0])
        random.setstate(saved[1])
        np.random.set_state(legacy)  # noqa: NPY002
    assert_array_equal(*results)


@pytest.mark.parametrize("fails", [False, True])
def test_the_number_of_threads_is_restored(fails: bool, table: np.ndarray) -> None:
    n_threads = torch.get_num_threads()
    density = VAEDensity(**QUICK)
    try:
        torch.set_num_threads(2)
        if fails:
            with pytest.raises(ValueError, match="observed cell"):
                density.fit(np.full((5, 2), np.nan))
        else:
            density.fit(table)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)


def test_fitting_works_where_gradients_are_off(table: np.ndarray) -> None:
    expected = VAEDensity(**QUICK).fit(table).score_samples(table)
    with torch.no_grad():
        fitted = VAEDensity(**QUICK).fit(table)
    assert_array_equal(fitted.score_samples(table), expected)
