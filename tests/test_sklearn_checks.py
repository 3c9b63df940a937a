"""scikit-learn's own checks of VAEDensity, with no expected failure."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

from skvae import VAEDensity
from tests.checked import CONFIGURATIONS, FAST, NOT_YIELDED

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
    # They are about columns' names and containers, which neither pilots nor companions
    # read.
    density = clone(CONFIGURATIONS[index]).set_params(decoder="mlp", companion=None)
    check("VAEDensity", density)


@pytest.mark.parametrize("estimator", CONFIGURATIONS)
def test_no_configuration_is_tagged_as_an_exception(estimator: VAEDensity) -> None:
    tags = get_tags(estimator)
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test
    assert tags.estimator_type == "density_estimator"
