"""The evidence lower bound."""

from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import positive_int
from skvae.training.objectives._base import ObjectiveSpec

__all__ = ["ELBO"]


class ELBO(ObjectiveSpec):
    r"""Evidence lower bound.

    .. math:: \mathcal{L} = E_{q(z \mid x)} \log p(x \mid z)
              - KL(q(z \mid x) \,\|\, p(z))

    The divergence is in closed form where prior and posterior have one, else it is
    estimated from the same draws.

    Parameters
    ----------
    n_samples : int, default=1
        Draws per row over which the expectation is averaged.

    References
    ----------
    D. P. Kingma and M. Welling, 2014. Auto-encoding variational Bayes.
    """

    alias = "elbo"

    def __init__(self, n_samples: int = 1) -> None:
        self.n_samples = n_samples

    def n_draws(self, progress: float) -> int:
        """Return `n_samples`."""
        return positive_int(self.n_samples, "n_samples of ELBO")

    def bound(self, draw: LatentDraw) -> Tensor:
        """Return the mean of log w, with the divergence in closed form if known."""
        if draw.kl is None:
            return draw.log_w.mean(0)
        return draw.log_p_x.mean(0) - draw.kl
