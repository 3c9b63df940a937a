"""The record that crosses from the model to training and to evidence."""

from dataclasses import dataclass

from torch import Tensor

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
    """

    z: Tensor
    log_p_x: Tensor
    log_p_z: Tensor
    log_q_z: Tensor
    kl: Tensor | None = None

    @property
    def log_w(self) -> Tensor:
        """Log importance weights, shape (K, B)."""
        return self.log_p_x + self.log_p_z - self.log_q_z
