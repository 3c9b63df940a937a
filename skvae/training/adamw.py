"""The optimiser."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

__all__ = ["AdamW", "ParameterGroup"]


@dataclass(frozen=True)
class ParameterGroup:
    """A vector of parameters with a weight decay and a learning rate of its own.

    Attributes
    ----------
    parameter : nn.Parameter
        The vector.
    weight_decay : float
        Decoupled weight decay.
    rate_factor : float
        By which the common learning rate is multiplied.
    """

    parameter: nn.Parameter
    weight_decay: float
    rate_factor: float = 1.0


class AdamW:
    """Adam with decoupled weight decay, of a few vectors of parameters.

    The step is torch's. Its class ``torch.optim.AdamW`` is not used: when the first
    object of the class is made, torch imports its compiler. That takes more than a
    second, and torch does not recover from a ^C meanwhile.

    Parameters
    ----------
    groups : tuple of ParameterGroup
        What is optimised.
    betas : tuple of two floats, default=(0.9, 0.99)
        Decay rates of the averages of gradients and of squared gradients.

    References
    ----------
    I. Loshchilov and F. Hutter, 2019. Decoupled weight decay regularization.
    """

    def __init__(
        self,
        groups: tuple[ParameterGroup, ...],
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        self.groups, self.betas = groups, betas
        self.state = [
            {
                "step": torch.zeros(
                    (), dtype=torch.float32, device=group.parameter.device
                ),
                "exp_avg": torch.zeros_like(group.parameter.detach()),
                "exp_avg_sq": torch.zeros_like(group.parameter.detach()),
            }
            for group in groups
        ]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters by their gradients."""
        for group, state in zip(self.groups, self.state, strict=True):
            assert group.parameter.grad is not None
            adamw(
                [group.parameter],
                [group.parameter.grad],
                [state["exp_avg"]],
                [state["exp_avg_sq"]],
                [],
                [state["step"]],
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=group.rate_factor * learning_rate,
                weight_decay=group.weight_decay,
                eps=1e-8,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the averages by the number of the group, as torch's optimisers do."""
        return {"state": dict(enumerate(self.state))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the averages of another optimiser of the same parameters."""
        for number, state in enumerate(self.state):
            saved: dict[str, Tensor] = state_dict["state"][number]
            for name, value in state.items():
                value.copy_(saved[name])
