"""Noise that depends on a row's values alone."""

from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.stats import kstest
from torch import Tensor

from skvae.evidence import RowNoise, row_hash, seeds_of_repetitions

FALSE_ALARM = 1e-4  # of one goodness-of-fit test, with other rows
LIKE = torch.zeros(1, dtype=torch.float64)

both_kinds = pytest.mark.parametrize("quasi", [True, False], ids=["quasi", "random"])


def noise_of(rows: np.ndarray, seed: int = 0, quasi: bool = True) -> RowNoise:
    return RowNoise(row_hash(rows, seed), quasi)


def correlations(numbers: Tensor) -> Tensor:
    """Return correlations between rows, times the root of the rows' length."""
    correlation = torch.corrcoef(numbers).fill_diagonal_(0)
    return correlation * numbers.shape[1] ** 0.5


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2000, 4))


@both_kinds
@pytest.mark.parametrize("n_dims", [1, 3, 9])
@pytest.mark.parametrize("number", [0, 100])
def test_points_of_many_rows_are_standard_normal(
    number: int, n_dims: int, quasi: bool, rows: np.ndarray
) -> None:
    """Kolmogorov-Smirnov in every dimension, false-alarm rate 1e-4 each."""
    points = noise_of(rows, quasi=quasi).points(n_dims, number, number + 1, LIKE)
    for column in points[0].T:
        assert kstest(column.numpy(), "norm").pvalue > FALSE_ALARM


def test_independent_points_of_one_row_are_standard_normal(rows: np.ndarray) -> None:
    """Kolmogorov-Smirnov in every dimension, false-alarm rate 1e-4 each."""
    points = noise_of(rows[:1], quasi=False).points(3, 0, 5000, LIKE)
    for column in points[:, 0].T:
        assert kstest(column.numpy(), "norm").pvalue > FALSE_ALARM


def test_quasi_random_points_of_one_row_are_closer_to_the_normal(
    rows: np.ndarray,
) -> None:
    """The largest deviation of random ones is about 0.85 / √1024 = 0.027."""
    points = noise_of(rows[:5]).points(3, 0, 1024, LIKE)
    for column in points.flatten(1).T:
        assert kstest(column.numpy(), "norm").statistic < 0.01


@both_kinds
def test_dimensions_of_a_row_are_uncorrelated(quasi: bool, rows: np.ndarray) -> None:
    """Fifteen correlations of 1,024 numbers, false-alarm rate 1e-4 if random."""
    points = noise_of(rows[:5], quasi=quasi).points(3, 0, 1024, LIKE)
    for row in range(5):
        assert correlations(points[:, row].T).abs().max() < 4.5


@both_kinds
def test_noise_of_different_rows_is_uncorrelated(quasi: bool, rows: np.ndarray) -> None:
    """Largest of 4,950 correlations of 600 numbers, false-alarm rate 1e-4."""
    points = noise_of(rows[:100], quasi=quasi).points(600, 0, 1, LIKE)[0]
    assert correlations(points).abs().max() < 5.7


def test_independent_points_of_a_row_are_uncorrelated(rows: np.ndarray) -> None:
    """Largest of 4,950 correlations of 2,000 numbers, false-alarm rate 1e-4."""
    points = noise_of(rows, quasi=False).points(1, 0, 100, LIKE)[..., 0]
    assert correlations(points).abs().max() < 5.7


def test_quasi_random_points_of_a_row_share_one_shift(rows: np.ndarray) -> None:
    """Their differences, modulo one, are the same for all rows."""
    points = noise_of(rows[:50]).points(2, 0, 64, LIKE)
    uniform = torch.special.ndtr(points)
    steps = (uniform[1:] - uniform[:-1]) % 1.0
    angle = 2 * torch.pi * (steps - steps[:, :1])
    torch.testing.assert_close(angle.cos(), torch.ones_like(angle), rtol=0, atol=1e-9)
    random = noise_of(rows[:50], quasi=False).points(2, 0, 64, LIKE)
    uniform = torch.special.ndtr(random)
    steps = (uniform[1:] - uniform[:-1]) % 1.0
    assert (2 * torch.pi * (steps - steps[:, :1])).cos().mean() < 0.2


@both_kinds
def test_streams_are_independent(quasi: bool, rows: np.ndarray) -> None:
    """They are independent of each other, of their parent and of its other streams.

    Twenty-eight correlations of 2,000 rows, of the same point and of the next;
    false-alarm rate 1e-4 for all.
    """
    noise = noise_of(rows, quasi=quasi)
    family = [
        noise,
        noise.stream(0),
        noise.stream(1),
        noise.stream(2),
        noise.stream(1).stream(0),
        noise.stream(1).stream(1),
        noise.stream(2).stream(1),
        noise.stream(1).stream(2),
    ]
    points = torch.stack([one.points(1, 0, 2, LIKE)[..., 0] for one in family])
    assert correlations(points[:, 0]).abs().max() < 4.7
    for one, other in combinations(range(len(family)), 2):
        pair = torch.stack([points[one, 0], points[other, 1]])
        assert correlations(pair).abs().max() < 5


@both_kinds
def test_streams_are_standard_normal_and_of_the_same_kind(
    quasi: bool, rows: np.ndarray
) -> None:
    stream = noise_of(rows, quasi=quasi).stream(3)
    assert stream.quasi is quasi
    first = stream.points(1, 0, 1, LIKE).flatten()
    assert kstest(first.numpy(), "norm").pvalue > FALSE_ALARM


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


@both_kinds
def test_noise_of_a_row_does_not_depend_on_the_batch(
    quasi: bool, rows: np.ndarray
) -> None:
    together = noise_of(rows, quasi=quasi).points(3, 0, 16, LIKE)
    alone = noise_of(rows[7:8], quasi=quasi).points(3, 0, 16, LIKE)
    assert torch.equal(together[:, 7:8], alone)
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = noise_of(np.asfortranarray(rows[order]), quasi=quasi)
    assert torch.equal(
        shuffled.points(3, 0, 16, LIKE), together[:, torch.from_numpy(order)]
    )


@both_kinds
@pytest.mark.parametrize(
    "chosen", [torch.tensor([5, 3, 8]), torch.tensor([4]), slice(2, 9, 3)], ids=repr
)
def test_selected_rows_keep_their_noise(
    chosen: Tensor | slice, quasi: bool, rows: np.ndarray
) -> None:
    whole = noise_of(rows[:10], quasi=quasi)
    some = whole[chosen]
    assert some.quasi is quasi
    assert torch.equal(
        some.points(3, 0, 4, LIKE), whole.points(3, 0, 4, LIKE)[:, chosen]
    )
    assert torch.equal(
        some.stream(2).points(3, 0, 4, LIKE),
        whole.stream(2)[chosen].points(3, 0, 4, LIKE),
    )


@both_kinds
@pytest.mark.parametrize("n_dims", [1, 3])
@pytest.mark.parametrize("middle", [1, 8, 100])
def test_points_go_on_where_they_ended(
    middle: int, n_dims: int, quasi: bool, rows: np.ndarray
) -> None:
    noise = noise_of(rows[:3], quasi=quasi)
    whole = noise.points(n_dims, 0, 256, LIKE)
    parts = [noise.points(n_dims, 0, middle, LIKE)]
    parts += [noise.points(n_dims, middle, 2 * middle, LIKE)]
    parts += [noise.points(n_dims, 2 * middle, 256, LIKE)]
    assert torch.equal(torch.cat(parts), whole)


@both_kinds
def test_seeds_give_unrelated_noise(quasi: bool, rows: np.ndarray) -> None:
    """Six correlations of 2,000 numbers, false-alarm rate 1e-4."""
    points = [
        noise_of(rows, seed, quasi).points(1, 0, 1, LIKE).flatten()
        for seed in (0, 1, 2, 2**40)
    ]
    assert correlations(torch.stack(points)).abs().max() < 4.3


@both_kinds
def test_noise_has_the_dtype_asked_for_and_is_finite(
    quasi: bool, rows: np.ndarray
) -> None:
    noise = noise_of(rows, quasi=quasi)
    points = noise.points(3, 0, 64, torch.zeros(1, dtype=torch.float32))
    assert points.shape == (64, 2000, 3)
    assert points.dtype == torch.float32
    assert points.isfinite().all()


@pytest.mark.parametrize("word", [0, 1, 2**64 - 1])
def test_no_key_gives_an_infinite_number(word: int) -> None:
    key = np.full(1, word, dtype=np.uint64)
    for quasi in (True, False):
        points = RowNoise(key, quasi).points(2, 0, 4096, LIKE)
        assert points.isfinite().all()
        assert points.abs().max() < 8.5


@both_kinds
def test_noise_leaves_the_global_random_state_alone(
    quasi: bool, rows: np.ndarray
) -> None:
    before = torch.get_rng_state()
    noise_of(rows, quasi=quasi).stream(1).points(3, 0, 64, LIKE)
    assert torch.equal(torch.get_rng_state(), before)


def test_shared_noise_is_that_of_one_row_and_always_the_same() -> None:
    one, other = (RowNoise.shared().points(2, 0, 512, LIKE) for _ in range(2))
    assert one.shape == (512, 1, 2)
    assert torch.equal(one, other)
    for column in one.flatten(1).T:
        assert kstest(column.numpy(), "norm").statistic < 0.02


def test_quasi_random_points_integrate_better_than_random_ones(
    rows: np.ndarray,
) -> None:
    """Compare errors of the mean of exp(z) over 256 points, root mean square."""
    deviation = (np.e * (np.e - 1) / 256) ** 0.5
    errors = []
    for quasi in (True, False):
        points = noise_of(rows, quasi=quasi).points(1, 0, 256, LIKE)[..., 0]
        error = points.exp().mean(0) - np.exp(0.5)
        errors.append(error.square().mean().sqrt().item())
    assert errors[0] < deviation / 2
    assert errors[1] == pytest.approx(deviation, rel=0.1)


def test_equal_rows_have_seeds_of_their_own_and_others_the_one_they_are_given() -> None:
    a, b, c = [1.0, np.nan], [2.0, 0.0], [1.0, 0.0]
    seeds = seeds_of_repetitions(np.array([a, b, a, c, a, b]), 7)
    assert_array_equal(seeds[[0, 1, 3]], 7)
    assert len(set(seeds[[0, 2, 4]].tolist())) == 3
    assert seeds[5] == seeds[2]  # each is the second of its kind
    # What stands after a row, and other rows before it, do not matter.
    assert_array_equal(
        seeds_of_repetitions(np.array([b, c, a, a]), 7)[2:], seeds[[0, 2]]
    )
