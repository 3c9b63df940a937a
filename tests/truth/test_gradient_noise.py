"""Noise of the encoder's gradients, where theory says how much there is."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from skvae.model import VAE
from skvae.model.backgrounds.student_t import StudentTBackgroundModule
from skvae.training.objectives import (
    ELBO,
    IWAE,
    DReG,
    ObjectiveSpec,
    StickingTheLanding,
)

N_REPEATS = 300
ROW = np.array([[0.9, -0.4, 0.3]])

LinearGaussian = Callable[..., VAE]


def make_vae(linear_gaussian: LinearGaussian, **encoder: float) -> VAE:
    weight = np.array([[0.8, 0.1], [-0.4, 0.9], [0.3, 0.5]])
    return linear_gaussian(weight, [0.1, -0.2, 0.0], [0.5, 0.4, 0.6], **encoder)


def encoder_gradients(vae: VAE, objective: ObjectiveSpec, n_draws: int) -> Tensor:
    """Return gradients of the encoder's parameters, (N_REPEATS, parameters)."""
    x = torch.from_numpy(ROW)
    encoder = list(vae.posterior.parameters())
    found = []
    for seed in range(N_REPEATS):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(n_draws, 1, 2, dtype=x.dtype, generator=generator)
        draw = vae.draw(x, noise, path_gradient=objective.path_gradient)
        bound = draw.closed_form.mix(objective.bound(draw, 0.0)).sum()
        gradient = torch.autograd.grad(bound, encoder)
        found.append(torch.cat([g.flatten() for g in gradient]))
    return torch.stack(found)


def signal_to_noise(gradients: Tensor) -> float:
    """Return the length of the mean over the root of the total variance."""
    return float(gradients.mean(0).norm() / gradients.var(0).sum().sqrt())


@pytest.mark.parametrize(
    ("path", "plain", "n_draws"),
    [(StickingTheLanding(), IWAE(), 1), (DReG(), IWAE(), 5)],
    ids=repr,
)
@pytest.mark.parametrize("background", [False, True])
def test_path_gradients_have_no_noise_at_the_exact_posterior(
    path: ObjectiveSpec,
    plain: ObjectiveSpec,
    n_draws: int,
    background: bool,
    linear_gaussian: LinearGaussian,
) -> None:
    vae = make_vae(linear_gaussian)
    if background:
        vae.background = StudentTBackgroundModule(0.4, 3.0, torch.ones(3).double())
    assert encoder_gradients(vae, path, n_draws).abs().max() < 1e-7
    assert encoder_gradients(vae, plain, n_draws).std(0).max() > 0.1


def test_path_gradients_have_less_noise_near_the_posterior(
    linear_gaussian: LinearGaussian,
) -> None:
    vae = make_vae(linear_gaussian, inflation=1.05, shift=0.02)
    path = encoder_gradients(vae, StickingTheLanding(), 1).var(0).sum()
    plain = encoder_gradients(vae, IWAE(), 1).var(0).sum()
    assert path < 0.1 * plain


def test_signal_to_noise_ratio_grows_with_draws_where_it_would_fall(
    linear_gaussian: LinearGaussian,
) -> None:
    """Of order √K against 1/√K (Rainforth et al. 2018; Tucker et al. 2019).

    From K = 4 to 64 that is a factor of 4 and 1/4. The mean of the plain gradient is
    lost in its noise at K = 64, hence the one-sided comparison there.
    """
    vae = make_vae(linear_gaussian, inflation=1.3, shift=0.15)
    path = [signal_to_noise(encoder_gradients(vae, DReG(), k)) for k in (4, 64)]
    plain = [signal_to_noise(encoder_gradients(vae, IWAE(), k)) for k in (4, 64)]
    assert path[1] / path[0] == pytest.approx(4, rel=0.35)
    assert plain[1] < 0.6 * plain[0]
    assert path[1] > 5 * plain[1]


def test_closed_form_divergence_beside_a_background_would_exceed_log_p(
    linear_gaussian: LinearGaussian,
) -> None:
    """E log((1 − ε) p(x | z) e^−KL + ε p₀) > log p, by more than 5 standard errors.

    The ELBO of the exact posterior is log p, whatever is drawn.
    """
    vae, x = make_vae(linear_gaussian), torch.from_numpy(ROW)
    vae.background = StudentTBackgroundModule(0.9, 3.0, torch.ones(3).double())
    generator = torch.Generator().manual_seed(0)
    n = 20_000
    noise = torch.randn(1, n, 2, dtype=x.dtype, generator=generator)
    many = x.expand(n, -1)
    with torch.no_grad():
        draw = vae.draw(many, noise)
        log_p = float(draw.closed_form[:1].mix(draw.log_mean_w[:1]))
        wrong = draw.closed_form.mix(draw.log_p_x[0] - draw.kl)
        ours = draw.closed_form.mix(ELBO().bound(draw, 0.0))
    assert wrong.mean() > log_p + 5 * wrong.std() / math.sqrt(n)
    torch.testing.assert_close(ours, torch.full_like(ours, log_p))
