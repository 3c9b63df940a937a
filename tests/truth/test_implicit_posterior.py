"""An implicit posterior where the true one is known to have two modes."""

import math

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from skvae.evidence import (
    Budget,
    EncoderProposal,
    PriorProposal,
    Proposal,
    RowNoise,
    Stage,
    estimate_evidence,
    row_hash,
)
from skvae.evidence.bounds import importance_bounds
from skvae.evidence.proposals import search_from_prior
from skvae.model import VAE, BuildContext
from skvae.model.decoders import DecoderModule
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.posteriors import ImplicitPosterior
from skvae.model.priors import NormalPrior
from skvae.training import Schedule, Trainer, TrainingData
from skvae.training.objectives import ELBO

SCALE = 0.25
WHOLE = (1 + SCALE**2) ** 0.5
N_ROWS = 1000


class FoldedDecoder(DecoderModule):
    """μ(z) = |z|: p(x) and both modes of the posterior are known."""

    def forward(self, z: Tensor, features: Tensor) -> Tensor:
        return z.abs().unsqueeze(-2)

    def initialise(self, slope: Tensor, offset: Tensor) -> None:
        raise NotImplementedError


def exact(x: Tensor) -> Tensor:
    """Return log 2 ∫₀^∞ N(x; u, s²) N(u; 0, 1) du."""
    column = x[:, 0].numpy()
    half = norm.logpdf(column, 0, WHOLE) + norm.logcdf(column / (SCALE * WHOLE))
    return torch.from_numpy(half) + math.log(2)


@pytest.fixture(scope="module")
def trained() -> VAE:
    """Return the model, whose posterior alone is trained."""
    generator = torch.Generator().manual_seed(0)
    context = BuildContext(
        n_features=1,
        n_components=1,
        n_rows=N_ROWS,
        hidden_layer_sizes=(16, 16),
        dropout=0.0,
        scale_floor=torch.full((1,), 1e-6),
        column_scale=torch.ones(1),
        generator=generator,
    )
    small = (32, 32)
    vae = VAE(
        context.features(),
        NormalPrior().build(context),
        ImplicitPosterior(noise_layer_sizes=small, critic_layer_sizes=small).build(
            context
        ),
        FoldedDecoder(),
        GaussianLikelihood(SCALE).build(context),
        n_features=1,
    )
    z, noise = torch.randn(2, N_ROWS, 1, generator=generator)
    x = z.abs() + SCALE * noise
    data = TrainingData(
        x=x,
        weight=torch.ones(N_ROWS, dtype=torch.float64),
        x_valid=x[:0],
        weight_valid=torch.ones(0, dtype=torch.float64),
        n_draws=N_ROWS,
    )
    schedule = Schedule(
        n_epochs=50, batch_size=100, learning_rate=8e-3, weight_decay=0.0
    )
    # A large β first: the posterior splits while it is still wide.
    objective = ELBO(n_samples=4, beta=4, released=0.5)
    Trainer(vae, objective, data, schedule, generator).run()
    return vae.double()


@pytest.fixture(scope="module")
def rows() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    z, noise = torch.randn(2, 60, 1, generator=generator, dtype=torch.float64)
    return z.abs() + SCALE * noise


def test_posterior_has_both_modes_and_little_between_them(trained: VAE) -> None:
    x = torch.tensor([[1.0], [1.5], [2.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        q = trained.encode(x, training=True)
        z, _ = q.rsample(
            torch.randn(4000, len(x), q.noise_dim, generator=generator, dtype=x.dtype)
        )
    z = z[..., 0]
    right = (z > 0).double().mean(0)
    assert ((right > 0.3) & (right < 0.7)).all()
    assert ((z.abs() < 0.4 * x[:, 0]).double().mean(0) < 0.15).all()
    expected = x[:, 0] / WHOLE**2
    assert ((z.abs().mean(0) - expected).abs() < 0.2).all()


@pytest.mark.parametrize(
    "proposal", [EncoderProposal(), PriorProposal(), search_from_prior(1)], ids=repr
)
def test_evidence_is_right_within_its_error(
    proposal: Proposal, trained: VAE, rows: Tensor
) -> None:
    noise = RowNoise(row_hash(rows.numpy(), 0))
    stages = [Stage(proposal, Budget(4096, 4096, 0.01))]
    found = estimate_evidence(trained, rows, noise, stages)
    error = (found.log_density - exact(rows)).abs()
    assert (error <= 4 * found.standard_error + 1e-6).all()
    assert error.median() < 0.02


def test_bounds_are_bounds_whatever_the_critic_says(trained: VAE, rows: Tensor) -> None:
    noise = RowNoise(row_hash(rows.numpy(), 0), quasi=False)
    bounds = importance_bounds(trained, rows, noise, (1, 8, 64)).mean(1)
    truth = exact(rows).mean()
    assert bounds[0] < bounds[1] < bounds[2] < truth + 0.01
    assert bounds[2] > truth - 0.1
