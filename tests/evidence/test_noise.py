"""Noise that depends on a row's values alone."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from skvae.evidence import row_hash
from skvae.evidence.noise import RowNoise, SobolPoints

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with other rows
LIKE = torch.zeros(1, dtype=torch.float64)


def noise_of(rows: np.ndarray, n_dims: int = 3, seed: int = 0) -> RowNoise:
    return RowNoise.of(row_hash(rows, seed), SobolPoints(n_dims))


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2000, 4))


@pytest.mark.parametrize("n_dims", [1, 3, 9])
def test_points_of_many_rows_are_standard_normal(rows: np.ndarray, n_dims: int) -> None:
    """Kolmogorov-Smirnov in every dimension, false-alarm rate 1e-4 each."""
    first = noise_of(rows, n_dims).points(0, 1, LIKE)[0]
    for column in first.T:
        assert kstest(column.numpy(), "norm").pvalue > FALSE_ALARM


def test_points_of_one_row_are_standard_normal(rows: np.ndarray) -> None:
    """Quasi-random points are closer to the distribution than random ones."""
    points = noise_of(rows[:5]).points(0, 1024, LIKE)
    for column in points.flatten(1).T:
        assert kstest(column.numpy(), "norm").statistic < 0.01


def test_dimensions_of_a_row_are_uncorrelated(rows: np.ndarray) -> None:
    points = noise_of(rows[:5]).points(0, 1024, LIKE)
    for row in range(5):
        correlation = torch.corrcoef(points[:, row].T) - torch.eye(3)
        assert correlation.abs().max() < 0.05


def test_noise_of_different_rows_is_uncorrelated(rows: np.ndarray) -> None:
    """Largest of 4,950 correlations of 600 numbers, false-alarm rate 1e-4."""
    points = noise_of(rows[:100], 600).points(0, 1, LIKE)[0]
    correlation = torch.corrcoef(points).fill_diagonal_(0)
    assert correlation.abs().max() < 5.7 / 600**0.5


def test_rows_with_any_other_value_get_other_noise(rows: np.ndarray) -> None:
    assert len(np.unique(row_hash(rows))) == len(rows)
    row = rows[:1]
    for changed in (
        np.nextafter(row, 9),
        row[:, ::-1],
        np.where([[0, 0, 0, 1]], 0.0, row),
    ):
        assert row_hash(changed) != row_hash(row)


def test_negative_zero_is_zero() -> None:
    plus, minus = np.array([[0.0, 1.0]]), np.array([[-0.0, 1.0]])
    assert row_hash(plus) == row_hash(minus)


def test_noise_of_a_row_does_not_depend_on_the_batch(rows: np.ndarray) -> None:
    together = noise_of(rows).points(0, 16, LIKE)
    alone = noise_of(rows[7:8]).points(0, 16, LIKE)
    assert torch.equal(together[:, 7:8], alone)
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = noise_of(np.asfortranarray(rows[order])).points(0, 16, LIKE)
    assert torch.equal(shuffled, together[:, torch.from_numpy(order)])


def test_selected_rows_keep_their_noise(rows: np.ndarray) -> None:
    chosen = torch.tensor([5, 3, 8])
    whole = noise_of(rows[:10])
    assert torch.equal(
        whole.select(chosen).points(0, 4, LIKE), whole.points(0, 4, LIKE)[:, chosen]
    )


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 64), (5, 9), (64, 256), (1, 2)])
def test_points_can_be_streamed(rows: np.ndarray, begin: int, end: int) -> None:
    noise = noise_of(rows[:3])
    whole = noise.points(0, 256, LIKE)
    assert torch.equal(noise.points(begin, end, LIKE), whole[begin:end])


def test_seeds_give_unrelated_noise(rows: np.ndarray) -> None:
    one, other = (
        noise_of(rows, 1, seed).points(0, 1, LIKE)[0, :, 0] for seed in (0, 1)
    )
    correlation = torch.corrcoef(torch.stack([one, other]))[0, 1]
    assert correlation.abs() < 4 / len(rows) ** 0.5


def test_noise_has_the_dtype_asked_for_and_is_finite(rows: np.ndarray) -> None:
    points = noise_of(rows).points(0, 64, torch.zeros(1, dtype=torch.float32))
    assert points.dtype == torch.float32
    assert points.isfinite().all()


def test_noise_leaves_the_global_random_state_alone(rows: np.ndarray) -> None:
    before = torch.get_rng_state()
    noise_of(rows).points(0, 64, LIKE)
    assert torch.equal(torch.get_rng_state(), before)


def test_quasi_random_points_integrate_better_than_random_ones(
    rows: np.ndarray,
) -> None:
    """Error of the mean of exp(z) over 256 points, root mean square over rows."""
    points = noise_of(rows[:200], 1).points(0, 256, LIKE)[..., 0]
    error = points.exp().mean(0) - np.exp(0.5)
    random = (np.e * (np.e - 1) / 256) ** 0.5
    assert error.square().mean().sqrt() < random / 2
