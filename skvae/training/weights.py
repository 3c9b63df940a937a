"""Which weights of a model are trained in a way of their own."""

from torch import nn

from skvae.model import VAE
from skvae.model.networks import Critic, Network

__all__ = ["critic_weights", "decayed_weights"]


def decayed_weights(model: nn.Module) -> set[nn.Parameter]:
    """Return the weight matrices of a model's networks."""
    return {
        parameter
        for network in model.modules()
        if isinstance(network, Network)
        for parameter in network.decayed()
    }


def critic_weights(model: VAE) -> set[nn.Parameter]:
    """Return the weights that get the gradient of a critic's loss, not the bound's."""
    if model.encoder_is_exact:
        return set()
    return {
        parameter
        for critic in model.modules()
        if isinstance(critic, Critic)
        for parameter in critic.parameters()
    }
