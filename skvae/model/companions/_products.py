"""Mixtures of independent categories: by modes, and around rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from skvae.model.cells import DiscreteCells
from skvae.model.companions._base import Companion, CompanionFit
from skvae.model.companions._categories import Categories
from skvae.model.companions._completion import Completion
from skvae.model.companions._rows import (
    BlockScorer,
    complete_by_uniforms,
    draw_modes,
)
from skvae.model.features import ColumnKind
from skvae.model.missing import choose

__all__ = ["MatchingKernelsFit", "ProductMixtureFit", "product_completion"]

MAX_ITERATIONS = 60
TOL = 1e-3  # nats per row, of the bound, between two iterations
PRIOR_ROWS = 2.0  # with the frequencies of the whole table, that each mode has seen
LEAST_ROWS = 1e-8  # of a mode, which is dead below
COMPLETION_MODES = 5


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

    by_pattern = False

    def complete_scorer(self) -> BlockScorer:
        """Return the log-mass of the mixture."""

        def of_block(rows: Tensor) -> Tensor:
            log_joint = self._log_joint(rows)
            return log_joint.logsumexp(0) + self.categories.log_mass_of_known(rows)

        return of_block

    def marginal_scorer(self, observed: Tensor) -> BlockScorer:
        """Return the same: a missing cell has no indicator."""
        return self.complete_scorer()

    def _log_joint(self, rows: Tensor) -> Tensor:
        """Return log-weight plus log-mass of rows (B, D) in each mode, (M, B)."""
        indicators = self.categories.indicators(rows).T
        return self.log_mass @ indicators + self.log_weight[:, None]

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a mode for each row, and the missing cells from it."""

        def of_block(rows: Tensor, first: Tensor, uniform: Tensor) -> Tensor:
            mode = choose(self._log_joint(rows).T, first)
            return self.categories.choose(self.log_mass[mode], uniform)

        return complete_by_uniforms(of_block, x, generators)

    def cell(self, x: Tensor, column: int) -> DiscreteCells:
        """Return the distribution of the cell, by all of its values."""
        return self.categories.cell(self.log_prob, x, column)

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

    by_pattern = False

    def complete_scorer(self) -> BlockScorer:
        """Return the log-mass of the kernels together."""
        gains = self.categories.indicators(self.row) * self.gain

        def of_block(rows: Tensor) -> Tensor:
            indicators = self.categories.indicators(rows).T
            log_joint = gains @ indicators + self.row_log_weight[:, None]
            apart = (self.log_mass[:, None] * indicators).sum(0)
            apart += self.categories.log_mass_of_known(rows)
            return log_joint.logsumexp(0) + apart

        return of_block

    def marginal_scorer(self, observed: Tensor) -> BlockScorer:
        """Return the same: a missing cell has no indicator."""
        return self.complete_scorer()

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a kernel for each row, and the missing cells from it."""
        gains = self.categories.indicators(self.row) * self.gain

        def of_block(rows: Tensor, first: Tensor, uniform: Tensor) -> Tensor:
            indicators = self.categories.indicators(rows).T
            log_joint = gains @ indicators + self.row_log_weight[:, None]
            log_mass = self.log_mass + gains[choose(log_joint.T, first)]
            return self.categories.choose(log_mass, uniform)

        return complete_by_uniforms(of_block, x, generators)

    def cell(self, x: Tensor, column: int) -> DiscreteCells:
        """Return the distribution of the cell, by all of its values."""
        return self.categories.cell(self.log_prob, x, column)

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
        """Run expectation–maximisation for each weighting, over the observed cells."""
        categories = Categories(self.kinds)
        indicators = categories.indicators(x)
        observed = None
        if x.isnan().any():
            observed = (~x.isnan())[:, categories.owner].to(x)
        return [
            self.fit_one(categories, indicators, weight, observed) for weight in weights
        ]

    def fit_one(
        self,
        categories: Categories,
        indicators: Tensor,
        weight: Tensor,
        observed: Tensor | None = None,
    ) -> ProductMixture:
        """Run expectation–maximisation for one weighting.

        Parameters
        ----------
        categories : Categories
            The columns.
        indicators : Tensor of shape (N, V)
            Those of the rows, zero in missing cells.
        weight : Tensor of shape (N,)
            Weights of the rows.
        observed : Tensor of shape (N, V) or None, default=None
            One where the column of an indicator is observed, else zero. None for
            complete rows.
        """
        overall = categories.frequencies(indicators, weight)
        mass = overall[None]
        log_weight = torch.zeros(1, dtype=mass.dtype)
        if self.n_modes > 1:
            # Each mode starts at a row, half-way to the whole table.
            generator = torch.Generator().manual_seed(0)
            seeds = torch.multinomial(weight, self.n_modes, generator=generator)
            start = indicators[seeds]
            if observed is not None:
                start = start.where(observed[seeds] > 0, overall)
            mass = (start + overall) / 2
            log_weight = torch.zeros(self.n_modes).log_softmax(0).to(mass)
        bound = -torch.inf
        for _ in range(MAX_ITERATIONS if self.n_modes > 1 else 0):
            log_joint = torch.addmm(log_weight, indicators, mass.log().T)
            log_p = log_joint.logsumexp(1)
            before, bound = bound, float(weight @ log_p / weight.sum())
            share = (log_joint - log_p[:, None]).exp() * weight[:, None]
            n_rows = share.sum(0).clamp(min=LEAST_ROWS)
            log_weight = (n_rows / n_rows.sum()).log()
            # Rows whose cell is missing say nothing of the masses of the column.
            seen = n_rows[:, None] if observed is None else share.T @ observed
            mass = (share.T @ indicators + PRIOR_ROWS * overall) / (seen + PRIOR_ROWS)
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
    completion : Completion or None, default=None
        Draws the missing cells of the rows; by default a mixture of products does.
    """

    width: float
    kinds: tuple[ColumnKind, ...]
    completion: Completion | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """What to call it in the report of a fit."""
        return f"kernels of {self.width:g}"

    def fit(self, x: Tensor, weights: Tensor) -> Sequence[Companion]:
        """Keep the rows with positive weights, completed."""
        categories = Categories(self.kinds)
        # The frequencies are those of the observed cells.
        indicators = categories.indicators(x)
        kept_rows: Sequence[Tensor] = [x[weight > 0] for weight in weights]
        if x.isnan().any():
            completion = self.completion or product_completion(self.kinds)
            kept_rows = completion.of(x, weights)
        companions = []
        for weight, rows in zip(weights, kept_rows, strict=True):
            overall = categories.frequencies(indicators, weight)
            apart = self.width * overall
            gain = ((1 - self.width) / apart).log1p()
            log_weight = (weight[weight > 0] / weight.sum()).log()
            companions.append(
                MatchingKernels(categories, log_weight, rows, apart.log(), gain)
            )
        return companions


def product_completion(kinds: tuple[ColumnKind, ...]) -> Completion:
    """Return draws of missing cells by a mixture of a few products."""
    return Completion(ProductMixtureFit(COMPLETION_MODES, kinds))
