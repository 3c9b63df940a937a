"""The evidence lower bound and the weightings of its divergence."""

import torch
from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import positive_int
from skvae.training.objectives._base import (
    ObjectiveSpec,
    not_negative,
    share_of_training,
    weigh_path_of_mean,
)

__all__ = ["ELBO"]


class ELBO(ObjectiveSpec):
    r"""Evidence lower bound, its divergence weighted in the first part of training.

    .. math:: \mathcal{L} = E_{q(z \mid x)} \log p(x \mid z)
              - \beta_t \max(\lambda_t, KL(q(z \mid x) \,\|\, p(z)))

    With the defaults β = 1 and λ = 0 this is the bound itself. Any other weighting
    holds until a share `released` of the training is done. Then the bound itself is
    maximised, because the optimum of a weighted objective is not the best density.

    Parameters
    ----------
    n_samples : int, default=1
        Draws per row over which the expectation is averaged.
    beta : float, default=1.0
        Weight of the divergence, β, at least 0.
    warmup : float, default=0.0
        Share of the training, in [0, 1], over which the weight rises from 0 to β.
    free_bits : float, default=0.0
        λ, in nats per row, for all latents together. While the mean divergence of a
        batch is below λ, it counts as λ and has no gradient.
    released : float, default=0.8
        Share of the training, in [0, 1], after which β = 1 and λ = 0. With 1.0 the
        weighting holds to the end.

    Notes
    -----
    While a weighting holds, the objective need not be a bound on log p(x). `history_`
    has the bound in a column of its own.

    The divergence is computed in closed form where prior and posterior have one and
    there is no background. Otherwise it is the mean over the draws. A background puts
    the bound inside the logarithm of a sum, which with a closed-form divergence could
    exceed log p(x) in expectation.

    References
    ----------
    D. P. Kingma and M. Welling, 2014. Auto-encoding variational Bayes.

    I. Higgins et al., 2017. β-VAE: learning basic visual concepts with a constrained
    variational framework. (The weight β.)

    S. R. Bowman et al., 2016. Generating sentences from a continuous space. (The
    warm-up.)

    C. K. Sønderby et al., 2016. Ladder variational autoencoders. (The warm-up.)

    D. P. Kingma et al., 2016. Improved variational inference with inverse
    autoregressive flow. (Free bits.)

    Examples
    --------
    >>> from skvae import ELBO, VAEDensity
    >>> VAEDensity(objective=ELBO())
    VAEDensity(objective=ELBO())
    """

    alias = "elbo"

    def __init__(
        self,
        n_samples: int = 1,
        beta: float = 1.0,
        warmup: float = 0.0,
        free_bits: float = 0.0,
        released: float = 0.8,
    ) -> None:
        self.n_samples = n_samples
        self.beta = beta
        self.warmup = warmup
        self.free_bits = free_bits
        self.released = released

    def n_draws(self, progress: float) -> int:
        """Return `n_samples`."""
        return positive_int(self.n_samples, "n_samples of ELBO")

    def weighting(self, progress: float) -> tuple[float, float]:
        """Return β and λ when so large a share of the training is done."""
        beta = not_negative(self.beta, "beta", "ELBO")
        free_bits = not_negative(self.free_bits, "free_bits", "ELBO")
        warmup = share_of_training(self.warmup, "warmup", "ELBO")
        if progress >= share_of_training(self.released, "released", "ELBO"):
            return 1.0, 0.0
        return beta * min(1.0, progress / warmup) if warmup else beta, free_bits

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return the mean log-likelihood minus the weighted divergence."""
        beta, free_bits = self.weighting(progress)
        if draw.kl is None or draw.closed_form.log_odds is not None:
            kl = (draw.log_q_z - draw.log_p_z).mean(0)
        else:
            kl = draw.kl
        weight = torch.as_tensor(beta).to(kl)
        if free_bits:
            is_free = kl.mean() < free_bits
            kl = torch.where(is_free, free_bits, kl)
            weight = torch.where(is_free, 0, weight)
        bound = draw.log_p_x.mean(0) - beta * kl
        if draw.path_gradient:
            weigh_path_of_mean(draw, bound, weight)
        return bound
