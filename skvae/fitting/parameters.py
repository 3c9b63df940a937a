"""The parameters of an estimator: one record, checked."""

import os
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from skvae.arguments.checks import (
    check_choice,
    check_fraction,
    check_number,
    check_positive_int,
)
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.companions import CompanionSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.training.objectives import ObjectiveSpec
from skvae.typing import RandomState

__all__ = ["Parameters"]

Levels: TypeAlias = int | str | tuple[int, ...]

MOST_LAYERS = 100


class Parametrised(Protocol):
    """An estimator, as scikit-learn knows its parameters."""

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the parameters by name."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What the user asked for; `VAEDensity` says what each parameter means.

    Values are as given, "auto" and aliases included, but each is of a kind and in a
    range that is allowed. Whether an alias is known is for `resolve_specs` to say,
    and whether a device is there for `check_device`.
    """

    n_components: Levels
    prior: str | PriorSpec
    posterior: str | PosteriorSpec
    decoder: str | DecoderSpec
    likelihood: str | LikelihoodSpec
    objective: str | ObjectiveSpec
    background: str | BackgroundSpec | None
    companion: str | CompanionSpec | None
    hidden_layer_sizes: tuple[int, ...] | str
    n_importance_samples: int
    marginal_transform: str | None
    smoothing: float | str
    unknown_category: str
    learning_rate: float
    weight_decay: float | str
    dropout: float | str
    batch_size: int
    max_iter: int | str
    early_stopping: bool | str
    validation_fraction: float
    n_iter_no_change: int | str
    tol: float
    warm_start: bool
    checkpoint: str | os.PathLike[str] | None
    evidence_tol: float
    max_evidence_samples: int
    device: str
    random_state: RandomState
    verbose: int

    @classmethod
    def of(cls, estimator: Parametrised) -> "Parameters":
        """Return the parameters of an estimator.

        Raises
        ------
        TypeError, ValueError
            That name the first parameter which has a value that is not allowed.
        """
        given = estimator.get_params(deep=False)
        names = cls.__dataclass_fields__.keys() - {"companion"}
        parameters = cls(
            # A conditional density has none.
            companion=given.get("companion"),  # type: ignore[arg-type]
            **{name: given[name] for name in names},  # type: ignore[arg-type]
        )
        parameters._check()
        return parameters

    def for_one_epoch(self) -> "Parameters":
        """Return the same parameters for a single epoch without validation."""
        return replace(self, max_iter=1, early_stopping=False)

    def _check(self) -> None:
        _check_levels(self.n_components)
        check_positive_int(self.n_importance_samples, "n_importance_samples")
        check_positive_int(self.batch_size, "batch_size")
        check_positive_int(self.max_iter, "max_iter", "auto")
        check_positive_int(self.n_iter_no_change, "n_iter_no_change", "auto")
        check_positive_int(self.max_evidence_samples, "max_evidence_samples")
        check_number(self.learning_rate, "learning_rate", low=0, inclusive=False)
        check_number(self.weight_decay, "weight_decay", low=0, also=("auto",))
        check_number(self.dropout, "dropout", low=0, high=0.9, also=("auto",))
        check_number(self.smoothing, "smoothing", low=0, high=10, also=("auto",))
        check_fraction(self.validation_fraction, "validation_fraction")
        check_number(self.tol, "tol", low=0)
        check_number(self.evidence_tol, "evidence_tol", low=0, inclusive=False)
        check_number(self.verbose, "verbose", low=0, integer=True, also=(True, False))
        check_choice(self.early_stopping, "early_stopping", (True, False, "auto"))
        check_choice(self.warm_start, "warm_start", (True, False))
        if not isinstance(self.checkpoint, (str, os.PathLike, type(None))):
            raise TypeError(
                f"checkpoint must be a path or None, got {self.checkpoint!r}."
            )
        check_choice(self.unknown_category, "unknown_category", ("error", "other"))
        check_choice(
            self.marginal_transform,
            "marginal_transform",
            ("auto", "normal", "whitened", None),
        )
        sizes = self.hidden_layer_sizes
        if isinstance(sizes, str) and sizes == "auto":
            return
        if not isinstance(sizes, (tuple, list)):
            raise TypeError(
                f"hidden_layer_sizes must be a tuple of int or 'auto', got {sizes!r}."
            )
        if len(sizes) > MOST_LAYERS:
            raise ValueError(
                f"hidden_layer_sizes must have at most {MOST_LAYERS} layers, got "
                f"{len(sizes)}."
            )
        for size in sizes:
            check_positive_int(size, "each of hidden_layer_sizes")


def _check_levels(value: Levels) -> None:
    """Raise unless value is a number of latents, one for every level, or "auto"."""
    if not isinstance(value, tuple):
        check_number(
            value,
            "n_components",
            low=1,
            integer=True,
            also=("auto",),
            more=" or a tuple of int, one for every level of latents",
        )
    elif not value:
        raise ValueError("n_components must not be empty, got ().")
    else:
        for size in value:
            check_positive_int(size, "each of n_components")
