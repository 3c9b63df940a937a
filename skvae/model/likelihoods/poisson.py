"""The Poisson likelihood of counts."""

from typing import ClassVar

import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.features import Support
from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec
from skvae.model.likelihoods._cells import CountCells
from skvae.model.likelihoods._counts import LogMean

__all__ = ["PoissonLikelihood"]


class PoissonLikelihood(LikelihoodSpec):
    r"""Independent Poisson columns, whole numbers from zero.

    .. math:: p(x_d \mid z) = \frac{m_d(z)^{x_d}\, e^{-m_d(z)}}{x_d!}

    Mean and variance are equal; `NegativeBinomialLikelihood` lets the variance be
    larger. Scores are log-masses.

    References
    ----------
    R. Ranganath, L. Tang, L. Charlin and D. M. Blei, 2015. Deep exponential families.

    Examples
    --------
    >>> from skvae import PoissonLikelihood, VAEDensity
    >>> VAEDensity(likelihood=PoissonLikelihood())
    VAEDensity(likelihood=PoissonLikelihood())
    """

    alias = "poisson"
    support: ClassVar[Support] = "count"

    def build(self, context: BuildContext) -> "PoissonLikelihoodModule":
        """Return the module, which has no parameters of its own."""
        return PoissonLikelihoodModule(LogMean(context))


class PoissonLikelihoodModule(LikelihoodModule):
    """A log-mean per column."""

    n_parameters = 1
    n_linear = 1

    def __init__(self, log_mean: LogMean) -> None:
        super().__init__()
        self.log_mean = log_mean

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return x log m − m − log x!."""
        log_mean = self.log_mean(raw[..., 0, :])
        # In float64: the terms nearly cancel.
        count = x.double()
        log_mass = count * log_mean - log_mean.exp() - torch.lgamma(count + 1)
        return log_mass.to(raw.dtype)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw counts."""
        rate = self.log_mean(raw[..., 0, :]).exp()
        return torch.poisson(rate, generator=generator).to(raw.dtype)

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> CountCells:
        """Return mixtures of Poisson distributions."""
        log_mean = self.log_mean(raw[..., 0, :])[..., column].T
        return CountCells(log_weight.T.contiguous(), log_mean.contiguous())

    def mean(self, raw: Tensor) -> Tensor:
        """Return m."""
        return self.log_mean(raw[..., 0, :]).exp().to(raw.dtype)

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start at the columns' means, with the linear map's slopes."""
        at = self.log_mean.initialise(start)
        return at.slope[None], at.offset[None]
