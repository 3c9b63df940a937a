"""ConditionalVAEDensity: the density of targets y, given the columns of X."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skvae.arguments.checks import check_choice, check_positive_int
from skvae.arguments.warnings import warn_caller
from skvae.base import BaseVAEDensity
from skvae.diagnostics import Diagnosis
from skvae.evidence import Bounds, Evidence, Proposal
from skvae.fitting.callbacks import with_callbacks
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.queries.targets import TargetQueries
from skvae.tables.checks import check_latents
from skvae.tables.given import Given, fit_given, read_given
from skvae.tables.raw import RawTable, read_target
from skvae.training.objectives import ObjectiveSpec
from skvae.typing import Array, RandomState

__all__ = ["ConditionalVAEDensity"]


class ConditionalVAEDensity(BaseVAEDensity, TargetQueries):
    """Density of one target or several, given other columns, by a VAE.

    .. math:: p(y | x) = (1 - ε) ∫ p(y | z, x) p(z) dz + ε p_0(y)

    Encoder and decoder read x, one column or several of numbers or categories, beside
    the targets and the latents. The prior of the latents does not: whatever it could
    say of x, a decoder that reads x can say as well. The background p₀ does not,
    either: far from all targets of the fit, the density no longer depends on x.
    Log-densities are in nats and in the units of the targets, as for `VAEDensity`.

    Parameters
    ----------
    n_components : int, tuple of int or "auto", default="auto"
        Number of latents, L. "auto" is the number of targets, at most 12 and at most
        a tenth of the rows. A tuple has the numbers of several levels.
    given_kind : {"auto", "numeric", "categorical"} or sequence of them, default="auto"
        How X is read; a sequence has one entry for each of its columns. Numbers are
        standardised, categories are read as indicators. "auto" takes integers and
        floats as numeric; text, truth values, other objects and the categorical
        columns of a data frame as categorical. Say "categorical" for class labels
        that are coded as integers.
    unknown_category : {"error", "other"}, default="error"
        What to do with a category that `fit` has not seen. "error" raises an error
        that names it. "other" gives it mass in a target, as for `VAEDensity`; in X,
        the networks read it as none of the known categories, of which they have
        learnt nothing.
    prior, posterior, decoder, likelihood, objective, background, \
hidden_layer_sizes, n_importance_samples, marginal_transform, smoothing, \
learning_rate, weight_decay, dropout, batch_size, max_iter, early_stopping, \
validation_fraction, n_iter_no_change, tol, warm_start, checkpoint, evidence_tol, \
max_evidence_samples, device, random_state, verbose
        As for `VAEDensity`; likelihood, background, `marginal_transform` and
        `smoothing` are of the targets only. The targets of an array are named "y0",
        "y1", … where a likelihood asks for names.

    Attributes
    ----------
    n_components_ : int
        Number of latents.
    n_features_in_ : int
        Number of columns of X seen by `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of X, where `fit` saw a DataFrame with string names.
    schema_ : TableSchema
        What each target holds, and the known categories.
    columns_ : ConditionalColumns
        Scaling and margins of the targets (`modelled`), coding of the columns of X
        (`given`).
    n_iter_, best_iter_, history_, pilots_, model_, prior_, posterior_, decoder_, \
likelihood_, objective_, background_
        As for `VAEDensity`.

    See Also
    --------
    VAEDensity : The density of all columns together.
    DensityClassifier : Classes by Bayes' rule from a density for each.

    Notes
    -----
    Given classes as X, one network is shared between them; with `DensityClassifier`,
    each class has a density of its own. Between the values of a numeric column of X the
    density is interpolated; beyond them it is extrapolated, linearly from eight
    standard deviations on.

    The latents of a row depend on X and y together. They are read by `encode` and
    `decode`; there is no `transform`, which scikit-learn calls with X alone.

    References
    ----------
    K. Sohn, H. Lee and X. Yan, 2015. Learning structured output representation using
    deep conditional generative models.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import ConditionalVAEDensity
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, (400, 1))
    >>> y = X[:, 0] ** 2 + 0.1 * rng.normal(size=400)
    >>> density = ConditionalVAEDensity(max_iter=30, random_state=0).fit(X, y)
    >>> at_zero, at_one = density.score_samples([[0.0], [1.0]], [1.0, 1.0])
    >>> bool(at_one > at_zero)
    True
    >>> density.sample([[0.0], [1.0]], n_samples=3).shape
    (6,)
    """

    def __init__(
        self,
        n_components: int | str | tuple[int, ...] = "auto",
        *,
        given_kind: str | Sequence[str] = "auto",
        prior: str | PriorSpec = "mixture",
        posterior: str | PosteriorSpec = "full",
        decoder: str | DecoderSpec = "auto",
        likelihood: str | LikelihoodSpec = "mixture",
        objective: str | ObjectiveSpec = "auto",
        background: str | BackgroundSpec | None = "auto",
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        n_importance_samples: int = 64,
        marginal_transform: str | None = "auto",
        smoothing: float | str = 0.0,
        unknown_category: str = "error",
        learning_rate: float = 0.004,
        weight_decay: float | str = "auto",
        dropout: float | str = "auto",
        batch_size: int = 256,
        max_iter: int | str = "auto",
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int | str = "auto",
        tol: float = 1e-4,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        evidence_tol: float = 0.1,
        max_evidence_samples: int = 4096,
        device: str = "auto",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_components,
            prior=prior,
            posterior=posterior,
            decoder=decoder,
            likelihood=likelihood,
            objective=objective,
            background=background,
            companion=None,
            hidden_layer_sizes=hidden_layer_sizes,
            n_importance_samples=n_importance_samples,
            marginal_transform=marginal_transform,
            smoothing=smoothing,
            unknown_category=unknown_category,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            dropout=dropout,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            checkpoint=checkpoint,
            evidence_tol=evidence_tol,
            max_evidence_samples=max_evidence_samples,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.given_kind = given_kind

    def set_output(self, *, transform: str | None = None) -> "ConditionalVAEDensity":
        """Set the container of targets that `sample`, `predict` and `decode` return.

        Unless it is set here, or by scikit-learn's ``transform_output``, it is the one
        that `fit` has seen: a frame of pandas or of polars, a Series, or an array.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            "default" is an array. "pandas" and "polars" are a DataFrame, or a Series
            where `fit` has seen one target without a second axis, with the names and
            dtypes that `fit` has seen. None leaves everything as it is. (The name is
            that of scikit-learn's `set_output`.)

        Returns
        -------
        self : ConditionalVAEDensity
            This estimator.
        """
        if transform is not None:
            check_choice(transform, "transform", ("default", "pandas", "polars"))
            self._sklearn_output_config = {"transform": transform}
        return self

    @with_callbacks
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "ConditionalVAEDensity":
        """Fit the density of the targets, given the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What each target is conditional on: numbers, text, truth values or
            categories, and cells may be missing; an array, a list or a data frame. A
            Series that has a name is one column.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets, none missing, whose density is learnt: finite numbers, and with
            likelihood "auto" or "categorical" also text, categories and truth values.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. Whole numbers count rows; of other
            weights, only the ratios matter (see the Notes of `VAEDensity`).

        Returns
        -------
        self : ConditionalVAEDensity
            The fitted estimator. If fitting fails, it stays as it was.
        """
        warm = self.warm_start and hasattr(self, "model_")
        return self._fit(X, y, sample_weight, warm=warm)

    @with_callbacks
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "ConditionalVAEDensity":
        """Train for one epoch on a batch of rows.

        The first call fits coding, scaling, margins (none for "auto") and start on its
        rows; later calls keep them and go on, at a constant learning rate and without
        validation.

        Parameters
        ----------
        X, y
            As for `fit`, at least two rows; on later calls, with the columns and the
            categories of the first one (see `unknown_category`).
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero.

        Returns
        -------
        self : ConditionalVAEDensity
            The estimator. If training fails, it stays as it was.
        """
        warm = hasattr(self, "model_")
        return self._fit(X, y, sample_weight, warm=warm, partial=True)

    def score_samples(self, X: ArrayLike, y: ArrayLike | None = None) -> Array:
        """Return the conditional log-density of each target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What each target is conditional on.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; the columns of a data frame are matched by name. There is no
            density without them: None gives NaN for each row, with a warning.
            (scikit-learn's checks call this method with X alone.)

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log p(y | x), nats, in the units of the targets. A row's value depends on
            the fitted model and that row alone.
        """
        if y is None:
            n_rows = len(self._coded(X).table)
            warn_caller(
                "score_samples got no y. ConditionalVAEDensity has the density of y "
                "given X, so that all values are NaN: call score_samples(X, y)."
            )
            return np.full(n_rows, np.nan)
        return self.evidence(X, y).log_density

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean conditional log-density of the targets.

        They are read at a coarser tolerance, as for `VAEDensity.score`.

        Parameters
        ----------
        X, y
            As for `score_samples`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.

        Returns
        -------
        score : float
            Nats per row.
        """
        return self._mean_log_density(self._read(X, y), sample_weight)

    def evidence(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        tol: float | None = None,
        max_samples: int | None = None,
        proposal: str | Proposal | None = None,
        random_state: int | None = None,
    ) -> Evidence:
        """Return the conditional log-density of each target, and its error.

        Parameters
        ----------
        X, y
            As for `score_samples`.
        tol, max_samples, proposal, random_state
            As for `VAEDensity.evidence`.

        Returns
        -------
        evidence : Evidence
            Log-densities, standard errors, effective sample sizes, Pareto k̂ and
            sample counts, each of shape (n_samples,).
        """
        return self._evidence(
            self._read(X, y),
            tol=tol,
            max_samples=max_samples,
            proposal=proposal,
            random_state=random_state,
        )

    def bounds(
        self,
        X: ArrayLike,
        y: ArrayLike,
        n_samples: Sequence[int] = (1, 5, 50),
        *,
        random_state: int | None = None,
    ) -> Bounds:
        """Return lower bounds on the conditional log-density of each target.

        Parameters
        ----------
        X, y
            As for `score_samples`.
        n_samples : sequence of int, default=(1, 5, 50)
            Numbers K of the importance-weighted bounds.
        random_state : int, default=None
            Each integer gives independent draws.

        Returns
        -------
        bounds : Bounds
            ELBO and IWAE_K, nats, in the units of the targets.
        """
        return self._bounds(self._read(X, y), n_samples, random_state)

    def diagnose(self, X: ArrayLike, y: ArrayLike | None = None) -> Diagnosis:
        """Report on the health of the fitted density, with advice in plain words.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What each target is conditional on, best of held-out rows; at most 1,000
            are used. There is no model of X to draw them from.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Targets. None draws one from the model for each row of X.

        Returns
        -------
        diagnosis : Diagnosis
            Prints as a table. Its columns are the targets, and its log-densities are
            those of y given X.
        """
        if y is None:
            return self._diagnose(None, self._coded(X))
        return self._diagnose(self._read(X, y))

    def sample(
        self, X: ArrayLike, n_samples: int = 1, random_state: RandomState = None
    ) -> Any:
        """Draw targets from the densities given each row of X.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            What the targets are conditional on.
        n_samples : int, default=1
            Number of targets for each row of X.
        random_state : int, RandomState instance or None, default=None
            Seed; None is the estimator's, and if that is None, too, every call draws
            other targets.

        Returns
        -------
        y : ndarray, Series or DataFrame of shape (n * n_samples,) or \
(n * n_samples, n_targets)
            Targets, in their units, with as many axes as `fit` has seen. Those of one
            row of X follow one another, in the order of
            ``np.repeat(X, n_samples, axis=0)``. The container is that of the targets of
            `fit`, with its names and dtypes and with the index of X, unless
            `set_output` asks for another one; in a frame, integers are rounded.
        """
        coded = self._coded(X)
        check_positive_int(n_samples, "n_samples")
        given = np.repeat(coded.in_model_units(), n_samples, axis=0)
        drawn = self._drawn_numbers(len(given), random_state, given)
        return self._in_container(drawn, X, n_samples)

    def encode(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Return the encoder's mean latents of each row.

        Parameters
        ----------
        X, y
            As for `score_samples`.

        Returns
        -------
        Z : ndarray of shape (n_samples, `n_components_`)
            Posterior means: what X does not say of the targets.
        """
        rows = self._read(X, y)
        return self._reader().embed(rows)

    def decode(self, X: ArrayLike, Z: ArrayLike) -> Any:
        """Return the decoder's mean targets of each latent vector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As for `sample`.
        Z : array-like of shape (n_samples, `n_components_`)
            Latents.

        Returns
        -------
        y : ndarray, Series or DataFrame of shape (n_samples,) or \
(n_samples, n_targets)
            Targets, in the container of `sample`. With margins mapped to normal scores,
            the mean is taken there and mapped back; of categories, it is the most
            probable one.
        """
        given = self._coded(X).in_model_units()
        latents = check_latents(Z, self.n_components_)
        check_consistent_length(given, latents)
        decoded = self._reader().decode(latents, given)
        return self._in_container(decoded, X, are_means=True)

    def _read_to_fit(
        self, X: ArrayLike, y: ArrayLike | None, *, reset: bool
    ) -> tuple[RawTable, RawTable | None]:
        given = read_given(self, X, reset=reset, min_samples=2)
        seen = None if reset else self.schema_.layout
        raw = read_target(y, type(self).__name__, seen)
        check_consistent_length(given.numbers, raw.numbers)
        return raw, given

    def _code_to_fit(self, raw: RawTable, sample_weight: Array, *, warm: bool) -> Given:
        if warm:
            return self.columns_.given.code(raw)
        return fit_given(
            raw,
            self.given_kind,
            sample_weight,
            with_other=self.unknown_category == "other",
        )

    def _read(self, X: ArrayLike, y: ArrayLike) -> Array:
        given = self._coded(X)
        raw = read_target(y, type(self).__name__, self.schema_.layout)
        return given.beside(self.schema_.encode(raw))

    def _coded(self, X: ArrayLike) -> Given:
        check_is_fitted(self)
        return self.columns_.given.code(read_given(self, X, reset=False))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags
