"""The broad part of a pool, for rows far from all others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.backgrounds.student_t import StudentTBackgroundModule
from skvae.model.companions._base import BlockScorer, Companion, CompanionFit

__all__ = ["StudentTFit"]


class StudentT(Companion):
    """A multivariate Student-t distribution."""

    def __init__(self, module: StudentTBackgroundModule) -> None:
        super().__init__()
        self.module = module

    def scorer(self) -> BlockScorer:
        """Return the log-density of the t distribution."""
        return self.module.log_prob

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
