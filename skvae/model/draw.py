"""The record that crosses from the model to training and to evidence."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from skvae.model.closed_form import ClosedFormPart

__all__ = ["LatentDraw"]


@dataclass(frozen=True)
class LatentDraw:
    r"""K latents for each of B rows, with the log-densities that weigh them.

    The importance weight of a draw is
    :math:`\log w = \log p(x \mid z) + \log p(z) - \log q(z \mid x)`; its mean over
    K on the natural scale estimates p(x) without bias.

    Attributes
    ----------
    z : Tensor of shape (K, B, L)
        Latents, drawn from the proposal.
    log_p_x : Tensor of shape (K, B)
        Log-likelihood log p(x | z), nats, in model units.
    log_p_z : Tensor of shape (K, B)
        Log-prior log p(z).
    log_q_z : Tensor of shape (K, B)
        Log-density of the proposal.
    kl : Tensor of shape (B,) or None
        Closed-form KL(q(z | x) ‖ p(z)) where there is one.
    closed_form : ClosedFormPart
        The part of p(x) that needs no latents, for the B rows.
    """

    z: Tensor
    log_p_x: Tensor
    log_p_z: Tensor
    log_q_z: Tensor
    kl: Tensor | None = None
    closed_form: ClosedFormPart = field(default_factory=ClosedFormPart)

    @property
    def log_w(self) -> Tensor:
        """Log importance weights, shape (K, B)."""
        return self.log_p_x + self.log_p_z - self.log_q_z

    @property
    def log_mean_w(self) -> Tensor:
        """Log of the mean weight, shape (B,): the importance-weighted bound."""
        return self.log_w.logsumexp(0) - math.log(self.log_p_x.shape[0])
