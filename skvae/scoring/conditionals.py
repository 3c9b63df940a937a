"""Rows with missing cells, and all that is known of what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from skvae.evidence import PosteriorDraws
from skvae.model import VAE, ClosedFormPart
from skvae.tables.columns import RowMap
from skvae.tables.companion import CompanionDensity
from skvae.typing import Array, Index

__all__ = ["ConditionalRows"]


@dataclass(frozen=True)
class ConditionalRows:
    r"""p(missing | observed) of B rows, as a mixture of three.

    .. math:: p(m \mid o) = \sum_k \tilde w_k\, p(m \mid o, z_k)\, s_{\mathrm{latent}}
              + p_0(m \mid o)\, s_0 + p_c(m \mid o)\, s_c

    with weighted draws z of the latents, the background p₀ and the companion p_c, and
    the share s that each of them has of p(o).

    Attributes
    ----------
    model : VAE
        In the precision of the draws.
    columns : RowMap
        Between table and model units.
    companion : CompanionDensity or None
        What shares p(x) with the model.
    numbers : ndarray of int of shape (B,)
        Which of the rows that were asked about they are.
    table : ndarray of shape (B, columns)
        Rows, in the units of the input; missing cells are NaN.
    x : Tensor of shape (B, columns)
        The same in model units; those of the input where there are completed rows.
    draws : PosteriorDraws
        Weighted latents.
    closed_form : ClosedFormPart
        Of these rows.
    completed : Tensor of shape (K, B, D) or None, default=None
        Completed rows that the weights belong to, in the units of the input: where the
        model's columns are sums over those of the table.
    """

    model: VAE
    columns: RowMap
    companion: CompanionDensity | None
    numbers: Index
    table: Array
    x: Tensor
    draws: PosteriorDraws
    closed_form: ClosedFormPart
    completed: Tensor | None = None

    @property
    def missing(self) -> Tensor:
        """Which cells (B, D) have to be asked for."""
        return self.x[:, : self.model.n_features].isnan()

    def n_values(self, column: int) -> int | None:
        """Return how many values a discrete column has; None for numbers and counts."""
        kind = self.columns.kinds[column]
        return {"binary": 2, "category": kind.n_values}.get(kind.support)

    def shares(self) -> Tensor:
        """Return the shares of latent part, background and companion, (3, B)."""
        return self.closed_form.shares(self.draws.log_evidence)

    def without_companion(self) -> "ConditionalRows":
        """Return the rows as the model has them alone."""
        own = self.closed_form.own()
        return replace(self, companion=None, closed_form=own)

    @cached_property
    def filled(self) -> Tensor:
        """Rows (K, B, columns) with missing cells drawn, in model units.

        Where the decoder reads columns: the cells that the weights belong to, and
        those after the last observed one.
        """
        cells = self.draws.cells()
        return self.model.fill_in(self.x, self.draws.z, cells, trailing=True)

    @cached_property
    def raw(self) -> Tensor:
        """Raw parameters (K, B, P, D) of the likelihood for all draws."""
        if self.model.decoder.order is None:
            raw = self.model.raw(self.x, self.draws.z)
            return raw.expand(-1, len(self.x), -1, -1)
        return self.model.raw_of_each(self.filled, self.draws.z)

    def to_table(self, u: Tensor) -> Tensor:
        """Return rows (..., columns) in the units of the table, (..., D), float64."""
        u = u[..., : self.model.n_features].double()
        table = self.columns.to_table(u.flatten(0, -2).cpu().numpy())
        return torch.from_numpy(table).view(u.shape)

    def by_background(
        self, rows: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Return some rows with missing cells drawn from the background, (b, D)."""
        assert self.model.background is not None
        x = self.x[rows, : self.model.n_features]
        return self.to_table(self.model.background.complete(x, generators))
