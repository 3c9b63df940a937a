"""The warning of rows whose log-densities are best read as lower bounds."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import (
    ConditionalVAEDensity,
    DensityClassifier,
    DensityOutlierDetector,
    StackedDensity,
    VAEDensity,
    compare_densities,
)
from tests.conftest import GIVEN_QUICK, QUICK

Array = np.ndarray
Call = partial[Any]  # without a frame of its own, which a lambda would have

# With 24 draws, the tail of a row's weights is not known: all rows are unreliable.
DENSITY = VAEDensity(**{**QUICK, "background": None})
LABELS = np.arange(200) % 2


def density(table: Array) -> Call:
    fitted = clone(DENSITY).fit(table)
    return partial(fitted.score_samples, table[:9])


def mean_of_density(table: Array) -> Call:
    fitted = clone(DENSITY).fit(table)
    return partial(fitted.score, table[:9])


def conditional_density(table: Array) -> Call:
    fitted = ConditionalVAEDensity(**{**GIVEN_QUICK, "background": None})
    fitted.fit(table[:, :2], table[:, 2:])
    return partial(fitted.score_samples, table[:9, :2], table[:9, 2:])


def pipeline(table: Array) -> Call:
    fitted = make_pipeline(StandardScaler(), clone(DENSITY)).fit(table)
    return partial(fitted.score, table[:9])


def search(table: Array) -> Call:
    grid = {"prior": ["normal"]}
    return partial(GridSearchCV(DENSITY, grid, cv=2, error_score="raise").fit, table)


def best_of_search(table: Array) -> Call:
    fitted = GridSearchCV(DENSITY, {"prior": ["normal"]}, cv=2).fit(table)
    return partial(fitted.score, table[:9])


def cross_validation(table: Array) -> Call:
    return partial(cross_val_score, DENSITY, table, cv=2, error_score="raise")


def detector(table: Array) -> Call:
    fitted = DensityOutlierDetector(DENSITY).fit(table)
    return partial(fitted.predict, table[:9])


def fit_of_detector(table: Array) -> Call:
    return partial(DensityOutlierDetector(DENSITY).fit, table)


def detector_of_pipeline(table: Array) -> Call:
    whole = make_pipeline(StandardScaler(), clone(DENSITY))
    fitted = DensityOutlierDetector(whole).fit(table)
    return partial(fitted.p_values, table[:9])


def classifier(table: Array) -> Call:
    fitted = DensityClassifier(DENSITY).fit(table, LABELS)
    return partial(fitted.predict, table[:9])


def classifier_in_search(table: Array) -> Call:
    grid = {"density__prior": ["normal"]}
    learner = DensityClassifier(DENSITY)
    return partial(GridSearchCV(learner, grid, cv=2).fit, table, LABELS)


def stack(table: Array) -> Call:
    fitted = StackedDensity([("one", DENSITY)], refit=False).fit(table)
    return partial(fitted.score, table[:9])


def comparison(table: Array) -> Call:
    members = {"one": DENSITY, "two": VAEDensity(prior="normal", **QUICK)}
    return partial(compare_densities, members, table, cv=2)


@pytest.mark.parametrize(
    "prepare",
    [
        density,
        mean_of_density,
        conditional_density,
        pipeline,
        search,
        best_of_search,
        cross_validation,
        detector,
        fit_of_detector,
        detector_of_pipeline,
        classifier,
        classifier_in_search,
        stack,
        comparison,
    ],
)
def test_every_call_warns_at_the_callers_line(
    prepare: Callable[[Array], Call], table: Array
) -> None:
    """Python shows a warning once a line: each call has a line of its own here."""
    call = prepare(table)
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.simplefilter("default")
        call()
        call()
    shown = [w for w in caught if "The log-density of" in str(w.message)]
    assert {w.filename for w in shown} == {__file__}
    # Searches warn of the rows of each fold, at the same line.
    first, second = sorted({w.lineno for w in shown})
    assert second == first + 1
