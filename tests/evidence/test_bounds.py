"""Lower bounds on log p(x)."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from skvae import StudentTBackground
from skvae.evidence import RowNoise, importance_bounds, row_hash
from skvae.model import VAE
from skvae.model.distributions import CholeskyGaussian, StandardNormal

MakeModel = Callable[..., VAE]
LogProb = Callable[[Tensor], Tensor]


def bounds(vae: VAE, x: Tensor, n_samples: list[int], seed: int = 0) -> Tensor:
    noise = RowNoise(row_hash(x.numpy(), seed), quasi=False)
    return importance_bounds(vae, x, noise, n_samples)


def many_bounds(vae: VAE, x: Tensor, n_samples: list[int], n_seeds: int) -> Tensor:
    """Return bounds of one row with many seeds, shape (len(n_samples), n_seeds)."""
    key = np.concatenate([row_hash(x.numpy(), seed) for seed in range(n_seeds)])
    noise = RowNoise(key, quasi=False)
    return importance_bounds(vae, x.expand(n_seeds, -1), noise, n_samples)


def background_log_share(vae: VAE, x: Tensor) -> Tensor:
    """Return log ε p₀(x)."""
    return math.log(vae.background.weight) + vae.background.log_prob(x)


@torch.no_grad()
def closed_elbo(vae: VAE, x: Tensor, weight: Tensor) -> Tensor:
    """Return E log N(x; W z, 0.5²) − KL(q ‖ p), both in closed form."""
    q = vae.encode(x)
    assert isinstance(q, CholeskyGaussian)
    miss = (x - q.mean @ weight.T).square().sum(-1)
    spread = (weight @ q.tril).square().sum((-2, -1))
    expected = -0.5 * (miss + spread) / 0.25
    expected = expected - x.shape[1] * (math.log(0.5) + 0.5 * math.log(2 * math.pi))
    return expected - StandardNormal(x.new_zeros(weight.shape[1])).kl_from(q)


@torch.no_grad()
def test_one_sample_is_the_elbo(
    make_model: MakeModel, rows: Tensor, decoder_weight: Tensor
) -> None:
    """For three rows, means over 4,000 seeds agree within 4 standard errors."""
    vae = make_model(1.5, shift=1.0)
    for row in (0, 7, 60):
        x = rows[row : row + 1]
        (elbo,) = many_bounds(vae, x, [1], 4000)
        error = elbo.std() / len(elbo) ** 0.5
        expected = closed_elbo(vae, x, decoder_weight)
        assert error < 0.01
        assert abs(elbo.mean() - expected.item()) < 4 * error


def test_many_samples_are_the_log_density(
    make_model: MakeModel, rows: Tensor, exact: LogProb
) -> None:
    vae, x = make_model(1.5, shift=0.5), rows[:20]
    loose, tight = bounds(vae, x, [16, 8192])
    torch.testing.assert_close(tight, exact(x), rtol=0, atol=0.05)
    assert (exact(x) - loose).mean() > 4 * (exact(x) - tight).mean().abs()


def test_exact_encoder_makes_all_bounds_equal(
    make_model: MakeModel, rows: Tensor, exact: LogProb
) -> None:
    for bound in bounds(make_model(1.0), rows, [1, 3, 100]):
        torch.testing.assert_close(bound, exact(rows), rtol=0, atol=2e-3)


def test_bounds_rise_with_the_number_of_samples(
    make_model: MakeModel, rows: Tensor, exact: LogProb
) -> None:
    """Means over 60 rows and 50 seeds rise by more than 4 standard errors a step."""
    vae, x, numbers = make_model(2.0, shift=0.5), rows[:60], [1, 2, 5, 16]
    means = torch.stack([bounds(vae, x, numbers, seed).mean(1) for seed in range(50)])
    steps = means.diff(dim=1)
    assert (steps.mean(0) > 4 * steps.std(0) / 50**0.5).all()
    gap = exact(x).mean() - means[:, -1]
    assert gap.mean() > 4 * gap.std() / 50**0.5


@torch.no_grad()
@pytest.mark.parametrize("n_samples", [2, 5, 50])
def test_bound_is_unbiased(n_samples: int, make_model: MakeModel, rows: Tensor) -> None:
    """Its mean is that of log p̂ over 20,000 sets of draws from torch's generator."""
    vae, x = make_model(2.0, shift=1.0), rows[3:4]
    ours = many_bounds(vae, x, [n_samples], 1000)[0]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n_samples, 20_000, 2, dtype=torch.float64, generator=generator)
    many = x.expand(20_000, -1)
    log_w = vae.draw(many, noise).log_w
    theirs = log_w.logsumexp(0) - math.log(n_samples)
    error = (ours.var() / len(ours) + theirs.var() / len(theirs)).sqrt()
    assert error < 0.05
    assert abs(ours.mean() - theirs.mean()) < 4 * error


def test_background_is_within_the_logarithm(
    make_model: MakeModel, rows: Tensor
) -> None:
    """A far row's bound is the background's log-share, however bad the encoder."""
    vae = make_model(1.5, shift=2.0, background=StudentTBackground(weight=0.1))
    plain = make_model(1.5, shift=2.0)
    far = rows[:10] + 100
    share = background_log_share(vae, far)
    for bound in bounds(vae, far, [1, 8]):
        torch.testing.assert_close(bound, share, rtol=0, atol=1e-6)
    assert (bounds(plain, far, [1])[0] < share - 100).all()
    # Near rows: the mean of log((1 − ε) w + ε p₀) over the same 64 draws.
    near = rows[:5]
    noise = RowNoise(row_hash(near.numpy()), quasi=False)
    with torch.no_grad():
        points = noise.points(2, 0, 64, near)
        w = plain.draw_from(plain.encode(near), near, points).log_w.exp()
        mixed = 0.9 * w + background_log_share(vae, near).exp()
    torch.testing.assert_close(bounds(vae, near, [1])[0], mixed.log().mean(0))


def test_bound_of_a_row_depends_on_that_row_alone(
    make_model: MakeModel, rows: Tensor
) -> None:
    vae = make_model(2.0)
    together = bounds(vae, rows, [1, 5, 50])
    for chosen in (slice(3, 4), slice(10, 37), slice(None, None, 7)):
        part = bounds(vae, rows[chosen], [1, 5, 50])
        torch.testing.assert_close(part, together[:, chosen], rtol=1e-9, atol=1e-9)
    one, other = bounds(vae, rows, [5]), bounds(vae, rows, [5], seed=1)
    assert (one != other).all()


@pytest.mark.parametrize("n_samples", [[1], [64], [65], [7, 100], [1000, 1]])
def test_bounds_have_one_line_per_number(
    n_samples: list[int], make_model: MakeModel, rows: Tensor
) -> None:
    result = bounds(make_model(), rows, n_samples)
    assert result.shape == (len(n_samples), len(rows))
    assert result.dtype == torch.float64
    assert result.isfinite().all()
    assert not result.requires_grad
