"""Configurations of every estimator, quick, that scikit-learn's checks are run on."""

from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_inplace_ensure_writeable,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
)

from skvae import (
    IWAE,
    AutoregressiveDecoder,
    ConditionalVAEDensity,
    DensityClassifier,
    DensityImputer,
    DensityOutlierDetector,
    DistilledDensity,
    FullPosterior,
    GaussianLikelihood,
    GaussianMixtureCompanion,
    MixtureLikelihood,
    MixturePrior,
    OutlierCommittee,
    StackedDensity,
    VAEDensity,
)
from tests.conftest import GIVEN_QUICK, QUICK

__all__ = [
    "CLASSIFIERS",
    "CONDITIONAL",
    "CONFIGURATIONS",
    "DETECTORS",
    "DISTILLED",
    "FAST",
    "IMPUTERS",
    "NOT_YIELDED",
    "STACKS",
]

# The checks set random_state themselves.
FAST = {**QUICK, "max_iter": 2, "hidden_layer_sizes": (8,), "random_state": None}
# One companion of a few parts for all that "auto" would try.
COMPANION = GaussianMixtureCompanion(n_modes=(1,), bandwidths=(0.5,))
PILOTED = {**FAST, "decoder": "auto", "companion": COMPANION}
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
        posterior=FullPosterior(hidden_layer_sizes=(4,)),
        likelihood=GaussianLikelihood(scale="row"),
        objective=IWAE(n_samples=3, first_part=0.0),
        marginal_transform="normal",
        early_stopping=True,
        dropout=0.2,
        **FAST,
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
COMMITTEES = [OutlierCommittee(max_iter=1)]
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

# Checks that `check_estimator` leaves out.
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
