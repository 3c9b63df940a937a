"""The background of tables with real columns and others."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from skvae.model.backgrounds._base import BackgroundModule, BackgroundSpec
from skvae.model.backgrounds.independent import IndependentBackground
from skvae.model.backgrounds.student_t import StudentTBackground
from skvae.model.cells import CellDistribution
from skvae.model.context import BuildContext
from skvae.model.features import Support

__all__ = ["MixedBackground"]


class MixedBackground(BackgroundSpec):
    r"""A Student-t distribution of the real columns times independent other columns.

    .. math:: p_0(x) = t_\nu(x_{\mathrm{real}}) \prod_{d\ \mathrm{discrete}} p_d(x_d)

    See `StudentTBackground` and `IndependentBackground`.

    Parameters
    ----------
    weight : float, default=0.005
        ε, the share of rows that the background is expected to take.
    df : float, default=3.0
        Degrees of freedom ν of the real columns.

    Examples
    --------
    >>> from skvae import MixedBackground, VAEDensity
    >>> VAEDensity(background=MixedBackground())
    VAEDensity(background=MixedBackground())
    """

    alias = "mixed"
    supports: ClassVar[tuple[Support, ...]] = ("real", "binary", "count", "category")

    def __init__(self, weight: float = 0.005, df: float = 3.0) -> None:
        self.weight = weight
        self.df = df

    def build(self, context: BuildContext) -> "MixedBackgroundModule":
        """Return the module."""
        weight = self.checked_weight()
        kinds = context.modelled_kinds
        real = [j for j, kind in enumerate(kinds) if kind.support == "real"]
        others = [j for j, kind in enumerate(kinds) if kind.support != "real"]
        specs: list[tuple[BackgroundSpec, list[int]]] = [
            (StudentTBackground(weight, self.df), real),
            (IndependentBackground(weight), others),
        ]
        return MixedBackgroundModule(
            weight,
            [
                (spec.build(context.of_columns(columns)), columns)
                for spec, columns in specs
                if columns
            ],
        )


class MixedBackgroundModule(BackgroundModule):
    """One background for each group of columns; the groups together are all columns."""

    order: Tensor

    def __init__(
        self, weight: float, parts: list[tuple[BackgroundModule, list[int]]]
    ) -> None:
        super().__init__(weight)
        self.parts = nn.ModuleList(module for module, _ in parts)
        for i, (_, columns) in enumerate(parts):
            self.register_buffer(f"columns_{i}", torch.tensor(columns))
        together = [j for _, columns in parts for j in columns]
        self.register_buffer("order", torch.tensor(together).argsort())

    def _groups(self) -> list[tuple[BackgroundModule, Tensor]]:
        return [
            (part, getattr(self, f"columns_{i}"))  # type: ignore[misc]
            for i, part in enumerate(self.parts)
        ]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the sum over the groups."""
        log_p = [part.log_prob(x[:, columns]) for part, columns in self._groups()]
        return torch.stack(log_p).sum(0)

    def typicality(self, x: Tensor) -> Tensor:
        """Return the product over the groups."""
        parts = [part.typicality(x[:, columns]) for part, columns in self._groups()]
        return torch.stack(parts).prod(0)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw every group."""
        cells = [part.sample(n_samples, generator) for part, _ in self._groups()]
        return torch.cat(cells, 1)[:, self.order]

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw the missing cells of every group."""
        groups = self._groups()
        cells = [part.complete(x[:, columns], generators) for part, columns in groups]
        return torch.cat(cells, 1)[:, self.order]

    def cell(self, x: Tensor, column: int) -> CellDistribution:
        """Return the distribution of the cell in its group."""
        for part, columns in self._groups():
            place = (columns == column).nonzero().flatten().tolist()
            if place:
                return part.cell(x[:, columns], place[0])
        raise IndexError(f"There is no column {column}.")

    def initialise(self, x: Tensor, sample_weight: Tensor) -> None:
        """Fit every group."""
        for part, columns in self._groups():
            part.initialise(x[:, columns], sample_weight)
