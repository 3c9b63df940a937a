"""The average of importance weights and its error."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from skvae.evidence.blocks import concatenate
from skvae.evidence.importance import summarise


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("n_samples", [2, 10, 15])
def test_summary_equals_numpy(n_samples: int) -> None:
    log_w = normal(n_samples, 4)
    result, w = summarise(log_w), np.exp(log_w.numpy())
    np.testing.assert_allclose(result.log_density, np.log(w.mean(0)))
    np.testing.assert_allclose(
        result.effective_sample_size, w.sum(0) ** 2 / (w**2).sum(0)
    )
    relative_error = w.std(0, ddof=1) / math.sqrt(n_samples) / w.mean(0)
    np.testing.assert_allclose(result.standard_error, relative_error)
    assert result.n_samples.tolist() == [n_samples] * 4


@pytest.mark.parametrize("n_samples", [16, 50, 1000])
def test_error_is_at_least_that_of_independent_draws(n_samples: int) -> None:
    """The eight means of batches spread less for some rows, more for others."""
    log_w = normal(n_samples, 400)
    result, w = summarise(log_w), np.exp(log_w.numpy())
    delta = w.std(0, ddof=1) / math.sqrt(n_samples) / w.mean(0)
    ratio = result.standard_error.numpy() / delta
    assert (ratio > 1 - 1e-9).all()
    assert (ratio < 1 + 1e-9).mean() > 0.3
    assert (ratio > 1.05).mean() > 0.1


@pytest.mark.parametrize("leftover", [0, 7])
def test_error_is_the_spread_of_batches_where_that_is_larger(leftover: int) -> None:
    """The weights are 1 to 8, each in a batch of 50; leftover weights are ignored."""
    levels = torch.arange(1, 9, dtype=torch.float64)
    log_w = torch.cat([levels.repeat_interleave(50), levels[:leftover]]).log()
    result = summarise(log_w[:, None])
    # The mean of 1 … 8 is 4.5, their variance 6; eight independent means.
    expected = math.sqrt(6 / 8) / 4.5
    assert result.standard_error.item() == pytest.approx(expected)
    generator = torch.Generator().manual_seed(0)
    shuffled = log_w[torch.randperm(len(log_w), generator=generator)]
    assert summarise(shuffled[:, None]).standard_error < 0.5 * expected


def test_fewer_than_sixteen_weights_make_no_batches() -> None:
    levels = torch.arange(1, 9, dtype=torch.float64).log()
    pairs = summarise(levels.repeat_interleave(2)[:, None])
    fewer = summarise(levels.repeat_interleave(2)[:-1, None])
    w = levels.exp().repeat_interleave(2)[:-1]
    delta = (w.std() / len(w) ** 0.5 / w.mean()).item()
    assert fewer.standard_error.item() == pytest.approx(delta)
    assert pairs.standard_error.item() == pytest.approx(math.sqrt(6 / 8) / 4.5)


def test_equal_weights_have_no_error() -> None:
    result = summarise(torch.full((64, 2), -3.0, dtype=torch.float64))
    np.testing.assert_allclose(result.log_density, -3, rtol=1e-14)
    assert (result.standard_error < 1e-7).all()
    np.testing.assert_allclose(result.effective_sample_size, 64)
    assert (result.pareto_k == -math.inf).all()


def test_one_large_weight_is_one_effective_sample() -> None:
    log_w = torch.full((64, 1), -500.0, dtype=torch.float64)
    log_w[7] = 0
    result = summarise(log_w)
    assert result.effective_sample_size.item() == pytest.approx(1)
    assert result.log_density.item() == pytest.approx(-math.log(64))
    assert result.standard_error.item() == pytest.approx(1)


def test_one_sample_has_no_error_estimate() -> None:
    result = summarise(torch.tensor([[-2.0]], dtype=torch.float64))
    assert result.log_density.item() == -2
    assert math.isnan(result.standard_error.item())


@pytest.mark.parametrize("constant", [-1e5, 1e5])
def test_constant_shifts_the_log_density_and_nothing_else(constant: float) -> None:
    log_w = normal(100, 5)
    plain, shifted = summarise(log_w), summarise(log_w + constant)
    np.testing.assert_allclose(shifted.log_density, plain.log_density + constant)
    for name in ("standard_error", "effective_sample_size", "pareto_k"):
        np.testing.assert_allclose(
            getattr(shifted, name), getattr(plain, name), rtol=1e-6
        )


def test_standard_error_covers_the_truth_of_lognormal_weights() -> None:
    """Two standard errors hold 95.4 % of Gaussian errors.

    Of 10,000 rows the share has a standard error of 0.2 %. The larger of two errors
    may cover more, but not much.
    """
    scale = 0.3
    log_w = scale * normal(400, 10_000) - 0.5 * scale**2  # E w = 1
    result = summarise(log_w)
    covered = (result.log_density.abs() < 2 * result.standard_error).double().mean()
    assert 0.945 < covered.item() < 0.985


def test_standard_error_is_the_spread_of_repeats() -> None:
    """The larger of two estimates of one error is about a tenth too large."""
    log_w = 0.5 * normal(200, 20_000)
    result = summarise(log_w)
    spread = result.log_density.std().item()
    assert 0.97 < result.standard_error.mean().item() / spread < 1.2


def test_update_replaces_some_rows_and_leaves_the_others() -> None:
    whole, before = summarise(normal(64, 5)), summarise(normal(64, 5))
    other = summarise(normal(128, 2, seed=1))
    whole.update(torch.tensor([3, 1]), other)
    for name, values in vars(whole).items():
        torch.testing.assert_close(values[[3, 1]], getattr(other, name))
        torch.testing.assert_close(values[[0, 2, 4]], getattr(before, name)[[0, 2, 4]])
    assert whole.n_samples.tolist() == [64, 128, 64, 128, 64]


def test_concatenate_joins_rows_in_order() -> None:
    log_w = normal(64, 7)
    parts = [summarise(part) for part in log_w.split([3, 1, 3], 1)]
    joined = concatenate(parts)
    for name, values in vars(summarise(log_w)).items():
        torch.testing.assert_close(getattr(joined, name), values)
