"""The prior that is a mixture of the encoder's distributions."""

import torch
from torch import nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import MixtureOverRows
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.memory import check_weights
from skvae.model.posteriors import PosteriorModule
from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.priors.mixture import farthest_first
from skvae.model.spec import positive_int

__all__ = ["VampPrior"]


class VampPrior(PriorSpec):
    r"""Variational mixture of posteriors: the encoder at learnt pseudo-inputs.

    .. math:: p(z) = \sum_{c=1}^C w_c\, q(z \mid u_c)

    The best prior for a given encoder is the mean of q(z | x) over all rows; this is
    a weighted mean over a few pseudo-inputs u, which are learnt with the model. They
    start at training rows that are far from each other. A pseudo-input is made of
    features, as networks read them (see `RowFeatures`): where a column has categories,
    it is a vector of any numbers.

    Parameters
    ----------
    n_pseudo_inputs : int or "auto", default="auto"
        Number of pseudo-inputs, C. "auto" is one per 20 distinct training rows, at
        least 1 and at most 128.

    References
    ----------
    J. M. Tomczak and M. Welling, 2018. VAE with a VampPrior.

    Examples
    --------
    >>> from skvae import VAEDensity, VampPrior
    >>> VAEDensity(prior=VampPrior())
    VAEDensity(prior=VampPrior())
    """

    alias = "vamp"

    def __init__(self, n_pseudo_inputs: int | str = "auto") -> None:
        self.n_pseudo_inputs = n_pseudo_inputs

    def build(self, context: BuildContext) -> "VampPriorModule":
        """Return the module, which has to be connected to an encoder."""
        if self.n_pseudo_inputs == "auto":
            n_pseudo_inputs = min(max(context.n_rows // 20, 1), 128)
        else:
            n_pseudo_inputs = positive_int(
                self.n_pseudo_inputs, "n_pseudo_inputs of VampPrior", also=" or 'auto'"
            )
        return VampPriorModule(n_pseudo_inputs, context)


class VampPriorModule(PriorModule):
    """Pseudo-inputs and their weights."""

    def __init__(self, n_pseudo_inputs: int, context: BuildContext) -> None:
        super().__init__()
        check_weights(
            n_pseudo_inputs * (1 + context.n_inputs),
            f"VampPrior with n_pseudo_inputs={n_pseudo_inputs}",
        )
        self.logit = nn.Parameter(torch.zeros(n_pseudo_inputs, dtype=BUILD_DTYPE))
        first = torch.empty(n_pseudo_inputs, context.n_inputs, dtype=BUILD_DTYPE)
        self.pseudo_inputs = nn.Parameter(first.normal_(generator=context.generator))
        # torch registers no module that is in a tuple: the encoder's parameters must
        # not count as the prior's, too.
        self._encoder: tuple[PosteriorModule, ...] = ()

    def connect(self, posterior: PosteriorModule) -> None:
        """Remember the encoder."""
        self._encoder = (posterior,)

    def forward(self) -> MixtureOverRows:
        """Return p(z)."""
        if not self._encoder:
            raise RuntimeError("A VampPrior has to be connected to an encoder first.")
        (encoder,) = self._encoder
        return MixtureOverRows(self.logit.log_softmax(0), encoder(self.pseudo_inputs))

    def initialise(self, start: LinearStart) -> None:
        """Move to training rows, each with the weight of the rows nearest to it."""
        w = start.sample_weight / start.sample_weight.sum()
        n_chosen = len(self.logit)
        chosen = farthest_first(start.z, w, n_chosen)
        nearest = torch.cdist(start.z, start.z[chosen]).argmin(1)
        # Not below a tenth of an equal share: a pseudo-input without weight would get
        # no gradient.
        mass = torch.full_like(start.z[chosen, 0], 0.1 / n_chosen)
        mass.index_add_(0, nearest, w)
        with torch.no_grad():
            self.pseudo_inputs.copy_(start.features[chosen])
            self.logit.copy_(mass.log())
