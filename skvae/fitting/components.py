"""From an estimator's parameters to the components of its model."""

from dataclasses import dataclass, replace

from skvae.fitting.parameters import Parameters
from skvae.model.backgrounds import (
    BackgroundSpec,
    IndependentBackground,
    MixedBackground,
    StudentTBackground,
)
from skvae.model.companions import (
    CompanionSpec,
    GaussianMixtureCompanion,
    TreeCompanion,
)
from skvae.model.decoders import AutoregressiveDecoder, DecoderSpec, MLPDecoder
from skvae.model.features import ColumnKind
from skvae.model.likelihoods import LikelihoodSpec, MixedLikelihood
from skvae.model.posteriors import LadderPosterior, PosteriorSpec
from skvae.model.priors import LadderPrior, PriorSpec
from skvae.model.spec import resolve
from skvae.training.objectives import IWAE, ObjectiveSpec

__all__ = [
    "Specs",
    "has_real",
    "is_auto",
    "other_decoders",
    "posterior_scale",
    "resolve_specs",
    "specs_for_columns",
]

# With very many columns an autoregressive decoder learns too slowly, and a companion
# takes long to fit.
MANY_COLUMNS = 256
# Draws of the objective where cells are missing: the fewer cells are observed, the
# broader are the posteriors.
DRAWS_WITH_GAPS = 12


@dataclass(frozen=True)
class Specs:
    """The components of an estimator."""

    prior: PriorSpec
    posterior: PosteriorSpec
    decoder: DecoderSpec
    likelihood: LikelihoodSpec
    objective: ObjectiveSpec
    background: BackgroundSpec | None
    companion: CompanionSpec | None = None


def resolve_specs(parameters: Parameters) -> Specs:
    """Return the components as specs, aliases resolved.

    What depends on the columns is preliminary: see `specs_for_columns`.
    """
    prior = resolve(parameters.prior, PriorSpec)
    posterior = resolve(parameters.posterior, PosteriorSpec)
    if isinstance(parameters.n_components, tuple):
        levels = parameters.n_components
        prior = LadderPrior(levels, top=prior)
        posterior = LadderPosterior(levels, top=posterior)
    return Specs(
        prior=prior,
        posterior=posterior,
        decoder=(
            MLPDecoder()
            if is_auto(parameters.decoder)
            else resolve(parameters.decoder, DecoderSpec, also="'auto', ")
        ),
        likelihood=(
            MixedLikelihood()
            if is_auto(parameters.likelihood)
            else resolve(parameters.likelihood, LikelihoodSpec, also="'auto', ")
        ),
        objective=(
            IWAE()
            if is_auto(parameters.objective)
            else resolve(parameters.objective, ObjectiveSpec, also="'auto', ")
        ),
        background=(
            None
            if parameters.background is None or is_auto(parameters.background)
            else resolve(parameters.background, BackgroundSpec, also="'auto', None, ")
        ),
        companion=(
            None
            if parameters.companion is None or is_auto(parameters.companion)
            else resolve(parameters.companion, CompanionSpec, also="'auto', None, ")
        ),
    )


def is_auto(value: object) -> bool:
    """Whether a parameter leaves the choice to the fit."""
    return isinstance(value, str) and value == "auto"


def specs_for_columns(
    parameters: Parameters, specs: Specs, kinds: tuple[ColumnKind, ...]
) -> Specs:
    """Return the components with every "auto" resolved that depends on the columns.

    Parameters
    ----------
    parameters : Parameters
        Which of them are "auto".
    specs : Specs
        What `resolve_specs` made of them.
    kinds : tuple of ColumnKind
        What the columns hold.
    """
    supports = [kind.support for kind in kinds]
    n_real = supports.count("real")
    decoder, background = specs.decoder, specs.background
    reads_columns = not n_real and len(kinds) <= MANY_COLUMNS and not has_gaps(kinds)
    if is_auto(parameters.decoder) and reads_columns:
        decoder = AutoregressiveDecoder()
    if is_auto(parameters.background):
        if n_real == len(supports):
            background = StudentTBackground()
        else:
            background = MixedBackground() if n_real else IndependentBackground()
    objective, companion = specs.objective, specs.companion
    if is_auto(parameters.objective) and has_gaps(kinds):
        objective = IWAE(n_samples=DRAWS_WITH_GAPS, first_part=0)
    if is_auto(parameters.companion) and len(kinds) <= MANY_COLUMNS:
        if n_real == len(supports):
            companion = GaussianMixtureCompanion()
        elif set(supports) <= set(TreeCompanion.supports):
            companion = TreeCompanion()
    for j, support in enumerate(supports):
        for family, spec in (("background", background), ("companion", companion)):
            if spec is not None and support not in spec.supports:
                raise ValueError(
                    f"{family}={getattr(parameters, family)!r} is for "
                    f"{' or '.join(spec.supports)} columns, but the likelihood takes "
                    f"column {j} as {support}. Use 'auto' or None."
                )
    return replace(
        specs,
        decoder=decoder,
        objective=objective,
        background=background,
        companion=companion,
    )


def has_real(kinds: tuple[ColumnKind, ...]) -> bool:
    """Return whether some column is real."""
    return any(kind.support == "real" for kind in kinds)


def has_gaps(kinds: tuple[ColumnKind, ...]) -> bool:
    """Return whether `fit` has seen missing cells."""
    return any(kind.has_gaps for kind in kinds)


def other_decoders(
    parameters: Parameters,
    kinds: tuple[ColumnKind, ...],
    few_rows_layers: tuple[int, ...] | None,
) -> tuple[DecoderSpec, ...]:
    """Return the decoders that "auto" should try besides that of the specs.

    Among discrete columns that are mostly zero, an autoregressive decoder is often
    behind one that reads latents alone. A user who sets `n_components` wants latents
    that describe the rows. An autoregressive decoder predicts columns from one another
    and would leave the latents little to describe, so it is not tried then. Nor is it
    where cells are missing: it has to draw them, one column after the other, in every
    step, while a decoder that reads latents alone needs no more than to leave them out.

    Parameters
    ----------
    parameters : Parameters
        Whether decoder and number of latents are "auto".
    kinds : tuple of ColumnKind
        What the columns hold.
    few_rows_layers : tuple of int or None
        Where rows per column are few, widths of an autoregressive decoder.
    """
    free = is_auto(parameters.decoder) and is_auto(parameters.n_components)
    if not free or len(kinds) > MANY_COLUMNS or has_gaps(kinds):
        return ()
    if not has_real(kinds):
        return (MLPDecoder(),)
    return () if few_rows_layers is None else (AutoregressiveDecoder(few_rows_layers),)


def posterior_scale(specs: Specs, kinds: tuple[ColumnKind, ...]) -> float:
    """Return the encoder's standard deviation around whitened latents at the start.

    An autoregressive decoder of real columns starts with a wide encoder. The columns
    before a column tell much about it already, and what narrow latents would add is
    which row it is: they would only store rows.
    """
    return 0.7 if specs.decoder.autoregressive and has_real(kinds) else 0.3
