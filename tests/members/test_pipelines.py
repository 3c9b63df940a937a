"""Pipelines that end in a density, taken apart."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skvae.members.pipelines import (
    changes_rows,
    last_step,
    rows_of_last_step,
    steps_of,
)

Array = np.ndarray


def test_density_that_is_no_pipeline_is_its_own_last_step(table: Array) -> None:
    density = GaussianMixture()
    assert steps_of(density) == []
    assert last_step(density) is density
    assert not changes_rows(density)
    assert rows_of_last_step(density, table) is table


@pytest.mark.parametrize("nothing", ["passthrough", None])
def test_step_that_does_nothing_changes_no_rows(
    nothing: str | None, table: Array
) -> None:
    density = GaussianMixture()
    pipeline = Pipeline([("nothing", nothing), ("density", density)])
    assert last_step(pipeline) is density
    assert not changes_rows(pipeline)
    assert rows_of_last_step(pipeline, table) is table


def test_last_step_scores_its_rows_as_the_pipeline_does(table: Array) -> None:
    pipeline = make_pipeline(
        StandardScaler(), "passthrough", MinMaxScaler(), GaussianMixture()
    ).fit(table)
    assert changes_rows(pipeline)
    rows = rows_of_last_step(pipeline, table)
    assert_array_equal(rows, pipeline[:-1].transform(table))
    assert_array_equal(
        last_step(pipeline).score_samples(rows), pipeline.score_samples(table)
    )


def test_searches_and_pipelines_are_unwrapped_at_any_depth(table: Array) -> None:
    inner = make_pipeline(MinMaxScaler(), GaussianMixture(random_state=0))
    search = GridSearchCV(inner, {"gaussianmixture__n_components": [1, 2]}, cv=2)
    nested = make_pipeline(StandardScaler(), search)
    assert isinstance(last_step(nested), GaussianMixture)
    assert changes_rows(search) and changes_rows(nested)
    nested.fit(table)
    assert last_step(nested) is search.best_estimator_[-1]
    rows = rows_of_last_step(nested, table)
    assert_array_equal(
        last_step(nested).score_samples(rows), nested.score_samples(table)
    )
