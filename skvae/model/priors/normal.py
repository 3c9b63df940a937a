"""The standard-normal prior."""

import torch

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import StandardNormal
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.priors._base import PriorModule, PriorSpec

__all__ = ["NormalPrior"]


class NormalPrior(PriorSpec):
    """Standard normal, p(z) = N(z; 0, I).

    References
    ----------
    D. P. Kingma and M. Welling, 2014. Auto-encoding variational Bayes.

    Examples
    --------
    >>> from skvae import NormalPrior, VAEDensity
    >>> VAEDensity(prior=NormalPrior())
    VAEDensity(prior=NormalPrior())
    """

    alias = "normal"

    def build(self, context: BuildContext) -> "NormalPriorModule":
        """Return the module, which has no parameters."""
        return NormalPriorModule(context.n_components)


class NormalPriorModule(PriorModule):
    """N(0, I)."""

    zero: torch.Tensor

    def __init__(self, n_components: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(n_components, dtype=BUILD_DTYPE))

    def forward(self) -> StandardNormal:
        """Return p(z)."""
        return StandardNormal(self.zero)

    def initialise(self, start: LinearStart) -> None:
        """Do nothing: the latents of the start have mean 0 and covariance I already."""
