"""The parameters of a model as one vector."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from skvae.training.parallel import Parallel

__all__ = ["FlatParameters"]


class FlatParameters:
    """Trained parameters of a model as views of one vector.

    A small model has many small tensors. Norm, clipping and optimiser would call at
    least one operation for each tensor, and these calls would take a good part of a
    training step. On one vector, each is a single operation or two.

    Parameters
    ----------
    parameters : iterable of nn.Parameter
        The parameters. Those that are trained are changed in place: they become views
        of the vector, in the dtype of the first of them.
    is_decayed : callable
        Returns whether weight decay applies to a parameter.

    Attributes
    ----------
    decayed : nn.Parameter
        The first part of the vector, to which weight decay applies.
    others : nn.Parameter
        The second part, without weight decay.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        is_decayed: Callable[[nn.Parameter], bool],
    ) -> None:
        trained = [p for p in parameters if p.requires_grad]
        self.parameters = sorted(trained, key=is_decayed, reverse=True)
        sizes = [p.numel() for p in self.parameters]
        n_decayed = sum(p.numel() for p in trained if is_decayed(p))
        values = torch.cat([p.detach().flatten() for p in self.parameters])
        values = values.to(self.parameters[0].dtype)
        for parameter, part in zip(self.parameters, values.split(sizes), strict=True):
            parameter.data = part.view_as(parameter)
        self.decayed = nn.Parameter(values[:n_decayed])
        self.others = nn.Parameter(values[n_decayed:])

    def set_gradient(
        self,
        loss: Tensor,
        clip_norm: float,
        processes: Parallel | None = None,
        shared: Tensor | None = None,
    ) -> Tensor:
        """Set the gradients of both parts to that of a loss, clipped.

        Parameters
        ----------
        loss : Tensor of shape ()
            The loss.
        clip_norm : float
            Largest norm of the gradient; a larger one is scaled down.
        processes : Parallel, default=None
            Processes whose mean gradient it is.
        shared : Tensor, default=None
            Numbers that become their mean over all processes, too, in place: one
            message takes less time than two.

        Returns
        -------
        norm : Tensor of shape ()
            Norm of the gradient before clipping.
        """
        parts = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        gradient = torch.cat([part.flatten() for part in parts])
        if processes is not None and processes.size > 1:
            message = [gradient] if shared is None else [gradient, shared.to(gradient)]
            mean = torch.cat(message)
            processes.average(mean)
            gradient, rest = mean.tensor_split((len(gradient),))
            if shared is not None:
                shared.copy_(rest)
        norm = gradient.norm()
        gradient.mul_((clip_norm / (norm + 1e-6)).clamp(max=1))
        n_decayed = self.decayed.numel()
        self.decayed.grad, self.others.grad = gradient.tensor_split((n_decayed,))
        return norm
