"""Rows completed by draws, for fits that take complete rows only."""

from collections.abc import Sequence

import torch
from torch import Tensor

from skvae.model.companions._base import CompanionFit

__all__ = ["Completion", "row_generators"]


class Completion:
    """Missing cells, drawn from a density that is fitted to the same rows.

    Several fits to the same rows share it: the rows are completed once.

    Parameters
    ----------
    fit : CompanionFit
        Fits the density. It takes rows with missing cells.
    """

    def __init__(self, fit: CompanionFit) -> None:
        self.fit = fit
        self._last: tuple[Tensor, Tensor, list[Tensor]] | None = None

    def of(self, x: Tensor, weights: Tensor) -> Sequence[Tensor]:
        """Return the rows (n, D) that have a weight in each of F weightings, complete.

        Parameters
        ----------
        x : Tensor of shape (N, D)
            Rows; NaN where a cell is missing.
        weights : Tensor of shape (F, N)
            Weights of the rows. A row that has none is left out.
        """
        last = self._last
        if last is None or last[0] is not x or last[1] is not weights:
            completed = []
            for weight, companion in zip(
                weights, self.fit.fit(x, weights), strict=True
            ):
                rows = x[weight > 0]
                completed.append(companion.complete(rows, row_generators(len(rows))))
            last = self._last = x, weights, completed
        return last[2]


def row_generators(n_rows: int, first_seed: int = 0) -> list[torch.Generator]:
    """Return a generator for each of n_rows, with fixed seeds."""
    seeds = range(first_seed, first_seed + n_rows)
    return [torch.Generator().manual_seed(seed) for seed in seeds]
