"""The companion of a fit: what it is fitted to, and how much of p(x) it gets."""

from dataclasses import dataclass

import numpy as np
import torch

from skvae.fitting.plan import FitPlan, WeightedRows
from skvae.model.companions import CompanionTable
from skvae.tables.columns import Columns, fit_columns
from skvae.tables.companion import CompanionDensity
from skvae.training import Pool, fit_pool
from skvae.typing import Array, Index, Mask

__all__ = ["CandidateCompanion", "fit_companion"]

MAX_ROWS = 20_000  # that the companion is fitted to
# Above as many rows, only those that validate the training judge the companion, and
# below, the rows of every fold.
MANY_ROWS = 1000
N_FOLDS = 5
# Least standard deviation along a column, in standard deviations of the column. The
# directions of a full covariance may be as thin.
FINEST = 1e-5
FARTHEST = 1e6  # model units
MIN_ROWS = 3  # distinct ones


@dataclass(frozen=True)
class CandidateCompanion:
    """A companion without a share yet.

    Attributes
    ----------
    columns : Columns
        Between the table and the companion's units.
    pool : Pool
        The companion's parts.
    rows : ndarray of shape (N,)
        Their numbers in the table, in ascending order.
    log_jacobian : ndarray of shape (N,)
        log |det du/dx| of these rows.
    """

    columns: Columns
    pool: Pool
    rows: Index
    log_jacobian: Array

    def log_density(self, rows: Index) -> Array:
        """Return log-densities of rows by number, from parts that were fitted without.

        They are in the units of the input, and nan for a row that is not among those
        of the companion.
        """
        place, known = self._places(rows)
        log_density = self.pool.held_out_log_p().numpy() + self.log_jacobian
        return np.where(known, log_density[place], np.nan)

    def beside(self, latent: Array, rows: Index, weight: Array) -> CompanionDensity:
        """Return the companion with its share of p(x).

        Parameters
        ----------
        latent : ndarray of shape (n,)
            Log-density of rows without the companion, in the units of the input.
        rows : ndarray of shape (n,)
            Their numbers.
        weight : ndarray of shape (n,)
            Their weights.
        """
        place, known = self._places(rows)
        place = place[known]
        share, density, shares = self.pool.beside(
            torch.from_numpy(latent[known] - self.log_jacobian[place]),
            torch.from_numpy(place),
            torch.from_numpy(weight[known]),
        )
        return CompanionDensity(
            density, self.columns, share, shares, self._held_out_scores()
        )

    def _held_out_scores(self) -> dict[str, float]:
        """Return the mean log-density of held-out rows under each part."""
        log_p, weight = self.pool.log_p.numpy(), self.pool.row_weight.numpy()
        judged = ~np.isnan(log_p[:, 0])
        in_units = log_p[judged] + self.log_jacobian[judged, None]
        means = np.average(in_units, axis=0, weights=weight[judged])
        return dict(zip(self.pool.names, means.tolist(), strict=True))

    def _places(self, rows: Index) -> tuple[Index, Mask]:
        """Return the places of row numbers among those here, and which are here."""
        place = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        return place, self.rows[place] == rows


def fit_companion(
    plan: FitPlan,
    table: WeightedRows,
    train: Array,
    valid: Array,
) -> CandidateCompanion | None:
    """Fit the parts of the companion, if the plan has one.

    Parameters
    ----------
    plan : FitPlan
        Which companion.
    table : WeightedRows
        All rows.
    train, valid : ndarray of shape (n,)
        Their weights for training and for validation. A row that validates is left out
        whole where parts are judged.
    """
    spec = plan.companion
    if spec is None or len(table.rows) < MIN_ROWS:
        return None
    # The seed is fixed: the choice of rows and folds depends on the table alone.
    generator = torch.Generator().manual_seed(0)
    numbers = _numbers(valid, generator)
    rows, weight = table.rows[numbers], (train + valid)[numbers]
    columns = fit_columns(
        rows,
        weight,
        table.schema.kinds,
        normal_margins=False,
        smoothing=plan.settings.smoothing,
        least_floor=FINEST,
    )
    u, log_jacobian = columns.to_model(rows)
    # Parts take several times as long to fit to rows with gaps: one fold has to do.
    many = len(numbers) > MANY_ROWS or bool(np.isnan(rows).any())
    held_out = _folds(valid[numbers] > 0, generator, others=not many)
    summary = CompanionTable(
        len(rows), torch.from_numpy(columns.floor), table.schema.kinds
    )
    pool = fit_pool(
        spec.series(summary),
        torch.from_numpy(u.clip(-FARTHEST, FARTHEST)),
        torch.from_numpy(weight),
        torch.from_numpy(held_out),
    )
    return CandidateCompanion(columns, pool, numbers, log_jacobian)


def _numbers(valid: Array, generator: torch.Generator) -> Index:
    """Return the numbers of the rows to fit to; of many, some of both sorts."""
    if len(valid) <= MAX_ROWS:
        return np.arange(len(valid))
    order = torch.randperm(len(valid), generator=generator).numpy()
    validates = valid[order] > 0
    judging = order[validates][: MAX_ROWS // 10]
    others = order[~validates][: MAX_ROWS - len(judging)]
    return np.sort(np.concatenate([judging, others]))


def _folds(validates: Mask, generator: torch.Generator, *, others: bool) -> Mask:
    """Return which rows each fold holds out; the first has those that validate.

    The others are in further folds if that is asked for, or if none validate.

    Rows count once however often they are drawn, so that few distinct rows may all
    validate: then nothing would be left to fit to, and all are divided alike.
    """
    if 2 * validates.sum() > len(validates):
        validates = np.zeros_like(validates)
    folds = [validates] if validates.any() else []
    if others or not folds:
        rest = np.flatnonzero(~validates)
        order = torch.randperm(len(rest), generator=generator).numpy()
        for some in np.array_split(rest[order], min(N_FOLDS, len(rest))):
            fold = np.zeros(len(validates), dtype=bool)
            fold[some] = True
            folds.append(fold)
    # A fold of all rows would leave none to fit to.
    return np.stack([fold for fold in folds if not fold.all()])
