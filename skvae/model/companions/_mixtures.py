"""Finite mixtures of Gaussians with full covariances, by expectation–maximisation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from skvae.model.cells import GaussianCells
from skvae.model.companions._base import Companion, CompanionFit
from skvae.model.companions._broad import BROAD_DF, StudentTFit
from skvae.model.companions._completion import Completion, row_generators
from skvae.model.companions._gaussians import GaussiansGiven, complete_by_gaussians
from skvae.model.companions._rows import (
    BlockScorer,
    cholesky_of,
    draw_modes,
    inverse_of,
)
from skvae.model.conditioning import observed_first, tril_in_order
from skvae.model.missing import by_blocks, pattern_groups

__all__ = ["GaussianMixture", "GaussianMixtureFit", "mixture_completion"]

MAX_ITERATIONS = 100
TOL = 1e-3  # nats per row, of the bound, between two iterations
NUMBERS_AT_ONCE = 2**21
MANY_COLUMNS = 32
LEAST_ROWS = 1e-8  # of a mode, which is dead below
# How often missing cells are drawn anew by the mixture that was fitted to them: after
# draws by a Student-t distribution, which knows no clusters, and after others.
N_REDRAWS, N_REDRAWS_AFTER_COMPLETION = 3, 1
COMPLETION_MODES = 5


class GaussianMixture(Companion):
    """A mixture of Gaussians.

    Parameters
    ----------
    log_weight : Tensor of shape (M,)
        Log-weights of the modes; they sum to one.
    mean : Tensor of shape (M, D)
        Means.
    tril : Tensor of shape (M, D, D)
        Cholesky factors of the covariances.
    """

    log_weight: Tensor
    mean: Tensor
    tril: Tensor
    whitener: Tensor

    def __init__(self, log_weight: Tensor, mean: Tensor, tril: Tensor) -> None:
        super().__init__()
        self.register_buffer("log_weight", log_weight)
        self.register_buffer("mean", mean)
        self.register_buffer("tril", tril)
        self.register_buffer("whitener", inverse_of(tril))

    by_pattern = True

    @classmethod
    def joined(cls, parts: Sequence["GaussianMixture"]) -> "GaussianMixture":
        """Return the mixture of mixtures in equal shares."""
        log_weight = torch.cat([part.log_weight for part in parts])
        means, trils = [part.mean for part in parts], [part.tril for part in parts]
        return cls(
            log_weight - math.log(len(parts)), torch.cat(means), torch.cat(trils)
        )

    def convolved(self, noise: float) -> "GaussianMixture":
        """Return the density of its rows after adding normal noise to every cell.

        Parameters
        ----------
        noise : float
            Standard deviation of the noise.
        """
        identity = torch.eye(self.tril.shape[-1]).to(self.tril)
        covariance = self.tril @ self.tril.mT + noise**2 * identity
        tril = torch.linalg.cholesky(covariance)
        return GaussianMixture(self.log_weight, self.mean, tril)

    def complete_scorer(self) -> BlockScorer:
        """Return the log-density of the mixture."""

        def of_block(rows: Tensor) -> Tensor:
            parts = self.log_weight, self.mean, self.whitener
            return _log_joint(rows, *parts).logsumexp(0)

        return of_block

    def marginal_scorer(self, observed: Tensor) -> BlockScorer:
        """Return the log-density of some columns."""
        columns = observed.nonzero().squeeze(1)
        whitener = inverse_of(tril_in_order(self.tril[:, columns]))
        parts = self.log_weight, self.mean[:, columns], whitener
        return lambda rows: _log_joint(rows[:, columns], *parts).logsumexp(0)

    def _given(self, observed: Tensor, column: int | None = None) -> GaussiansGiven:
        """Return the modes for rows with one pattern.

        The column, if any, is the first of those without an observed cell.
        """
        order, n_observed = observed_first(observed, column), int(observed.sum())
        tril = tril_in_order(self.tril[:, order])
        columns, mean = order[:n_observed], self.mean[:, order]
        whitener = inverse_of(tril[:, :n_observed, :n_observed])
        parts = self.log_weight, mean[:, :n_observed], whitener
        return GaussiansGiven(
            order,
            n_observed,
            tril,
            lambda rows: _log_joint(rows[:, columns], *parts),
            lambda which: (mean[which], tril[which]),
        )

    def complete(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a mode for each row, and the missing cells from it."""
        return complete_by_gaussians(self._given, x, generators)

    def cell(self, x: Tensor, column: int) -> GaussianCells:
        """Return the mixture of the modes' conditional distributions."""
        x = x.clone()
        x[:, column] = torch.nan
        shape = len(x), len(self.log_weight)
        modes = [x.new_empty(shape) for _ in range(3)]
        for observed, rows in pattern_groups(x):
            parts = by_blocks(self._cell_of(observed, column), x[rows])
            for table, part in zip(modes, parts, strict=True):
                table[rows] = part
        return GaussianCells(*modes)

    def _cell_of(
        self, observed: Tensor, column: int
    ) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]:
        """Return a function of rows of one pattern that returns the modes of a cell."""
        given = self._given(observed, column)
        seen = given.order[: given.n_observed]
        slope, scale = given.slope_and_scale()

        def of_block(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            log_weight = given.log_joint(x).T.log_softmax(1)
            centred = x[:, None, seen] - self.mean[:, seen]
            location = self.mean[:, column] + (centred * slope).sum(2)
            return log_weight, location, scale.expand_as(location)

        return of_block

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw a mode for each row, and the row from it."""
        mode = draw_modes(self.log_weight, n_samples, generator)
        noise = self.mean.new_empty(n_samples, self.mean.shape[1])
        noise.normal_(generator=generator)
        return self.mean[mode] + (self.tril[mode] @ noise[:, :, None]).squeeze(2)


@dataclass(frozen=True)
class GaussianMixtureFit(CompanionFit):
    """Maximum a-posteriori fit of a mixture of Gaussians.

    Covariances have a conjugate prior: each mode is taken to have seen some more rows.

    Attributes
    ----------
    n_modes : int
        Number of modes, K.
    floor : Tensor of shape (D,)
        Standard deviation that is added to that of every column.
    prior_rows : float, default=0.0
        How many rows the prior counts as.
    pooled : bool, default=False
        Whether their covariance is that of all modes together, around their means. Else
        they have uncorrelated columns, with the variances of the table divided by
        K^(2 / D): the modes share the volume.
    completion : Completion or None, default=None
        Draws the missing cells of the rows at first; by default a Student-t
        distribution does.

    References
    ----------
    G. Celeux and J. Diebolt, 1985. The SEM algorithm: a probabilistic teacher algorithm
    derived from the EM algorithm for the mixture problem.

    C. Fraley and A. E. Raftery, 2007. Bayesian regularization for normal mixture
    estimation and model-based clustering.
    """

    n_modes: int
    floor: Tensor
    prior_rows: float = 0.0
    pooled: bool = False
    completion: Completion | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """What to call it in the report of a fit."""
        shrunk = ""
        if self.prior_rows:
            shrunk = f", {'pooled' if self.pooled else 'shrunk'} by {self.prior_rows:g}"
        plural = "s" if self.n_modes > 1 else ""
        return f"{self.n_modes} mode{plural}{shrunk}"

    def fit(self, x: Tensor, weights: Tensor) -> Sequence[GaussianMixture]:
        """Run expectation–maximisation for all weightings at the same time.

        All of them start at the same clusters. Where cells are missing, each weighting
        is fitted alone, to completed rows, whose missing cells are then drawn anew from
        the fitted mixture, and so on (stochastic expectation–maximisation).
        """
        if not x.isnan().any():
            return self._fit_to_complete(x, weights, self._clusters(x, weights))
        completion, n_redraws = self.completion, N_REDRAWS_AFTER_COMPLETION
        if completion is None:
            completion = Completion(StudentTFit(BROAD_DF, self.floor))
            n_redraws = N_REDRAWS
        mixtures = []
        for rows, weight in zip(completion.of(x, weights), weights, strict=True):
            used = weight > 0
            own = weight[used][None]
            moments = self._clusters(rows, own)
            (mixture,) = self._fit_to_complete(rows, own, moments)
            for i in range(1, 1 + n_redraws):
                generators = row_generators(len(rows), i * len(rows))
                rows = mixture.complete(x[used], generators)
                _, moments = _expectation(
                    rows,
                    own,
                    mixture.log_weight[None],
                    mixture.mean[None],
                    mixture.tril[None],
                )
                (mixture,) = self._fit_to_complete(rows, own, moments)
            mixtures.append(mixture)
        return mixtures

    def _clusters(self, x: Tensor, weights: Tensor) -> "_Moments":
        """Return the moments of clusters, the same ones for all weightings."""
        label = torch.zeros(len(x), dtype=torch.int64)
        if self.n_modes > 1:
            clusters = KMeans(self.n_modes, n_init=1, random_state=0)
            together = weights.sum(0).numpy()
            found = clusters.fit(x.numpy(), sample_weight=together)
            label = torch.from_numpy(found.labels_).long()
        start = torch.nn.functional.one_hot(label, self.n_modes).T.to(x)
        return _Moments.of(x, weights[:, None] * start)

    def _fit_to_complete(
        self, x: Tensor, weights: Tensor, moments: "_Moments"
    ) -> list[GaussianMixture]:
        """Run expectation–maximisation from modes with these moments."""
        total = weights.sum(1)
        variance = self._variance(x, weights)
        bound = torch.full_like(total, -math.inf)
        for _ in range(MAX_ITERATIONS):
            log_weight, mean, tril = self._maximise(moments, variance)
            log_evidence, moments = _expectation(x, weights, log_weight, mean, tril)
            before, bound = bound, log_evidence / total
            if not (bound - before > TOL).any():
                break
        log_weight, mean, tril = self._maximise(moments, variance)
        return [
            GaussianMixture(*(part[alive] for part in parts))
            for *parts, alive in zip(
                log_weight, mean, tril, log_weight > -math.inf, strict=True
            )
        ]

    def _variance(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the prior's variances for each weighting, (F, D)."""
        share = weights / weights.sum(1, keepdim=True)
        mean = share @ x
        variance = (share @ x.square() - mean.square()).clamp(min=0)
        return variance / self.n_modes ** (2 / x.shape[1])

    def _maximise(
        self, moments: "_Moments", variance: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights, means and Cholesky factors, each (F, K, …)."""
        n_rows = moments.n_rows.clamp(min=LEAST_ROWS)
        mean = moments.first / n_rows[..., None]
        outer = mean[..., :, None] * mean[..., None, :]
        scatter = moments.second - n_rows[..., None, None] * outer
        prior = variance.diag_embed()[:, None]
        if self.pooled:
            total = moments.n_rows.sum(1)[:, None, None, None]
            prior = scatter.sum(1, keepdim=True) / total
        covariance = (scatter + self.prior_rows * prior) / (n_rows + self.prior_rows)[
            ..., None, None
        ]
        covariance = covariance + self.floor.square().diag()
        alive = moments.n_rows > LEAST_ROWS
        identity = torch.eye(len(self.floor)).to(covariance)
        covariance = covariance.where(alive[..., None, None], identity)
        tril = cholesky_of(covariance, self.floor)
        weight = moments.n_rows.where(alive, 0.0)
        return (weight / weight.sum(1, keepdim=True)).log(), mean, tril


def mixture_completion(floor: Tensor, n_rows: int) -> Completion:
    """Return draws of missing cells by a mixture of a few Gaussians.

    Parameters
    ----------
    floor : Tensor of shape (D,)
        Standard deviation that is added to that of every column.
    n_rows : int
        Number of rows, a third of which is the largest number of modes.
    """
    n_modes = min(COMPLETION_MODES, max(1, n_rows // 3))
    return Completion(GaussianMixtureFit(n_modes, floor, len(floor) + 2.0, True))


@dataclass(frozen=True)
class _Moments:
    """Sums over the rows of each mode: (F, K), (F, K, D) and (F, K, D, D)."""

    n_rows: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, x: Tensor, responsibility: Tensor) -> "_Moments":
        """Sum rows (N, D) by their shares (F, K, N)."""
        n_columns = x.shape[1]
        shape = *responsibility.shape[:2], n_columns, n_columns
        second = x.new_zeros(shape)
        if n_columns >= MANY_COLUMNS:
            # One product for each mode; outer products of rows would fill the memory.
            for place in np.ndindex(shape[:2]):
                second[place] = (x * responsibility[place][:, None]).T @ x
        else:
            at_once = max(1, NUMBERS_AT_ONCE // n_columns**2)
            for rows, share in zip(
                x.split(at_once), responsibility.split(at_once, -1), strict=True
            ):
                outer = (rows[:, :, None] * rows[:, None, :]).flatten(1)
                second += (share @ outer).view(shape)
        return cls(responsibility.sum(-1), responsibility @ x, second)

    def __add__(self, other: "_Moments") -> "_Moments":
        return _Moments(
            self.n_rows + other.n_rows,
            self.first + other.first,
            self.second + other.second,
        )


def _expectation(
    x: Tensor, weights: Tensor, log_weight: Tensor, mean: Tensor, tril: Tensor
) -> tuple[Tensor, _Moments]:
    """Return each weighting's log-evidence (F,) and the moments of its modes."""
    whitener = inverse_of(tril)
    evidence = torch.zeros_like(weights[:, 0])
    total: _Moments | None = None
    at_once = max(1, NUMBERS_AT_ONCE // mean.numel())
    for rows, weight in zip(x.split(at_once), weights.split(at_once, 1), strict=True):
        log_joint = torch.stack(
            [
                _log_joint(rows, *parts)
                for parts in zip(log_weight, mean, whitener, strict=True)
            ]
        )
        log_p = log_joint.logsumexp(1)
        evidence += (weight * log_p).sum(1)
        share = (log_joint - log_p[:, None]).exp() * weight[:, None]
        moments = _Moments.of(rows, share)
        total = moments if total is None else total + moments
    assert total is not None
    return evidence, total


def _log_joint(x: Tensor, log_weight: Tensor, mean: Tensor, whitener: Tensor) -> Tensor:
    """Return log-weight plus log-density of rows (B, D) under each mode, (M, B)."""
    n_columns = x.shape[1]
    standard = whitener @ (x - mean[:, None]).mT
    log_det = whitener.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = log_weight + log_det - n_columns / 2 * math.log(2 * math.pi)
    return constant[:, None] - 0.5 * standard.square().sum(1)
