"""VAEDensity: the scikit-learn face of the variational autoencoder."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_positive_int
from skvae.base import BaseVAEDensity
from skvae.diagnostics import Diagnosis
from skvae.evidence import Bounds, Evidence, Proposal
from skvae.fitting.callbacks import with_callbacks
from skvae.queries.joint import JointQueries
from skvae.tables.batches import Batches
from skvae.tables.checks import check_latents
from skvae.tables.output import asked_container
from skvae.tables.raw import RawTable, read_table
from skvae.typing import Array, RandomState

__all__ = ["VAEDensity"]


class VAEDensity(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseVAEDensity, JointQueries
):
    """Density of a table's rows by a variational autoencoder.

    .. math:: p(x) = ∫ p(x | z) p(z) dz

    A prior over a few latents z, a decoder and a likelihood define the density; an
    encoder is trained with them and serves as the proposal of the importance sampler
    that reads log p(x). A companion in closed form, a mixture, takes the share of p(x)
    that rows held out leave to it. Log-densities are in nats and in the units of the
    columns, and compare with ``GaussianMixture.score_samples`` on the same table.

    Parameters
    ----------
    n_components : int, tuple of int or "auto", default="auto"
        Number of latents, L. "auto" is the number of columns, at most 12 and at most
        a tenth of the rows. A tuple has the numbers of several levels of latents,
        bottom first, as (16, 4); `prior` and `posterior` are the top's (`LadderPrior`).
    prior : {"normal", "mixture", "vamp", "flow", "codebook"} or PriorSpec, default=\
"mixture"
        Distribution of the latents.
    posterior : {"diagonal", "full", "flow", "implicit"}, default="full"
        Family of the encoder's distributions; or a PosteriorSpec.
    decoder : {"auto", "mlp", "autoregressive"} or DecoderSpec, default="auto"
        From latents to the parameters of the likelihood. "auto" is "autoregressive"
        for up to 256 columns of which none is real, else "mlp". Where rows are few
        (below 900 per column, and 30,000) and `n_components` is "auto", too, it also
        tries ``AutoregressiveDecoder((128, 128))``, (64, 64) below 800 rows, and among
        discrete columns "mlp" (see "Races"). For latents that tell all, choose "mlp".
    likelihood : {"mixture", "gaussian", "student_t", "logistic_mixture", \
"bernoulli", "categorical", "poisson", "negative_binomial", "auto"} or \
LikelihoodSpec, default="mixture"
        Distribution of the columns given the latents. The first four are for real
        columns. "bernoulli" takes columns of 0 and 1, "poisson" and
        "negative_binomial" whole numbers from 0 on, "categorical" any values, each
        different one a category of its own; they give log-masses. "auto" is
        `MixedLikelihood`, which chooses for every column: a log-density with respect
        to lengths of the continuous columns and counts of the others.
    objective : {"auto", "dreg", "elbo", "info", "iwae", "stl"} or ObjectiveSpec, \
default="auto"
        What training maximises. "auto" is `IWAE()`, with more draws for missing cells.
    background : {"auto", "student_t", "independent", "mixed"}, BackgroundSpec or \
None, default="auto"
        Broad closed-form density that takes the rows that no latent explains, with a
        small weight: log-densities far from the table are exact, and single odd rows
        do not bend the fit. "auto" is a Student-t distribution of real columns,
        independent discrete columns, and for both in one table "mixed", the product.
        None leaves the latent part alone.
    companion : {"auto", "gaussian_mixture", "tree"}, CompanionSpec or None, \
default="auto"
        Density in closed form beside the latent part: Gaussian mixtures and kernels of
        real columns, mixtures of trees of zeros and ones and categories. Rows that were
        not fitted decide about its share (see "Companion"). "auto" is None for mixed
        tables, counts and more than 256 columns.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the hidden layers of encoder and decoder; layers of equal width are
        residual. "auto" is (96,) * 6, and (64,) * 3 below 800 rows.
    n_importance_samples : int, default=64
        Importance samples that each of the two halves of a scored row begins with.
    marginal_transform : {"auto", "normal", "whitened"} or None, default="auto"
        "normal" maps every column to normal scores by a monotone spline, exact
        Jacobian included; None only standardises. "whitened" turns rows to principal
        directions of equal variance. "auto" tries "normal" and None, and "whitened" if
        columns nearly determine others (see "Races"); below 100 rows it is "normal",
        and without validation rows None.
    smoothing : float or "auto", default=0.0
        Least standard deviation that the likelihood may give a real column, in units
        of its spread (of the middle 90 % of the rows). "auto" is (30 / rows per
        column)², at most 0.6: little detail where there are few rows to learn it from.
        It costs log-density on rows from the same source, and is for the ranking of
        rows from elsewhere.
    unknown_category : {"error", "other"}, default="error"
        What to do with a category that `fit` has not seen. "error" raises an error
        that names it. "other" reads all such values of a column as one more category,
        as frequent as if it had been in half a row of those that were fitted: its
        mass is m = ½ / (n + ½ (K + 1)) for n rows and K known categories, whose masses
        are multiplied by 1 − m. `sample` draws known categories alone.
    learning_rate : float, default=0.004
        Peak learning rate of AdamW, after a warm-up and before a cosine decay.
    weight_decay, dropout : float or "auto", default="auto"
        Regularisation of the networks. "auto" goes by rows per column: 1e-4 and 0
        from 900, and from 30,000 rows whatever the columns; 0.03 and 0.1 from 200;
        0.3 and 0.2 below.
    batch_size : int, default=256
        Rows per step.
    max_iter : int or "auto", default="auto"
        Largest number of epochs. "auto" is 100, but 4,500 to 12,000 steps; fewer below
        800 rows; more, as their cube root, above 20,000.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out validation rows, stop when their score stops improving and
        keep the best weights. "auto" does so from 8 rows, and holds out more than
        `validation_fraction` of few rows: 25, or a quarter if that is less.
    validation_fraction : float, default=0.1
        Share of the rows to hold out; at most 5,000 rows are.
    n_iter_no_change : int or "auto", default="auto"
        Epochs without improvement before training stops, judged where the validation
        rows are scored (every 25 steps, later every 8 % of the epochs so far). "auto"
        is half the epochs so far, at least 10, and 150 steps.
    tol : float, default=1e-4
        Smallest gain of the validation score, in nats per row, that counts as one.
    warm_start : bool, default=False
        Whether `fit` goes on from the previous fit, in its model units.
    checkpoint : path-like or None, default=None
        Folder where `fit` keeps every epoch: if killed, it goes on (``docs/files.md``).
    evidence_tol : float, default=0.1
        Standard error, in nats, above which a scored row gets more samples, or a
        better proposal.
    max_evidence_samples : int, default=4096
        Largest number of importance samples per row.
    device : {"auto", "cpu", "cuda", "cuda:<index>"}, default="auto"
        Where to train and score. "auto" is the first CUDA device if there is one.
        Fitted weights are kept on the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of training, and of `sample` where it is an int; scores do not need it.
    verbose : int, default=0
        Whether to show progress bars of fits, and of scorings beyond two seconds.

    Attributes
    ----------
    n_components_ : int
        Number of latents, those of all levels together.
    latent_levels_ : tuple of int
        Number of latents of every level, bottom first.
    n_features_in_ : int
        Number of columns seen by `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where `fit` saw a DataFrame with string names.
    n_iter_ : int
        Number of epochs, over all calls that continued one another.
    best_iter_ : int
        Epoch whose weights the model has; 0 is the start.
    history_ : list of dict
        One record per epoch: "epoch"; "objective" (what training maximised, no bound
        while it weighs its parts, as a β ≠ 1 does), "bound" (importance-weighted bound
        from the same draws of the training rows; nan if the posterior is implicit),
        "evidence" (that of the validation rows, nan where not computed),
        "reconstruction" (log p(x | z)) and "kl", all in nats per row and in the units
        of the input; "learning_rate" and "seconds".
    pilots_ : list of dict
        One record per training by which "auto" chose "decoder" or "margins":
        "evidence" and "error" are the mean bound of the validation rows, as in
        `history_`, and its standard error; "lead" and "lead_error" the paired
        difference from a better candidate when this one left, nan for the one that
        stayed; then "n_epochs" and "seconds" in the race, and whether it was "chosen".
    model_ : VAE
        The trained torch module, in float64 on the CPU.
    schema_ : TableSchema
        What each column holds, and the known categories.
    columns_ : Columns
        Scaling and margins of the columns, and the floors of their scales.
    companion_density_ : CompanionDensity or None
        The fitted companion: its share of p(x), `weight`, and `shares` of its parts.
    prior_, posterior_, decoder_, likelihood_, objective_, background_, \
companion_ : specs
        The components that were used.

    See Also
    --------
    sklearn.mixture.GaussianMixture : Faster, exact, stiffer.

    Notes
    -----
    *Floors.* The likelihood of a continuous table is unbounded: a column with repeated
    values invites infinitely narrow spikes. No standard deviation falls below 10⁻³ of
    the column's, nor, where values repeat, below the rounding error step/√12 of the
    smallest step between values. With a background, none is above 1.5 times the
    column's plus that floor.

    *Weights.* Where all of `sample_weight` are whole numbers, they count rows: a row of
    weight 3 equals that row three times, exactly. Any other weights are relative:
    together they count for as many rows as have a positive weight.

    *Companion.* p(x) is 1 − c times the above, plus c times a mixture whose parts are
    fitted at once, in standardised columns. Rows that were held out say how large c is:
    where a mixture is right, nearly one, and the density is not behind it
    (``docs/companions.md``). Without validation rows there is none.

    *Races.* Where "auto" leaves several margins or decoders to choose from, each is
    trained as if it had been asked for by name. One leaves when validation rows say
    that it learns less than half as fast as another; the training of the last one goes
    on, and is the fit (``docs/speed.md``). To settle the choice once for a grid search,
    read it off the `pilots_` of a first fit: set `decoder` and `marginal_transform`.

    *Large tables.* An array that is larger, as float64, than scikit-learn's
    `working_memory` (1 GiB unless set) is never copied whole, so that a NumPy memmap
    may exceed the memory. An epoch is then 100,000 rows at most; scaling, margins and
    start come from as many; training draws from 4 million rows, chosen by weight; equal
    rows are not merged.

    ``docs/evidence.md`` says how log p(x) is read, and how well.

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

    @with_callbacks
    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> "VAEDensity":
        """Fit the density to the rows of a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or Batches
            Table of finite numbers, at least two rows; cells may be missing (NaN). With
            likelihood "auto" or "categorical", DataFrames may have columns of text,
            categories and truth values.
        y : Ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero. Whole numbers count rows; of other
            weights, only the ratios matter (see the Notes of the class).

        Returns
        -------
        self : VAEDensity
            The fitted estimator. If fitting fails, it stays as it was.

        Notes
        -----
        *Ctrl-C* during the training ends it: the estimator keeps the best weights so
        far, and a ConvergenceWarning says so. Before the first epoch has ended, and
        during a race, KeyboardInterrupt is raised, and the estimator stays as it was.
        """
        warm = self.warm_start and hasattr(self, "model_")
        return self._fit(X, y, sample_weight, warm=warm)

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
        return self._fit(X, y, sample_weight, warm=warm, partial=True)

    def score_samples(self, X: ArrayLike) -> Array:
        """Return the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or Batches
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log p(x) of the observed cells, nats, in the units of the columns. A row's
            value depends on the fitted model and that row alone.
        """
        if isinstance(X, Batches):
            return X.map(self.score_samples, verbose=self.verbose)
        return self.evidence(X).log_density

    def score(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean log-density of the rows.

        Its error is set by the rows. Therefore they are read at a tolerance of 0.3 nats
        at least, and their estimated bias is taken away (see `Evidence`).

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
        return self._mean_log_density(self._read(X), sample_weight)

    def evidence(
        self,
        X: ArrayLike,
        *,
        tol: float | None = None,
        max_samples: int | None = None,
        proposal: str | Proposal | None = None,
        random_state: int | None = None,
        threshold: float | None = None,
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
        threshold : float, default=None
            If given, nats, rows are read only as well as it takes to tell on which side
            of it they are: until they are off by five standard errors, or above it by
            seven nats. By Markov's inequality, few draws seem so large for at most one
            row below it in a thousand.

        Returns
        -------
        evidence : Evidence
            Log-densities, standard errors, effective sample sizes, Pareto k̂ and
            sample counts, each of shape (n_samples,).
        """
        return self._evidence(
            self._read(X),
            tol=tol,
            max_samples=max_samples,
            proposal=proposal,
            random_state=random_state,
            threshold=threshold,
        )

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
        return self._bounds(self._read(X), n_samples, random_state)

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
        return self._diagnose(None if X is None else self._read(X))

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
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Rows, in the units of the columns: an array of floats, or of objects where
            a column holds text. After ``set_output(transform="pandas")`` or "polars",
            it is a DataFrame with the names and the dtypes of the columns that `fit`
            has seen; numbers of an integer dtype are rounded.
        """
        check_is_fitted(self)
        check_positive_int(n_samples, "n_samples")
        return self._draw(n_samples, random_state)

    def transform(self, X: ArrayLike) -> Array:
        """Return the encoder's mean latents of each row, or its codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, `n_components_`)
            Posterior means; with a `CodebookPrior`, (n_samples, n_slots) code numbers.
        """
        rows = self._read(X)
        return self._reader().embed(rows)

    def inverse_transform(self, Z: ArrayLike) -> Array:
        """Return the decoder's mean row of each latent vector.

        Parameters
        ----------
        Z : array-like of shape (n_samples, `n_components_`)
            Latents or codes.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Rows, as from `sample`. With margins mapped to normal scores, the mean is
            taken there and mapped back; of categories, it is the most probable one.
        """
        check_is_fitted(self)
        latents = check_latents(Z, self._n_features_out)
        rows = self._reader().decode(latents)
        return self.schema_.decode(rows, asked_container(self))

    def _read(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        return self.schema_.encode(read_table(self, X, reset=False))

    def _read_to_fit(
        self, X: ArrayLike, y: ArrayLike | None, *, reset: bool
    ) -> tuple[RawTable, RawTable | None]:
        return read_table(self, X, reset=reset, min_samples=2), None

    @property
    def _n_features_out(self) -> int:
        return self.model_.prior.n_slots or self.n_components_
