"""scikit-learn's Gaussian mixtures, fitted to missing cells and filling them in.

Given its observed cells o, the missing cells m of a row have a Gaussian mixture again,

    p(m | o) = Σₖ rₖ N(m; μₖ + Aₖ (o − νₖ), Cₖ),    rₖ ∝ wₖ N(o; νₖ, Sₖ)

and one Cholesky factor of each covariance, with the columns of o first, has it all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import softmax
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_array

from skvae.arguments.seeds import generator_from, seed_of_draws
from skvae.evidence import row_hash, seeds_of_repetitions
from skvae.members.rows import in_container_of
from skvae.tables.rows import take_rows
from skvae.typing import Array, Index, Mask, Table

__all__ = ["ImputingMixture", "covariances_of"]

# Completions that a mixture is fitted to, one round after the other. The last ones are
# several at a time, so that a fit does not go by the luck of one draw of each cell.
ROUNDS = (1,) * 10 + (5,) * 3
ROWS_AT_ONCE = 32


def covariances_of(mixture: GaussianMixture) -> Array:
    """Return the covariances of a fitted mixture of any type, (K, D, D)."""
    n_modes, n_columns = mixture.means_.shape
    covariances = mixture.covariances_
    match mixture.covariance_type:
        case "full":
            return covariances
        case "tied":
            return np.broadcast_to(covariances, (n_modes, n_columns, n_columns))
        case "diag":
            return covariances[:, :, None] * np.eye(n_columns)
        case _:  # "spherical"
            return covariances[:, None, None] * np.eye(n_columns)


@dataclass(frozen=True)
class ImputingMixture:
    """A Gaussian mixture as a density that takes missing cells and fills them in.

    Attributes
    ----------
    mixture : GaussianMixture
        Fitted in place.
    """

    mixture: GaussianMixture

    # Arrays of NumPy are fitted to, for which no start of a mixture is excluded.
    @config_context(array_api_dispatch=False)
    def fit(self, X: Table, y: Any = None) -> "ImputingMixture":
        """Fit the mixture to the observed cells of rows.

        Missing cells are first filled in by observed ones of their columns, chosen at
        random. The mixture is fitted to these rows, the missing cells are drawn anew
        from it, and so on (stochastic expectation–maximisation). Where no cell is
        missing, this is the mixture's own `fit`.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
            Rows; NaN where a cell is missing. Each column has an observed cell.
        y : Ignored
            For scikit-learn's pipelines.

        Returns
        -------
        self : ImputingMixture

        References
        ----------
        G. Celeux and J. Diebolt, 1985. The SEM algorithm: a probabilistic teacher
        algorithm derived from the EM algorithm for the mixture problem.
        """
        rows = _numbers(X)
        missing = np.isnan(rows)
        if not missing.any():
            self.mixture.fit(X)
            return self
        model = take_rows(X, np.arange(0))
        rows = rows[~missing.all(1)]
        random = generator_from(self.mixture.random_state)
        completed = _with_observed_cells(rows, random)
        warm_start = self.mixture.warm_start
        try:
            with catch_warnings():
                simplefilter("ignore", ConvergenceWarning)
                self.mixture.fit(in_container_of(model, completed))
            self.mixture.warm_start = True
            for number, n_draws in enumerate(ROUNDS, 1):
                seed = int(random.randint(2**31 - 1))
                completed = np.concatenate(self.impute(rows, n_draws, seed))
                with catch_warnings():
                    if number < len(ROUNDS):
                        simplefilter("ignore", ConvergenceWarning)
                    self.mixture.fit(in_container_of(model, completed))
        finally:
            self.mixture.warm_start = warm_start
        return self

    def impute(
        self, X: Table, n_draws: int | None = None, random_state: int | None = None
    ) -> Any:
        """Return the rows with their missing cells filled in.

        Parameters
        ----------
        X : array or data frame of shape (n_samples, n_features)
            Rows; NaN where a cell is missing.
        n_draws : int, default=None
            None fills in conditional means; a number, so many draws from
            p(missing | observed).
        random_state : int, default=None
            For draws: None gives the same ones at every call.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), or list of n_draws of them
            Observed cells are as they were. Draws depend on the row and on how many
            equal rows stand before it.
        """
        rows = _numbers(X)
        mean = rows.copy()
        if n_draws is None:
            for part in _parts(self.mixture, rows):
                mean[np.ix_(part.numbers, part.missing)] = part.mean()
            return mean
        seed = seed_of_draws(random_state)
        key = row_hash(rows, seeds_of_repetitions(rows, seed))
        drawn = [rows.copy() for _ in range(n_draws)]
        for part in _parts(self.mixture, rows):
            cells = part.draw(key[part.numbers], n_draws)
            for filled, some in zip(drawn, cells, strict=True):
                filled[np.ix_(part.numbers, part.missing)] = some
        return drawn


@dataclass(frozen=True)
class _Part:
    """What is missing in b rows whose n missing cells are in the same columns.

    Attributes
    ----------
    numbers : ndarray of int of shape (b,)
        Which rows they are.
    missing : ndarray of int of shape (n,)
        Columns of the missing cells.
    share : ndarray of shape (b, K)
        Probability of each mode, given the observed cells.
    location : ndarray of shape (b, K, n)
        Conditional mean in each mode.
    tril : ndarray of shape (K, n, n)
        Cholesky factor of the conditional covariance.
    """

    numbers: Index
    missing: Index
    share: Array
    location: Array
    tril: Array

    def __getitem__(self, rows: slice) -> "_Part":
        """Return some of the rows."""
        return replace(
            self,
            numbers=self.numbers[rows],
            share=self.share[rows],
            location=self.location[rows],
        )

    def mean(self) -> Array:
        """Return the conditional means, (b, n)."""
        return np.einsum("bk,bkn->bn", self.share, self.location)

    def draw(self, key: Any, n_draws: int) -> Array:
        """Return draws (n_draws, b, n), made from the key of each row."""
        n_missing = len(self.missing)
        drawn = np.empty((n_draws, len(self.numbers), n_missing))
        for b, own in enumerate(key.tolist()):
            random = np.random.Generator(np.random.Philox(key=own))
            below = self.share[b].cumsum()
            uniform = random.random(n_draws) * below[-1]
            mode = below.searchsorted(uniform, side="right").clip(max=len(below) - 1)
            noise = random.standard_normal((n_draws, n_missing))
            spread = np.einsum("sij,sj->si", self.tril[mode], noise)
            drawn[:, b] = self.location[b, mode] + spread
        return drawn


def _parts(mixture: GaussianMixture, rows: Array) -> Iterator[_Part]:
    """Yield the incomplete rows, those with the same columns missing at a time."""
    covariances = covariances_of(mixture)
    missing = np.isnan(rows)
    incomplete = np.flatnonzero(missing.any(1))
    if not len(incomplete):
        return
    patterns, which = np.unique(missing[incomplete], axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        numbers = incomplete[which.reshape(-1) == number]
        # The last bits of what is computed for a row depend on how many there are.
        for begin in range(0, len(numbers), ROWS_AT_ONCE):
            some = numbers[begin : begin + ROWS_AT_ONCE]
            filled = np.pad(some, (0, ROWS_AT_ONCE - len(some)), mode="edge")
            part = _part(mixture, covariances, rows, filled, pattern)
            yield part[: len(some)]


def _part(
    mixture: GaussianMixture,
    covariances: Array,
    rows: Array,
    numbers: Index,
    pattern: Mask,
) -> _Part:
    observed, missing = np.flatnonzero(~pattern), np.flatnonzero(pattern)
    order, n = np.r_[observed, missing], len(observed)
    ordered = covariances[:, order[:, None], order]
    tril = np.asarray(np.linalg.cholesky(ordered), dtype=np.float64)
    log_share, location = [], []
    for weight, mean, factor in zip(
        mixture.weights_, mixture.means_, tril, strict=True
    ):
        centred = rows[np.ix_(numbers, observed)] - mean[observed]
        standard = np.zeros_like(centred)
        if n:
            standard = solve_triangular(factor[:n, :n], centred.T, lower=True).T
        half_log_det = np.log(factor.diagonal()[:n]).sum()
        with np.errstate(divide="ignore"):  # a mode may have lost all of its weight
            log_weight = np.log(weight)
        log_share.append(
            log_weight - half_log_det - np.square(standard).sum(axis=1) / 2
        )
        slope = np.einsum("no,bo->bn", factor[n:, :n], standard)
        location.append(mean[missing] + slope)
    return _Part(
        numbers,
        missing,
        np.asarray(softmax(np.stack(log_share, axis=1), axis=1), dtype=np.float64),
        np.stack(location, axis=1),
        tril[:, n:, n:],
    )


def _numbers(X: Table) -> Array:
    return check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")


def _with_observed_cells(rows: Array, random: np.random.RandomState) -> Array:
    """Return rows with observed cells of the same column in place of missing ones.

    The mean of a column in place of all of them would be a spike, which is a mode of
    its own to a mixture.
    """
    filled = rows.copy()
    for column in filled.T:
        missing = np.isnan(column)
        column[missing] = random.choice(column[~missing], int(missing.sum()))
    return filled
