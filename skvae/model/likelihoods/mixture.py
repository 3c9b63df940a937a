"""The per-column mixture-of-Gaussians likelihood."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from skvae.model.cells import GaussianCells
from skvae.model.context import BuildContext
from skvae.model.distributions import HALF_LOG_2PI
from skvae.model.likelihoods._base import LikelihoodSpec
from skvae.model.likelihoods._modes import ModesModule, number_of_modes

__all__ = ["MixtureLikelihood"]


class MixtureLikelihood(LikelihoodSpec):
    r"""A mixture of C Gaussians for every column, independent given z.

    .. math:: p(x_d \mid z) = \sum_{c=1}^C \pi_{dc}(z)\,
              N(x_d; \mu_{dc}(z), \sigma_{dc}^2(z))

    It follows columns that are skewed, heavy-tailed or multi-modal given z, so that
    latents are left for what columns have in common.

    Parameters
    ----------
    n_modes : int or "auto", default="auto"
        Number of Gaussians per column, C. "auto" is 8 for up to eight columns and 4
        for more; with an autoregressive decoder it is 16 for up to eight columns, 10
        for up to sixteen and 6 for more.

    Notes
    -----
    σ is never below the column's floor nor, with a background, above its ceiling (see
    `VAEDensity`).

    References
    ----------
    C. M. Bishop, 1994. Mixture density networks.

    Examples
    --------
    >>> from skvae import MixtureLikelihood, VAEDensity
    >>> VAEDensity(likelihood=MixtureLikelihood(n_modes=8))
    VAEDensity(likelihood=MixtureLikelihood(n_modes=8))
    """

    alias = "mixture"

    def __init__(self, n_modes: int | str = "auto") -> None:
        self.n_modes = n_modes

    def build(self, context: BuildContext) -> "MixtureLikelihoodModule":
        """Return the module."""
        n_modes = number_of_modes(self.n_modes, context, "n_modes of MixtureLikelihood")
        return MixtureLikelihoodModule(n_modes, context)


class _MixtureLogDensity(torch.autograd.Function):
    """Log-density of a mixture, with its gradient in one pass over one buffer.

    Autograd's own graph of this expression has a dozen temporaries of the size of `raw`
    and concatenates three gradients: it would cost more than the network before it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, raw: Tensor, unit: Tensor, floor: Tensor, ceiling: float
    ) -> Tensor:
        location, log_scale, logit = raw.chunk(3, -2)
        free = log_scale.exp().mul_(unit).clamp_(max=ceiling)
        scale = free + floor
        standard = (location * -unit).add_(x.unsqueeze(-2)).div_(scale)
        joint = standard.square().mul_(-0.5).add_(logit).sub_(scale.log())
        log_joint = joint.logsumexp(-2)
        log_normaliser = logit.logsumexp(-2)
        ctx.save_for_backward(
            raw, unit, free, scale, standard, joint, log_joint, log_normaliser
        )
        ctx.ceiling = ceiling
        return log_joint - log_normaliser - HALF_LOG_2PI

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        raw, unit, free, scale, standard, joint, log_joint, log_normaliser = (
            ctx.saved_tensors
        )
        logit = raw.chunk(3, -2)[2]
        outer = gradient.unsqueeze(-2)
        share = (joint - log_joint.unsqueeze(-2)).exp_().mul_(outer)
        to_raw = torch.empty_like(raw)
        to_location, to_log_scale, to_logit = to_raw.chunk(3, -2)
        pull = (share * standard).div_(scale)  # d/dμ of each mode's part
        torch.mul(pull, unit, out=to_location)
        torch.mul(share, standard.square().sub_(1), out=to_log_scale)
        to_log_scale.mul_(free).div_(scale).mul_(free < ctx.ceiling)
        weight = (logit - log_normaliser.unsqueeze(-2)).exp_().mul_(outer)
        torch.sub(share, weight, out=to_logit)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = pull.sum(-2).neg_().sum_to_size(raw.shape[-3], raw.shape[-1])
        return to_x, to_raw, None, None, None


class MixtureLikelihoodModule(ModesModule):
    """Modes are Gaussians."""

    def column_log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        return _MixtureLogDensity.apply(x, raw, self.unit, self.floor, self.ceiling)

    def cell(self, raw: Tensor, log_weight: Tensor, column: int) -> GaussianCells:
        """Return mixtures of Gaussians."""
        return GaussianCells(*self.modes_of(raw, log_weight, column))

    def standard_noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw standard-normal numbers."""
        return torch.empty_like(like).normal_(generator=generator)
