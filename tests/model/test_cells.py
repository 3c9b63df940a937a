"""Distributions of single cells, and the distribution functions that they need."""

import numpy as np
import pytest
import torch
from torch import Tensor

from skvae.model.backgrounds._counts import CountCells
from skvae.model.cells import (
    MODES_AT_ONCE,
    CellDistribution,
    DiscreteCells,
    GaussianCells,
    MixtureCells,
    StudentTCells,
)

B, T = 5, 30


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def gaussians(n_modes: int = 3) -> GaussianCells:
    log_weight = normal(B, n_modes).log_softmax(1)
    return GaussianCells(
        log_weight, 2 * normal(B, n_modes, seed=1), normal(B, n_modes, seed=2).exp()
    )


def student_t() -> StudentTCells:
    return StudentTCells(
        normal(B).exp() + 1, normal(B, seed=1), normal(B, seed=2).exp()
    )


def mixture(*parts: CellDistribution) -> MixtureCells:
    return MixtureCells(normal(B, len(parts), seed=3).log_softmax(1), parts)


def categories(other: float = 0.0) -> DiscreteCells:
    log_mass = normal(B, 4).log_softmax(1) + np.log1p(-other)
    log_other = torch.full((B,), other).double().log() if other else None
    return DiscreteCells(log_mass, log_other)


def counts() -> CountCells:
    return CountCells(normal(B).exp() * 5, normal(B, seed=1).exp())


REAL = [gaussians(), gaussians(1), student_t(), mixture(gaussians(), student_t())]
WHOLE = [categories(), categories(0.1), counts(), mixture(categories(), categories())]


@pytest.mark.parametrize("cells", REAL, ids=lambda cells: type(cells).__name__)
def test_distribution_function_of_real_cells_is_the_integral(
    cells: CellDistribution,
) -> None:
    step = torch.linspace(-14, 14, 20_001, dtype=torch.float64)
    axis = step.sinh().expand(B, -1)
    density = cells.log_prob(axis).exp() * step.cosh()
    total = torch.cumulative_trapezoid(density, step)[:, ::500]
    cdf = cells.cdf(axis)
    torch.testing.assert_close(
        total + cdf[:, :1], cdf[:, 1:][:, ::500], atol=1e-6, rtol=0
    )
    assert cells.log_mass() is None


@pytest.mark.parametrize("cells", WHOLE, ids=lambda cells: type(cells).__name__)
def test_distribution_function_of_whole_cells_is_the_sum(
    cells: CellDistribution,
) -> None:
    values = torch.arange(T).double().expand(B, -1)
    log_mass = cells.log_mass()
    if log_mass is not None:
        values = torch.arange(log_mass.shape[1] + 1).double().expand(B, -1)
        torch.testing.assert_close(cells.log_prob(values)[:, :-1], log_mass)
        assert torch.equal(cells.mean(), log_mass.argmax(1).double())
        torch.testing.assert_close(cells.cdf(values)[:, -1], torch.ones(B).double())
    below = cells.log_prob(values).exp().cumsum(1)
    torch.testing.assert_close(cells.cdf(values), below)
    torch.testing.assert_close(cells.cdf(values + 0.5), below)
    assert (cells.cdf(values[:, :1] - 1) == 0).all()
    assert (cells.log_prob(values + 0.5) == -torch.inf).all()


def test_mean_of_gaussian_cells_is_that_of_their_draws() -> None:
    cells = gaussians()
    expected = (cells.log_weight.exp() * cells.location).sum(1)
    torch.testing.assert_close(cells.mean(), expected)


@pytest.mark.parametrize(
    "cells", [*REAL, counts()], ids=lambda cells: type(cells).__name__
)
def test_a_row_has_the_same_bits_whatever_the_others_are(
    cells: CellDistribution,
) -> None:
    t = normal(B, T).abs().floor() if isinstance(cells, CountCells) else normal(B, T)

    def some(cells: CellDistribution) -> CellDistribution:
        """Return the cells of the rows 1 and 3."""
        parts = []
        for value in vars(cells).values():
            if isinstance(value, Tensor):
                parts.append(value[[1, 3]])
            else:
                parts.append([some(part) for part in value])
        return type(cells)(*parts)

    for name in ("log_prob", "cdf"):
        together = getattr(cells, name)(t)
        assert torch.equal(getattr(some(cells), name)(t[[1, 3]]), together[[1, 3]])
    assert torch.equal(some(cells).mean(), cells.mean()[[1, 3]])


def test_modes_without_weight_do_not_change_a_bit() -> None:
    cells = gaussians(MODES_AT_ONCE)
    more = GaussianCells(
        torch.nn.functional.pad(cells.log_weight, (0, 300), value=-torch.inf),
        torch.nn.functional.pad(cells.location, (0, 300)),
        torch.nn.functional.pad(cells.scale, (0, 300), value=1),
    )
    t = normal(B, T)
    assert torch.equal(more.log_prob(t), cells.log_prob(t))
    assert torch.equal(more.cdf(t), cells.cdf(t))
    assert torch.equal(more.mean(), cells.mean())
