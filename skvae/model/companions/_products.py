"""Mixtures of independent categories: by modes, and around rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.companions._base import BlockScorer, Companion, CompanionFit
from skvae.model.companions._categories import Categories
from skvae.model.companions._rows import draw_modes
from skvae.model.features import ColumnKind

__all__ = ["MatchingKernelsFit", "ProductMixtureFit"]

MAX_ITERATIONS = 60
TOL = 1e-3  # nats per row, of the bound, between two iterations
PRIOR_ROWS = 2.0  # with the frequencies of the whole table, that each mode has seen
LEAST_ROWS = 1e-8  # of a mode, which is dead below


class ProductMixture(Companion):
    """A mixture of products of independent columns.

    Parameters
    ----------
    categories : Categories
        The columns.
    log_weight : Tensor of shape (M,)
        Log-weights of the modes.
    log_mass : Tensor of shape (M, V)
        Log-mass of each value in each mode.
    """

    log_weight: Tensor
    log_mass: Tensor

    def __init__(
        self, categories: Categories, log_weight: Tensor, log_mass: Tensor
    ) -> None:
        super().__init__()
        self.categories = categories
        self.register_buffer("log_weight", log_weight)
        self.register_buffer("log_mass", log_mass)

    def scorer(self) -> BlockScorer:
        """Return the log-mass of the mixture."""

        def of_block(rows: Tensor) -> Tensor:
            indicators = self.categories.indicators(rows).T
            log_joint = self.log_mass @ indicators + self.log_weight[:, None]
            return log_joint.logsumexp(0) + self.categories.log_mass_of_known(rows)

        return of_block

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw a mode for each row, and the row from it."""
        mode = draw_modes(self.log_weight, n_samples, generator)
        return self.categories.draw(self.log_mass[mode], generator)


class MatchingKernels(Companion):
    """Around each row, columns that keep its value, or else have any value.

    Parameters
    ----------
    categories : Categories
        The columns.
    row_log_weight : Tensor of shape (N,)
        Log-weights of the rows.
    row : Tensor of shape (N, D)
        The rows.
    log_mass : Tensor of shape (V,)
        Log-mass of each value that is not that of the row.
    gain : Tensor of shape (V,)
        How much more it is where it is that of the row.
    """

    row_log_weight: Tensor
    row: Tensor
    log_mass: Tensor
    gain: Tensor

    def __init__(
        self,
        categories: Categories,
        row_log_weight: Tensor,
        row: Tensor,
        log_mass: Tensor,
        gain: Tensor,
    ) -> None:
        super().__init__()
        self.categories = categories
        self.register_buffer("row_log_weight", row_log_weight)
        self.register_buffer("row", row)
        self.register_buffer("log_mass", log_mass)
        self.register_buffer("gain", gain)

    def scorer(self) -> BlockScorer:
        """Return the log-mass of the kernels together."""
        gains = self.categories.indicators(self.row) * self.gain

        def of_block(rows: Tensor) -> Tensor:
            indicators = self.categories.indicators(rows).T
            log_joint = gains @ indicators + self.row_log_weight[:, None]
            apart = (self.log_mass[:, None] * indicators).sum(0)
            apart += self.categories.log_mass_of_known(rows)
            return log_joint.logsumexp(0) + apart

        return of_block

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows, and the values of their columns."""
        row = draw_modes(self.row_log_weight, n_samples, generator)
        match = self.categories.indicators(self.row[row])
        return self.categories.draw(self.log_mass + match * self.gain, generator)


@dataclass(frozen=True)
class ProductMixtureFit(CompanionFit):
    """Maximum a-posteriori fit of a mixture of products.

    Attributes
    ----------
    n_modes : int
        Number of modes.
    kinds : tuple of ColumnKind
        What the columns hold.
    """

    n_modes: int
    kinds: tuple[ColumnKind, ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        """What to call it in the report of a fit."""
        return f"{self.n_modes} products" if self.n_modes > 1 else "independent"

    def fit(self, x: Tensor, weights: Tensor) -> Sequence[Companion]:
        """Run expectation–maximisation for each weighting."""
        categories = Categories(self.kinds)
        indicators = categories.indicators(x)
        return [self._fit_one(categories, indicators, weight) for weight in weights]

    def _fit_one(
        self, categories: Categories, indicators: Tensor, weight: Tensor
    ) -> ProductMixture:
        overall = categories.frequencies(indicators, weight)
        mass = overall[None]
        log_weight = torch.zeros(1, dtype=mass.dtype)
        if self.n_modes > 1:
            # Each mode starts at a row, half-way to the whole table.
            generator = torch.Generator().manual_seed(0)
            seeds = torch.multinomial(weight, self.n_modes, generator=generator)
            mass = (indicators[seeds] + overall) / 2
            log_weight = torch.zeros(self.n_modes).log_softmax(0).to(mass)
        bound = -torch.inf
        for _ in range(MAX_ITERATIONS if self.n_modes > 1 else 0):
            log_joint = torch.addmm(log_weight, indicators, mass.log().T)
            log_p = log_joint.logsumexp(1)
            before, bound = bound, float(weight @ log_p / weight.sum())
            share = (log_joint - log_p[:, None]).exp() * weight[:, None]
            n_rows = share.sum(0).clamp(min=LEAST_ROWS)
            log_weight = (n_rows / n_rows.sum()).log()
            mass = (share.T @ indicators + PRIOR_ROWS * overall) / (
                n_rows[:, None] + PRIOR_ROWS
            )
            if not bound - before > TOL:
                break
        return ProductMixture(categories, log_weight, mass.log())


@dataclass(frozen=True)
class MatchingKernelsFit(CompanionFit):
    """Kernels that keep each value with the same probability.

    Attributes
    ----------
    width : float
        Probability with which a column forgets the value of the row. It then has any
        value, by its frequencies.
    kinds : tuple of ColumnKind
        What the columns hold.
    """

    width: float
    kinds: tuple[ColumnKind, ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        """What to call it in the report of a fit."""
        return f"kernels of {self.width:g}"

    def fit(self, x: Tensor, weights: Tensor) -> Sequence[Companion]:
        """Keep the rows with positive weights."""
        categories = Categories(self.kinds)
        indicators = categories.indicators(x)
        companions = []
        for weight in weights:
            overall = categories.frequencies(indicators, weight)
            apart = self.width * overall
            gain = ((1 - self.width) / apart).log1p()
            kept = weight > 0
            log_weight = (weight[kept] / weight.sum()).log()
            companions.append(
                MatchingKernels(categories, log_weight, x[kept], apart.log(), gain)
            )
        return companions
