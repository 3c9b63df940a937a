"""A mixture of companions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skvae.model.companions._base import BlockScorer, Companion
from skvae.model.companions._kernels import KernelDensity
from skvae.model.companions._rows import draw_modes, in_row_blocks

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
        is_kernel = torch.tensor([isinstance(part, KernelDensity) for part in parts])
        kernels = [part for part in parts if isinstance(part, KernelDensity)]
        members = [part for part in parts if not isinstance(part, KernelDensity)]
        weights = [weight[~is_kernel]]
        if kernels:
            members.append(KernelDensity.joined(kernels, weight[is_kernel]))
            weights.append(weight[is_kernel].sum()[None])
        return cls(members, torch.cat(weights).log())

    def scorer(self) -> BlockScorer:
        """Return the log-density of the mixture."""
        both = self._scorer_with_broad()
        return lambda rows: both(rows)[0]

    def log_prob_and_broad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-density, and the log of what the broad part adds to it."""
        log_prob, broad = in_row_blocks(self._scorer_with_broad(), x)
        return log_prob, broad

    def _scorer_with_broad(self) -> BlockScorer:
        """Return a function that returns both, stacked."""
        scorers = [part.scorer() for part in self._companions()]

        def of_block(rows: Tensor) -> Tensor:
            log_p = torch.stack([scorer(rows) for scorer in scorers])
            log_joint = log_p + self.log_weight[:, None]
            return torch.stack([log_joint.logsumexp(0), log_joint[0]])

        return of_block

    def _companions(self) -> list[Companion]:
        return list(self.parts)  # type: ignore[arg-type]

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw a part for each row, and the row from it."""
        choice = draw_modes(self.log_weight, n_samples, generator)
        drawn = [part.sample(n_samples, generator) for part in self._companions()]
        return torch.stack(drawn)[choice, torch.arange(n_samples)]
