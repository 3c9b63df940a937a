"""The negative binomial likelihood of counts."""

from typing import ClassVar

import torch
from torch import Tensor

from skvae.model.context import BuildContext, LinearStart
from skvae.model.features import Support
from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec
from skvae.model.likelihoods._cells import CountCells
from skvae.model.likelihoods._counts import LogMean, negative_binomial_log_mass

__all__ = ["NegativeBinomialLikelihood", "negative_binomial_log_mass"]

LOG_SIZE_RANGE = (-9.0, 16.0)  # at the upper end, almost a Poisson distribution
FIRST_SIZE_RANGE = (0.05, 1e3)  # at the start


class NegativeBinomialLikelihood(LikelihoodSpec):
    r"""Independent negative binomial columns, whole numbers from zero.

    .. math:: p(x_d \mid z) = \frac{\Gamma(x_d + r)}{\Gamma(r)\, x_d!}
              \left(\frac{r}{r + m}\right)^{r} \left(\frac{m}{r + m}\right)^{x_d}

    with mean m(z) and size r(z) of every column: the variance is m + m² / r, more than
    that of a Poisson distribution, which is the limit of large r. Scores are
    log-masses.

    References
    ----------
    R. Lopez, J. Regier, M. B. Cole, M. I. Jordan and N. Yosef, 2018. Deep generative
    modeling for single-cell transcriptomics.

    Examples
    --------
    >>> from skvae import NegativeBinomialLikelihood, VAEDensity
    >>> VAEDensity(likelihood=NegativeBinomialLikelihood())
    VAEDensity(likelihood=NegativeBinomialLikelihood())
    """

    alias = "negative_binomial"
    support: ClassVar[Support] = "count"

    def build(self, context: BuildContext) -> "NegativeBinomialLikelihoodModule":
        """Return the module, which has no parameters of its own."""
        return NegativeBinomialLikelihoodModule(LogMean(context))


class NegativeBinomialLikelihoodModule(LikelihoodModule):
    """A log-mean and a log-size per column."""

    n_parameters = 2
    n_linear = 1

    def __init__(self, log_mean: LogMean) -> None:
        super().__init__()
        self.log_mean = log_mean

    def _split(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return log m and log r, in float64."""
        log_size = raw[..., 1, :].double().clamp(*LOG_SIZE_RANGE)
        return self.log_mean(raw[..., 0, :]), log_size

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return the log-mass of each cell."""
        # In float64: the terms nearly cancel.
        log_mean, log_size = self._split(raw)
        return negative_binomial_log_mass(x.double(), log_mean, log_size).to(raw.dtype)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw rates from a gamma distribution, then Poisson counts at these rates."""
        log_mean, log_size = self._split(raw)
        size = log_size.exp()
        gamma = torch._standard_gamma(size, generator=generator)
        rate = gamma * (log_mean - log_size).exp()
        return torch.poisson(rate, generator=generator).to(raw.dtype)

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> CountCells:
        """Return mixtures of negative binomial distributions."""
        modes = (part[..., column].T for part in self._split(raw))
        return CountCells(*(part.contiguous() for part in (log_weight.T, *modes)))

    def mean(self, raw: Tensor) -> Tensor:
        """Return m."""
        return self.log_mean(raw[..., 0, :]).exp().to(raw.dtype)

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start at the columns' means and at the residual's dispersion."""
        at = self.log_mean.initialise(start)
        excess = at.share @ ((at.counts - at.mean).square() - at.mean)
        spread = at.share @ at.mean.square()
        size = spread / excess.clamp(min=1e-3 * spread)
        log_size = size.clamp(*FIRST_SIZE_RANGE).log()
        return at.slope[None], torch.stack([at.offset, log_size])
