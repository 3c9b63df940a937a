"""Sizes, perturbations and tables from which the components' tests are built."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from skvae.model import VAE, BuildContext, LinearStart
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.decoders import DecoderSpec, MLPDecoder
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import FullPosterior, PosteriorSpec
from skvae.model.priors import PriorModule, PriorSpec

FLOOR = 0.01


@pytest.fixture
def make_context() -> Callable[..., BuildContext]:
    """Return a function that makes a build context of the given sizes."""

    def make(
        n_features: int = 3,
        n_components: int = 2,
        hidden_layer_sizes: tuple[int, ...] = (8, 8),
        dropout: float = 0.0,
        seed: int = 0,
        n_rows: int = 200,
        scale_ceiling: float = math.inf,
    ) -> BuildContext:
        return BuildContext(
            n_features=n_features,
            n_components=n_components,
            n_rows=n_rows,
            hidden_layer_sizes=hidden_layer_sizes,
            dropout=dropout,
            scale_floor=torch.full((n_features,), FLOOR),
            column_scale=torch.linspace(1, 2, n_features),
            generator=torch.Generator().manual_seed(seed),
            scale_ceiling=scale_ceiling,
        )

    return make


@pytest.fixture
def perturb() -> Callable[..., nn.Module]:
    """Return a function that moves all parameters of a module away from its start."""

    def move(module: nn.Module, scale: float = 0.3, seed: int = 1) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                step = torch.randn(parameter.shape, generator=generator)
                parameter.add_(scale * step.to(parameter.dtype))
        return module

    return move


@pytest.fixture
def make_prior(
    make_context: Callable[..., BuildContext], perturb: Callable[..., nn.Module]
) -> Callable[..., PriorModule]:
    """Return a function that builds a prior and connects it to an encoder.

    Without a start, the prior and the encoder are perturbed.
    """

    def make(
        spec: PriorSpec,
        start: LinearStart | None = None,
        scale: float = 0.3,
        dtype: torch.dtype = torch.float64,
        **sizes: Any,
    ) -> PriorModule:
        context = make_context(**sizes)
        prior = spec.build(context).to(dtype)
        posterior = FullPosterior().build(context).to(dtype)
        prior.connect(posterior)
        if start is None:
            perturb(prior, scale=scale)
            perturb(posterior)
        else:
            prior.initialise(start)
            posterior.initialise(start)
        return prior

    return make


@pytest.fixture
def make_vae(
    make_context: Callable[..., BuildContext], perturb: Callable[..., nn.Module]
) -> Callable[..., VAE]:
    """Return a function that builds a perturbed VAE of its specs."""

    def make(
        prior: PriorSpec,
        posterior: PosteriorSpec,
        likelihood: LikelihoodSpec,
        decoder: DecoderSpec | None = None,
        seed: int = 0,
        background: BackgroundSpec | None = None,
    ) -> VAE:
        vae = VAE.build(
            make_context(seed=seed),
            prior,
            posterior,
            MLPDecoder() if decoder is None else decoder,
            likelihood,
            background,
        )
        return perturb(vae, seed=seed + 1)

    return make


@pytest.fixture
def rows() -> Callable[..., Tensor]:
    """Return a function that draws a table that a likelihood's support allows."""

    def draw(support: str, n_rows: int = 5, n_features: int = 3) -> Tensor:
        table = torch.randn(
            n_rows, n_features, generator=torch.Generator().manual_seed(2)
        )
        return (table > 0).to(table.dtype) if support == "binary" else table

    return draw
