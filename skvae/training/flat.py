"""The parameters of a model as one vector."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["FlatParameters"]


class FlatParameters:
    """All parameters of a model as views of one vector.

    A step of a small model spends a good part of its time on the many small tensors
    that it has. As one vector they take one operation each for the norm, the clipping
    and the optimiser.

    Parameters
    ----------
    model : nn.Module
        Its parameters move into the vector, in place, and take the dtype of the first.
    is_decayed : callable
        Says of a parameter whether it decays; those that do come first.

    Attributes
    ----------
    decayed, others : nn.Parameter
        The two parts of the vector, for an optimiser.
    """

    def __init__(
        self, model: nn.Module, is_decayed: Callable[[nn.Parameter], bool]
    ) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        self.parameters = sorted(trained, key=is_decayed, reverse=True)
        sizes = [p.numel() for p in self.parameters]
        n_decayed = sum(p.numel() for p in trained if is_decayed(p))
        values = torch.cat([p.detach().flatten() for p in self.parameters])
        values = values.to(self.parameters[0].dtype)
        for parameter, part in zip(self.parameters, values.split(sizes), strict=True):
            parameter.data = part.view_as(parameter)
        self.decayed = nn.Parameter(values[:n_decayed])
        self.others = nn.Parameter(values[n_decayed:])

    def set_gradient(self, loss: Tensor, clip_norm: float) -> Tensor:
        """Compute the gradient of a loss, clip its norm, and hand it to both parts.

        Parameters
        ----------
        loss : Tensor of shape ()
            What to differentiate.
        clip_norm : float
            Largest norm of the gradient.

        Returns
        -------
        norm : Tensor of shape ()
            The norm before clipping.
        """
        parts = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        gradient = torch.cat([part.flatten() for part in parts])
        norm = gradient.norm()
        gradient.mul_((clip_norm / (norm + 1e-6)).clamp(max=1))
        n_decayed = self.decayed.numel()
        self.decayed.grad, self.others.grad = gradient.tensor_split((n_decayed,))
        return norm
