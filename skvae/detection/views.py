"""Views of a table: scores of rows in several units of the columns, at several scales.

A detector that looks at rows in one way misses what is usual in that way. Each view
here gives rows a score, the higher the more usual; `TailProbability` makes the scores
of different views comparable.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri

from skvae.detection.thresholds import ReferenceScores
from skvae.evidence import row_hash
from skvae.members.evidence import loose_scores
from skvae.model.companions import GaussianMixture, GaussianMixtureFit
from skvae.model.threads import one_thread
from skvae.typing import Array, Density, Index, Table

__all__ = [
    "DensityView",
    "MixtureView",
    "RankUnits",
    "StandardUnits",
    "TailProbability",
    "TailView",
    "View",
    "n_values",
    "shuffled",
]

TAIL = 0.25  # share of the reference scores from which the tail is extrapolated
FARTHEST = 1e8  # standard deviations
ROUNDING = 1e-9  # of a mean
FEW_MODES, MANY_MODES, NOISE = 5, 20, 0.3
PART, MOST_ROWS = 0.6, 5000  # of the distinct rows, for each of several mixtures
MIXTURE_FLOOR = 0.03  # standard deviation that is added to every mode's
LEAST_ROWS_PER_MODE = 10
MOST_WORK = 1e9  # rows × modes × columns²


@dataclass(frozen=True)
class StandardUnits:
    """Columns of mean zero and standard deviation one.

    Attributes
    ----------
    centre, scale : ndarray of shape (D,)
        Means and standard deviations. A constant column is scaled by its value, or by
        one.
    """

    centre: Array
    scale: Array

    @classmethod
    def fit(cls, rows: Array, weight: Array) -> "StandardUnits":
        """Return the units of rows (n, D) with weights (n,); NaN is missing."""
        observed = ~np.isnan(rows)
        of_cell = observed * weight[:, None]
        total = of_cell.sum(0)
        share = of_cell / np.where(total > 0, total, 1.0)
        cells = np.where(observed, rows, 0.0)
        centre = (share * cells).sum(0)
        scale = np.sqrt((share * np.square(cells - centre)).sum(0))
        largest = np.abs(centre)
        of_constant = np.where(largest > 0, largest, 1.0)
        return cls(centre, np.where(scale > ROUNDING * largest, scale, of_constant))

    def __call__(self, rows: Array) -> Array:
        """Return rows (n, D) in these units; what is farther than 1e8 is put there."""
        standard = (rows - self.centre) / self.scale
        return np.clip(standard, -FARTHEST, FARTHEST)


@dataclass(frozen=True)
class RankUnits:
    r"""Columns as scores of their ranks: all have one shape, whatever they had before.

    A cell becomes q(u), with the quantile function q of a symmetric distribution and
    the cell's middle rank u in its column. Beyond the range of the column, its distance
    to the range is added, in standard deviations of the column.

    Attributes
    ----------
    columns : tuple of ReferenceScores
        The ranks of each column.
    shape : {"normal", "laplace"}
        The distribution, whose quantile function is q.
    standard : StandardUnits
        Of the rows that were ranked.
    of_scores : StandardUnits
        Makes the scores those of mean zero and standard deviation one.
    """

    columns: tuple[ReferenceScores, ...]
    shape: str
    standard: StandardUnits
    of_scores: StandardUnits

    @classmethod
    def normal(cls, rows: Array, weight: Array) -> "RankUnits":
        """Return normal scores: q is the normal distribution's quantile function."""
        return cls._fit(rows, weight, "normal")

    @classmethod
    def laplace(cls, rows: Array, weight: Array) -> "RankUnits":
        """Return Laplace scores: the log-probability of the tail, with a sign."""
        return cls._fit(rows, weight, "laplace")

    @classmethod
    def _fit(cls, rows: Array, weight: Array, shape: str) -> "RankUnits":
        columns = []
        for cells in rows.T:
            observed = ~np.isnan(cells)
            columns.append(
                ReferenceScores.of(cells[observed], weight[observed], repeated=True)
                if observed.any()
                else ReferenceScores.of(np.zeros(1))
            )
        zero, one = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        standard = StandardUnits.fit(rows, weight)
        units = cls(tuple(columns), shape, standard, StandardUnits(zero, one))
        scores = StandardUnits.fit(units(rows), weight)
        return cls(tuple(columns), shape, standard, scores)

    def __call__(self, rows: Array) -> Array:
        """Return rows (n, D) in these units."""
        scores = np.empty(rows.shape)
        for j, (column, cells) in enumerate(zip(self.columns, rows.T, strict=True)):
            least, largest = column.score[0], column.score[-1]
            beyond = cells - np.clip(cells, least, largest)
            scores[:, j] = (
                QUANTILES[self.shape](column.middle_ranks(cells))
                + beyond / self.standard.scale[j]
            )
        return self.of_scores(np.where(np.isnan(rows), np.nan, scores))


def _laplace_quantile(rank: Array) -> Array:
    tail = np.minimum(rank, 1 - rank)
    return np.asarray(-np.sign(rank - 0.5) * np.log(2 * tail))


QUANTILES: dict[str, Callable[[Array], Array]] = {
    "normal": ndtri,
    "laplace": _laplace_quantile,
}


class View(ABC):
    """A way to look at rows."""

    @abstractmethod
    def score(self, table: Table, numbers: Array) -> Array:
        """Return how usual rows look, shape (n,); the lower, the stranger.

        Parameters
        ----------
        table : array or data frame
            n rows.
        numbers : ndarray of shape (n, D)
            Their columns of numbers.
        """


@dataclass(frozen=True)
class DensityView(View):
    """Log-densities of rows, read with a few draws.

    Attributes
    ----------
    density : estimator
        Fitted.
    units : RankUnits or None
        The units in which the density takes the columns of numbers; None if it takes
        the table as it is.
    """

    density: Density
    units: RankUnits | None = None

    def score(self, table: Table, numbers: Array) -> Array:
        """Return log-densities, in these units."""
        rows = table if self.units is None else self.units(numbers)
        return loose_scores(self.density, rows, "the committee")


@dataclass(frozen=True)
class MixtureView(View):
    """Log-densities under mixtures of Gaussians, which may be seen through noise.

    Attributes
    ----------
    units : StandardUnits
        Of the mixture.
    mixture : GaussianMixture
        In these units.
    """

    units: StandardUnits
    mixture: GaussianMixture

    @classmethod
    @one_thread()
    def fit(
        cls,
        numbers: Array,
        weight: Array,
        parts: Sequence[Index],
        n_modes: int,
        *,
        noise: float = 0.0,
        alike: bool = False,
    ) -> "MixtureView":
        """Fit mixtures with full covariances to parts of the rows, and mix them.

        Parameters
        ----------
        numbers : ndarray of shape (n, D)
            Rows.
        weight : ndarray of shape (n,)
            Their weights.
        parts : sequence of ndarray of int
            Which rows each mixture is fitted to. Fits to different rows make different
            mistakes (bagging).
        n_modes : int
            Number of Gaussians of a mixture, if the rows are enough for as many.
        noise : float, default=0.0
            Standard deviation, in those of the columns, of noise that the density is
            convolved with. It asks whether there are any rows near a row, however thin
            the table is there.
        alike : bool, default=False
            Whether the covariances of a mixture are drawn to their mean, as if each
            mode had seen D + 2 more rows.

        References
        ----------
        L. Breiman, 1996. Bagging predictors.
        """
        units = StandardUnits.fit(numbers, weight)
        rows = torch.from_numpy(units(numbers))
        n_columns = rows.shape[1]
        floor = torch.full((n_columns,), MIXTURE_FLOOR, dtype=torch.float64)
        prior_rows = n_columns + 2.0 if alike else 0.0
        mixtures: list[GaussianMixture] = []
        for part in parts:
            most = min(
                len(part) // LEAST_ROWS_PER_MODE,
                MOST_WORK // (len(part) * n_columns**2),
            )
            modes = max(1, min(n_modes, int(most)))
            how = GaussianMixtureFit(modes, floor, prior_rows, pooled=True)
            mixtures += how.fit(rows[part], torch.from_numpy(weight[part])[None])
        mixture = GaussianMixture.joined(mixtures)
        return cls(units, mixture.convolved(noise) if noise else mixture)

    @classmethod
    def few_modes(
        cls, numbers: Array, weight: Array, n_fits: int, seed: int
    ) -> "MixtureView":
        """Fit mixtures of 5 alike Gaussians: stiff, and sure of what they see."""
        parts = _parts(numbers, n_fits, seed)
        return cls.fit(numbers, weight, parts, FEW_MODES, alike=True)

    @classmethod
    def many_modes(
        cls, numbers: Array, weight: Array, n_fits: int, seed: int
    ) -> "MixtureView":
        """Fit mixtures of 20 Gaussians, seen through noise of 0.3 deviations."""
        parts = _parts(numbers, n_fits, seed)
        return cls.fit(numbers, weight, parts, MANY_MODES, noise=NOISE)

    def score(self, table: Table, numbers: Array) -> Array:
        """Return log-densities, in these units."""
        return self.log_prob(numbers)

    @one_thread()
    def log_prob(self, numbers: Array) -> Array:
        """Return log-densities of rows (n, D), in these units, shape (n,)."""
        log_p = self.mixture.log_prob(torch.from_numpy(self.units(numbers)))
        return np.asarray(log_p.numpy())


def shuffled(rows: Array, seed: int) -> Index:
    """Return numbers of distinct rows in a random order, by what is in the rows."""
    return np.argsort(row_hash(rows, seed), kind="stable")


def n_values(column: Array) -> int:
    """Return how many different numbers a column has; NaN is missing."""
    return len(np.unique(column[~np.isnan(column)]))


def _parts(rows: Array, n_parts: int, seed: int) -> list[Index]:
    """Return random parts of distinct rows, by what is in them."""
    n_rows = min(math.ceil(PART * len(rows)), MOST_ROWS)
    return [np.sort(shuffled(rows, seed + 1 + i)[:n_rows]) for i in range(n_parts)]


@dataclass(frozen=True)
class TailView(View):
    """How far out the cells of a row are, each in its own column.

    The score is −Σ s², with the Laplace scores s of the cells. It is too stiff to learn
    outliers among the training rows, even if they are many and alike.

    Attributes
    ----------
    columns : ndarray of int
        Which columns are looked at: a column of two values has no tails.
    units : RankUnits
        Laplace scores of these columns.
    """

    columns: Index
    units: RankUnits

    @classmethod
    def fit(cls, numbers: Array, weight: Array) -> "TailView | None":
        """Return the view of rows (n, D) with weights (n,), if it has any columns."""
        columns = np.flatnonzero([n_values(column) > 2 for column in numbers.T])
        if not len(columns):
            return None
        return cls(columns, RankUnits.laplace(numbers[:, columns], weight))

    def score(self, table: Table, numbers: Array) -> Array:
        """Return minus the sum of squared Laplace scores."""
        scores = self.units(numbers[:, self.columns])
        return -np.nansum(np.square(scores), axis=1)


@dataclass(frozen=True)
class TailProbability:
    r"""The probability of scores as low as a row's, as reference scores have it.

    .. math:: \log P(S \le s) = \log \tfrac14 - (t - s) / m \quad (s < t)

    The lowest quarter of the reference scores is below t, and is t − m on average.
    Above t, the probability is that of the ranks.

    Attributes
    ----------
    reference : ReferenceScores
        Scores of rows that the view was not fitted to.
    edge, scale : float
        t and m.
    """

    reference: ReferenceScores
    edge: float
    scale: float

    @classmethod
    def fit(cls, score: Array, weight: Array) -> "TailProbability":
        """Return what these scores (n,), with weights (n,), say of others."""
        reference = ReferenceScores.of(score, weight, repeated=True)
        edge = reference.quantile(TAIL)
        mass = np.diff(reference.mass)
        below = reference.score < edge
        scale = 0.0
        if below.any():
            excess = edge - reference.score[below]
            scale = float(np.average(excess, weights=mass[below]))
        # Without a spread of scores, anything else is far away.
        return cls(reference, edge, scale if scale > 0 else 1.0)

    def log_prob(self, score: Array) -> Array:
        """Return log P(S ≤ s) of scores (n,), at most zero."""
        known = self.reference.score
        last = np.append(known[1:] != known[:-1], True)  # of equal scores
        rank = self.reference.mass[1:][last] / self.reference.total
        bulk = np.log(np.interp(score, known[last], rank))
        tail = np.log(TAIL) - (self.edge - score) / self.scale
        return np.where(score < self.edge, tail, np.maximum(bulk, np.log(TAIL)))
