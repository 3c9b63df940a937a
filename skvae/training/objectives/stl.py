"""The evidence lower bound with path gradients."""

from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import positive_int
from skvae.training.objectives._base import ObjectiveSpec, weigh_path_of_mean

__all__ = ["StickingTheLanding"]


class StickingTheLanding(ObjectiveSpec):
    r"""Evidence lower bound whose gradient leaves out the score of the encoder.

    .. math:: \nabla_\phi \mathcal{L} = E\, \frac{\partial \log w}{\partial z}
              \frac{\partial z}{\partial \phi}, \qquad
              w = \frac{p(x \mid z)\, p(z)}{q(z \mid x)}

    The bound is the ELBO's, and in expectation the gradients are, too: the term that is
    left out, ∂log q(z | x)/∂φ at fixed z, has mean zero. Where the encoder is the
    posterior, log w does not depend on z, and the gradient of φ has no noise at all.

    Parameters
    ----------
    n_samples : int, default=1
        Draws per row over which the expectation is averaged, K.

    Notes
    -----
    With a background, the score cannot simply be left out. Both the path and the score
    are then multiplied by s, the probability that the row comes from the latent part.
    Because s depends on z, the mean of s ∂log q/∂φ is not zero: with
    ∂s/∂zₖ = s (1 − s)/K ∂log wₖ/∂zₖ, it is (1 − s)/K times the path, and the score has
    a minus sign. Therefore the path is weighed by 1 − (1 − s)/K.

    References
    ----------
    G. Roeder, Y. Wu and D. Duvenaud, 2017. Sticking the landing: simple,
    lower-variance gradient estimators for variational inference.

    Examples
    --------
    >>> from skvae import StickingTheLanding, VAEDensity
    >>> VAEDensity(objective=StickingTheLanding())
    VAEDensity(objective=StickingTheLanding())
    """

    alias = "stl"
    path_gradient = True

    def __init__(self, n_samples: int = 1) -> None:
        self.n_samples = n_samples

    def n_draws(self, progress: float) -> int:
        """Return `n_samples`."""
        return positive_int(self.n_samples, "n_samples of StickingTheLanding")

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return the mean of log w, its path gradient weighed as in the Notes."""
        bound = draw.log_w.mean(0)
        weigh_path_of_mean(draw, bound, beta=1.0)
        return bound
