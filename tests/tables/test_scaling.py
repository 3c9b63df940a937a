"""Location and scale of columns, whatever the size of their numbers."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.validation import validate_data

from skvae import VAEDensity
from skvae.tables.names import TableColumns, column_names
from skvae.tables.scaling import location_and_scale, standardise

UNITS = [1e-300, 1e-150, 1.0, 1e150, 1e300]


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal([0, 5, -2], size=(50, 3))


@pytest.mark.parametrize("unit", UNITS)
def test_location_and_scale_are_mean_and_deviation(
    unit: float, rows: np.ndarray
) -> None:
    weight = np.arange(1.0, 51.0)
    mean = np.average(rows, axis=0, weights=weight)
    variance = np.average(np.square(rows - mean), axis=0, weights=weight)
    center, scale = location_and_scale(unit * rows, weight)
    assert_allclose(center / unit, mean)
    assert_allclose(scale / unit, np.sqrt(variance))
    for column, expected in zip(rows.T, np.c_[center, scale], strict=True):
        assert_allclose(location_and_scale(unit * column, weight), expected)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.0, 1e300, 1e-300])
def test_constant_column_has_its_own_size_for_scale(constant: float) -> None:
    center, scale = location_and_scale(np.full(7, constant), np.full(7, 0.1))
    assert center == constant
    assert scale == (abs(constant) or 1.0)


def test_standardised_rows(rows: np.ndarray) -> None:
    center, scale = location_and_scale(rows, np.ones(50))
    u = standardise(rows, center, scale)
    assert_allclose(u, (rows - center) / scale)
    assert_allclose(u.mean(0), 0, atol=1e-14)
    assert_allclose(u.std(0), 1)


def test_standardised_rows_are_finite() -> None:
    largest = np.finfo(float).max
    rows = np.array([[largest, 1.0], [-largest, 1e300]])
    u = standardise(rows, np.array([-largest, 0.0]), np.array([largest, 1e-300]))
    assert_array_equal(u, [[2, 1e100], [0, 1e100]])


# Names of columns


def test_columns_without_names_are_numbered() -> None:
    density = VAEDensity()
    validate_data(density, np.zeros((2, 3)))
    assert column_names(density) == ("x0", "x1", "x2")
    assert TableColumns.of(density).label(2) == "column 2"


def test_columns_have_the_names_of_the_frame() -> None:
    density = VAEDensity()
    validate_data(density, pd.DataFrame({"a": [1, 2], "b": [3, 4]}))
    assert column_names(density) == ("a", "b")
    assert TableColumns.of(density).label(1) == "column 'b'"
