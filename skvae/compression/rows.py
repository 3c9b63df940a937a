"""Rows of numbers as bits, and back.

A density is a mixture of a latent part, a background and a companion. To which of them
a row belongs is one more latent: it is drawn given the row, with bits of the stack, and
written under the weights of the parts. So is the vector of latents, for the rows of the
latent part, in groups one after the other: the bits that one group is drawn with are
those that the groups before have written.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skvae.compression.columns import (
    BackgroundColumns,
    ColumnLaws,
    CompanionColumns,
    LatentColumns,
    code_columns,
)
from skvae.compression.latents import LatentCoder, latent_coder, lattice_of
from skvae.compression.stack import BitStack, Channel, Codes, Flags, Popped, Tape
from skvae.evidence import RowNoise, posterior_and_bound, row_hash
from skvae.model.distributions import LatentDistribution
from skvae.scoring.reader import RowReader
from skvae.scoring.torch_state import reading_state
from skvae.tables.alphabets import Alphabet
from skvae.typing import Array, Mask

__all__ = ["CodedRows", "RowCoder"]

# Parts of a density, and what a row without an observed cell belongs to.
LATENT, BACKGROUND, COMPANION = range(3)
NOTHING = -1
LARGEST_GROUP = 64  # rows whose latents are drawn together
FIRST_BLOCK, LARGEST_BLOCK = 16, 2048  # rows whose parts are drawn together
AT_ONCE = 256  # rows of a part in closed form
BITS_OF_A_MODE = 6.0  # that drawing one may take

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class CodedRows:
    """Bits of some rows.

    Attributes
    ----------
    words : ndarray of uint32
        The bits.
    n_rows : int
        Number of rows.
    growth : float
        For how many rows one row's bits are enough to draw the latents.
    lattice : list of int
        Of the latents.
    checksum : int
        Of the rows.
    """

    words: NDArray[np.uint32]
    n_rows: int
    growth: float
    lattice: list[int]
    checksum: int


class RowCoder:
    """Codes rows by a fitted model.

    Parameters
    ----------
    reader : RowReader
        The model, on the CPU.
    alphabets : sequence of Alphabet
        The values of each column.
    missing : ndarray of shape (D,)
        Share of missing cells of each column; columns without one are complete.
    """

    def __init__(
        self, reader: RowReader, alphabets: Sequence[Alphabet], missing: Array
    ) -> None:
        self._reader, self._alphabets, self._missing = reader, alphabets, missing
        self._model = reader.model
        weight = {LATENT: 1.0}
        if self._model.background is not None:
            share = self._model.background.weight
            weight = {LATENT: 1 - share, BACKGROUND: share}
        if reader.companion is not None:
            share = reader.companion.weight
            weight = {part: (1 - share) * of_part for part, of_part in weight.items()}
            weight[COMPANION] = share
        # A part that is not there must have no symbol: every symbol can be drawn.
        self._parts = np.array(list(weight), dtype=np.int32)
        self._weight = np.array(list(weight.values()))

    @reading_state()
    def encode(self, table: Array) -> CodedRows:
        """Return the bits of rows (n, D), whose values are those of the alphabets."""
        posterior, bound = self._posterior(table)
        shares, n_bits = self._mixture(table, bound)
        lattice = lattice_of(posterior)
        growth = _growth(posterior, lattice, n_bits / len(table))
        coder = latent_coder(self._model, lattice)
        stack = BitStack()
        for block in _blocks(len(table)):
            observed = ~np.isnan(table[block])
            has_cells = np.asarray(observed.any(1))
            symbol = stack.pop(Codes(shares[block][has_cells]))
            part = self._part_of_each(has_cells, symbol)
            for kind, rows in self._in_closed_form(part):
                with Tape(stack) as tape:
                    laws = self._closed_form(kind, len(rows))
                    cells = observed[rows], table[block][rows]
                    code_columns(tape, laws, self._alphabets, *cells)
            for rows in _groups(part, block.start, growth):
                own = posterior.select(torch.from_numpy(block.start + rows))
                points = coder.draw(stack, own)
                with Tape(stack) as tape:
                    coder.code(tape, points, len(rows))
                    laws = self._given(coder, points)
                    cells = observed[rows], table[block][rows]
                    code_columns(tape, laws, self._alphabets, *cells)
            with Tape(stack) as tape:
                self._code_missing(tape, len(part), ~observed)
                tape.code(self._weights(len(symbol)), symbol)
        return CodedRows(stack.words, len(table), growth, lattice, _checksum(table))

    @reading_state()
    def decode(self, coded: CodedRows) -> Array:
        """Return the rows.

        Raises
        ------
        ValueError
            If they are not what has been coded.
        """
        stack = BitStack(coded.words)
        coder = latent_coder(self._model, coded.lattice)
        channel = Popped(stack)
        table = np.full((coded.n_rows, len(self._alphabets)), np.nan)
        for block in reversed(_blocks(coded.n_rows)):
            found = table[block]
            observed = ~self._code_missing(channel, len(found), None)
            has_cells = np.asarray(observed.any(1))
            symbol = channel.code(self._weights(int(has_cells.sum())), None)
            part = self._part_of_each(has_cells, symbol)
            bound = torch.zeros(len(found), dtype=torch.float64)
            for rows in reversed(_groups(part, block.start, coded.growth)):
                points = coder.code(channel, None, len(rows))
                laws = self._given(coder, points)
                cells = observed[rows], None
                found[rows] = code_columns(channel, laws, self._alphabets, *cells)
                posterior, bound[rows] = self._posterior(found[rows])
                coder.give_back(stack, posterior, points)
            for kind, rows in reversed(self._in_closed_form(part)):
                laws = self._closed_form(kind, len(rows))
                cells = observed[rows], None
                found[rows] = code_columns(channel, laws, self._alphabets, *cells)
            if block.start:
                others = np.flatnonzero(has_cells & (part != LATENT))
                if len(others):
                    _, bound[others] = self._posterior(found[others])
                shares, _ = self._mixture(found, bound)
                stack.push(symbol, Codes(shares[has_cells]))
        if _checksum(table) != coded.checksum:
            raise ValueError(
                "The rows are not those that were compressed: the bits are damaged, or "
                "this machine rounds numbers otherwise than the one that wrote them."
            )
        return table

    def _posterior(self, table: Array) -> tuple[LatentDistribution, torch.Tensor]:
        """Return the posteriors of rows, and a bound on log p of the latent part."""
        u, _ = self._reader.columns.to_model(table)
        noise = RowNoise(row_hash(table))
        return posterior_and_bound(self._model, torch.from_numpy(u), noise)

    def _mixture(self, table: Array, bound: torch.Tensor) -> tuple[Array, float]:
        """Return the shares of the parts (n, P), and the bits of all rows."""
        x, log_jacobian, closed_form = self._reader.in_model_units(table)
        closed_form = closed_form[: len(x)]
        shares = closed_form.shares(bound).T.numpy()[:, self._parts]
        log_p = closed_form.mix(bound).numpy() + log_jacobian
        for column, alphabet in zip(table.T, self._alphabets, strict=True):
            known = column[~np.isnan(column)]
            log_p[~np.isnan(column)] += np.log(alphabet.widths(alphabet.places(known)))
        return shares, float(-log_p.sum() / math.log(2))

    def _part_of_each(self, has_cells: Mask, symbol: NDArray[np.int32]) -> Rows:
        """Return the part of each row, by the symbols of those that have cells."""
        part = np.full(len(has_cells), NOTHING)
        part[has_cells] = self._parts[symbol]
        return part

    def _in_closed_form(self, part: Rows) -> list[tuple[int, Rows]]:
        """Return the rows of background and companion, some at a time."""
        return [
            (kind, rows[begin : begin + AT_ONCE])
            for kind in (BACKGROUND, COMPANION)
            for rows in [np.flatnonzero(part == kind)]
            for begin in range(0, len(rows), AT_ONCE)
        ]

    def _weights(self, n_rows: int) -> Codes:
        return Codes(np.broadcast_to(self._weight, (n_rows, len(self._weight))))

    def _code_missing(
        self, channel: Channel, n_rows: int, missing: Mask | None
    ) -> Mask:
        """Write or read which cells are missing."""
        found = np.zeros((n_rows, len(self._missing)), dtype=bool)
        for column in np.flatnonzero(self._missing):
            law = Flags(np.full(n_rows, self._missing[column]))
            known = None if missing is None else missing[:, column].astype(np.int32)
            found[:, column] = channel.code(law, known) > 0
        return found

    def _given(self, coder: LatentCoder, points: NDArray[np.int32]) -> ColumnLaws:
        return LatentColumns(
            self._model, self._reader.columns, coder.latents(points).contiguous()
        )

    def _closed_form(self, part: int, n_rows: int) -> ColumnLaws:
        if part == BACKGROUND:
            assert self._model.background is not None
            return BackgroundColumns(
                self._model.background, self._reader.columns, n_rows
            )
        assert self._reader.companion is not None
        return CompanionColumns(self._reader.companion, len(self._alphabets))


def _growth(
    posterior: LatentDistribution, lattice: Sequence[int], n_bits: float
) -> float:
    """Return for how many rows one row's bits are enough to draw the latents.

    Parameters
    ----------
    posterior : LatentDistribution
        Of all rows.
    lattice : sequence of int
        Of their latents.
    n_bits : float
        What a row takes.
    """
    entropy = posterior.entropy()
    if entropy is None:
        return 1.0
    of_row = float(entropy.mean()) / math.log(2) - sum(lattice)
    return round(n_bits / max(of_row + BITS_OF_A_MODE, 1.0), 2)


def _blocks(n_rows: int) -> list[slice]:
    """Return blocks of rows, each as long as all before it, up to some size.

    With the bits that the rows before have left, the parts of its rows are drawn.
    """
    begin, blocks = 0, []
    while begin < n_rows:
        end = min(begin + int(np.clip(begin, FIRST_BLOCK, LARGEST_BLOCK)), n_rows)
        blocks.append(slice(begin, end))
        begin = end
    return blocks


def _groups(part: Rows, begin: int, growth: float) -> list[Rows]:
    """Return groups of the rows of a block that are the latent part's.

    The first rows of all, for which there are no bits yet, are groups of one.
    """
    rows = np.flatnonzero(part == LATENT)
    groups, first = [], 0
    while first < len(rows):
        n_before = begin + int(rows[first])
        size = int(np.clip(growth * n_before, 1, LARGEST_GROUP))
        groups.append(rows[first : first + size])
        first += size
    return groups


def _checksum(table: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(table + 0.0).tobytes())
