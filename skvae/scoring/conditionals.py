"""Rows with missing cells, and all that is known of what is missing."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.evidence import PosteriorDraws
from skvae.model import VAE, ClosedFormPart
from skvae.tables.columns import RowMap
from skvae.tables.companion import CompanionDensity
from skvae.typing import Array

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
    table : ndarray of shape (B, columns)
        Rows, in the units of the input; missing cells are NaN.
    x : Tensor of shape (B, columns)
        The same in model units.
    draws : PosteriorDraws
        Weighted latents.
    closed_form : ClosedFormPart
        Of these rows.
    """

    model: VAE
    columns: RowMap
    companion: CompanionDensity | None
    table: Array
    x: Tensor
    draws: PosteriorDraws
    closed_form: ClosedFormPart

    @property
    def missing(self) -> Tensor:
        """Which cells (B, D) have to be asked for."""
        return self.x[:, : self.model.n_features].isnan()

    def shares(self) -> Tensor:
        """Return the shares of latent part, background and companion, (3, B)."""
        return self.closed_form.shares(self.draws.log_evidence)

    def generators(self, number: int) -> list[torch.Generator]:
        """Return a generator for each row, for one use of many."""
        return self.draws.noise.generators(number)
