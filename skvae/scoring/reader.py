"""A fitted model as it reads rows: in the units of the table, a block at a time."""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae.evidence import (
    Bounds,
    Budget,
    EncoderProposal,
    Evidence,
    PosteriorDraws,
    Proposal,
    RowEvidence,
    RowNoise,
    Stage,
    ask_posteriors,
    closed_form_of,
    default_stages,
    estimate_evidence,
    estimate_sides,
    filled_rows,
    importance_bounds,
    joined_blocks,
    row_hash,
)
from skvae.model import VAE, ClosedFormPart
from skvae.model.spec import resolve
from skvae.scoring.conditionals import ConditionalRows
from skvae.scoring.progress import RowProgress
from skvae.scoring.torch_state import reading_state
from skvae.tables.columns import RowMap
from skvae.tables.companion import CompanionDensity
from skvae.tables.large import ROWS_AT_ONCE, row_blocks
from skvae.typing import Array

__all__ = ["RowReader"]

MOST_IN_SINGLE = 1e3  # model units
DRAWS_OF_ANSWERS, ENOUGH = 512, 0.25
MANY, FEW = 256, 16  # rows that networks take at once, where each is taken once


@dataclass(frozen=True)
class _Block:
    """Some rows as the model reads them.

    Attributes
    ----------
    table : ndarray of shape (B, columns)
        In the units of the input.
    x : Tensor of shape (B, columns)
        In model units.
    log_jacobian : ndarray of shape (B,)
        log |det du/dx|.
    key : ndarray of shape (B,)
        Of the rows' noise.
    closed_form : ClosedFormPart
        What needs no latents, of these rows and of some more.
    """

    table: Array
    x: Tensor
    log_jacobian: Array
    key: NDArray[np.uint64]
    closed_form: ClosedFormPart

    def __getitem__(self, rows: Tensor) -> "_Block":
        """Return some of the rows."""
        index = rows.cpu().numpy()
        return _Block(
            self.table[index],
            self.x[rows],
            self.log_jacobian[index],
            self.key[index],
            self.closed_form[rows],
        )


@dataclass(frozen=True)
class Stages:
    """The proposals that rows are read by.

    Attributes
    ----------
    complete, incomplete : sequence of Stage
        For rows without and with missing cells, the cheapest first.
    """

    complete: Sequence[Stage]
    incomplete: Sequence[Stage]


@dataclass(frozen=True)
class RowReader:
    """A fitted model on the device where it computes, with the map to its units.

    Rows are tables of numbers, checked, in the units of the input; given columns
    follow those that have a density.

    Attributes
    ----------
    model : VAE
        On the device, in float64.
    columns : RowMap
        Between table and model units.
    device : torch.device
        Where to compute.
    companion : CompanionDensity or None
        What shares p(x) with the model.
    """

    model: VAE
    columns: RowMap
    device: torch.device
    companion: CompanionDensity | None = None

    @classmethod
    def on(
        cls,
        device: torch.device,
        model: VAE,
        columns: RowMap,
        companion: CompanionDensity | None = None,
    ) -> "RowReader":
        """Return a reader on a device, given a fitted model on the CPU."""
        # A model that was unpickled in inference mode has tensors of which torch
        # computes no gradients; copies that are made outside that mode have none.
        tensors = itertools.chain(model.parameters(), model.buffers())
        inference = any(tensor.is_inference() for tensor in tensors)
        if inference or device.type != "cpu":
            with reading_state():
                model = copy.deepcopy(model).to(device)
        return cls(model, columns, device, companion)

    def stages(
        self,
        budget: Budget,
        n_components: int,
        proposal: str | Proposal | None = None,
        n_first: int | None = None,
    ) -> Stages:
        """Return the proposals that `evidence` tries in turn.

        Parameters
        ----------
        budget : Budget
            Samples and tolerance.
        n_components : int
            Number of latents.
        proposal : str, Proposal or None, default=None
            The only proposal; None tries the encoder first and better ones after it.
            They are not needed, and left out, where the decoder reads no latents and no
            missing cells have to be drawn.
        n_first : int, default=None
            As for `default_stages`.
        """
        if proposal is not None:
            alone = [Stage(resolve(proposal, Proposal), budget)]
            return Stages(alone, alone)
        if self.model.encoder_is_exact:
            return Stages([], [Stage(EncoderProposal(), budget)])
        stages = default_stages(budget, n_components, n_first)
        if self.model.decoder.order is None or n_components > 1:
            return Stages(stages, stages)
        # A grid over a single latent would not say how large the error is of the draws
        # of missing cells.
        return Stages(stages, default_stages(budget, n_components + 1, n_first))

    @reading_state()
    def evidence(
        self,
        rows: Array,
        stages: Stages,
        seed: int,
        threshold: float | None = None,
        progress: RowProgress | None = None,
    ) -> Evidence:
        """Return the evidence of every row; each seed has noise of its own.

        With a threshold, in nats and in the units of the input, rows are read only as
        well as it takes to tell on which side of it they are. Progress is told of every
        block of rows.
        """
        at_once = ROWS_AT_ONCE
        if progress is not None:
            at_once = progress.rows_at_once(at_once)
        parts = []
        single = self._in_single()
        for block in self._blocks(rows, seed, at_once):
            limit = None
            if threshold is not None:
                limit = self.tensor(threshold - block.log_jacobian)
            part = self._evidence_of_block(single, block, stages, limit)
            part["log_density"] += block.log_jacobian
            parts.append(part)
            if progress is not None:
                progress.update(len(block.x))
        return Evidence(
            **{
                name: np.concatenate([part[name] for part in parts])
                for name in parts[0]
            }
        )

    def _in_single(self) -> VAE:
        """Return the model in single precision, or itself where it is not read so."""
        model = self.model
        return copy.deepcopy(model).float() if model.reads_in_single else model

    def _is_near(self, x: Tensor, single: VAE) -> Tensor:
        """Return which rows (B, columns) to read in single precision.

        Of rows far out, it would leave too few digits.
        """
        return ~(x.abs() > MOST_IN_SINGLE).any(1) & (single is not self.model)

    def _evidence_of_block(
        self,
        single: VAE,
        block: _Block,
        stages: Stages,
        threshold: Tensor | None,
    ) -> dict[str, Array]:
        """Return the columns of the evidence of a block of rows, in model units.

        Parameters
        ----------
        single : VAE
            What `_in_single` returns.
        block : _Block
            The rows.
        stages, threshold
            As for `estimate_evidence`.
        """
        x, noise, closed_form = block.x, RowNoise(block.key), block.closed_form
        near = self._is_near(x, single)
        missing = x[:, : self.model.n_features].isnan()
        whole, empty = ~missing.any(1), missing.all(1)
        parts = (
            (near & whole, single, stages.complete),
            (near & ~whole & ~empty, single, stages.incomplete),
            (~near & whole, self.model, stages.complete),
            (~near & ~whole & ~empty, self.model, stages.incomplete),
            (empty, self.model, ()),
        )
        columns: dict[str, Array] = {}
        for chosen, model, of_part in parts:
            index = chosen.nonzero().squeeze(1)
            if not len(index):
                continue
            rows = x[index].to(next(model.parameters()).dtype)
            of_rows = rows, noise[index], of_part, closed_form[index]
            if chosen is empty:
                estimate = RowEvidence.of_nothing(len(index))
            elif threshold is None:
                estimate = estimate_evidence(model, *of_rows)
            else:
                estimate = estimate_sides(model, *of_rows, threshold[index])
            for name, value in vars(estimate).items():
                values = value.cpu().numpy()
                unfilled = np.empty(len(x), values.dtype)
                columns.setdefault(name, unfilled)[index.cpu().numpy()] = values
        return columns

    @reading_state()
    def ask(
        self,
        rows: Array,
        seed: int | NDArray[np.uint64],
        question: Callable[[ConditionalRows], tuple[Tensor, ...]],
        n_draws: int = DRAWS_OF_ANSWERS,
        enough: float = ENOUGH,
    ) -> tuple[Array, ...]:
        """Answer a question about what is missing in rows.

        Parameters
        ----------
        rows : ndarray of shape (n, columns)
            Rows, in the units of the input; missing cells are NaN.
        seed : int or ndarray of uint64 of shape (n,)
            One for all rows, or one for each. Each seed has noise of its own.
        question : callable
            Maps some rows to tensors with a first axis of rows. What it makes of a row
            must depend on that row alone.
        n_draws : int, default=512
            Weighted draws of each row's latents.
        enough : float, default=0.25
            Effective sample size, as a share of these, below which better proposals are
            tried.

        Returns
        -------
        answers : tuple of ndarray
            The tensors of all rows.
        """
        parts, begin = [], 0
        single = self._in_single()
        for block in self._blocks(rows, seed):
            near = self._is_near(block.x, single)
            answers = []
            for chosen, model in ((near, single), (~near, self.model)):
                index = chosen.nonzero().squeeze(1)
                if len(index):
                    of_some = block[index], begin + index
                    answer = self._ask(model, *of_some, question, n_draws, enough)
                    answers.append((index.cpu(), *answer))
            index, *joined = (torch.cat(part) for part in zip(*answers, strict=True))
            parts.append([part[index.argsort()].numpy() for part in joined])
            begin += len(block.x)
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _ask(
        self,
        model: VAE,
        block: _Block,
        numbers: Tensor,
        question: Callable[[ConditionalRows], tuple[Tensor, ...]],
        n_draws: int,
        enough: float,
    ) -> tuple[Tensor, ...]:
        """Answer a question about the rows of a block, by a model of some precision.

        The device draws the latents. The question is asked on the CPU, where the units
        of the table, the companion and the generators of missing cells are.
        """
        x = block.x.to(next(model.parameters()).dtype)
        here = model if x.is_cpu else copy.deepcopy(model).cpu()

        def of_some(some: Tensor, draws: PosteriorDraws) -> tuple[Tensor, ...]:
            return question(
                ConditionalRows(
                    here,
                    self.columns,
                    self.companion,
                    numbers[some].cpu().numpy(),
                    block.table[some.cpu().numpy()],
                    x[some].cpu(),
                    draws.cpu(),
                    block.closed_form[some].cpu(),
                )
            )

        noise = RowNoise(block.key)
        return ask_posteriors(model, x, noise, of_some, n_draws, enough)

    @reading_state()
    def bounds(self, rows: Array, n_samples: Sequence[int], seed: int) -> Bounds:
        """Return the ELBO and the importance-weighted bounds of every row."""
        parts = []
        for block in self._blocks(rows, seed):
            noise = RowNoise(block.key, quasi=False)
            bounds = importance_bounds(
                self.model, block.x, noise, [1, *n_samples], block.closed_form
            )
            parts.append(bounds.cpu().numpy() + block.log_jacobian)
        return Bounds.of(n_samples, np.concatenate(parts, axis=1))

    def _blocks(
        self,
        rows: Array,
        seed: int | NDArray[np.uint64],
        at_once: int = ROWS_AT_ONCE,
    ) -> Iterator[_Block]:
        """Yield the rows as the model reads them."""
        begin = 0
        for block in row_blocks(rows, at_once):
            end = begin + len(block)
            own = seed[begin:end] if isinstance(seed, np.ndarray) else seed
            begin = end
            x, log_jacobian, closed_form = self.in_model_units(block)
            yield _Block(block, x, log_jacobian, row_hash(block, own), closed_form)

    def in_model_units(self, rows: Array) -> tuple[Tensor, Array, ClosedFormPart]:
        """Return rows in model units, log |det du/dx|, and what needs no latents.

        The last has some more rows at its end, which are to be ignored.
        """
        u, log_jacobian = self.columns.to_model(rows)
        x = self.tensor(u)
        closed_form = closed_form_of(self.model, x)
        companion = self.companion
        if companion is not None:
            known = np.stack(companion.log_density(rows)) - log_jacobian
            filled = filled_rows(len(x), x.device)
            log_p, broad = self.tensor(known)[:, filled]
            closed_form = closed_form.with_companion(log_p, broad, companion.weight)
        return x, log_jacobian, closed_form

    @reading_state()
    def embed(self, rows: Array) -> Array:
        """Return the encoder's mean latents of rows, shape (n, L)."""
        parts = [
            _in_blocks(self.model.embed, self.tensor(self.columns.to_model(block)[0]))
            for block in row_blocks(rows)
        ]
        return torch.cat(parts).cpu().numpy()

    @reading_state()
    def decode(self, latents: Array, given: Array | None = None) -> Array:
        """Return the decoder's mean rows, shape (n, D).

        Parameters
        ----------
        latents : ndarray of shape (n, L)
            Latents.
        given : ndarray of shape (n, G), default=None
            What each row is conditional on, in model units.
        """
        tables = [latents] if given is None else [latents, given]
        parts = [
            _in_blocks(self.model.decode, *map(self.tensor, blocks))
            for blocks in zip(*map(row_blocks, tables), strict=True)
        ]
        return self.columns.to_table(torch.cat(parts).cpu().numpy())

    @reading_state()
    def draw(self, n_samples: int, seed: int, given: Array | None = None) -> Array:
        """Draw rows from the model, shape (n_samples, D).

        Parameters
        ----------
        n_samples : int
            Number of rows.
        seed : int
            Decides which.
        given : ndarray of shape (n_samples, G), default=None
            What each row is conditional on, in model units.
        """
        generator = torch.Generator(self.device).manual_seed(seed)
        parts = []
        for begin in range(0, n_samples, ROWS_AT_ONCE):
            end = min(begin + ROWS_AT_ONCE, n_samples)
            part = None if given is None else self.tensor(given[begin:end])
            parts.append(self.model.generate(end - begin, generator, part))
        rows = self.columns.to_table(torch.cat(parts).cpu().numpy())
        return rows if self.companion is None else self._with_some(rows, seed)

    def _with_some(self, rows: Array, seed: int) -> Array:
        """Return rows with the companion's share of them drawn from the companion."""
        assert self.companion is not None
        generator = torch.Generator().manual_seed(1 + seed)
        chosen = torch.rand(len(rows), generator=generator) < self.companion.weight
        numbers = chosen.nonzero().squeeze(1).numpy()
        rows[numbers] = self.companion.draw(len(numbers), generator)
        return rows

    def tensor(self, values: Array) -> Tensor:
        """Put numbers on the device."""
        return torch.from_numpy(values).to(self.device)


def _in_blocks(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply a function of rows such that a row's result depends on that row alone."""
    (result,) = joined_blocks(
        lambda rows: (function(*(tensor[rows] for tensor in tensors)),),
        torch.arange(len(tensors[0]), device=tensors[0].device),
        MANY,
        FEW,
    )
    return result
