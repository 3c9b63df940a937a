"""The importance-weighted bound with doubly reparameterised gradients."""

from torch import Tensor

from skvae.model import LatentDraw
from skvae.training.objectives._base import ObjectiveSpec, draws_in_two_parts

__all__ = ["DReG"]


class DReG(ObjectiveSpec):
    r"""Importance-weighted bound with doubly reparameterised gradients.

    .. math:: \nabla_\theta: \sum_k \tilde w_k \nabla_\theta \log w_k, \qquad
              \nabla_\phi: \sum_k \tilde w_k^2\,
              \frac{\partial \log w_k}{\partial z_k}
              \frac{\partial z_k}{\partial \phi}, \qquad
              \tilde w_k = \frac{w_k}{\sum_j w_j + K c}

    The same bound as IWAE's, and the same gradients in expectation. The encoder's, φ,
    are less noisy: their signal-to-noise ratio grows with K, where IWAE's falls.

    Parameters
    ----------
    n_samples : int, default=4
        Draws per row, K, in the second part of the training.
    first_part : float, default=0.5
        Share of the training, in [0, 1], that uses K = 1.

    Notes
    -----
    c = ε p₀(x) / (1 − ε) is the background's weight, zero without one: training
    maximises the logarithm of the weights' mean plus c. From
    ∂w̃ₖ/∂zₖ = w̃ₖ (1 − w̃ₖ) ∂log wₖ/∂zₖ, which holds for any constant c, the score
    terms −w̃ₖ ∂log q/∂φ have the mean −w̃ₖ (1 − w̃ₖ) ∂log wₖ/∂zₖ ∂zₖ/∂φ, and the path
    w̃ₖ ∂log wₖ/∂zₖ ∂zₖ/∂φ is left with the square.

    With K = 1 and no background this is `StickingTheLanding`.

    References
    ----------
    G. Tucker, D. Lawson, S. Gu and C. J. Maddison, 2019. Doubly reparameterized
    gradient estimators for Monte Carlo objectives.

    T. Rainforth et al., 2018. Tighter variational bounds are not necessarily better.
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
        """Return the log of the mean weight, and weigh the path once more."""
        bound = draw.log_mean_w
        if draw.z.requires_grad:
            share = draw.closed_form.latent_share(bound.detach())
            weight = (draw.log_w.detach().softmax(0) * share).unsqueeze(-1)
            draw.z.register_hook(lambda gradient: weight * gradient)
        return bound
