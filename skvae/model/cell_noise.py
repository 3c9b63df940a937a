"""What missing cells are drawn by."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from skvae.model.likelihoods import LikelihoodModule

__all__ = ["CellNoise", "GeneratorPerRow", "OneGenerator"]


class CellNoise(Protocol):
    """A source of draws of cells from a likelihood."""

    def draw(self, likelihood: LikelihoodModule, raw: Tensor, rows: Tensor) -> Tensor:
        """Return cells (K, b, D), given raw parameters (K, b, P, D).

        Parameters
        ----------
        likelihood : LikelihoodModule
            What the parameters belong to.
        raw : Tensor of shape (K, b, P, D)
            K sets of parameters for each of some rows.
        rows : Tensor of int of shape (b,)
            Numbers of these rows among those of the block.
        """


@dataclass(frozen=True)
class OneGenerator:
    """One generator for all rows, as in training."""

    generator: torch.Generator

    def draw(self, likelihood: LikelihoodModule, raw: Tensor, rows: Tensor) -> Tensor:
        """Draw all rows at once."""
        return likelihood.sample(raw, self.generator)


@dataclass
class GeneratorPerRow:
    """A generator for every row, so that its draws do not depend on the others.

    Attributes
    ----------
    make : callable
        Returns the generators of all rows of the block. It is called when the first
        cell is drawn: most blocks have no missing cells.

    Notes
    -----
    The generators are on the CPU, and so are the draws, whatever the device of the
    parameters: a row gets the same ones on every device.
    """

    make: Callable[[], Sequence[torch.Generator]]
    _generators: Sequence[torch.Generator] = ()
    _here: LikelihoodModule | None = None

    def draw(self, likelihood: LikelihoodModule, raw: Tensor, rows: Tensor) -> Tensor:
        """Draw row by row."""
        if not self._generators:
            self._generators = self.make()
        if self._here is None:
            here = raw.is_cpu
            self._here = likelihood if here else copy.deepcopy(likelihood).cpu()
        of_rows = raw.cpu()
        drawn = [
            self._here.sample(of_rows[:, place], self._generators[row])
            for place, row in enumerate(rows.tolist())
        ]
        return torch.stack(drawn, 1).to(raw.device)
