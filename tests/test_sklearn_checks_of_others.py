"""scikit-learn's own checks of all estimators but VAEDensity."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import skvae
from skvae import (
    ConditionalVAEDensity,
    DensityClassifier,
    DensityImputer,
    DensityOutlierDetector,
    DistilledDensity,
    OutlierCommittee,
    StackedDensity,
)
from tests.checked import (
    CLASSIFIERS,
    COMMITTEES,
    CONDITIONAL,
    CONFIGURATIONS,
    DETECTORS,
    DISTILLED,
    IMPUTERS,
    NOT_YIELDED,
    STACKS,
)


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


@parametrize_with_checks(COMMITTEES)
def test_estimator_checks_of_committees_pass(
    estimator: OutlierCommittee, check: Callable[[Any], None]
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
        *COMMITTEES,
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


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore:X has feature names, but:UserWarning")
@pytest.mark.parametrize("check", NOT_YIELDED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("index", range(len(IMPUTERS)))
def test_checks_that_check_estimator_does_not_yield_pass_for_imputers(
    index: int, check: Callable[[str, Any], None]
) -> None:
    check("DensityImputer", clone(IMPUTERS[index]))
