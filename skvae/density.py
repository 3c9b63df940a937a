"""VAEDensity: the scikit-learn face of the variational autoencoder."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from skvae._callbacks import CallbackSupportMixin, with_callbacks
from skvae._fit import fit_estimator
from skvae._parameters import (
    check_device,
    check_positive_int,
    seed_from,
)
from skvae._reading import EvidenceMixin
from skvae._scoring import BLOCK_ROWS
from skvae._validation import check_binary, check_table
from skvae.model import VAE
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.training.objectives import ObjectiveSpec

__all__ = ["VAEDensity"]

Array = NDArray[np.float64]


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
    n_components : int or "auto", default="auto"
        Number of latents, L. "auto" is the number of columns, at most 12 and at most
        a tenth of the rows.
    prior : {"normal", "mixture"} or PriorSpec, default="mixture"
        Distribution of the latents.
    posterior : {"diagonal", "full"} or PosteriorSpec, default="full"
        Family of the encoder's distributions.
    decoder : {"mlp", "autoregressive"} or DecoderSpec, default="mlp"
        From latents to the parameters of the likelihood.
    likelihood : {"gaussian", "mixture", "bernoulli"} or LikelihoodSpec, \
default="mixture"
        Distribution of the columns given the latents. "bernoulli" takes columns of 0
        and 1 and gives log-masses.
    objective : {"elbo", "iwae"} or ObjectiveSpec, default="iwae"
        Bound on the log-density that training maximises.
    background : {"auto", "student_t", "independent"}, BackgroundSpec or None, \
default="auto"
        Broad closed-form density that takes the rows that no latent explains, with a
        small weight: log-densities far from the table are exact, and single odd rows
        do not bend the fit. "auto" is a Student-t distribution, or independent
        columns where they are binary. None leaves the latent part alone.
    hidden_layer_sizes : tuple of int, default=(96, 96, 96, 96, 96, 96)
        Widths of the hidden layers of encoder and decoder; layers of equal width are
        residual. Both networks have a linear skip besides. Deep and narrow is better
        and cheaper than shallow and wide.
    n_importance_samples : int, default=64
        Importance samples that every row gets when it is scored.
    marginal_transform : {"auto", "normal"} or None, default="auto"
        "normal" maps every column to normal scores by a monotone spline, exact
        Jacobian included; None only standardises. "auto" trains both for a short
        while and takes "normal" if that is better on the validation rows by one
        standard error of the difference (None without validation rows).
    learning_rate : float, default=0.004
        Peak learning rate of AdamW, after a warm-up and before a cosine decay.
    weight_decay, dropout : float or "auto", default="auto"
        Regularisation of the networks. "auto" goes by rows per column: 1e-4 and 0
        from 900, 0.03 and 0.1 from 200, 0.3 and 0.2 below.
    batch_size : int, default=256
        Rows per step.
    max_iter : int or "auto", default="auto"
        Largest number of epochs. "auto" is 100, but at least 4,500 and at most
        12,000 steps, and fewer for tables below 800 rows.
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
        Number of latents.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, where `fit` saw a DataFrame with string names.
    n_iter_ : int
        Number of epochs, over all calls that continued one another.
    best_iter_ : int
        Epoch whose weights the model has; 0 is the start.
    history_ : list of dict
        One record per epoch: "epoch", "objective" (training bound), "evidence"
        (importance-weighted bound on the validation rows, nan where not computed),
        "reconstruction" (log p(x | z)), "kl", all in nats per row and in the units of
        the input, "learning_rate" and "seconds".
    model_ : VAE
        The trained torch module, in float64 on the CPU.
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
        n_components: int | str = "auto",
        *,
        prior: str | PriorSpec = "mixture",
        posterior: str | PosteriorSpec = "full",
        decoder: str | DecoderSpec = "mlp",
        likelihood: str | LikelihoodSpec = "mixture",
        objective: str | ObjectiveSpec = "iwae",
        background: str | BackgroundSpec | None = "auto",
        hidden_layer_sizes: tuple[int, ...] = (96, 96, 96, 96, 96, 96),
        n_importance_samples: int = 64,
        marginal_transform: str | None = "auto",
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
        random_state: int | np.random.RandomState | None = None,
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
            Table of finite numbers, at least two rows.
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
        random_state: int | np.random.RandomState | None = None,
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
            Rows, in the units of the columns.
        """
        check_is_fitted(self)
        check_positive_int(n_samples, "n_samples")
        seed = seed_from(self.random_state if random_state is None else random_state)
        model, device = self._model_on_device()
        generator = torch.Generator(device).manual_seed(seed)
        with torch.no_grad():
            blocks = [
                model.generate(min(BLOCK_ROWS, n_samples - begin), generator)
                for begin in range(0, n_samples, BLOCK_ROWS)
            ]
        return self.columns_.to_table(torch.cat(blocks).cpu().numpy())

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
        table = self._check_rows(X)
        u, _ = self.columns_.to_model(table)
        return self._in_blocks(VAE.embed, u)

    def inverse_transform(self, Z: ArrayLike) -> Array:
        """Return the decoder's mean row of each latent vector.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components_)
            Latents.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows, in the units of the columns. With margins mapped to normal scores,
            the mean is taken there and mapped back.
        """
        check_is_fitted(self)
        latents = check_array(Z, dtype=np.float64, input_name="Z")
        if latents.shape[1] != self.n_components_:
            raise ValueError(
                f"Z has {latents.shape[1]} columns, but the model has "
                f"n_components_={self.n_components_} latents."
            )
        return self.columns_.to_table(self._in_blocks(VAE.decode, latents))

    def _in_blocks(self, method: Callable[[VAE, Tensor], Tensor], rows: Array) -> Array:
        """Apply a method of the model to rows, a block at a time."""
        model, device = self._model_on_device()
        with torch.no_grad():
            blocks = torch.from_numpy(rows).split(BLOCK_ROWS)
            return torch.cat(
                [method(model, b.to(device)).cpu() for b in blocks]
            ).numpy()

    def _check_rows(self, X: ArrayLike) -> Array:
        table = check_table(self, X, reset=False)
        if self.likelihood_.support == "binary":
            check_binary(self, table)
        return table

    def _model_on_device(self) -> tuple[VAE, torch.device]:
        device = check_device(self.device)
        if device.type == "cpu":
            return self.model_, device
        return copy.deepcopy(self.model_).to(device), device

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")
