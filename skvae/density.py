"""VAEDensity: the scikit-learn face of the variational autoencoder."""

from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_positive_int
from skvae.fitting.callbacks import CallbackSupportMixin, with_callbacks
from skvae.fitting.fit import fit_estimator
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.scoring.base import EvidenceMixin, decode_rows, draw_rows, embed_rows
from skvae.tables.checks import check_latents
from skvae.training.objectives import ObjectiveSpec
from skvae.typing import Array, RandomState

__all__ = ["VAEDensity"]


class VAEDensity(
    EvidenceMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DensityMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    r"""Density of a table's rows by a variational autoencoder.

    .. math:: p(x) = \int p(x \mid z)\, p(z)\, dz

    A prior over a few latents z, a decoder and a likelihood define the density; an
    encoder is trained with them and serves as the proposal of the importance sampler
    that reads log p(x). Log-densities are in nats and in the units of the columns,
    the Jacobian of all internal scaling included; they compare directly with
    ``GaussianMixture.score_samples`` on the same table.

    Parameters
    ----------
    n_components : int, tuple of int or "auto", default="auto"
        Number of latents, L. "auto" is the number of columns, at most 12 and at most
        a tenth of the rows. A tuple has the numbers of several levels of latents,
        bottom first, as (16, 4); each level is Gaussian given the one above (see
        `LadderPrior`), and `prior` and `posterior` are those of the top level.
    prior : {"normal", "mixture", "vamp", "flow"} or PriorSpec, default="mixture"
        Distribution of the latents.
    posterior : {"diagonal", "full", "flow"} or PosteriorSpec, default="full"
        Family of the encoder's distributions.
    decoder : {"auto", "mlp", "autoregressive"} or DecoderSpec, default="auto"
        From latents to the parameters of the likelihood. "auto" is "autoregressive"
        for up to 256 columns of which none is real, else "mlp". Where rows are few
        (below 900 per column, and 30,000) and `n_components` is "auto", too, it also
        tries ``AutoregressiveDecoder((128, 128))`` for a fifth of the training, and
        takes it if that is better on the validation rows by one standard error of
        the difference. For latents that tell all of a row, choose "mlp".
    likelihood : {"mixture", "gaussian", "student_t", "logistic_mixture", \
"bernoulli", "categorical", "poisson", "negative_binomial", "auto"} or \
LikelihoodSpec, default="mixture"
        Distribution of the columns given the latents. The first four are for real
        columns. "bernoulli" takes columns of 0 and 1, "poisson" and
        "negative_binomial" whole numbers from 0 on, "categorical" any values, each
        different one a category of its own; they give log-masses. "auto" is
        `MixedLikelihood`, which chooses for every column: a log-density with respect
        to lengths of the continuous columns and counts of the others.
    objective : {"dreg", "elbo", "iwae", "stl"} or ObjectiveSpec, default="iwae"
        Bound on the log-density that training maximises.
    background : {"auto", "student_t", "independent", "mixed"}, BackgroundSpec or \
None, default="auto"
        Broad closed-form density that takes the rows that no latent explains, with a
        small weight: log-densities far from the table are exact, and single odd rows
        do not bend the fit. "auto" is a Student-t distribution of real columns,
        independent discrete columns, and for both in one table "mixed", the product.
        None leaves the latent part alone.
    hidden_layer_sizes : tuple of int, default=(96, 96, 96, 96, 96, 96)
        Widths of the hidden layers of encoder and decoder; layers of equal width are
        residual. Both networks have a linear skip besides. Deep and narrow is better
        and cheaper than shallow and wide.
    n_importance_samples : int, default=64
        Importance samples that every row gets when it is scored.
    marginal_transform : {"auto", "normal"} or None, default="auto"
        "normal" maps every column to normal scores by a monotone spline, exact
        Jacobian included; None only standardises. "auto" trains both for a short
        while (with each decoder that is tried) and takes "normal" if that is better
        on the validation rows by one standard error of the difference (None without
        validation rows).
    smoothing : float or "auto", default=0.0
        Least standard deviation that the likelihood may give a real column, in units
        of its spread (of the middle 90 % of the rows): the density has no detail that
        is finer. Zero leaves the floors of the Notes alone. "auto" is (30 / rows
        per column)², at most 0.6: little detail where there are few rows to learn
        it from. It costs log-density on rows from the same source, and is for
        the ranking of rows from elsewhere.
    learning_rate : float, default=0.004
        Peak learning rate of AdamW, after a warm-up and before a cosine decay.
    weight_decay, dropout : float or "auto", default="auto"
        Regularisation of the networks. "auto" goes by rows per column: 1e-4 and 0
        from 900, and from 30,000 rows whatever the columns; 0.03 and 0.1 from 200;
        0.3 and 0.2 below.
    batch_size : int, default=256
        Rows per step.
    max_iter : int or "auto", default="auto"
        Largest number of epochs. "auto" is 100, but at least 4,500 and at most
        12,000 steps; fewer for tables below 800 rows, and more, as the cube root of
        the rows, above 20,000.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation rows, stop when their score stops improving and
        keep the best weights. "auto" does so from 100 rows.
    validation_fraction : float, default=0.1
        Share of the rows to hold out; at most 5,000 rows are.
    n_iter_no_change : int or "auto", default="auto"
        Epochs without improvement before training stops. "auto" is a quarter of
        `max_iter`, at least 10.
    tol : float, default=1e-4
        Smallest gain of the validation score, in nats per row, that counts as one.
    warm_start : bool, default=False
        Whether `fit` goes on from the previous fit, in its model units, instead of
        starting anew.
    evidence_tol : float, default=0.03
        Standard error, in nats, above which a scored row gets more samples, or a
        better proposal. Scoring with 0.1 is two to three times as fast.
    max_evidence_samples : int, default=4096
        Largest number of importance samples per row.
    device : {"auto", "cpu", "cuda", "cuda:<index>"}, default="auto"
        Where to train and score. "auto" is the first CUDA device if there is one. The
        fitted weights are kept on the CPU: a model opens on any machine.
    random_state : int, RandomState instance or None, default=None
        Seed of training, and of `sample` where it is an int. Scores do not depend on
        it: the noise of a row is keyed by its values.
    verbose : int, default=0
        Whether to show a progress bar with the validation score and the time left.

    Attributes
    ----------
    n_components_ : int
        Number of latents, those of all levels together.
    latent_levels_ : tuple of int
        Number of latents of every level, bottom first.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, where `fit` saw a DataFrame with string names.
    n_iter_ : int
        Number of epochs, over all calls that continued one another.
    best_iter_ : int
        Epoch whose weights the model has; 0 is the start.
    history_ : list of dict
        One record per epoch: "epoch"; "objective" (what training maximised, no bound
        while it weighs its parts, as a β ≠ 1 does), "bound" (importance-weighted
        bound from the same draws of the training rows), "evidence" (that of the
        validation rows, nan where not computed), "reconstruction" (log p(x | z)) and
        "kl", all in nats per row and in the units of the input; "learning_rate" and
        "seconds".
    model_ : VAE
        The trained torch module, in float64 on the CPU.
    schema_ : TableSchema
        What each column holds, and the known categories.
    columns_ : Columns
        Scaling and margins of the columns, and the floors of their scales.
    prior_, posterior_, decoder_, likelihood_, objective_, background_ : specs
        The components that were used.

    See Also
    --------
    sklearn.mixture.GaussianMixture : Faster, exact, stiffer.
    sklearn.neighbors.KernelDensity : For one to three columns.

    Notes
    -----
    *Floors.* The likelihood of a continuous table is unbounded: a column with repeated
    values invites infinitely narrow spikes. No standard deviation falls below 10⁻³ of
    the column's, nor, where values repeat, below the rounding error step/√12 of the
    smallest step between values. With a background, none is above 1.5 times the
    column's: wider noise is the background's part.

    *Weights.* Integer `sample_weight` equal repeated rows exactly.

    *Large tables.* An array that is larger, as float64, than scikit-learn's
    `working_memory` (1 GiB unless set) is never copied whole, so that a NumPy memmap
    may exceed the memory. An epoch is then 100,000 rows at most; scaling, margins and
    start come from as many; training draws from 4 million rows, chosen by weight;
    equal rows are not merged, so that integer weights only mean as much as repeated
    rows, not the same to the last digit.

    *Far rows.* Beyond eight standard deviations networks see a clipped input and the
    model continues as a linear one; far out, the background is all that is left, in
    closed form. ``docs/evidence.md`` says how log p(x) is read, and how well.

    References
    ----------
    D. P. Kingma and M. Welling, 2014. Auto-encoding variational Bayes.

    Y. Burda, R. Grosse and R. Salakhutdinov, 2016. Importance weighted autoencoders.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAEDensity
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, 2 * np.pi, 500)
    >>> ring = np.c_[np.cos(angle), np.sin(angle)] + 0.05 * rng.normal(size=(500, 2))
    >>> density = VAEDensity(max_iter=50, random_state=0).fit(ring)
    >>> on, inside = density.score_samples([[1.0, 0.0], [0.0, 0.0]])
    >>> bool(on > inside)
    True
    """

    def __init__(
        self,
        n_components: int | str | tuple[int, ...] = "auto",
        *,
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
        self.n_components = n_components
        self.prior = prior
        self.posterior = posterior
        self.decoder = decoder
        self.likelihood = likelihood
        self.objective = objective
        self.background = background
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_importance_samples = n_importance_samples
        self.marginal_transform = marginal_transform
        self.smoothing = smoothing
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.evidence_tol = evidence_tol
        self.max_evidence_samples = max_evidence_samples
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> "VAEDensity":
        """Fit the density to the rows of a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table of finite numbers, at least two rows. With likelihood "auto" or
            "categorical", DataFrames may have columns of text, categories and truth
            values.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. Integers equal repeated rows.

        Returns
        -------
        self : VAEDensity
            The fitted estimator. If fitting fails, it stays as it was.
        """
        warm = self.warm_start and hasattr(self, "model_")
        return fit_estimator(self, X, y, sample_weight, warm=warm, partial=False)

    @with_callbacks
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> "VAEDensity":
        """Train for one epoch on a batch of rows.

        The first call fits scaling, margins (none for "auto") and start on its rows;
        later calls keep them and go on, at a constant learning rate and without
        validation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero.

        Returns
        -------
        self : VAEDensity
            The estimator.
        """
        warm = hasattr(self, "model_")
        return fit_estimator(self, X, y, sample_weight, warm=warm, partial=True)

    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
    ) -> Array:
        """Draw rows from the density.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed; None is the estimator's, and if that is None, too, every call draws
            other rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows, in the units of the columns; of floats, or of objects where a column
            holds text.
        """
        check_is_fitted(self)
        check_positive_int(n_samples, "n_samples")
        return self.schema_.decode(self._draw(n_samples, random_state))

    def _draw(self, n_samples: int, random_state: RandomState) -> Array:
        """Draw rows, with codes in place of categories."""
        return draw_rows(self, n_samples, random_state)

    def transform(self, X: ArrayLike) -> Array:
        """Return the encoder's mean latents of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            Posterior means.
        """
        check_is_fitted(self)
        return embed_rows(self, self._check_rows(X))

    def inverse_transform(self, Z: ArrayLike) -> Array:
        """Return the decoder's mean row of each latent vector.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components_)
            Latents.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows, as from `sample`. With margins mapped to normal scores, the mean is
            taken there and mapped back; of categories, it is the most probable one.
        """
        check_is_fitted(self)
        latents = check_latents(Z, self.n_components_)
        return self.schema_.decode(decode_rows(self, latents))

    def _check_rows(self, X: ArrayLike) -> Array:
        return self.schema_.read(self, X)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")
