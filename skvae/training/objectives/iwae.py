"""The importance-weighted bound."""

import math
from numbers import Real

from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import positive_int
from skvae.training.objectives._base import ObjectiveSpec

__all__ = ["IWAE"]


class IWAE(ObjectiveSpec):
    r"""Importance-weighted bound.

    .. math:: \mathcal{L}_K = E \log \frac1K \sum_{k=1}^K
              \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    At least the evidence lower bound, and at most log p(x). With K = 1 it is the
    ELBO, at a fraction of the cost; training therefore begins with K = 1.

    Parameters
    ----------
    n_samples : int, default=4
        Draws per row, K, in the second part of the training.
    first_part : float, default=0.5
        Share of the training, in [0, 1], that uses K = 1.

    References
    ----------
    Y. Burda, R. Grosse and R. Salakhutdinov, 2016. Importance weighted autoencoders.
    """

    alias = "iwae"

    def __init__(self, n_samples: int = 4, first_part: float = 0.5) -> None:
        self.n_samples = n_samples
        self.first_part = first_part

    def n_draws(self, progress: float) -> int:
        """Return 1 in the first part of the training, then K."""
        n_samples = positive_int(self.n_samples, "n_samples of IWAE")
        if not isinstance(self.first_part, Real) or not 0 <= self.first_part <= 1:
            raise ValueError(
                f"first_part of IWAE must be in [0, 1], got {self.first_part!r}."
            )
        return 1 if progress < self.first_part else n_samples

    def bound(self, draw: LatentDraw) -> Tensor:
        """Return the log of the mean weight."""
        return draw.log_w.logsumexp(0) - math.log(draw.log_w.shape[0])
