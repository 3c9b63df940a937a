"""scikit-learn's own checks, with no expected failure, over many configurations."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_inplace_ensure_writeable,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    estimator_checks_generator,
    parametrize_with_checks,
)

import skvae
from skvae import (
    ELBO,
    IWAE,
    AutoregressiveDecoder,
    ConditionalVAEDensity,
    DensityClassifier,
    DensityImputer,
    DensityOutlierDetector,
    DistilledDensity,
    FullPosterior,
    GaussianLikelihood,
    MixtureLikelihood,
    MixturePrior,
    StackedDensity,
    VAEDensity,
)
from tests.conftest import GIVEN_QUICK, QUICK

# The checks set random_state themselves.
FAST = {**QUICK, "max_iter": 2, "hidden_layer_sizes": (8,), "random_state": None}
PILOTED = {**FAST, "decoder": "auto", "companion": "auto"}
GIVEN_FAST = {**GIVEN_QUICK, "max_iter": 2, "random_state": None}
# Rows that a background explains better than barely trained latents take many samples.
WITHOUT_BACKGROUND = {**FAST, "background": None}

CONFIGURATIONS = [
    VAEDensity(**PILOTED),
    VAEDensity(likelihood="auto", **PILOTED),
    VAEDensity(
        prior="normal",
        posterior="diagonal",
        likelihood="gaussian",
        objective="elbo",
        marginal_transform=None,
        early_stopping=False,
        **FAST,
    ),
    VAEDensity(
        2,
        prior=MixturePrior(n_modes=3),
        likelihood=GaussianLikelihood(scale="row"),
        objective=ELBO(n_samples=2),
        marginal_transform="normal",
        early_stopping=True,
        **FAST,
    ),
    VAEDensity(
        prior="normal",
        posterior=FullPosterior(hidden_layer_sizes=(4,)),
        likelihood=GaussianLikelihood(scale="column"),
        objective=IWAE(n_samples=3, first_part=0.0),
        **FAST,
    ),
    VAEDensity(
        posterior="diagonal",
        likelihood=GaussianLikelihood(scale=0.5),
        marginal_transform="auto",
        early_stopping=True,
        dropout=0.2,
        **PILOTED,
    ),
    VAEDensity(
        1,
        posterior="diagonal",
        likelihood=MixtureLikelihood(n_modes=2),
        marginal_transform="normal",
        early_stopping=False,
        batch_size=16,
        **{**FAST, "hidden_layer_sizes": ()},
    ),
]

CONDITIONAL = [
    ConditionalVAEDensity(**GIVEN_FAST),
    ConditionalVAEDensity(
        prior="normal",
        posterior="diagonal",
        likelihood="gaussian",
        objective="elbo",
        marginal_transform="normal",
        background=None,
        **GIVEN_FAST,
    ),
]
CLASSIFIERS = [
    DensityClassifier(KernelDensity()),
    DensityClassifier(VAEDensity(**WITHOUT_BACKGROUND)),
    DensityClassifier(make_pipeline("passthrough", KernelDensity())),
]
DETECTORS = [
    DensityOutlierDetector(KernelDensity()),
    DensityOutlierDetector(VAEDensity(**FAST)),
    DensityOutlierDetector(make_pipeline("passthrough", KernelDensity())),
]
KERNELS = [("narrow", KernelDensity(bandwidth=0.3)), ("wide", KernelDensity())]
STACKS = [
    StackedDensity([("kernel", KernelDensity())]),
    StackedDensity(KERNELS, cv=3),
    StackedDensity(
        [("vae", VAEDensity(**WITHOUT_BACKGROUND)), ("kernel", KernelDensity())],
        refit=False,
    ),
    StackedDensity(
        [
            ("pipe", make_pipeline("passthrough", KernelDensity())),
            ("wide", KernelDensity(bandwidth=3)),
            ("gone", "drop"),
        ]
    ),
]

DISTILLED = [
    DistilledDensity(
        VAEDensity(**WITHOUT_BACKGROUND), student=KernelDensity(), n_samples=50
    ),
    DistilledDensity(
        VAEDensity(**WITHOUT_BACKGROUND),
        student=VAEDensity(
            **{**FAST, "decoder": AutoregressiveDecoder((8,), reads_latents=False)}
        ),
        n_samples=20,
    ),
]

IMPUTERS = [
    DensityImputer(GaussianMixture()),
    DensityImputer(GaussianMixture(), sample_posterior=True, add_indicator=True),
    DensityImputer(VAEDensity(**FAST), keep_empty_features=True),
]

NOT_YIELDED = [
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_global_output_transform_pandas,
    check_set_output_transform_polars,
    check_global_set_output_transform_polars,
    check_get_feature_names_out_error,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    check_dataframe_column_names_consistency,
    check_inplace_ensure_writeable,
]

# These fit one object twice on one table and want the same result: the opposite of
# what warm_start=True promises, whatever the estimator.
REFITTING = {
    "check_pipeline_consistency",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
}


@parametrize_with_checks(CONFIGURATIONS)
def test_estimator_checks_pass(
    estimator: VAEDensity, check: Callable[[Any], None]
) -> None:
    check(estimator)


# The checks call score_samples with X alone.
@pytest.mark.filterwarnings("ignore:score_samples got no y")
@parametrize_with_checks(CONDITIONAL)
def test_estimator_checks_of_conditional_densities_pass(
    estimator: ConditionalVAEDensity, check: Callable[[Any], None]
) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore:There is one row of class")
@parametrize_with_checks(CLASSIFIERS)
def test_estimator_checks_of_classifiers_pass(
    estimator: DensityClassifier, check: Callable[[Any], None]
) -> None:
    check(estimator)


@parametrize_with_checks(DETECTORS)
def test_estimator_checks_of_outlier_detectors_pass(
    estimator: DensityOutlierDetector, check: Callable[[Any], None]
) -> None:
    check(estimator)


@parametrize_with_checks(STACKS)
def test_estimator_checks_of_stacks_pass(
    estimator: StackedDensity, check: Callable[[Any], None]
) -> None:
    check(estimator)


@parametrize_with_checks(DISTILLED)
def test_estimator_checks_of_distilled_densities_pass(
    estimator: DistilledDensity, check: Callable[[Any], None]
) -> None:
    check(estimator)


@parametrize_with_checks(IMPUTERS)
def test_estimator_checks_of_imputers_pass(
    estimator: DensityImputer, check: Callable[[Any], None]
) -> None:
    check(estimator)


def test_every_public_estimator_is_checked() -> None:
    public = {
        value
        for value in (getattr(skvae, name) for name in skvae.__all__)
        if isinstance(value, type)
        and issubclass(value, BaseEstimator)
        and hasattr(value, "fit")
    }
    checked = [
        *CONFIGURATIONS,
        *CONDITIONAL,
        *CLASSIFIERS,
        *DETECTORS,
        *STACKS,
        *DISTILLED,
        *IMPUTERS,
    ]
    assert {type(estimator) for estimator in checked} == public


# The same checks, through the function that users call.
@pytest.mark.filterwarnings("ignore:score_samples got no y")
@pytest.mark.filterwarnings("ignore:There is one row of class")
@pytest.mark.parametrize(
    "estimator",
    [
        CONDITIONAL[0],
        CLASSIFIERS[0],
        DETECTORS[0],
        STACKS[0],
        DISTILLED[0],
        IMPUTERS[0],
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_check_estimator_passes_without_expected_failures(
    estimator: BaseEstimator,
) -> None:
    results = check_estimator(estimator, on_skip=None)
    assert {result["status"] for result in results} <= {"passed", "skipped"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@parametrize_with_checks([VAEDensity()])
def test_estimator_checks_pass_with_all_defaults(
    estimator: VAEDensity, check: Callable[[Any], None]
) -> None:
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=f"{check.func.__name__}-{i}")
        for i, (estimator, check) in enumerate(
            estimator_checks_generator(VAEDensity(warm_start=True, **FAST))
        )
        if check.func.__name__ not in REFITTING
    ],
)
def test_estimator_checks_that_fit_an_object_once_pass_with_warm_start(
    estimator: VAEDensity, check: Callable[[Any], None]
) -> None:
    check(estimator)


# The checks fit frames and then score arrays themselves.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore:X has feature names, but:UserWarning")
@pytest.mark.parametrize("check", NOT_YIELDED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("index", range(len(CONFIGURATIONS)))
def test_checks_that_check_estimator_does_not_yield_pass(
    index: int, check: Callable[[str, Any], None]
) -> None:
    # They are about columns' names and containers, which no pilot reads.
    check("VAEDensity", clone(CONFIGURATIONS[index]).set_params(decoder="mlp"))


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore:X has feature names, but:UserWarning")
@pytest.mark.parametrize("check", NOT_YIELDED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("index", range(len(IMPUTERS)))
def test_checks_that_check_estimator_does_not_yield_pass_for_imputers(
    index: int, check: Callable[[str, Any], None]
) -> None:
    check("DensityImputer", clone(IMPUTERS[index]))


@pytest.mark.parametrize("estimator", CONFIGURATIONS)
def test_no_configuration_is_tagged_as_an_exception(estimator: VAEDensity) -> None:
    tags = get_tags(estimator)
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test
    assert tags.estimator_type == "density_estimator"
