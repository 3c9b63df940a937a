"""Pipelines that end in a density, taken apart."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.mixture import GaussianMixture
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
