"""The missing cells of rows, filled in: by what is expected, or by draws."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skvae.evidence import seeds_of_repetitions
from skvae.model.cells import CellDistribution
from skvae.model.memory import check_memory
from skvae.queries.cells import (
    MappedCells,
    beside_closed_form,
    cell_of,
    drawn_cell,
)
from skvae.scoring.conditionals import ConditionalRows
from skvae.scoring.reader import RowReader
from skvae.typing import Array, Index

__all__ = ["DRAWS_OF_MEANS", "draw_cells", "expected_cells"]

# How many latents of each row, and how many of them have to count: where a table is
# filled in by draws, and where by means, of which more would be no closer to the truth.
DRAWS, DRAWS_OF_MEANS = (256, 0.125), (128, 0.5)
AT_ONCE = 256  # rows
# Of a row's density: a companion with less has no say in what is expected.
MINDED_SHARE = 0.1


def expected_cells(
    reader: RowReader, table: Array, draws: tuple[int, float] | tuple[()] = ()
) -> Array:
    """Return rows whose missing cells are what is expected of them.

    That is the mean of a real column, the most probable of finitely many values, and
    the median of a count.

    Parameters
    ----------
    reader : RowReader
        The fitted model.
    table : ndarray of shape (n, columns)
        Rows, in the units of the input; missing cells are NaN.
    draws : tuple of int and float, default=()
        `n_draws` and `enough` of `RowReader.ask`, if not its own.

    Returns
    -------
    filled : ndarray of shape (n, D)
        Observed cells are as they were.
    """
    n_features = reader.model.n_features
    filled = table[:, :n_features].copy()
    missing = np.isnan(filled)
    rows = np.flatnonzero(missing.any(1))
    if not len(rows):
        return filled
    answers = reader.ask(table[rows], 0, _centres, *draws)
    share, centres = answers[0], answers[1:]
    for column in np.flatnonzero(missing.any(0)).tolist():
        of_column = missing[rows, column]
        found = centres[column][of_column]
        minded = np.flatnonzero(share[of_column] >= MINDED_SHARE)
        if len(minded):
            chosen = rows[of_column][minded]
            theirs = _centres_of_companion(reader, table[chosen], column)
            weight = share[of_column][minded, None]
            found[minded] = (1 - weight) * found[minded] + weight * theirs
        values = found.argmax(1) if found.shape[1] > 1 else found[:, 0]
        filled[rows[of_column], column] = values
    return filled


def draw_cells(reader: RowReader, table: Array, n_draws: int, seed: int) -> Array:
    """Return rows whose missing cells are drawn from p(missing | observed).

    Parameters
    ----------
    reader, table
        As for `expected_cells`.
    n_draws : int
        How often each row is filled in.
    seed : int
        Each has draws of its own.

    Returns
    -------
    filled : ndarray of shape (n_draws, n, D)
        Observed cells are as they were. Equal rows get draws of their own.
    """
    n_features = reader.model.n_features
    check_memory(
        8 * n_draws * len(table) * n_features, f"{n_draws} draws of {len(table)} rows"
    )
    filled = np.repeat(table[None, :, :n_features], n_draws, axis=0)
    missing = np.isnan(filled[0])
    rows = np.flatnonzero(missing.any(1))
    if len(rows):

        def question(asked: ConditionalRows) -> tuple[Tensor, Tensor, Tensor]:
            return _drawn(asked, n_draws)

        seeds = seeds_of_repetitions(table[rows], seed)
        drawn, is_companions, own_seed = reader.ask(
            table[rows], seeds, question, *DRAWS
        )
        place, draw = np.nonzero(is_companions)
        if len(place):
            theirs = _completed(reader, table[rows[place]], own_seed[place, draw])
            drawn[place, draw] = theirs
        chosen = np.where(missing[rows], np.moveaxis(drawn, 1, 0), filled[:, rows])
        filled[:, rows] = chosen
    return filled


def _completed(reader: RowReader, table: Array, seeds: Array) -> Array:
    """Return rows completed by the companion, each by a seed of its own."""
    companion = reader.companion
    assert companion is not None
    return _in_parts(
        table,
        lambda rows: companion.complete(
            table[rows], [torch.Generator().manual_seed(int(s)) for s in seeds[rows]]
        ),
    )


def _in_parts(table: Array, function: Callable[[Index], Array]) -> Array:
    """Apply a function of row numbers to some at a time, and join what it returns.

    Rows that lack the same cells are cheaper together.
    """
    order = np.lexsort(np.isnan(table).T)
    parts = [function(o) for o in np.split(order, range(AT_ONCE, len(order), AT_ONCE))]
    return np.concatenate(parts)[np.argsort(order)]


def _centres(rows: ConditionalRows) -> tuple[Tensor, ...]:
    """Return the companion's share, and what the model expects in every column.

    That is the mean or the median, (B, 1), or the masses of the values, (B, V).
    """
    missing, alone = rows.missing, rows.without_companion()
    answers = [rows.shares()[2].double()]
    for column in range(missing.shape[1]):
        n_values = rows.n_values(column)
        width = 1 if n_values is None else n_values
        centre = torch.full((len(missing), width), torch.nan, dtype=torch.float64)
        if missing[:, column].any():
            centre = _centre(_quick_cell(alone, column))
        answers.append(centre)
    return tuple(answers)


def _quick_cell(rows: ConditionalRows, column: int) -> CellDistribution:
    """Return the distribution of a cell, by draws where trying values takes long."""
    if rows.model.decoder.order is None or rows.completed is not None:
        return cell_of(rows, column)
    return beside_closed_form(rows, column, drawn_cell(rows, column))


def _centre(cell: CellDistribution) -> Tensor:
    log_mass = cell.log_mass()
    return cell.centre().double()[:, None] if log_mass is None else log_mass.exp()


def _centres_of_companion(reader: RowReader, table: Array, column: int) -> Array:
    """Return what the companion expects of a cell of rows, as `_centre` has it."""
    companion = reader.companion
    assert companion is not None
    own = companion.columns.column(column)

    def centres(rows: Index) -> Array:
        return _centre(MappedCells(companion.cell(table[rows], column), own)).numpy()

    return _in_parts(table, centres)


def _drawn(rows: ConditionalRows, n_draws: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the part that each filled row comes from, and the row from this part.

    Returns
    -------
    filled : Tensor of shape (B, n_draws, D)
        In the units of the table.
    is_companions : Tensor of bool of shape (B, n_draws)
        Where the row is still to be drawn from the companion.
    seed : Tensor of int of shape (B, n_draws)
        By which.
    """
    model, draws = rows.model, rows.draws
    index = draws.resampled(n_draws)[..., None]
    if rows.completed is not None:
        filled = rows.completed.take_along_dim(index, 0)
    elif model.decoder.order is None:
        z, cells = draws.z.take_along_dim(index, 0), draws.noise.stream(3).cells()
        filled = rows.to_table(model.fill_in(rows.x, z, cells))
    else:
        filled = rows.to_table(rows.filled.take_along_dim(index, 0))
    uniform = draws.noise.stream(4).uniform(0, n_draws, 1)[..., 0]
    part = (uniform > rows.shares().cumsum(0)[:, None]).sum(0).clamp(max=2)
    streams = [draws.noise.stream(6 + draw) for draw in range(n_draws)]
    for draw, (of_rows, noise) in enumerate(zip(part, streams, strict=True)):
        some = (of_rows == 1).nonzero().flatten()
        if len(some):
            own = noise[some].generators()
            filled[draw, some] = rows.by_background(some, own)
    seeds = np.stack([noise.key >> np.uint64(1) for noise in streams], 1)
    seed = torch.from_numpy(seeds.astype(np.int64))
    return filled.transpose(0, 1), (part == 2).T, seed
