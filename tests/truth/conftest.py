"""A linear-Gaussian VAE with parameters of our choice, in float64."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike

from skvae.model import VAE, BuildContext, LinearStart
from skvae.model.decoders import MLPDecoder
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.posteriors import FullPosterior
from skvae.model.priors import NormalPrior

ENCODER_FLOOR = 1e-4  # what the full posterior adds to the diagonal of its factor


@pytest.fixture(scope="session")
def linear_gaussian() -> Callable[..., VAE]:
    """Return a function that builds p(x | z) = N(W z + b, s²) and its posterior.

    The factor of the posterior's covariance is multiplied by `inflation`, its mean is
    moved by `shift`.
    """

    def make(
        weight: ArrayLike,
        bias: ArrayLike,
        scale: ArrayLike,
        inflation: float = 1.0,
        shift: float = 0.0,
    ) -> VAE:
        w, b, s = (np.asarray(value, dtype=float) for value in (weight, bias, scale))
        n_features, n_latents = w.shape
        covariance = np.linalg.inv(np.eye(n_latents) + (w.T / s**2) @ w)
        gain = covariance @ (w.T / s**2)
        tril = inflation * np.linalg.cholesky(covariance)
        context = BuildContext(
            n_features=n_features,
            n_components=n_latents,
            n_rows=100,
            hidden_layer_sizes=(),
            dropout=0.0,
            scale_floor=torch.full((n_features,), 1e-9),
            column_scale=torch.ones(n_features),
            generator=torch.Generator().manual_seed(0),
        )
        vae = VAE.build(
            context,
            NormalPrior(),
            FullPosterior(),
            MLPDecoder(hidden_layer_sizes=()),
            GaussianLikelihood("column"),
        ).double()
        start = {
            "encoder_weight": gain,
            "encoder_bias": shift - gain @ b,
            "encoder_tril": tril - ENCODER_FLOOR * np.eye(n_latents),
            "decoder_weight": w,
            "decoder_bias": b,
            "residual_scale": s,
            "features": b[None],
            "z": np.zeros((1, n_latents)),
            "sample_weight": np.ones(1),
        }
        vae.initialise(
            LinearStart(**{k: torch.from_numpy(v) for k, v in start.items()})
        )
        # The likelihood passes its offsets on in single precision.
        with torch.no_grad():
            vae.decoder.network.bias.copy_(torch.from_numpy(b / s))
        return vae

    return make
