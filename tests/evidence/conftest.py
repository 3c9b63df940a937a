"""A model whose exact log-density is known, with an encoder that is not exact."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from skvae.model import VAE, BuildContext, LinearStart
from skvae.model.decoders import MLPDecoder
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.posteriors import FullPosterior
from skvae.model.priors import NormalPrior

N_FEATURES, N_LATENTS = 3, 2


@pytest.fixture
def decoder_weight() -> Tensor:
    """W of the decoder N(W z, 0.5²)."""
    return torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0]], dtype=torch.float64)


@pytest.fixture
def make_model(decoder_weight: Tensor) -> Callable[..., VAE]:
    """Return a function: a linear-Gaussian VAE, its encoder's scale inflated."""

    def make(inflation: float = 1.5) -> VAE:
        precision = torch.eye(N_LATENTS) + decoder_weight.T @ decoder_weight / 0.25
        covariance = torch.linalg.inv(precision.double())
        context = BuildContext(
            n_features=N_FEATURES,
            n_components=N_LATENTS,
            n_rows=100,
            hidden_layer_sizes=(),
            dropout=0.0,
            scale_floor=torch.full((N_FEATURES,), 1e-6),
            column_scale=torch.ones(N_FEATURES),
            generator=torch.Generator().manual_seed(0),
        )
        vae = VAE.build(
            context,
            NormalPrior(),
            FullPosterior(),
            MLPDecoder(),
            GaussianLikelihood("column"),
        ).double()
        vae.initialise(
            LinearStart(
                encoder_weight=covariance @ decoder_weight.T / 0.25,
                encoder_bias=torch.zeros(N_LATENTS),
                encoder_tril=inflation * torch.linalg.cholesky(covariance),
                decoder_weight=decoder_weight,
                decoder_bias=torch.zeros(N_FEATURES),
                residual_scale=torch.full((N_FEATURES,), 0.5).double(),
                z=torch.zeros(1, N_LATENTS),
                sample_weight=torch.ones(1),
            )
        )
        return vae

    return make


@pytest.fixture
def exact(decoder_weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the log-density of that model in closed form."""
    covariance = decoder_weight @ decoder_weight.T + 0.25 * torch.eye(N_FEATURES)
    return torch.distributions.MultivariateNormal(
        torch.zeros(N_FEATURES).double(), covariance
    ).log_prob


@pytest.fixture
def rows(decoder_weight: Tensor) -> Tensor:
    """Sixty rows of that model and four far ones."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(60, N_LATENTS, dtype=torch.float64, generator=generator)
    noise = torch.randn(60, N_FEATURES, dtype=torch.float64, generator=generator)
    far = 4 * torch.eye(4, N_FEATURES, dtype=torch.float64) + 1
    return torch.cat([z @ decoder_weight.T + 0.5 * noise, far])
