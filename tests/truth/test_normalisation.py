"""Densities integrate to one, and masses sum to one, in the units of the input."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from skvae import VAEDensity
from tests.truth.grids import grid_of

Array = NDArray[np.float64]

# A few rows of a grid, between the table and nowhere, have heavy-tailed weights.
pytestmark = pytest.mark.filterwarnings("ignore:The log-density of")

SETTINGS = {
    # Decoders that read columns have tests of their own.
    "decoder": "mlp",
    # So have companions.
    "companion": None,
    "evidence_tol": 0.3,
    "hidden_layer_sizes": (16, 16),
    "max_iter": 30,
    "n_importance_samples": 64,
    "max_evidence_samples": 256,
    "random_state": 0,
}


def skewed_column() -> Array:
    rng = np.random.default_rng(0)
    return 1000 + 50 * rng.gamma(3.0, size=(600, 1))


def bent_columns() -> Array:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2))
    return np.c_[100 + 20 * z[:, 0], 0.01 * (z[:, 0] ** 2 + 0.4 * z[:, 1])]


@pytest.mark.parametrize("marginal_transform", [None, "normal"])
def test_density_of_one_column_integrates_to_one(
    marginal_transform: str | None,
) -> None:
    """Within 0.5 %, by 401 points from ten model units below to ten above."""
    table = skewed_column()
    density = VAEDensity(marginal_transform=marginal_transform, **SETTINGS).fit(table)
    grid = grid_of(density, 401, reach=10.0)
    total = grid.integral(np.exp(density.score_samples(grid.rows)))
    assert total == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("marginal_transform", [None, "normal"])
def test_density_of_two_columns_integrates_to_one(
    marginal_transform: str | None,
) -> None:
    """Within 1 %, by 61² points from six model units below to six above."""
    table = bent_columns()
    settings = {**SETTINGS, "max_evidence_samples": 64}
    density = VAEDensity(marginal_transform=marginal_transform, **settings).fit(table)
    grid = grid_of(density, 61, reach=6.0)
    # One proposal for all: most of the grid is far from the table, where the default
    # would search for modes at length.
    evidence = density.evidence(grid.rows, proposal="refined")
    total = grid.integral(np.exp(evidence.log_density))
    assert total == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("marginal_transform", [None, "normal"])
def test_jacobian_is_the_derivative_of_the_map_to_model_units(
    marginal_transform: str | None,
) -> None:
    """By central differences within the table and beyond it, to 1e-5 nat."""
    table = bent_columns()
    settings = {**SETTINGS, "max_iter": 1}
    columns = (
        VAEDensity(marginal_transform=marginal_transform, **settings)
        .fit(table)
        .columns_
    )
    middle, reach = table.mean(0), table.std(0)
    rows = np.concatenate([table, middle + 6 * reach * np.linspace(-1, 1, 20)[:, None]])
    step = 1e-5 * reach
    slope = (columns.to_model(rows + step)[0] - columns.to_model(rows - step)[0]) / (
        2 * step
    )
    u, log_jacobian = columns.to_model(rows)
    # The slope is continuous but bends at the knots.
    error = np.abs(np.log(slope).sum(1) - log_jacobian)
    assert np.quantile(error, 0.95) < 1e-5
    assert error.max() < 1e-3
    np.testing.assert_allclose(columns.to_table(u), rows, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("factor", "marginal_transform"), [(2.0**-10, None), (2.0**7, "normal")]
)
def test_rescaling_the_table_shifts_the_log_density(
    factor: float, marginal_transform: str | None
) -> None:
    """By −d log a, in mean within 0.01 nat: only the noise of the scores differs.

    A power of two rescales without rounding, so that both fits are the same.
    """
    table = bent_columns()
    density = VAEDensity(marginal_transform=marginal_transform, **SETTINGS)
    plain = density.fit(table).evidence(table)
    scaled = density.fit(factor * table).evidence(factor * table)
    shift = scaled.log_density - plain.log_density + 2 * np.log(factor)
    error = np.hypot(plain.standard_error, scaled.standard_error)
    assert shift.mean() == pytest.approx(0, abs=0.01)
    # The error of a row is small where its standard error is.
    assert (np.abs(shift) < 6 * error + 1e-6).all()


def test_moving_a_column_does_not_change_the_log_density() -> None:
    """In mean within 0.01 nat, for a move that rounds nothing away."""
    table = np.round(bent_columns() * 2.0**20) / 2.0**20
    density = VAEDensity(marginal_transform=None, **SETTINGS)
    plain = density.fit(table).score(table)
    moved = density.fit(table + 4096).score(table + 4096)
    assert moved == pytest.approx(plain, abs=0.01)


def test_masses_of_all_binary_rows_sum_to_one() -> None:
    """Within 0.2 %: 16 rows with a thousand samples each."""
    rng = np.random.default_rng(0)
    cause = rng.random(500) < 0.4
    chance = np.where(cause[:, None], [0.9, 0.8, 0.2, 0.7], [0.1, 0.3, 0.6, 0.7])
    table = (rng.random((500, 4)) < chance).astype(float)
    settings = {**SETTINGS, "n_importance_samples": 1024, "max_evidence_samples": 4096}
    density = VAEDensity(likelihood="bernoulli", **settings).fit(table)
    rows = np.array(list(itertools.product([0.0, 1.0], repeat=4)))
    mass = np.exp(density.score_samples(rows))
    assert mass.sum() == pytest.approx(1, abs=0.002)
    # And they are the frequencies of the table, within five standard errors.
    share = (table[:, None] == rows).all(-1).mean(0)
    assert (np.abs(share - mass) < 5 * np.sqrt(mass / 500)).all()
