"""The importance-weighted bound."""

from torch import Tensor

from skvae.model import LatentDraw
from skvae.training.objectives._base import (
    ObjectiveSpec,
    draws_in_two_parts,
    weigh_path_twice,
)

__all__ = ["IWAE"]


class IWAE(ObjectiveSpec):
    r"""Importance-weighted bound.

    .. math:: \mathcal{L}_K = E \log \frac1K \sum_{k=1}^K
              \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    It lies between the evidence lower bound and log p(x). With K = 1 it is the evidence
    lower bound, and a step costs the least. Therefore the first part of the training
    uses K = 1.

    Parameters
    ----------
    n_samples : int, default=4
        Draws per row, K, in the second part of the training.
    first_part : float, default=0.5
        Share of the training, in [0, 1], that uses K = 1.

    References
    ----------
    Y. Burda, R. Grosse and R. Salakhutdinov, 2016. Importance weighted autoencoders.

    Examples
    --------
    >>> from skvae import IWAE, VAEDensity
    >>> VAEDensity(objective=IWAE(n_samples=5))
    VAEDensity(objective=IWAE(n_samples=5))
    """

    alias = "iwae"

    def __init__(self, n_samples: int = 4, first_part: float = 0.5) -> None:
        self.n_samples = n_samples
        self.first_part = first_part

    def n_draws(self, progress: float) -> int:
        """Return 1 in the first part of the training, then K."""
        return draws_in_two_parts(self.n_samples, self.first_part, progress, "IWAE")

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return the log of the mean weight.

        If the gradient of log q(z | x) is a path gradient, because the posterior has no
        density, the path is weighed as in `DReG`, whose gradient has the same mean.
        """
        bound = draw.log_mean_w
        if draw.path_gradient:
            weigh_path_twice(draw, bound)
        return bound
