"""The Bernoulli likelihood of 0/1 columns."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.model.cells import DiscreteCells
from skvae.model.context import BuildContext, LinearStart
from skvae.model.features import Support
from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec

__all__ = ["BernoulliLikelihood"]


class BernoulliLikelihood(LikelihoodSpec):
    r"""Independent Bernoulli columns, values 0 and 1.

    .. math:: p(x_d \mid z) = s(f_d(z))^{x_d} (1 - s(f_d(z)))^{1 - x_d}

    with s the logistic function. Scores are log-masses, the logarithms of
    probabilities, and at most zero.

    References
    ----------
    D. P. Kingma and M. Welling, 2014. Auto-encoding variational Bayes.

    Examples
    --------
    >>> from skvae import BernoulliLikelihood, VAEDensity
    >>> VAEDensity(likelihood=BernoulliLikelihood())
    VAEDensity(likelihood=BernoulliLikelihood())
    """

    alias = "bernoulli"
    support: ClassVar[Support] = "binary"

    def build(self, context: BuildContext) -> "BernoulliLikelihoodModule":
        """Return the module, which has no parameters of its own."""
        return BernoulliLikelihoodModule()


class BernoulliLikelihoodModule(LikelihoodModule):
    """One logit per column."""

    reads_in_single = True
    n_parameters = 1
    n_linear = 1

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return x f − log(1 + exp f)."""
        logit = raw[..., 0, :]
        return x * logit - F.softplus(logit)

    def shared_log_prob(
        self, x: Tensor, raw: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        """Return the same by matrix products."""
        logit = raw[:, 0]
        from_zeros = F.softplus(logit)
        if observed is None:
            return logit @ x.T - from_zeros.sum(1, keepdim=True)
        x = x.where(observed, 0.0)
        return logit @ x.T - from_zeros @ observed.to(logit).T

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw zeros and ones."""
        probability = self.mean(raw)
        uniform = torch.empty_like(probability).uniform_(generator=generator)
        return (uniform < probability).to(probability.dtype)

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> DiscreteCells:
        """Return the masses of zero and one."""
        logit = raw[..., 0, column].double()
        log_mass = torch.stack([F.logsigmoid(-logit), F.logsigmoid(logit)], -1)
        return DiscreteCells((log_mass + log_weight[..., None]).logsumexp(0))

    def mean(self, raw: Tensor) -> Tensor:
        """Return the probability of a one."""
        return raw[..., 0, :].sigmoid()

    def initialise(self, start: LinearStart) -> tuple[Tensor, Tensor]:
        """Start at the logit of the mean, with the linear map's slope there."""
        mean = start.decoder_bias.clamp(0.01, 0.99)
        slope = start.decoder_weight / (mean * (1 - mean))[:, None]
        return slope[None], torch.logit(mean)[None]
