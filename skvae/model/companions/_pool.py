"""A mixture of companions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skvae.model.cells import MixtureCells
from skvae.model.companions._base import Companion
from skvae.model.companions._kernels import KernelDensity
from skvae.model.companions._mixtures import GaussianMixture
from skvae.model.companions._rows import BlockScorer, draw_modes, in_row_blocks
from skvae.model.missing import choose, incomplete_rows, uniforms

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

    @property
    def by_pattern(self) -> bool:
        """Whether one of the parts needs a scorer for each pattern."""
        return any(part.by_pattern for part in self._companions())

    def complete_scorer(self) -> BlockScorer:
        """Return the log-density of the mixture."""
        both = self._scorer_with_broad(None)
        return lambda rows: both(rows)[0]

    def marginal_scorer(self, observed: Tensor) -> BlockScorer:
        """Return the log-density of the mixture for the observed columns."""
        both = self._scorer_with_broad(observed)
        return lambda rows: both(rows)[0]

    def log_prob_and_broad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-density, and the log of what the broad part adds to it."""
        both = in_row_blocks(self._scorer_with_broad, x, self.by_pattern)
        log_prob, broad = both
        has_cells = ~x.isnan().all(1)
        return log_prob.where(has_cells, 0.0), broad.where(
            has_cells, self.log_weight[0]
        )

    def _scorer_with_broad(self, observed: Tensor | None) -> BlockScorer:
        """Return a function that returns both, stacked."""
        scorers = [part.scorer(observed) for part in self._companions()]

        def of_block(rows: Tensor) -> Tensor:
            log_p = torch.stack([scorer(rows) for scorer in scorers])
            log_joint = log_p + self.log_weight[:, None]
            return torch.stack([log_joint.logsumexp(0), log_joint[0]])

        return of_block

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a part for each row, and the missing cells from it."""
        rows = incomplete_rows(x)
        own = [generators[row] for row in rows.tolist()]
        completed = x.clone()
        if not own:
            return completed
        which = choose(self._log_joint(x[rows]), uniforms(own, 1).squeeze(1))
        for i, part in enumerate(self._companions()):
            chosen = (which == i).nonzero().squeeze(1)
            if len(chosen):
                some = [own[row] for row in chosen.tolist()]
                completed[rows[chosen]] = part.complete(x[rows[chosen]], some)
        return completed

    def cell(self, x: Tensor, column: int) -> MixtureCells:
        """Return the mixture of the parts' conditional distributions."""
        others = x.clone()
        others[:, column] = torch.nan
        parts = [part.cell(x, column) for part in self._companions()]
        return MixtureCells(self._log_joint(others).log_softmax(1), parts)

    def gaussian_modes(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return the modes of all mixtures of Gaussians among the parts, as one.

        Returns
        -------
        log_weight : Tensor of shape (M,)
            Their exponentials sum to one.
        mean : Tensor of shape (M, D)
            Means.
        tril : Tensor of shape (M, D, D)
            Cholesky factors of the covariances. None instead of all three if there is
            no such part.
        """
        parts = [
            (part.log_weight + own, part.mean, part.tril)
            for part, own in zip(self._companions(), self.log_weight, strict=True)
            if isinstance(part, GaussianMixture)
        ]
        if not parts:
            return None
        log_weight, mean, tril = (torch.cat(some) for some in zip(*parts, strict=True))
        return log_weight.log_softmax(0), mean, tril

    def _log_joint(self, x: Tensor) -> Tensor:
        """Return log-weight plus log-density of rows (B, D) under each part, (B, M)."""
        log_p = [part.log_prob(x) for part in self._companions()]
        return torch.stack(log_p, 1) + self.log_weight

    def _companions(self) -> list[Companion]:
        return list(self.parts)  # type: ignore[arg-type]

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw a part for each row, and the row from it."""
        choice = draw_modes(self.log_weight, n_samples, generator)
        drawn = [part.sample(n_samples, generator) for part in self._companions()]
        return torch.stack(drawn)[choice, torch.arange(n_samples)]
