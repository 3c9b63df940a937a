"""Which cells look wrong: each of them given the rest of its row."""

import numpy as np
import torch
from torch import Tensor

from skvae.model.cells import CellDistribution
from skvae.queries.cells import cell_of
from skvae.scoring.conditionals import ConditionalRows
from skvae.scoring.reader import RowReader
from skvae.typing import Array

__all__ = ["surprise_of_cells"]

SAME = 1e-9  # nats, between masses that are equal


def surprise_of_cells(reader: RowReader, table: Array) -> tuple[Array, Array, Array]:
    """Return surprise, expected value and tail probability of every cell, (n, D) each.

    Parameters
    ----------
    reader : RowReader
        The fitted model.
    table : ndarray of shape (n, columns)
        Rows, in the units of the input; missing cells are NaN.
    """
    n_features = reader.model.n_features
    answers = np.empty((3, len(table), n_features))
    for column in range(n_features):
        answers[:, :, column] = _of_column(reader, table, column)
    surprise, expected, tail = answers
    missing = np.isnan(table[:, :n_features])
    surprise[missing] = tail[missing] = np.nan
    return surprise, expected, tail


def _of_column(reader: RowReader, table: Array, column: int) -> Array:
    """Return the three answers for a column, (3, n)."""
    asked = table.copy()
    asked[:, column] = np.nan
    values = torch.from_numpy(np.nan_to_num(table[:, column]))[:, None]

    def question(rows: ConditionalRows) -> tuple[Tensor]:
        cell, own = cell_of(rows, column), values[rows.numbers]
        log_p = cell.log_prob(own)[:, 0]
        tail = _tail(cell, own, log_p)
        return (torch.stack([-log_p, cell.centre(), tail], 1),)

    (answer,) = reader.ask(asked, 0, question)
    return answer.T


def _tail(cell: CellDistribution, t: Tensor, log_p: Tensor) -> Tensor:
    """Return the probability of values at least as far out as t (B, 1), shape (B,)."""
    log_mass = cell.log_mass()
    if log_mass is not None:
        as_rare = log_mass <= log_p[:, None] + SAME
        # A category that `fit` has not seen is none of these values.
        unseen = t[:, 0] >= log_mass.shape[1]
        own = log_p.exp().where(unseen, 0.0)
        return log_mass.exp().where(as_rare, 0.0).sum(1) + own
    below = cell.cdf(t)
    # A count may equal t.
    above = 1 - (cell.cdf(t - 1) if cell.is_whole else below)
    return (2 * torch.minimum(below, above)).clamp(max=1)[:, 0]
