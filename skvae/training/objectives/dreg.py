"""The importance-weighted bound with doubly reparameterised gradients."""

from torch import Tensor

from skvae.model import LatentDraw
from skvae.training.objectives._base import (
    ObjectiveSpec,
    draws_in_two_parts,
    weigh_path_twice,
)

__all__ = ["DReG"]


class DReG(ObjectiveSpec):
    r"""Importance-weighted bound with doubly reparameterised gradients.

    .. math:: \nabla_\theta: \sum_k \tilde w_k \nabla_\theta \log w_k, \qquad
              \nabla_\phi: \sum_k \tilde w_k^2\,
              \frac{\partial \log w_k}{\partial z_k}
              \frac{\partial z_k}{\partial \phi}, \qquad
              \tilde w_k = \frac{w_k}{\sum_j w_j + K c}

    The bound is IWAE's, and in expectation the gradients are, too. The gradient of the
    encoder's parameters φ is less noisy: its signal-to-noise ratio grows with K, while
    that of IWAE falls.

    Parameters
    ----------
    n_samples : int, default=4
        Draws per row, K, in the second part of the training.
    first_part : float, default=0.5
        Share of the training, in [0, 1], that uses K = 1.

    Notes
    -----
    The constant c = ε p₀(x) / (1 − ε) is the background on the scale of the weights; it
    is zero without a background. Up to a constant, training maximises log(mean w + c).

    The square comes from adding two terms of the plain gradient. The first is the path,
    w̃ₖ ∂log wₖ/∂zₖ ∂zₖ/∂φ. The second is the score, −w̃ₖ ∂log q/∂φ at fixed zₖ. For any
    function f of z, f ∂log q/∂φ and ∂f/∂z ∂z/∂φ have the same mean over q. For f = w̃ₖ,
    ∂w̃ₖ/∂zₖ = w̃ₖ (1 − w̃ₖ) ∂log wₖ/∂zₖ, whatever the constant c. So the score has the
    mean −w̃ₖ (1 − w̃ₖ) ∂log wₖ/∂zₖ ∂zₖ/∂φ, and the sum of both is the path with w̃ₖ².

    With K = 1 and no background this is `StickingTheLanding`.

    References
    ----------
    G. Tucker, D. Lawson, S. Gu and C. J. Maddison, 2019. Doubly reparameterized
    gradient estimators for Monte Carlo objectives.

    T. Rainforth et al., 2018. Tighter variational bounds are not necessarily better.

    Examples
    --------
    >>> from skvae import DReG, VAEDensity
    >>> VAEDensity(objective=DReG())
    VAEDensity(objective=DReG())
    """

    alias = "dreg"
    path_gradient = True

    def __init__(self, n_samples: int = 4, first_part: float = 0.5) -> None:
        self.n_samples = n_samples
        self.first_part = first_part

    def n_draws(self, progress: float) -> int:
        """Return 1 in the first part of the training, then K."""
        return draws_in_two_parts(self.n_samples, self.first_part, progress, "DReG")

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return the log of the mean weight, its path gradient weighed by w̃ twice."""
        bound = draw.log_mean_w
        weigh_path_twice(draw, bound)
        return bound
