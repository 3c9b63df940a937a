"""Incomplete rows of a model whose columns are sums over those of the table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae.evidence import (
    Bounds,
    Budget,
    Evidence,
    PosteriorDraws,
    RowEvidence,
    RowNoise,
    WeightSampler,
    bounds_by_groups,
    equal_blocks,
    estimate_by,
    joined_blocks,
    row_hash,
)
from skvae.model import VAE, ClosedFormPart
from skvae.model.guess import GaussianGuess, GuessOfRows
from skvae.scoring.conditionals import ConditionalRows
from skvae.scoring.progress import RowProgress
from skvae.scoring.reader import DRAWS_OF_ANSWERS, ENOUGH, RowReader, Stages
from skvae.scoring.torch_state import reading_state
from skvae.tables.columns import RowMap
from skvae.tables.companion import CompanionDensity
from skvae.typing import Array, Index, Mask

__all__ = ["CompletingReader"]

MANY, FEW = 16, 4  # rows
DRAWS_AT_ONCE = 128  # of each of a few rows
MORE = 16  # times as many draws, where the weights of the first leave too few
# Gaussians to guess by. Those of the companion are somewhat widened, and the rest is
# the Gaussian of the whole table, of two widths: (width, share).
WIDTH_OF_COMPANION, SHARE_OF_COMPANION = 1.1, 0.8
WIDTHS = ((1.1, 0.8), (3.0, 0.2))


@dataclass(frozen=True)
class _Completed:
    """K completions of each of B rows, with latents.

    Attributes
    ----------
    table : Tensor of shape (K, B, D)
        In the units of the input.
    z : Tensor of shape (K, B, L)
        Latents of each completed row, from the encoder.
    log_w : Tensor of shape (K, B)
        Log-weights; their mean on the natural scale is the model's p(x) of the observed
        cells, in the units of the input, with the background.
    """

    table: Tensor
    z: Tensor
    log_w: Tensor


@dataclass(frozen=True)
class _Completer:
    r"""Reads rows with missing cells by importance sampling of cells and latents.

    .. math:: p(o) = \operatorname{E}_{m \sim q(m \mid o)} \operatorname{E}_{z \sim
              q(z \mid o, m)} \frac{p(o, m, z)}{q(m \mid o)\, q(z \mid o, m)}

    The missing cells m of a row are drawn given the observed ones o, by a mixture of
    Gaussians, and the latents by the encoder, which reads the completed row.

    Attributes
    ----------
    model : VAE
        In float64.
    columns : RowMap
        Between table and model units; it has a Gaussian of whole rows.
    companion : CompanionDensity or None
        What shares p(x) with the model.
    """

    model: VAE
    columns: RowMap
    companion: CompanionDensity | None

    @cached_property
    def _location_and_scale(self) -> tuple[Array, Array]:
        """Return mean and standard deviation of the columns."""
        mean, factor = self._gaussian()
        return mean, np.sqrt(np.square(factor).sum(1))

    @cached_property
    def _guess(self) -> GaussianGuess:
        """Return what cells are drawn by, in standardised columns."""
        center, scale = self._location_and_scale
        _, factor = self._gaussian()
        modes = None if self.companion is None else self.companion.gaussian_modes()
        of_companion = 0.0 if modes is None else SHARE_OF_COMPANION
        weight = [(1 - of_companion) * share for _, share in WIDTHS]
        means = np.zeros((len(WIDTHS), len(center)))
        factors = np.stack([width * factor for width, _ in WIDTHS])
        if modes is not None:
            weight = np.r_[weight, of_companion * modes[0]].tolist()
            means = np.concatenate([means, (modes[1] - center) / scale])
            factors = np.concatenate([factors, WIDTH_OF_COMPANION * modes[2]])
        factors = factors / scale[:, None]
        log_weight = torch.tensor(weight, dtype=torch.float64).log()
        return GaussianGuess(
            log_weight, torch.from_numpy(means), torch.from_numpy(factors)
        )

    def _gaussian(self) -> tuple[Array, Array]:
        gaussian = self.columns.gaussian()
        assert gaussian is not None
        return gaussian

    def evidence(self, rows: Array, budget: Budget, seed: int) -> RowEvidence:
        """Return the evidence of rows, in the units of the input.

        Parameters
        ----------
        rows : ndarray of shape (n, D)
            Rows, in the units of the input; each has an observed and a missing cell.
        budget : Budget
            What may be spent on a row.
        seed : int
            Each has noise of its own.
        """
        x, noise = torch.from_numpy(rows), RowNoise(row_hash(rows, seed))
        blocks = equal_blocks(torch.arange(len(rows)), MANY, FEW)
        return estimate_by(
            lambda part: _CompletionSampler(x[part], noise[part], self),
            *(blocks, len(rows), budget, self._closed_form(rows)),
        )

    def bounds(self, rows: Array, n_samples: Sequence[int], seed: int) -> Tensor:
        """Return importance-weighted bounds of rows, (len(n_samples), n).

        The parameters are those of `evidence` and of `importance_bounds`.
        """
        x = torch.from_numpy(rows)
        noise = RowNoise(row_hash(rows, seed), quasi=False)
        sampler = _CompletionSampler(x, noise, self)

        def log_w(chosen: Tensor, n_draws: int) -> Tensor:
            return sampler.log_w(noise[chosen], chosen, n_draws)

        every_row, closed_form = torch.arange(len(rows)), self._closed_form(rows)
        return bounds_by_groups(log_w, every_row, n_samples, closed_form)

    def ask(
        self,
        rows: Array,
        seed: int | NDArray[np.uint64],
        question: Callable[[ConditionalRows], tuple[Tensor, ...]],
        n_draws: int,
        enough: float,
    ) -> tuple[Array, ...]:
        """Answer a question about rows; see `RowReader.ask`, and `evidence`."""
        empty = np.all(np.isnan(self._split(rows)[0]), axis=1)
        noise, closed_form = RowNoise(row_hash(rows, seed)), self._closed_form(rows)

        def of_block(block: Tensor) -> tuple[Tensor, ...]:
            index = block.numpy()
            some = rows[index]
            draws, completed = self._draws(some, noise[block], n_draws, enough)
            draws = draws.cpu()
            return question(
                ConditionalRows(
                    model=self.model,
                    columns=self.columns,
                    companion=self.companion,
                    numbers=index,
                    table=some,
                    x=torch.from_numpy(some),
                    draws=draws,
                    closed_form=closed_form[block],
                    completed=completed,
                )
            )

        masks: list[Mask] = [mask for mask in (~empty, empty) if mask.any()]
        answers = []
        for mask in masks:
            numbers = torch.from_numpy(np.flatnonzero(mask))
            answers.append(joined_blocks(of_block, numbers, FEW, FEW))
        order = _order(masks)
        return tuple(
            torch.cat(part).numpy()[order] for part in zip(*answers, strict=True)
        )

    def expected(self, rows: Array) -> Array:
        """Return rows whose missing cells are what is guessed on average."""
        center, scale = self._location_and_scale
        modelled, given = self._split(rows)
        standard = torch.from_numpy((modelled - center) / scale)
        (mean,) = joined_blocks(
            lambda some: (self._guess.of(standard[some]).mean(),),
            *(torch.arange(len(rows)), FEW, FEW),
        )
        filled = center + scale * mean.numpy()
        filled = np.where(np.isnan(modelled), filled, modelled)
        return np.concatenate([filled, given], 1)

    def draw(self, rows: Array, noise: RowNoise, begin: int, end: int) -> _Completed:
        """Return completions number `begin` to `end` of rows (B, D)."""
        center, scale = self._location_and_scale
        modelled, _ = self._split(rows)
        guess = self._guess.of(torch.from_numpy((modelled - center) / scale))
        parts = []
        for first in range(begin, end, DRAWS_AT_ONCE):
            last = min(first + DRAWS_AT_ONCE, end)
            parts.append(self._draw_some(rows, guess, noise, first, last))
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return _Completed(*(torch.cat(column) for column in columns))

    def _draw_some(
        self,
        rows: Array,
        guess: GuessOfRows,
        noise: RowNoise,
        begin: int,
        end: int,
    ) -> _Completed:
        n_draws, n_rows = end - begin, len(rows)
        modelled, given = self._split(rows)
        center, scale = self._location_and_scale
        like = guess.log_joint
        points = noise.stream(1).points(1 + len(center), begin, end, like=like)
        drawn, log_q = guess.draw(points)
        missing = np.isnan(modelled)
        table = np.where(missing, center + scale * drawn.numpy(), modelled)
        x, log_jacobian = self._to_model(table, given)
        log_scale = torch.from_numpy((missing * np.log(scale)).sum(1))
        encoder = self.model.encode(x)
        points = noise.stream(2).points(encoder.noise_dim, begin, end, like=x)
        draw = self.model.draw_from(encoder, x, points.flatten(0, 1)[None])
        log_p = self.model.closed_form(x).mix(draw.log_w[0].double()).cpu()
        log_p = (log_p + log_jacobian).view(n_draws, n_rows)
        z = draw.z[0].view(n_draws, n_rows, -1)
        return _Completed(torch.from_numpy(table), z, log_p - log_q + log_scale)

    def _split(self, rows: Array) -> tuple[Array, Array]:
        """Return the columns that have a density, and those that are given."""
        n_features = self.model.n_features
        return rows[:, :n_features], rows[:, n_features:]

    def _to_model(self, table: Array, given: Array) -> tuple[Tensor, Tensor]:
        """Return completed rows (K, B, D) in model units, (K × B, columns).

        Also their log |det du/dx|, (K × B,).
        """
        beside = np.broadcast_to(given, (len(table), *given.shape))
        rows = np.concatenate([table, beside], 2)
        u, log_jacobian = self.columns.to_model(rows.reshape(-1, rows.shape[2]))
        device = next(self.model.parameters()).device
        return torch.from_numpy(u).to(device), torch.from_numpy(log_jacobian)

    def _draws(
        self, rows: Array, noise: RowNoise, n_draws: int, enough: float
    ) -> tuple[PosteriorDraws, Tensor]:
        """Return weighted draws of rows, and the completed rows that belong to them.

        Where their weights leave too few, they are chosen from more.
        """
        if np.isnan(self._split(rows)[0]).all():
            return self._generated(rows, noise, n_draws)
        found = self.draw(rows, noise, 0, n_draws)
        draws = PosteriorDraws(found.z, found.log_w, noise)
        table = found.table
        for place in (draws.size() < enough * n_draws).nonzero().flatten().tolist():
            own = slice(place, place + 1)
            # As many rows as in other blocks, so that bits are the same.
            index = torch.full((len(rows),), place)
            more = self.draw(rows[index.numpy()], noise[index], 0, MORE * n_draws)
            every = PosteriorDraws(more.z[:, :1], more.log_w[:, :1], noise[own])
            chosen = every.resampled(n_draws)[:, 0]
            table[:, place] = more.table[chosen, 0]
            draws.z[:, place] = more.z[chosen, 0]
            draws.log_w[:, place] = every.log_evidence[0]
        return draws, table

    def _generated(
        self, rows: Array, noise: RowNoise, n_draws: int
    ) -> tuple[PosteriorDraws, Tensor]:
        """Draw rows without an observed cell from the model: all weights are one."""
        model, (modelled, given) = self.model, self._split(rows)
        x, _ = self._to_model(np.zeros_like(modelled)[None], given)
        x[:, : model.n_features] = torch.nan
        prior = model.prior()
        points = noise.stream(1).points(prior.noise_dim, 0, n_draws, like=x)
        z, _ = prior.rsample(points)
        u = model.fill_in(x, z, noise.stream(2).cells(), trailing=True)
        u = u[..., : model.n_features]
        if model.background is not None:
            uniform = noise.stream(3).uniform(0, n_draws, 1)[..., 0]
            for draw, row in (uniform < model.background.weight).nonzero().tolist():
                own = noise[row : row + 1].stream(4 + draw).generators()
                empty = torch.full_like(u[draw, row : row + 1], torch.nan)
                u[draw, row] = model.background.complete(empty, own)[0]
        table = self.columns.to_table(u.flatten(0, 1).double().cpu().numpy())
        log_w = torch.zeros(n_draws, len(rows), dtype=torch.float64)
        drawn = torch.from_numpy(table).view(n_draws, len(rows), -1)
        return PosteriorDraws(z, log_w, noise), drawn

    def _closed_form(self, rows: Array) -> ClosedFormPart:
        """Return the companion's part; the background is in the weights."""
        if self.companion is None:
            return ClosedFormPart()
        log_p, broad = map(torch.from_numpy, self.companion.log_density(rows))
        return ClosedFormPart().with_companion(log_p, broad, self.companion.weight)


class CompletingReader(RowReader):
    """A reader of a model whose columns are sums over all columns of the table.

    A row with a missing cell has none of the model's columns: it is completed.
    """

    @reading_state()
    def evidence(
        self,
        rows: Array,
        stages: Stages,
        seed: int,
        threshold: float | None = None,
        progress: RowProgress | None = None,
    ) -> Evidence:
        """Return the evidence of every row; see `RowReader.evidence`."""
        gaps, empty = self._gaps(rows)
        if not gaps.any():
            return super().evidence(rows, stages, seed, threshold, progress)
        chosen = gaps & ~empty
        parts: list[tuple[Mask, RowEvidence | Evidence]] = []
        if empty.any():
            parts.append((empty, RowEvidence.of_nothing(int(empty.sum()))))
        if chosen.any():
            budget = stages.incomplete[-1].budget
            found = self._completer.evidence(rows[chosen], budget, seed)
            parts.append((chosen, found))
        if progress is not None:
            progress.update(int(gaps.sum()))
        if not gaps.all():
            whole = rows[~gaps], stages, seed, threshold, progress
            parts.append((~gaps, super().evidence(*whole)))
        order = _order([mask for mask, _ in parts])
        return Evidence(
            **{
                name: np.concatenate([vars(part)[name] for _, part in parts])[order]
                for name in vars(parts[0][1])
            }
        )

    @reading_state()
    def ask(
        self,
        rows: Array,
        seed: int | NDArray[np.uint64],
        question: Callable[[ConditionalRows], tuple[Tensor, ...]],
        n_draws: int = DRAWS_OF_ANSWERS,
        enough: float = ENOUGH,
    ) -> tuple[Array, ...]:
        """Answer a question about what is missing in rows; see `RowReader.ask`."""
        return self._completer.ask(rows, seed, question, n_draws, enough)

    @reading_state()
    def bounds(self, rows: Array, n_samples: Sequence[int], seed: int) -> Bounds:
        """Return the bounds of every row; see `RowReader.bounds`."""
        gaps, empty = self._gaps(rows)
        chosen = gaps & ~empty
        bounds = np.zeros((1 + len(n_samples), len(rows)))  # as they are of empty rows
        if chosen.any():
            own = self._completer.bounds(rows[chosen], [1, *n_samples], seed)
            bounds[:, chosen] = own.numpy()
        if not gaps.all():
            others = super().bounds(rows[~gaps], n_samples, seed)
            bounds[:, ~gaps] = np.vstack([others.elbo, others.iwae])
        return Bounds.of(n_samples, bounds)

    @reading_state()
    def embed(self, rows: Array) -> Array:
        """Return the encoder's mean latents of rows, filled in where cells miss."""
        gaps, _ = self._gaps(rows)
        if gaps.any():
            rows = rows.copy()
            rows[gaps] = self._completer.expected(rows[gaps])
        return super().embed(rows)

    def _gaps(self, rows: Array) -> tuple[Mask, Mask]:
        """Return which rows have a missing cell, and which have no observed one."""
        missing = np.isnan(rows[:, : self.model.n_features])
        return np.any(missing, axis=1), np.all(missing, axis=1)

    @property
    def _completer(self) -> _Completer:
        return _Completer(self.model, self.columns, self.companion)


def _order(masks: Sequence[Mask]) -> Index:
    """Return the places that rows have among those of one mask after the other."""
    return np.concatenate([np.flatnonzero(mask) for mask in masks]).argsort()


@dataclass(frozen=True)
class _CompletionSampler(WeightSampler):
    """Importance sampling of rows that are in the units of the table.

    Attributes
    ----------
    completer : _Completer
        What completes them.
    """

    completer: _Completer

    def log_w(self, noise: RowNoise, rows: Tensor, end: int, begin: int = 0) -> Tensor:
        """Return log-weights of completions number `begin` to `end`."""

        def of_block(places: Tensor) -> Tensor:
            some = self.x[rows[places]].numpy()
            return self.completer.draw(some, noise[places], begin, end).log_w

        blocks = equal_blocks(torch.arange(len(rows)), FEW, FEW)
        return torch.cat([of_block(block) for block in blocks], 1)[:, : len(rows)]
