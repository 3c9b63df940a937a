"""What VAEDensity and ConditionalVAEDensity have in common."""

import math
import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, TypeVar

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_number, check_positive_int
from skvae.arguments.devices import check_device
from skvae.arguments.seeds import seed_from
from skvae.arguments.staging import staged_fit
from skvae.diagnostics import Diagnosis
from skvae.evidence import MEAN_TOL, Bounds, Budget, Evidence, Proposal
from skvae.fitting.callbacks import CallbackSupportMixin, FitCallbacks
from skvae.fitting.components import specs_for_columns
from skvae.fitting.fit import fit_model, specs_to_fit
from skvae.fitting.parameters import Parameters
from skvae.fitting.plan import WeightedRows
from skvae.fitting.report import FitReport
from skvae.fitting.row_counts import row_counts
from skvae.fitting.state import FittedState
from skvae.model import VAE
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.companions import CompanionSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.memory import check_memory
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.model.spec import ComponentSpec, open_aliases
from skvae.persistence import ArrayState
from skvae.scoring.completion import CompletingReader
from skvae.scoring.health import FitRecord, diagnose_density
from skvae.scoring.progress import RowProgress
from skvae.scoring.reader import RowReader
from skvae.scoring.score import mean_log_density, warn_of_unreliable
from skvae.tables.batches import sampled
from skvae.tables.checks import check_sample_weight
from skvae.tables.columns import merge_duplicates
from skvae.tables.companion import CompanionDensity
from skvae.tables.given import Given
from skvae.tables.large import LargeTable, choose_rows, is_large
from skvae.tables.missing import (
    check_observed_columns,
    columns_with_gaps,
    weight_of_observed_rows,
)
from skvae.tables.names import seen_by
from skvae.tables.output import asked_container
from skvae.tables.raw import RawTable
from skvae.tables.schema import TableSchema, fit_schema
from skvae.training.objectives import ObjectiveSpec
from skvae.typing import Array, RandomState

__all__ = ["BaseVAEDensity"]

FAMILIES: dict[str, type[ComponentSpec]] = {
    family.family: family
    for family in (
        PriorSpec,
        PosteriorSpec,
        DecoderSpec,
        LikelihoodSpec,
        ObjectiveSpec,
        BackgroundSpec,
        CompanionSpec,
    )
}

Self = TypeVar("Self", bound="BaseVAEDensity")

MEAN_DRAWS = 32  # that a half of a row begins with, where only the mean is asked for
BYTES_PER_DRAW = 16  # of one row: a log-weight, and its place in order


class BaseVAEDensity(ArrayState, DensityMixin, CallbackSupportMixin, BaseEstimator):
    """Parameters, fit and fitted model of a density by a variational autoencoder.

    The public methods are those of the subclasses, which say what a table is: X
    alone, or X given y. They read it, and call the methods here with its numbers.
    """

    n_components_: int
    latent_levels_: tuple[int, ...]
    n_features_in_: int
    n_iter_: int
    best_iter_: int
    history_: list[dict[str, float]]
    pilots_: list[dict[str, Any]]
    model_: VAE
    schema_: TableSchema
    columns_: Any  # Columns, or ConditionalColumns
    prior_: PriorSpec
    posterior_: PosteriorSpec
    decoder_: DecoderSpec
    likelihood_: LikelihoodSpec
    objective_: ObjectiveSpec
    background_: BackgroundSpec | None
    companion_: CompanionSpec | None
    companion_density_: CompanionDensity | None
    _optimiser_state: dict[str, Any] | None

    def __init__(
        self,
        n_components: int | str | tuple[int, ...] = "auto",
        *,
        prior: str | PriorSpec = "mixture",
        posterior: str | PosteriorSpec = "full",
        decoder: str | DecoderSpec = "auto",
        likelihood: str | LikelihoodSpec = "mixture",
        objective: str | ObjectiveSpec = "auto",
        background: str | BackgroundSpec | None = "auto",
        companion: str | CompanionSpec | None = "auto",
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
        self.n_components = n_components
        self.prior = prior
        self.posterior = posterior
        self.decoder = decoder
        self.likelihood = likelihood
        self.objective = objective
        self.background = background
        self.companion = companion
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_importance_samples = n_importance_samples
        self.marginal_transform = marginal_transform
        self.smoothing = smoothing
        self.unknown_category = unknown_category
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
        self.checkpoint = checkpoint
        self.evidence_tol = evidence_tol
        self.max_evidence_samples = max_evidence_samples
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def set_params(self: Self, **params: Any) -> Self:
        """Set parameters by name, also those of components.

        Parameters
        ----------
        **params
            Values by name. ``prior__n_modes=3`` sets a parameter of the prior; if
            the prior is an alias, it becomes the object that the alias stands for.

        Returns
        -------
        self : estimator
            This estimator.
        """
        return super().set_params(**open_aliases(self, params, FAMILIES.get))

    def _fit(
        self: Self,
        X: ArrayLike,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        *,
        warm: bool,
        partial: bool = False,
    ) -> Self:
        """Fit the density, or leave the estimator as it was.

        Parameters
        ----------
        X, y, sample_weight
            As `fit` takes them.
        warm : bool
            Whether to go on from the fitted model.
        partial : bool, default=False
            Whether to train for one epoch, as `partial_fit` does.
        """
        parameters = Parameters.of(self)
        X, sample_weight = sampled(
            X, sample_weight, parameters.random_state, verbose=parameters.verbose
        )
        previous = FittedState.of(self) if warm else None
        specs = specs_to_fit(parameters, previous)
        check_device(parameters.device)
        with staged_fit(self, warm=warm) as staged:
            raw, raw_given = staged._read_to_fit(X, y, reset=not warm)
            weight = check_sample_weight(sample_weight, len(raw.numbers))
            weight = row_counts(weight_of_observed_rows(raw, weight))
            if previous is None:
                check_observed_columns(raw, weight)
                schema = fit_schema(
                    raw,
                    weight,
                    specs.likelihood.supports,
                    with_other=parameters.unknown_category == "other",
                )
                schema = schema.with_gaps(columns_with_gaps(raw, weight))
                specs = specs_for_columns(parameters, specs, schema.kinds)
            else:
                schema = previous.schema
            table = schema.encode(raw, used=weight > 0)
            columns = None
            if raw_given is not None:
                given = staged._code_to_fit(raw_given, weight, warm=warm)
                table, columns = given.beside(table), given.columns
            rows: Array | LargeTable
            if is_large(table):
                # Perhaps on a disk: its rows are neither sorted nor merged.
                rows, weight = choose_rows(table, weight)
            else:
                rows, weight = merge_duplicates(table, weight)
            data = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
            callbacks = FitCallbacks(self, data, seen_by(staged))
            result = fit_model(
                parameters,
                specs,
                WeightedRows(rows, weight, schema, columns),
                previous,
                callbacks,
                partial=partial,
            )
            for name, value in result.state.attributes().items():
                setattr(staged, name, value)
        callbacks.finish()
        result.warn(parameters.learning_rate)
        return self

    def _read_to_fit(
        self, X: ArrayLike, y: ArrayLike | None, *, reset: bool
    ) -> tuple[RawTable, RawTable | None]:
        """Return the rows that get a density, and what they are given, if anything.

        Parameters
        ----------
        X, y
            As `fit` takes them.
        reset : bool
            Whether to set the columns of X, or to compare X with those of a fit.
        """
        raise NotImplementedError

    def _code_to_fit(self, raw: RawTable, sample_weight: Array, *, warm: bool) -> Given:
        """Return coded what the rows are given.

        Parameters
        ----------
        raw : RawTable
            The second table of `_read_to_fit`.
        sample_weight : ndarray of shape (n,)
            Weights.
        warm : bool
            Whether the coding is that of a fit.
        """
        raise NotImplementedError

    def _reader(self) -> RowReader:
        """Return the fitted model as it reads rows."""
        by_column = self.columns_.gaussian() is None
        return (RowReader if by_column else CompletingReader).on(
            check_device(self.device),
            self.model_,
            self.columns_,
            self.companion_density_,
        )

    def _budget(
        self, tol: float | None = None, max_samples: int | None = None
    ) -> Budget:
        """Return what may be spent on a row; None is the estimator's parameter."""
        parameters = Parameters.of(self)
        check_number(tol, "tol", low=0, inclusive=False, also=(None,))
        check_positive_int(max_samples, "max_samples", None)
        most = parameters.max_evidence_samples if max_samples is None else max_samples
        check_memory(BYTES_PER_DRAW * most, f"{most} samples of each row's latents")
        return Budget(
            n_samples=min(parameters.n_importance_samples, most),
            max_samples=most,
            tol=parameters.evidence_tol if tol is None else tol,
        )

    def _evidence(
        self,
        rows: Array,
        *,
        tol: float | None,
        max_samples: int | None,
        proposal: str | Proposal | None,
        random_state: int | None,
        threshold: float | None = None,
        n_first: int | None = None,
        warns: bool = True,
    ) -> Evidence:
        """Return the evidence of rows of numbers; warn of those that are unreliable."""
        budget = self._budget(tol, max_samples)
        reader = self._reader()
        if threshold is not None:
            check_number(threshold, "threshold", low=-math.inf)
            if proposal is not None:
                raise ValueError(
                    f"threshold={threshold} and proposal={proposal!r} exclude each "
                    f"other: a single proposal gives every row the same accuracy."
                )
        stages = reader.stages(budget, self.n_components_, proposal, n_first)
        seed = _noise_seed(random_state)
        name, enabled = type(self).__name__, bool(self.verbose)
        with closing(RowProgress(name, len(rows), enabled=enabled)) as progress:
            evidence = reader.evidence(rows, stages, seed, threshold, progress)
        if warns:
            warn_of_unreliable(evidence.unreliable)
        return evidence

    def _evidence_of(self, rows: Array, **options: Any) -> Evidence:
        """Return the evidence of rows of numbers, as `evidence` reads it."""
        defaults = ("tol", "max_samples", "proposal", "random_state")
        return self._evidence(rows, **{**dict.fromkeys(defaults), **options})

    def _log_densities(
        self, tables: Iterable[Array], *, for_means: bool = False
    ) -> list[Array]:
        """Return log-densities of several tables; one warning is for all of them.

        Parameters
        ----------
        tables : iterable of ndarray of shape (n, columns)
            Tables of numbers, in which the same rows have other cells.
        for_means : bool, default=False
            Whether only means are asked for: a coarser tolerance then, and no bias.
        """
        log_densities, unreliable = [], []
        for rows in tables:
            tol = MEAN_TOL if for_means else None
            evidence = self._evidence_of(rows, tol=tol, warns=False)
            unreliable.append(evidence.unreliable)
            log_densities.append(
                evidence.unbiased() if for_means else evidence.log_density
            )
        warn_of_unreliable(*unreliable)
        return log_densities

    def _mean_log_density(self, rows: Array, sample_weight: ArrayLike | None) -> float:
        """Return the mean log-density of rows of numbers.

        The error of the mean is set by the rows. Each of them is read at a coarser
        tolerance, and the bias of its logarithm is taken away.
        """
        tol = max(self.evidence_tol, MEAN_TOL)
        evidence = self._evidence(
            rows,
            tol=tol,
            max_samples=None,
            proposal=None,
            random_state=None,
            n_first=MEAN_DRAWS,
        )
        return mean_log_density(evidence.unbiased(), sample_weight)

    def _bounds(
        self, rows: Array, n_samples: Sequence[int], random_state: int | None
    ) -> Bounds:
        """Return lower bounds on the log-densities of rows of numbers."""
        if not isinstance(n_samples, Sequence) or not len(n_samples):
            raise TypeError(
                f"n_samples must be a non-empty sequence of int, got {n_samples!r}."
            )
        for number in n_samples:
            check_positive_int(number, "each of n_samples")
            check_memory(BYTES_PER_DRAW * number, f"n_samples={n_samples!r}")
        return self._reader().bounds(rows, n_samples, _noise_seed(random_state))

    def _diagnose(self, rows: Array | None, given: Given | None = None) -> Diagnosis:
        """Report on rows of numbers; None draws them, given x where that is needed."""
        fit = FitRecord(
            self.schema_.names, self.n_components_, self.history_, self.best_iter_
        )
        return diagnose_density(self._reader(), rows, self._budget(), fit, given)

    def _draw(self, n_samples: int, random_state: RandomState) -> Any:
        """Draw rows in the units of the input."""
        drawn = self._drawn_numbers(n_samples, random_state)
        return self.schema_.decode(drawn, asked_container(self))

    def _drawn_numbers(
        self, n_samples: int, random_state: RandomState, given: Array | None = None
    ) -> Array:
        """Draw rows as numbers and codes; `given` is in model units."""
        state = self.random_state if random_state is None else random_state
        n_numbers = n_samples * len(self.schema_.names)
        check_memory(8 * n_numbers, f"n_samples={n_samples}")
        return self._reader().draw(n_samples, seed_from(state), given)

    @property
    def fit_report_(self) -> FitReport:
        """What `fit` has tried, the held-out score of each, and what was chosen."""
        check_is_fitted(self)
        return FitReport.of(
            self.pilots_, self.companion_density_, self.history_, self.best_iter_
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _noise_seed(random_state: int | None) -> int:
    """Return the seed of the rows' noise; that of `score_samples` for None."""
    return 0 if random_state is None else 1 + seed_from(random_state)
