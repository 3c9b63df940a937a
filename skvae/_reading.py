"""What a fitted density says of rows: log-densities, their errors, bounds, health."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skvae._columns import Columns
from skvae._diagnose import diagnose_density
from skvae._parameters import check_parameters, check_positive_int, seed_from
from skvae._scoring import bound_rows, score_rows, scoring_plan, warn_unreliable
from skvae._validation import check_sample_weight
from skvae.diagnostics import Diagnosis
from skvae.evidence import Bounds, Evidence, Proposal
from skvae.model import VAE

__all__ = ["EvidenceMixin"]

Array = NDArray[np.float64]


class EvidenceMixin:
    """What a fitted density can say of rows: their log-density, bounds and errors."""

    columns_: Columns

    @abstractmethod
    def _check_rows(self, X: ArrayLike) -> Array:
        """Return the rows as a table; raise if they are not this model's."""

    @abstractmethod
    def _model_on_device(self) -> tuple[VAE, torch.device]:
        """Return the fitted model, where it should run, and that place."""

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
        log_density = self.score_samples(X)
        weight = check_sample_weight(sample_weight, len(log_density))
        return float(np.average(log_density, weights=weight))

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
        check_is_fitted(self)
        check_parameters(self, tol=tol, max_samples=max_samples)
        table = self._check_rows(X)
        model, device = self._model_on_device()
        stages = scoring_plan(self, tol, max_samples, proposal)
        seed = _noise_seed(random_state)
        evidence = score_rows(model, self.columns_, table, stages, device, seed)
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
        check_is_fitted(self)
        if not isinstance(n_samples, Sequence) or not len(n_samples):
            raise TypeError(
                f"n_samples must be a non-empty sequence of int, got {n_samples!r}."
            )
        for number in n_samples:
            check_positive_int(number, "each of n_samples")
        table = self._check_rows(X)
        model, device = self._model_on_device()
        seed = _noise_seed(random_state)
        return bound_rows(model, self.columns_, table, n_samples, device, seed)

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
        return diagnose_density(self, table, *self._model_on_device())


def _noise_seed(random_state: int | None) -> int:
    """Return the seed of the rows' noise; that of `score_samples` for None."""
    return 0 if random_state is None else 1 + seed_from(random_state)
