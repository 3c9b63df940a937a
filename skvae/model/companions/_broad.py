"""The broad part of a pool, for rows far from all others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.backgrounds.student_t import StudentTBackgroundModule
from skvae.model.cells import CellDistribution
from skvae.model.companions._base import Companion, CompanionFit
from skvae.model.companions._rows import BlockScorer

__all__ = ["BROAD_DF", "StudentTFit"]

BROAD_DF = 3.0


class StudentT(Companion):
    """A multivariate Student-t distribution."""

    def __init__(self, module: StudentTBackgroundModule) -> None:
        super().__init__()
        self.module = module

    by_pattern = True

    def complete_scorer(self) -> BlockScorer:
        """Return the log-density of the t distribution."""
        return self.module.log_prob

    def marginal_scorer(self, observed: Tensor) -> BlockScorer:
        """Return the log-density of the t distribution of some columns."""
        columns = observed.nonzero().squeeze(1)
        marginal = self.module.marginal(columns)
        return lambda rows: marginal.log_prob(rows[:, columns])

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw the missing cells of rows."""
        return self.module.complete(x, generators)

    def cell(self, x: Tensor, column: int) -> CellDistribution:
        """Return the conditional t distribution of the cell."""
        return self.module.cell(x, column)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows."""
        return self.module.sample(n_samples, generator)


@dataclass(frozen=True)
class StudentTFit(CompanionFit):
    """Location and scatter by maximum likelihood.

    Attributes
    ----------
    df : float
        Degrees of freedom.
    floor : Tensor of shape (D,)
        Standard deviation that is added to that of every column.
    """

    df: float
    floor: Tensor
    name: str = "student_t"

    def fit(self, x: Tensor, weights: Tensor) -> Sequence[Companion]:
        """Fit each weighting."""
        companions = []
        for weight in weights:
            # The weight in the mixture is the pool's.
            module = StudentTBackgroundModule(0.5, self.df, self.floor)
            module.initialise(x, weight)
            companions.append(StudentT(module))
        return companions
