"""A mixture of companions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skvae.model.companions._base import Companion
from skvae.model.companions._kernels import KernelDensity

__all__ = ["CompanionPool"]


class CompanionPool(Companion):
    """A mixture of companions with given weights.

    Parameters
    ----------
    parts : sequence of M Companion
        The companions. The first is broad: it takes the rows far from all others.
    log_weight : Tensor of shape (M,)
        Log-weights; they sum to one.
    """

    log_weight: Tensor

    def __init__(self, parts: Sequence[Companion], log_weight: Tensor) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.register_buffer("log_weight", log_weight)

    @classmethod
    def of(cls, parts: Sequence[Companion], weight: Tensor) -> "CompanionPool":
        """Return a mixture in which all kernels around the same rows are one part."""
        kernels = [j for j, part in enumerate(parts) if isinstance(part, KernelDensity)]
        others = [j for j in range(len(parts)) if j not in kernels]
        members, weights = [parts[j] for j in others], [weight[others]]
        if kernels:
            members.append(
                KernelDensity.joined([parts[j] for j in kernels], weight[kernels])
            )
            weights.append(weight[kernels].sum()[None])
        return cls(members, torch.cat(weights).log())

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of the mixture."""
        return self.log_prob_and_broad(x)[0]

    def log_prob_and_broad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-density, and the log of what the broad part adds to it."""
        log_p = [part.log_prob(x) for part in self.parts]
        log_joint = torch.stack(log_p) + self.log_weight[:, None]
        return log_joint.logsumexp(0), log_joint[0]

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw a part for each row, and the row from it."""
        choice = torch.multinomial(
            self.log_weight.exp(), n_samples, replacement=True, generator=generator
        )
        drawn = [part.sample(n_samples, generator) for part in self.parts]
        return torch.stack(drawn)[choice, torch.arange(n_samples)]
