"""The posterior of codes, where they are too many for a sum."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import SlotDistribution
from skvae.model.networks import SkipMLP, SlotTables
from skvae.model.posteriors._base import PosteriorModule

__all__ = ["CodePosteriorModule"]


class CodeVectors(Protocol):
    """Who has the vectors (M, C, L / M) and log-odds (M, C) of the codes."""

    codes: nn.Parameter
    bias: nn.Parameter


class CodePosteriorModule(PosteriorModule):
    r"""Logits of all codes by a network of the row, and of pairs of codes by tables.

    .. math:: q(c \mid x) = \prod_m \operatorname{softmax}\Bigl(a_m(x)
              + \sum_{l<m} T_{lm}[c_l]\Bigr)_{c_m}

    Where rows are linear functions of the codes' vectors and Gaussian noise,
    log p(x, c) is a sum of functions of the row and a code and of functions of two
    codes.

    Parameters
    ----------
    n_codes, n_slots : int
        Numbers of codes of a slot, C, and of slots, M.
    context : BuildContext
        Of the model.
    sizes : tuple of int
        Widths of the network's hidden layers.
    """

    def __init__(
        self, n_codes: int, n_slots: int, context: BuildContext, sizes: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.shape = n_slots, n_codes
        self.network = SkipMLP(
            context.n_inputs,
            sizes,
            n_slots * n_codes,
            n_slots * n_codes,
            context.dropout,
            context.generator,
        )
        self.tables = SlotTables(n_codes, n_slots)
        # torch registers no module that is in a tuple: the vectors are the prior's.
        self._owner: tuple[CodeVectors, ...] = ()

    def follow(self, owner: CodeVectors) -> None:
        """Remember whose codes they are."""
        self._owner = (owner,)

    def forward(self, features: Tensor) -> SlotDistribution:
        """Return q(z | x)."""
        (owner,) = self._owner
        logits = self.network(features).unflatten(-1, self.shape)
        return SlotDistribution(owner.codes, logits, self.tables())

    @torch.no_grad()
    def copy_code(self, slot: int, source: int, target: int) -> None:
        """Let a code of a slot share equally in the mass of another."""
        old, new = (slot * self.shape[1] + code for code in (source, target))
        self.network.bias[old] -= math.log(2)
        for weight in (self.network.skip, self.network.bias, self.network.output):
            if weight is not None:
                weight[new] = weight[old]
        self.tables.copy_code(slot, source, target)

    def initialise(self, start: LinearStart) -> None:
        """Move to the codes near the start's encoder, by its own width."""
        (owner,) = self._owner
        precision = torch.linalg.inv(start.encoder_tril @ start.encoder_tril.T)
        width = owner.codes.shape[-1]
        with torch.no_grad():
            for m, (codes, bias) in enumerate(
                zip(owner.codes, owner.bias, strict=True)
            ):
                own = slice(m * width, (m + 1) * width)
                natural = codes @ precision[own, own]
                place = slice(m * self.shape[1], (m + 1) * self.shape[1])
                self.network.skip[place] = natural @ start.encoder_weight[own]
                linear = natural @ start.encoder_bias[own]
                self.network.bias[place] = (
                    bias + linear - 0.5 * (natural * codes).sum(1)
                )
