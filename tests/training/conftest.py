"""A small model and its rows, to train."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from skvae.model import VAE, BuildContext
from skvae.model.decoders import MLPDecoder
from skvae.model.likelihoods import GaussianLikelihood
from skvae.model.posteriors import FullPosterior
from skvae.model.priors import NormalPrior, PriorSpec
from skvae.training import Schedule, Trainer, TrainingData, linear_start
from skvae.training.objectives import ELBO, ObjectiveSpec

FLOOR = torch.full((2,), 1e-3)


def bent_rows(n_rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n_rows, 2, generator=generator)
    bent = 0.4 * (noise[:, 0].square() - 1) + 0.3 * noise[:, 1]
    return torch.stack([noise[:, 0], bent], 1)


@pytest.fixture
def make_model() -> Callable[..., VAE]:
    """Return a function that builds a VAE at its linear start."""

    def make(x: Tensor, prior: PriorSpec | None = None) -> VAE:
        generator = torch.Generator().manual_seed(0)
        context = BuildContext(
            n_features=2,
            n_components=1,
            n_rows=len(x),
            hidden_layer_sizes=(16, 16),
            dropout=0.0,
            scale_floor=FLOOR,
            column_scale=torch.ones(2),
            generator=generator,
        )
        vae = VAE.build(
            context,
            NormalPrior() if prior is None else prior,
            FullPosterior(),
            MLPDecoder(),
            GaussianLikelihood("column"),
        )
        vae.initialise(linear_start(x, torch.ones(len(x)), 1, FLOOR, generator))
        return vae

    return make


@pytest.fixture
def make_trainer(make_model: Callable[..., VAE]) -> Callable[..., Trainer]:
    """Return a function that makes a trainer of bent rows."""

    def make(
        objective: ObjectiveSpec | None = None,
        n_rows: int = 256,
        n_valid: int = 100,
        **schedule: float,
    ) -> Trainer:
        x, x_valid = bent_rows(n_rows, seed=1), bent_rows(n_valid, seed=2)
        settings = {
            "n_epochs": 10,
            "batch_size": 64,
            "learning_rate": 4e-3,
            "weight_decay": 0.0,
        }
        return Trainer(
            make_model(x),
            ELBO() if objective is None else objective,
            TrainingData(
                x=x,
                weight=torch.ones(n_rows, dtype=torch.float64),
                x_valid=x_valid,
                weight_valid=torch.ones(n_valid, dtype=torch.float64),
                n_draws=n_rows,
            ),
            Schedule(**{**settings, **schedule}),
            torch.Generator().manual_seed(3),
        )

    return make
