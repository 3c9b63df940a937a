"""Curves and maps of densities, by what they draw."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal, norm
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import ConditionalVAEDensity, DensityDisplay, StackedDensity, VAEDensity
from skvae.display.density import UNSURE
from skvae.typing import Array
from tests.conftest import QUICK


@pytest.fixture(scope="module")
def gaussian(table: Array) -> GaussianMixture:
    """Return a single Gaussian, whose marginals and conditionals are known."""
    return GaussianMixture(1, random_state=0).fit(table)


def total(display: DensityDisplay) -> float:
    """Return the integral of a density over the axes of its figure."""
    density = np.exp(display.log_density)
    for column in display.axes:
        density = trapezoid(density, column.places, axis=-1)
    return float(density)


def test_curve_is_the_density_of_a_column(table: Array) -> None:
    X = table[:, [0]]
    mixture = GaussianMixture(2, random_state=0).fit(X)
    display = DensityDisplay.from_estimator(mixture, X)
    x, y = display.line_.get_data()
    assert_allclose(y, np.exp(mixture.score_samples(x[:, None])))
    assert x[0] < X.min() and x[-1] > X.max()
    assert display.band_ is None  # there are no errors
    counts, edges = np.histogram(X, 30, (x[0], x[-1]))
    assert_allclose(display.histogram_.get_data().values * np.diff(edges), counts / 200)
    assert display.ax_.get_xlabel() == "x0"
    assert display.figure_ is display.ax_.figure


def test_marginal_of_any_density_is_a_mean_over_draws(
    table: Array, gaussian: GaussianMixture
) -> None:
    display = DensityDisplay.from_estimator(gaussian, table, 1)
    (column,) = display.axes
    scale = np.sqrt(gaussian.covariances_[0, 1, 1])
    expected = norm(gaussian.means_[0, 1], scale).logpdf(column.places)
    assert display.standard_error is not None
    likely = expected > expected.max() - 5
    off = np.abs(display.log_density - expected)[likely]
    assert (off < 5 * display.standard_error[likely]).all()
    assert display.standard_error[likely].max() < 0.5
    low, high = display.band_.get_paths()[0].vertices[:, 1][[1, -2]]
    assert low <= high


def test_conditional_of_any_density_is_a_slice_of_it(
    table: Array, gaussian: GaussianMixture
) -> None:
    mean, covariance = gaussian.means_[0], gaussian.covariances_[0]
    row = table[7]
    gain = covariance[:2, 2] / covariance[2, 2]
    expected = multivariate_normal(
        mean[:2] + gain * (row[2] - mean[2]),
        covariance[:2, :2] - np.outer(gain, covariance[2, :2]),
    )
    display = DensityDisplay.from_estimator(gaussian, table, [0, 1], given=7)
    x, y = display.axes
    grid = np.stack(np.meshgrid(x.places, y.places), -1)
    assert_allclose(display.log_density, expected.logpdf(grid), atol=0.02)
    assert_array_equal(display.point_.get_xydata(), [row[:2]])
    assert display.points_ is None  # rows of the table are not from this density


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_map_has_the_density_of_each_place(table: Array, container: Any) -> None:
    X = container(table[:, :2])
    kernels = KernelDensity(bandwidth=0.5).fit(table[:, :2])
    names = X.columns if hasattr(X, "columns") else None
    same = KernelDensity(bandwidth=0.5).fit(X)
    display = DensityDisplay.from_estimator(same, X, grid_resolution=7)
    assert display.log_density.shape == (7, 7)
    x, y = display.axes
    assert_allclose(
        display.log_density[2, 5],
        kernels.score_samples([[x.places[5], y.places[2]]])[0],
    )
    assert names is None or [x.name, y.name] == [str(name) for name in names]
    assert len(display.points_.get_xdata()) == 200
    assert display.colorbar_ is not None


def test_marginals_have_bands_that_hold(table: Array, density: VAEDensity) -> None:
    """Of means over draws, all are within five errors of the marginals by evidence."""
    display = DensityDisplay.from_estimator(
        density, table, 1, grid_resolution=9, n_draws=50
    )
    (column,) = display.axes
    inside = slice(2, 7)
    exact = density.marginal(1).evidence(column.places[inside], tol=0.05)
    off = np.abs(display.log_density[inside] - exact.log_density)
    assert display.standard_error is not None
    error = np.hypot(display.standard_error[inside], exact.standard_error)
    assert (off < 5 * error).all() and error.max() < 0.3
    high = display.band_.get_paths()[0].vertices[:, 1].max()
    assert high == np.exp(display.log_density + 2 * display.standard_error).max()


def test_maps_of_two_columns_hold_their_errors(
    table: Array, density: VAEDensity
) -> None:
    for given in (3, None):
        of_two = DensityDisplay.from_estimator(
            density, table, [0, 2], given=given, grid_resolution=16
        )
        x, y = of_two.axes
        # Summed over the second column, it is the density of the first.
        summed = trapezoid(np.exp(of_two.log_density), y.places, axis=0)
        others = np.nan if given is None else table[given, 1]
        row = np.array([[np.nan, others, np.nan]])
        expected = density.conditional(row, 0).pdf(x.places[None])[0]
        assert_allclose(summed, expected, atol=0.06)
        assert total(of_two) > 0.9
        assert of_two.standard_error is not None
        likely = of_two.log_density > of_two.log_density.max() - 3
        assert np.median(of_two.standard_error[likely]) < 0.1


def test_categories_and_counts_have_masses(
    trips: pd.DataFrame, mixed: VAEDensity
) -> None:
    display = DensityDisplay.from_estimator(mixed, trips, "kind", given=3)
    labels = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert labels == ["bike", "car"]
    assert_allclose(
        display.line_.get_ydata(),
        mixed.conditional(trips.iloc[[3]], "kind").probabilities()[0],
    )
    display = DensityDisplay.from_estimator(mixed, trips, "stops", n_draws=10)
    (column,) = display.axes
    assert_array_equal(column.places, np.arange(len(column.places)))
    shares = [bar.get_height() for bar in display.histogram_]
    assert_allclose(shares[2], np.mean(trips["stops"] == 2))
    assert "probability" in display.ax_.get_ylabel()


def test_map_of_a_category_leaves_out_rows_with_missing_cells(
    trips: pd.DataFrame, mixed: VAEDensity
) -> None:
    display = DensityDisplay.from_estimator(
        mixed, trips, ["kind", "cost"], grid_resolution=5
    )
    assert display.log_density.shape == (5, 2)
    complete = trips[["kind", "cost"]].dropna()
    x, y = display.points_.get_data()
    assert_array_equal(np.round(x), (complete["kind"] == "car").astype(float))
    assert_array_equal(y, complete["cost"])
    without = DensityDisplay(display.axes, display.log_density).plot(colorbar=False)
    assert without.points_ is None and without.colorbar_ is None


def test_uncertain_places_of_a_map_are_marked(
    trips: pd.DataFrame, mixed: VAEDensity
) -> None:
    axes = DensityDisplay.from_estimator(
        mixed, trips, ["kind", "cost"], given=0, grid_resolution=3
    ).axes
    log_density = np.array([[0.0, -1.0], [-30.0, -2.0], [-3.0, -4.0]])
    error = np.full((3, 2), UNSURE / 2)
    error[1, 0] = error[2, 1] = 2 * UNSURE
    display = DensityDisplay(axes, log_density, standard_error=error).plot(span=10)
    # The other one is below the map's lowest colour.
    assert_array_equal(display.unsure_.get_xydata(), [[1.0, axes[1].places[2]]])


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_marginals_of_densities_of_frames(
    table: Array, density: VAEDensity, container: Any
) -> None:
    frame = container(dict(zip("abc", table.T, strict=True)))
    fitted = VAEDensity(**QUICK).fit(frame)
    display = DensityDisplay.from_estimator(
        fitted, frame, ["c", "a"], grid_resolution=3
    )
    same = DensityDisplay.from_estimator(density, table, [2, 0], grid_resolution=3)
    assert_allclose(display.log_density, same.log_density)
    assert [display.ax_.get_xlabel(), display.ax_.get_ylabel()] == ["c", "a"]


def test_a_stack_is_drawn_as_any_density(table: Array) -> None:
    members = [("one", GaussianMixture(1)), ("kernels", KernelDensity(bandwidth=2.0))]
    stack = StackedDensity(members, random_state=0).fit(table[:, [1]])
    display = DensityDisplay.from_estimator(stack, table[:, [1]])
    assert 0.97 < total(display) < 1.0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"columns": None}, ValueError, "X has 3 columns, and one or two can be drawn"),
        ({"columns": [0, 1, 2]}, ValueError, "columns must be one or two columns"),
        ({"columns": "height"}, ValueError, "columns has 'height', which is no column"),
        ({"given": 200}, ValueError, "given must be an int at least 0 and at most 199"),
        ({"grid_resolution": 0}, ValueError, "grid_resolution must be"),
        ({"n_draws": 0.5}, TypeError, "n_draws must be"),
        ({"span": 0}, ValueError, "span must be a number above 0"),
        ({"ax": "here"}, TypeError, "ax must be a matplotlib Axes or None, got 'here'"),
        ({"X": [1.0, 2.0]}, ValueError, "X must be a table of shape"),
        ({"density": "normal"}, TypeError, "density must be an estimator with fit"),
        ({"density": ConditionalVAEDensity()}, TypeError, "density of y given X"),
    ],
)
def test_bad_input_is_refused(
    change: dict[str, Any],
    error: type[Exception],
    message: str,
    table: Array,
    gaussian: GaussianMixture,
) -> None:
    arguments = {"density": gaussian, "X": table, "columns": [0, 1], "given": 0}
    with pytest.raises(error, match=message):
        DensityDisplay.from_estimator(**{**arguments, "grid_resolution": 3, **change})


def test_densities_without_marginals_and_draws_say_what_can_be_drawn(
    table: Array,
) -> None:
    pipeline = make_pipeline(StandardScaler(), KernelDensity()).fit(table)
    with pytest.raises(ValueError, match="or draw a conditional: given=0"):
        DensityDisplay.from_estimator(pipeline, table, 0)
    assert DensityDisplay.from_estimator(pipeline, table, 0, given=0).line_ is not None
    with pytest.raises(ValueError, match="Column 'x1' of X has no observed cell"):
        DensityDisplay.from_estimator(
            pipeline, np.where([[1, 0, 1]], table, np.nan), 1, given=0
        )
