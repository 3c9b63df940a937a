"""The record that crosses from the model to training and to evidence."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from skvae.model.closed_form import ClosedFormPart
from skvae.model.distributions import LatentDistribution

__all__ = ["Aggregate", "LatentDraw"]


@dataclass(frozen=True)
class Aggregate:
    r"""The latents of a batch as one sample, of the aggregate posterior.

    .. math:: q(z) = \frac{1}{B} \sum_b q(z \mid x_b)

    Attributes
    ----------
    encoder : LatentDistribution
        q(z | x) of the B rows.
    z : Tensor of shape (B, L)
        One latent of each row, drawn from the encoder, and not one of those whose
        weights make the bound.
    prior_z : Tensor of shape (B, L)
        As many draws from the prior, out of reach of gradients.
    """

    encoder: LatentDistribution
    z: Tensor
    prior_z: Tensor

    @classmethod
    def drawn(
        cls,
        encoder: LatentDistribution,
        prior: LatentDistribution,
        generator: torch.Generator,
    ) -> "Aggregate":
        """Draw the latents by a generator.

        Parameters
        ----------
        encoder, prior : LatentDistribution
            q(z | x) of the B rows, and p(z).
        generator : torch.Generator
            Source of randomness.
        """
        like = encoder.mean

        def draw(latents: LatentDistribution) -> Tensor:
            noise = like.new_empty(1, len(like), latents.noise_dim)
            return latents.rsample(noise.normal_(generator=generator))[0].squeeze(0)

        z = draw(encoder)
        with torch.no_grad():
            return cls(encoder, z, draw(prior))

    def log_q_z(self) -> Tensor:
        """Return log q(z_i | x_j) for every pair, (B, B), latents along the first."""
        return self.encoder.log_prob(self.z[:, None].expand(-1, len(self.z), -1))


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
    path_gradient : bool
        Whether gradients of log q(z | x) reach the encoder through the latents alone.
    critic_loss : Tensor of shape () or None
        What a critic minimises, if `log_q_z` is its estimate. Weights are estimates,
        too, then, and their mean bounds nothing.
    aggregate : Aggregate or None
        The batch as a whole, for objectives that ask for it.
    """

    z: Tensor
    log_p_x: Tensor
    log_p_z: Tensor
    log_q_z: Tensor
    kl: Tensor | None = None
    closed_form: ClosedFormPart = field(default_factory=ClosedFormPart)
    path_gradient: bool = False
    critic_loss: Tensor | None = None
    aggregate: Aggregate | None = None

    @property
    def log_w(self) -> Tensor:
        """Log importance weights, shape (K, B)."""
        return self.log_p_x + self.log_p_z - self.log_q_z

    @property
    def log_mean_w(self) -> Tensor:
        """Log of the mean weight, shape (B,): the importance-weighted bound."""
        return self.log_w.logsumexp(0) - math.log(self.log_p_x.shape[0])
