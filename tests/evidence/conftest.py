"""Models whose log-density is known, with encoders that are not exact."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from skvae.evidence import RowEvidence, RowNoise, Stage, estimate_evidence, row_hash
from skvae.model import VAE, BuildContext, LinearStart
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.decoders import DecoderModule, MLPDecoder
from skvae.model.distributions import DiagonalGaussian, LatentDistribution
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.posteriors import FullPosterior, PosteriorModule
from skvae.model.priors import NormalPrior

N_FEATURES, N_LATENTS = 3, 2


@pytest.fixture
def decoder_weight() -> Tensor:
    """W of the decoder N(W z, 0.5²)."""
    return torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0]], dtype=torch.float64)


@pytest.fixture
def make_model(decoder_weight: Tensor) -> Callable[..., VAE]:
    """Return a function that makes a linear-Gaussian VAE.

    The scales of its encoder are the posterior's times `inflation`; its mean is
    `shift` of these scales aside.
    """

    def make(
        inflation: float = 1.5,
        shift: float = 0.0,
        background: BackgroundSpec | None = None,
    ) -> VAE:
        precision = torch.eye(N_LATENTS) + decoder_weight.T @ decoder_weight / 0.25
        covariance = torch.linalg.inv(precision.double())
        tril = inflation * torch.linalg.cholesky(covariance)
        aside = torch.full((N_LATENTS,), shift / N_LATENTS**0.5, dtype=torch.float64)
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
            background,
        ).double()
        vae.initialise(
            LinearStart(
                encoder_weight=covariance @ decoder_weight.T / 0.25,
                encoder_bias=tril @ aside,
                encoder_tril=tril,
                decoder_weight=decoder_weight,
                decoder_bias=torch.zeros(N_FEATURES),
                residual_scale=torch.full((N_FEATURES,), 0.5).double(),
                features=torch.zeros(1, N_FEATURES),
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


@pytest.fixture
def far_rows(decoder_weight: Tensor) -> Tensor:
    """Rows thirty standard deviations from the middle, in twenty directions."""
    covariance = decoder_weight @ decoder_weight.T + 0.25 * torch.eye(N_FEATURES)
    generator = torch.Generator().manual_seed(2)
    way = torch.randn(20, N_FEATURES, dtype=torch.float64, generator=generator)
    way = way / way.norm(dim=1, keepdim=True)
    return 30 * way @ torch.linalg.cholesky(covariance).T


@pytest.fixture
def estimate() -> Callable[..., RowEvidence]:
    """Return a function that reads log p(x) with the noise of the rows."""

    def read(vae: VAE, x: Tensor, stages: list[Stage], seed: int = 0) -> RowEvidence:
        return estimate_evidence(vae, x, RowNoise(row_hash(x.numpy(), seed)), stages)

    return read


FOLDED_SCALE = 0.1


class FoldedDecoder(DecoderModule):
    """μ(z) = |z − fold|: two latents for every positive row."""

    def __init__(self, fold: float) -> None:
        super().__init__()
        self.fold = fold

    def forward(self, z: Tensor, x: Tensor | None = None) -> Tensor:
        return (z - self.fold).abs().unsqueeze(-2)

    def initialise(self, slope: Tensor, offset: Tensor) -> None:
        raise NotImplementedError


class OneSidedEncoder(PosteriorModule):
    """An encoder that knows the posterior's mode on one side of the fold only."""

    def __init__(self, fold: float, side: int) -> None:
        super().__init__()
        self.fold, self.side = fold, side

    def forward(self, x: Tensor) -> LatentDistribution:
        mean = self.fold + self.side * x
        return DiagonalGaussian(mean, torch.full_like(x, FOLDED_SCALE))

    def initialise(self, start: LinearStart) -> None:
        raise NotImplementedError


@pytest.fixture
def make_folded() -> Callable[..., VAE]:
    """Return a function that makes p(x | z) = N(|z − fold|, 0.1²), p(z) = N(0, 1)."""

    def make(fold: float, side: int) -> VAE:
        context = BuildContext(
            n_features=1,
            n_components=1,
            n_rows=100,
            hidden_layer_sizes=(),
            dropout=0.0,
            scale_floor=torch.full((1,), 1e-6),
            column_scale=torch.ones(1),
            generator=torch.Generator().manual_seed(0),
        )
        return VAE(
            context.features(),
            NormalPrior().build(context),
            OneSidedEncoder(fold, side),
            FoldedDecoder(fold),
            GaussianLikelihood(FOLDED_SCALE).build(context),
            n_features=1,
        ).double()

    return make


@pytest.fixture
def folded_mass() -> Callable[[Tensor, float, int], np.ndarray]:
    """Return a function: log of the part of p(x) on one side of the fold."""

    def log_mass(x: Tensor, fold: float, side: int) -> np.ndarray:
        # ∫₀^∞ N(x; u, s²) N(fold + side u; 0, 1) du
        variance, column = 1 + FOLDED_SCALE**2, x[:, 0].numpy()
        middle = (column - FOLDED_SCALE**2 * side * fold) / variance
        width = FOLDED_SCALE / variance**0.5
        whole = norm.logpdf(column, -side * fold, variance**0.5)
        return whole + norm.logcdf(middle / width)

    return log_mass
