"""Critics: networks that are fitted to a loss of their own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skvae.model.networks.skip_mlp import SkipMLP

__all__ = ["Critic"]


class Critic(nn.Module):
    r"""Estimates how much denser draws are than a standard normal, given the row.

    .. math:: c(u, x) \approx \log \frac{q(u \mid x)}{N(u; 0, I)}

    A classifier that tells draws of q from those of N(0, I) has these log odds when its
    logistic loss is least. Training gives the parameters of critics the gradient of
    this loss, and of nothing else.

    The network reads u, its squares and the row, and starts at zero: its linear part
    alone can follow other means and variances.

    Parameters
    ----------
    n_latents : int
        Size of u, L.
    n_inputs : int
        Size of the row's features, F.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers.
    generator : torch.Generator
        Source of the first weights.

    References
    ----------
    I. Goodfellow et al., 2014. Generative adversarial nets.

    L. Mescheder, S. Nowozin and A. Geiger, 2017. Adversarial variational Bayes:
    unifying variational autoencoders and generative adversarial networks.
    """

    def __init__(
        self,
        n_latents: int,
        n_inputs: int,
        hidden_layer_sizes: tuple[int, ...],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.network = SkipMLP(
            2 * n_latents + n_inputs, hidden_layer_sizes, 1, 1, 0.0, generator
        )

    def forward(self, u: Tensor, features: Tensor) -> Tensor:
        """Return c for u (K, B, L) and features (B, F), shape (K, B)."""
        features = features.expand(*u.shape[:-1], -1)
        return self.network(torch.cat([u, u.square(), features], -1)).squeeze(-1)

    def loss(self, drawn: Tensor, reference: Tensor, features: Tensor) -> Tensor:
        """Return the mean logistic loss of telling draws of q from those of N(0, I).

        Parameters
        ----------
        drawn, reference : Tensor of shape (K, B, L)
            Draws of q(u | x), and of N(0, I).
        features : Tensor of shape (B, F)
            The rows' features.
        """
        # Together, because one call of a small network takes less time than two.
        odds = self(torch.cat([drawn, reference]), features)
        of_drawn, of_reference = odds.tensor_split([len(drawn)])
        return F.softplus(-of_drawn).mean() + F.softplus(of_reference).mean()
