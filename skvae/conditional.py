"""ConditionalVAEDensity: the density of a table's rows, given other columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_positive_int
from skvae.base import BaseVAEDensity
from skvae.evidence import Bounds, Evidence, Proposal
from skvae.fitting.callbacks import with_callbacks
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.scoring.score import mean_log_density
from skvae.tables.checks import check_latents
from skvae.tables.given import Given, read_given
from skvae.training.objectives import ObjectiveSpec
from skvae.typing import Array, RandomState

__all__ = ["ConditionalVAEDensity"]


class ConditionalVAEDensity(BaseVAEDensity):
    r"""Conditional density of a table's rows by a variational autoencoder.

    .. math:: p(x \mid y) = (1 - \epsilon) \int p(x \mid z, y)\, p(z)\, dz
              + \epsilon\, p_0(x)

    Encoder and decoder read y, one column or several of numbers or categories, beside
    row and latents. The prior of the latents does not: whatever it could say of y, a
    decoder that reads y can say as well. The background p₀ does not, either: far from
    all rows, the density no longer depends on y. Log-densities are in nats and in the
    units of the columns of X, as for `VAEDensity`.

    Parameters
    ----------
    n_components : int, tuple of int or "auto", default="auto"
        Number of latents, L. "auto" is the number of columns of X, at most 12 and at
        most a tenth of the rows. A tuple has the numbers of several levels.
    y_kind : {"auto", "numeric", "categorical"} or sequence of them, default="auto"
        How y is read; a sequence has one entry for each of its columns. Numbers are
        standardised, categories are read as indicators. "auto" takes integers and
        floats as numeric; text, truth values, other objects and the categorical
        columns of a data frame as categorical. Say "categorical" for class labels
        that are coded as integers.
    prior, posterior, decoder, likelihood, objective, background, \
hidden_layer_sizes, n_importance_samples, marginal_transform, smoothing, \
learning_rate, weight_decay, dropout, batch_size, max_iter, early_stopping, \
validation_fraction, n_iter_no_change, tol, warm_start, evidence_tol, \
max_evidence_samples, device, random_state, verbose
        As for `VAEDensity`; `marginal_transform` is of the columns of X only.

    Attributes
    ----------
    n_components_ : int
        Number of latents.
    n_features_in_ : int
        Number of columns of X seen by `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, where `fit` saw a DataFrame with string names.
    columns_ : ConditionalColumns
        Scaling and margins of the columns of X (`modelled`), coding of those of y
        (`given`).
    n_iter_, best_iter_, history_, model_, prior_, posterior_, decoder_, \
likelihood_, objective_, background_
        As for `VAEDensity`.

    See Also
    --------
    VAEDensity : The density of all columns together.
    DensityClassifier : Classes by Bayes' rule from a density for each.

    Notes
    -----
    A conditional density of X given classes shares networks between the classes;
    one `VAEDensity` for each class does not. Between the values of a numeric y the
    density is interpolated; beyond them it is extrapolated, linearly from eight
    standard deviations on.

    References
    ----------
    K. Sohn, H. Lee and X. Yan, 2015. Learning structured output representation using
    deep conditional generative models.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import ConditionalVAEDensity
    >>> rng = np.random.default_rng(0)
    >>> y = rng.uniform(-2, 2, 400)
    >>> X = (y**2 + 0.1 * rng.normal(size=400))[:, None]
    >>> density = ConditionalVAEDensity(max_iter=30, random_state=0).fit(X, y)
    >>> at_zero, at_one = density.score_samples([[1.0], [1.0]], [0.0, 1.0])
    >>> bool(at_one > at_zero)
    True
    """

    def __init__(
        self,
        n_components: int | str | tuple[int, ...] = "auto",
        *,
        y_kind: str | Sequence[str] = "auto",
        prior: str | PriorSpec = "mixture",
        posterior: str | PosteriorSpec = "full",
        decoder: str | DecoderSpec = "auto",
        likelihood: str | LikelihoodSpec = "mixture",
        objective: str | ObjectiveSpec = "iwae",
        background: str | BackgroundSpec | None = "auto",
        hidden_layer_sizes: tuple[int, ...] = (96, 96, 96, 96, 96, 96),
        n_importance_samples: int = 64,
        marginal_transform: str | None = "auto",
        smoothing: float | str = 0.0,
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
        evidence_tol: float = 0.03,
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
            hidden_layer_sizes=hidden_layer_sizes,
            n_importance_samples=n_importance_samples,
            marginal_transform=marginal_transform,
            smoothing=smoothing,
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
            evidence_tol=evidence_tol,
            max_evidence_samples=max_evidence_samples,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.y_kind = y_kind

    @with_callbacks
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "ConditionalVAEDensity":
        """Fit the density of the rows of X, given those of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table of finite numbers, at least two rows.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            What each row is conditional on: numbers, text, truth values or
            categories, none missing; an array, a list or a data frame.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. Whole numbers count rows; of other
            weights, only the ratios matter (see the Notes of `VAEDensity`).

        Returns
        -------
        self : ConditionalVAEDensity
            The fitted estimator. If fitting fails, it stays as it was.
        """
        warm = self.warm_start and hasattr(self, "model_")
        if warm:
            columns = self.columns_.given
            given = Given(columns, columns.code(y))
        else:
            given = read_given(y, self.y_kind, sample_weight)
        return self._fit(X, y, sample_weight, warm=warm, given=given)

    def score_samples(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Return the conditional log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            What each row is conditional on.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log p(x | y), nats, in the units of the columns of X. A row's value
            depends on the fitted model, that row and its y alone.
        """
        return self.evidence(X, y).log_density

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean conditional log-density of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            What each row is conditional on.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the mean.

        Returns
        -------
        score : float
            Nats per row.
        """
        return mean_log_density(self.score_samples(X, y), sample_weight)

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
        """Return the conditional log-density of each row, and its error.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            What each row is conditional on.
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
        """Return lower bounds on the conditional log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            What each row is conditional on.
        n_samples : sequence of int, default=(1, 5, 50)
            Numbers K of the importance-weighted bounds.
        random_state : int, default=None
            Each integer gives independent draws.

        Returns
        -------
        bounds : Bounds
            ELBO and IWAE_K, nats, in the units of the columns of X.
        """
        return self._bounds(self._read(X, y), n_samples, random_state)

    def sample(
        self,
        y: ArrayLike,
        n_samples: int = 1,
        random_state: RandomState = None,
    ) -> Array:
        """Draw rows from the densities given each row of y.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_columns)
            What the rows are conditional on.
        n_samples : int, default=1
            Number of rows for each row of y.
        random_state : int, RandomState instance or None, default=None
            Seed; None is the estimator's, and if that is None, too, every call draws
            other rows.

        Returns
        -------
        X : ndarray of shape (n * n_samples, n_features)
            Rows, in the units of the columns; those of one row of y follow one
            another, in the order of ``np.repeat(y, n_samples, axis=0)``.
        """
        check_is_fitted(self)
        check_positive_int(n_samples, "n_samples")
        given = self.columns_.given
        coded = np.repeat(given.to_model(given.code(y)), n_samples, axis=0)
        return self._draw(len(coded), random_state, coded)

    def transform(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Return the encoder's mean latents of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            What each row is conditional on.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            Posterior means: what y does not say of the row.
        """
        rows = self._read(X, y)
        return self._reader().embed(rows)

    def inverse_transform(self, Z: ArrayLike, y: ArrayLike) -> Array:
        """Return the decoder's mean row of each latent vector.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components_)
            Latents.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            What each row is conditional on.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows, in the units of the columns. With margins mapped to normal scores,
            the mean is taken there and mapped back.
        """
        check_is_fitted(self)
        latents = check_latents(Z, self.n_components_)
        columns = self.columns_.given
        given = Given(columns, columns.code(y))
        rows = given.beside(latents)
        u = columns.to_model(rows[:, self.n_components_ :])
        return self.schema_.decode(self._reader().decode(latents, u))

    def _read(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Return rows [x, coded y]; raise if they are not this model's."""
        check_is_fitted(self)
        table = self.schema_.read(self, X)
        columns = self.columns_.given
        return Given(columns, columns.code(y)).beside(table)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags
