"""The network of one level of latents, which reads the level above it."""

import math

import torch
from torch import Tensor, nn

from skvae.model.networks.skip_mlp import SkipMLP

__all__ = ["LevelModule"]

SCALE_FLOOR = 1e-2  # of a latent, whose standard deviation is about one
MAX_LOG_SCALE = 4.0


class LevelModule(nn.Module):
    r"""The latents of one level given those of the level above.

    .. math:: p(z_l \mid z_{l+1}) = N(\mu(z_{l+1}), \operatorname{diag}
              \sigma^2(z_{l+1}))

    It starts at N(0, I) for every value of the latents above. There is no dropout:
    encoder and prior both evaluate this network, and have to get the same values.

    Parameters
    ----------
    n_above, n_latents : int
        Numbers of latents of the two levels.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers.
    generator : torch.Generator
        Source of the first weights.
    """

    def __init__(
        self,
        n_above: int,
        n_latents: int,
        hidden_layer_sizes: tuple[int, ...],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_latents = n_latents
        self.network = SkipMLP(
            n_above, hidden_layer_sizes, 2 * n_latents, n_latents, 0.0, generator
        )
        # At first, the standard deviation exp(bias) + floor is one.
        with torch.no_grad():
            self.network.bias[n_latents:].fill_(math.log(1 - SCALE_FLOOR))

    def forward(self, above: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (K, B, L) each, given (K, B, above)."""
        mean, log_scale = self.network(above).chunk(2, -1)
        return mean, log_scale.clamp(max=MAX_LOG_SCALE).exp() + SCALE_FLOOR
