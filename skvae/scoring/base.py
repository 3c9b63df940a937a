"""What a fitted density says of rows: log-densities, their errors, bounds, health."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import (
    check_device,
    check_parameters,
    check_positive_int,
    seed_from,
)
from skvae.diagnostics import Diagnosis
from skvae.evidence import Bounds, Evidence, Proposal
from skvae.model import VAE
from skvae.scoring.health import diagnose_density
from skvae.scoring.rows import (
    bound_rows,
    score_rows,
    scoring_plan,
    warn_unreliable,
)
from skvae.tables.checks import check_sample_weight
from skvae.tables.columns import Columns
from skvae.tables.large import ROWS_AT_ONCE, row_blocks
from skvae.typing import Array, RandomState

__all__ = [
    "EvidenceMixin",
    "bounds_of",
    "decode_rows",
    "draw_rows",
    "embed_rows",
    "evidence_of",
    "mean_log_density",
    "model_on_device",
]


class EvidenceMixin:
    """What a fitted density can say of rows: their log-density, bounds and errors."""

    columns_: Columns

    @abstractmethod
    def _check_rows(self, X: ArrayLike) -> Array:
        """Return the rows as a table; raise if they are not this model's."""

    def score_samples(self, X: ArrayLike) -> Array:
        """Return the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log p(x), nats, in the units of the columns. A row's value depends on the
            fitted model and that row alone.
        """
        return self.evidence(X).log_density

    def score(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean log-density of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.

        Returns
        -------
        score : float
            Nats per row (the mean, as for GaussianMixture; KernelDensity sums).
        """
        return mean_log_density(self.score_samples(X), sample_weight)

    def evidence(
        self,
        X: ArrayLike,
        *,
        tol: float | None = None,
        max_samples: int | None = None,
        proposal: str | Proposal | None = None,
        random_state: int | None = None,
    ) -> Evidence:
        """Return the log-density of each row with what is known about its error.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        tol : float, default=None
            Standard error, in nats, above which a row gets more samples; None is
            `evidence_tol`.
        max_samples : int, default=None
            Largest number of samples per row; None is `max_evidence_samples`.
        proposal : {"prior", "encoder", "defensive", "refined", "quadrature"}, \
Proposal or None, default=None
            Where the latents come from. None begins with the encoder and goes on, for
            the rows where that is not good enough, to refined proposals.
        random_state : int, default=None
            None gives the values of `score_samples`; each integer gives an
            independent repeat.

        Returns
        -------
        evidence : Evidence
            Log-densities, standard errors, effective sample sizes, Pareto k̂ and
            sample counts, each of shape (n_samples,).
        """
        evidence = evidence_of(
            self,
            lambda: self._check_rows(X),
            tol=tol,
            max_samples=max_samples,
            proposal=proposal,
            random_state=random_state,
        )
        warn_unreliable(evidence)
        return evidence

    def bounds(
        self,
        X: ArrayLike,
        n_samples: Sequence[int] = (1, 5, 50),
        *,
        random_state: int | None = None,
    ) -> Bounds:
        """Return lower bounds on the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_samples : sequence of int, default=(1, 5, 50)
            Numbers K of the importance-weighted bounds.
        random_state : int, default=None
            Each integer gives independent draws.

        Returns
        -------
        bounds : Bounds
            ELBO and IWAE_K, nats, in the units of the columns.
        """
        return bounds_of(self, lambda: self._check_rows(X), n_samples, random_state)

    def diagnose(self, X: ArrayLike | None = None) -> Diagnosis:
        """Report on the health of the fitted density, with advice in plain words.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), default=None
            Rows, best held-out ones; at most 1,000 are used. None draws from the model.

        Returns
        -------
        diagnosis : Diagnosis
            Prints as a table.
        """
        check_is_fitted(self)
        table = None if X is None else self._check_rows(X)
        return diagnose_density(self, table, *model_on_device(self))


def evidence_of(
    estimator: Any,
    read_rows: Callable[[], Array],
    *,
    tol: float | None,
    max_samples: int | None,
    proposal: str | Proposal | None,
    random_state: int | None,
) -> Evidence:
    """Check the arguments of `evidence` and read the log-densities of rows.

    Parameters
    ----------
    estimator : VAEDensity or ConditionalVAEDensity
        Fitted, or a NotFittedError is raised.
    read_rows : callable
        Returns the rows that the estimator's `columns_` take, checked.
    tol, max_samples, proposal, random_state
        As `VAEDensity.evidence` takes them.
    """
    check_is_fitted(estimator)
    check_parameters(estimator, tol=tol, max_samples=max_samples)
    table = read_rows()
    model, device = model_on_device(estimator)
    stages = scoring_plan(estimator, tol, max_samples, proposal)
    seed = _noise_seed(random_state)
    return score_rows(model, estimator.columns_, table, stages, device, seed)


def bounds_of(
    estimator: Any,
    read_rows: Callable[[], Array],
    n_samples: Sequence[int],
    random_state: int | None,
) -> Bounds:
    """Check the arguments of `bounds` and estimate the bounds of rows.

    Parameters
    ----------
    estimator, read_rows
        As for `evidence_of`.
    n_samples, random_state
        As `VAEDensity.bounds` takes them.
    """
    check_is_fitted(estimator)
    if not isinstance(n_samples, Sequence) or not len(n_samples):
        raise TypeError(
            f"n_samples must be a non-empty sequence of int, got {n_samples!r}."
        )
    for number in n_samples:
        check_positive_int(number, "each of n_samples")
    table = read_rows()
    model, device = model_on_device(estimator)
    seed = _noise_seed(random_state)
    return bound_rows(model, estimator.columns_, table, n_samples, device, seed)


def mean_log_density(log_density: Array, sample_weight: Any) -> float:
    """Return the weighted mean over rows."""
    weight = check_sample_weight(sample_weight, len(log_density))
    return float(np.average(log_density, weights=weight))


def model_on_device(estimator: Any) -> tuple[VAE, torch.device]:
    """Return the fitted model, where it should run, and that place."""
    device = check_device(estimator.device)
    if device.type == "cpu":
        return estimator.model_, device
    return copy.deepcopy(estimator.model_).to(device), device


def embed_rows(estimator: Any, table: Array) -> Array:
    """Return the encoder's mean latents of rows, shape (n, L)."""
    model, device = model_on_device(estimator)
    with torch.no_grad():
        parts = [
            model.embed(
                torch.from_numpy(estimator.columns_.to_model(rows)[0]).to(device)
            )
            for rows in row_blocks(table)
        ]
        return torch.cat(parts).cpu().numpy()


def decode_rows(estimator: Any, latents: Array, given: Array | None = None) -> Array:
    """Return the decoder's mean rows, in the units of the columns, shape (n, D).

    Parameters
    ----------
    estimator : VAEDensity or ConditionalVAEDensity
        Fitted.
    latents : ndarray of shape (n, L)
        Latents.
    given : ndarray of shape (n, G), default=None
        What each row is conditional on, in model units.
    """
    model, device = model_on_device(estimator)
    tables = [latents] if given is None else [latents, given]
    with torch.no_grad():
        parts = [
            model.decode(*(torch.from_numpy(block).to(device) for block in blocks))
            for blocks in zip(*map(row_blocks, tables), strict=True)
        ]
        return estimator.columns_.to_table(torch.cat(parts).cpu().numpy())


def draw_rows(
    estimator: Any,
    n_samples: int,
    random_state: RandomState,
    given: Array | None = None,
) -> Array:
    """Draw rows from the model, in the units of the columns, shape (n_samples, D).

    Parameters
    ----------
    estimator : VAEDensity or ConditionalVAEDensity
        Fitted.
    n_samples : int
        Number of rows.
    random_state : int, RandomState instance or None
        Seed; None is the estimator's.
    given : ndarray of shape (n_samples, G), default=None
        What each row is conditional on, in model units.
    """
    state = estimator.random_state if random_state is None else random_state
    model, device = model_on_device(estimator)
    generator = torch.Generator(device).manual_seed(seed_from(state))
    blocks = []
    with torch.no_grad():
        for begin in range(0, n_samples, ROWS_AT_ONCE):
            end = min(begin + ROWS_AT_ONCE, n_samples)
            part = None
            if given is not None:
                part = torch.from_numpy(given[begin:end]).to(device)
            blocks.append(model.generate(end - begin, generator, part))
    return estimator.columns_.to_table(torch.cat(blocks).cpu().numpy())


def _noise_seed(random_state: int | None) -> int:
    """Return the seed of the rows' noise; that of `score_samples` for None."""
    return 0 if random_state is None else 1 + seed_from(random_state)
