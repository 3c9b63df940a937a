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
from skvae.model.features import ColumnKind, Support
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import FullPosterior, PosteriorSpec
from skvae.model.priors import PriorModule, PriorSpec

FLOOR = 0.01
N_CATEGORIES = (3, 2, 4)


def kinds_of(support: Support, n_features: int) -> tuple[ColumnKind, ...]:
    """Return columns of one kind; categories differ in number, counts in scale."""
    return tuple(
        ColumnKind(
            support,
            n_values=N_CATEGORIES[j % 3] if support == "category" else 0,
            center=1.0 + 0.1 * j if support == "count" else 0.0,
            scale=0.5 + 0.1 * j if support == "count" else 1.0,
        )
        for j in range(n_features)
    )


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
        support: Support = "real",
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
            kinds=kinds_of(support, n_features),
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
            make_context(seed=seed, support=likelihood.support),
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

    def draw(support: Support, n_rows: int = 5, n_features: int = 3) -> Tensor:
        table = torch.randn(
            n_rows, n_features, generator=torch.Generator().manual_seed(2)
        )
        n_values = torch.tensor(
            [max(kind.n_values, 1) for kind in kinds_of(support, n_features)]
        )
        return {
            "real": table,
            "binary": (table > 0).to(table.dtype),
            "count": (2 * table.exp()).floor(),
            "category": (table.sigmoid() * n_values).floor(),
        }[support]

    return draw
