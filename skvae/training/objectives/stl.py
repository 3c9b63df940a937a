"""The evidence lower bound with path gradients."""

from torch import Tensor

from skvae.model import LatentDraw
from skvae.model.spec import positive_int
from skvae.training.objectives._base import ObjectiveSpec

__all__ = ["StickingTheLanding"]


class StickingTheLanding(ObjectiveSpec):
    r"""Evidence lower bound whose gradient leaves out the score of the encoder.

    .. math:: \nabla_\phi \mathcal{L} = E\, \frac{\partial \log w}{\partial z}
              \frac{\partial z}{\partial \phi}, \qquad
              w = \frac{p(x \mid z)\, p(z)}{q(z \mid x)}

    The same bound as the ELBO's, and the same gradients in expectation: what is left
    out, ∂log q(z | x)/∂φ at fixed z, has mean zero. Where the encoder is the
    posterior, log w does not depend on z, and its gradient has no noise at all.

    Parameters
    ----------
    n_samples : int, default=1
        Draws per row over which the expectation is averaged, K.

    Notes
    -----
    Beside a background the score is not free of bias: it is multiplied by the latent
    part's share s of the row, which depends on z. From
    ∂s/∂zₖ = s (1 − s)/K · ∂log wₖ/∂zₖ its mean is (1 − s)/K times the path, so that
    the path counts 1 − (1 − s)/K times.

    References
    ----------
    G. Roeder, Y. Wu and D. Duvenaud, 2017. Sticking the landing: simple,
    lower-variance gradient estimators for variational inference.
    """

    alias = "stl"
    path_gradient = True

    def __init__(self, n_samples: int = 1) -> None:
        self.n_samples = n_samples

    def n_draws(self, progress: float) -> int:
        """Return `n_samples`."""
        return positive_int(self.n_samples, "n_samples of StickingTheLanding")

    def bound(self, draw: LatentDraw, progress: float) -> Tensor:
        """Return the mean of log w."""
        bound = draw.log_w.mean(0)
        if draw.z.requires_grad and draw.closed_form.log_odds is not None:
            share = draw.closed_form.latent_share(bound.detach())
            weight = (1 - (1 - share) / len(draw.log_w)).unsqueeze(-1)
            draw.z.register_hook(lambda gradient: weight * gradient)
        return bound
