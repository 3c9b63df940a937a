"""Conditional densities p(y | x): right, honest, and at home in scikit-learn."""

import inspect
import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skvae import (
    ConditionalVAEDensity,
    GaussianLikelihood,
    MLPDecoder,
    VAEDensity,
)
from tests.conftest import GIVEN_QUICK as QUICK

Array = np.ndarray

FAST = {**QUICK, "max_iter": 2, "hidden_layer_sizes": (8,), "random_state": None}


def test_tags_say_that_y_is_needed() -> None:
    tags = get_tags(ConditionalVAEDensity())
    assert tags.estimator_type == "density_estimator"
    assert tags.target_tags.required
    assert tags.target_tags.multi_output
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test


def test_parameters_are_those_of_the_unconditional_density_and_the_kind_of_x() -> None:
    ours = ConditionalVAEDensity().get_params()
    assert ours.pop("given_kind") == "auto"
    # Companions are densities of whole rows.
    theirs = VAEDensity().get_params()
    assert theirs.pop("companion") == "auto"
    assert ours == theirs
    own = inspect.signature(ConditionalVAEDensity).parameters
    for name, parameter in inspect.signature(VAEDensity).parameters.items():
        if name == "companion":
            continue
        assert own[name].annotation == parameter.annotation
        assert own[name].kind == parameter.kind


# Right


@pytest.fixture(scope="module")
def pair() -> tuple[Array, Array]:
    """Return 300 rows of two numbers, and three targets that follow them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) * [1.0, 50.0] + [0.0, 200.0]
    left = rng.normal(size=(300, 1)) * [1.0, 0.5, 0.0]
    follow = (X - [0, 200]) / [1, 50] @ [[1.0, 0.0, 3.0], [1.0, 2.0, 0.0]]
    own = rng.normal(size=(300, 3)) * [0.3, 0.4, 1.0]
    return X, (follow + left + own) * [1.0, 10.0, 0.1] + [5.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def linear(pair: tuple[Array, Array]) -> ConditionalVAEDensity:
    return ConditionalVAEDensity(
        n_components=2,
        prior="normal",
        decoder=MLPDecoder(hidden_layer_sizes=()),
        likelihood=GaussianLikelihood("column"),
        background=None,
        marginal_transform=None,
        hidden_layer_sizes=(16,),
        max_iter=30,
        evidence_tol=0.005,
        random_state=0,
    ).fit(*pair)


def closed_form(
    density: ConditionalVAEDensity, X: Array, y: Array
) -> tuple[Array, Array, Array]:
    """Return log p(y | x), E[y | x] and Cov[y | x] of a linear-Gaussian model."""
    state = {k: v.numpy() for k, v in density.model_.state_dict().items()}
    unit = state["likelihood.unit"][:, None]
    slope = unit * state["decoder.network.skip"]
    scale = np.exp(state["likelihood.scale.log_scale"])
    scale = scale + state["likelihood.scale.floor"]
    units = density.columns_.scale
    x_model = density.columns_.given.to_model(X)
    weight = slope[:, : density.n_components_]
    covariance = weight @ weight.T + np.diag(scale**2)
    mean = x_model @ slope[:, density.n_components_ :].T
    mean += unit[:, 0] * state["decoder.network.bias"]
    mean = density.columns_.to_table(mean)
    covariance = units[:, None] * covariance * units
    log_p = stats.multivariate_normal(np.zeros(len(units)), covariance).logpdf(y - mean)
    return log_p, mean, covariance


def test_linear_gaussian_model_has_its_closed_form(
    pair: tuple[Array, Array], linear: ConditionalVAEDensity
) -> None:
    X, y = pair[0][:100], pair[1][:100]
    expected, mean, _ = closed_form(linear, X, y)
    evidence = linear.evidence(X, y)
    assert_allclose(evidence.log_density, expected, rtol=0, atol=0.03)
    assert_allclose(linear.score(X, y), expected.mean(), rtol=0, atol=0.003)
    assert_array_equal(evidence.log_density, linear.score_samples(X, y))
    # The prior's mean is decoded to that of the targets.
    assert_allclose(linear.decode(X, np.zeros((100, 2))), mean)


def test_samples_of_a_linear_gaussian_model_have_its_moments(
    pair: tuple[Array, Array], linear: ConditionalVAEDensity
) -> None:
    """Hotelling's and a likelihood-ratio test; false-alarm rate 1e-4 each."""
    X = pair[0][:2]
    rows = linear.sample(X, 2000, random_state=0)
    assert rows.shape == (4000, 3)
    _, mean, covariance = closed_form(linear, X, pair[1][:2])
    for part, center in zip(np.split(rows, 2), mean, strict=True):
        shift = part.mean(0) - center
        distance = len(part) * shift @ np.linalg.solve(covariance, shift)
        assert stats.chi2(3).sf(distance) > 1e-4
        relative = np.linalg.solve(covariance, np.cov(part.T))
        ratio = np.trace(relative) - np.linalg.slogdet(relative)[1] - 3
        assert stats.chi2(6).sf(len(part) * ratio) > 1e-4


def test_training_starts_at_the_regression_on_x(pair: tuple[Array, Array]) -> None:
    X, y = pair
    start = ConditionalVAEDensity(
        prior="normal",
        likelihood=GaussianLikelihood("column"),
        background=None,
        marginal_transform=None,
        early_stopping=False,
        learning_rate=1e-9,
        **QUICK,
    ).fit(X, y)
    design = np.c_[X, np.ones(len(X))]
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    best = stats.multivariate_normal(np.zeros(3), np.cov(residual.T))
    assert start.score(X, y) > best.logpdf(residual).mean() - 0.15
    correlation = np.corrcoef(np.c_[start.encode(X, y), X].T)
    assert np.abs(correlation[:3, 3:]).max() < 0.02


LEARNING = {
    "decoder": "mlp",
    "max_iter": 60,
    "hidden_layer_sizes": (48, 48),
    "dropout": 0.0,
    "weight_decay": 1e-4,
    "marginal_transform": None,
    "evidence_tol": 0.1,
    "random_state": 0,
}


def waves(n: int, seed: int) -> tuple[Array, Array, Any]:
    """Return x, y = sin(x) + noise that grows with |x|, and the truth."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, n)
    truth = stats.norm(np.sin(x), 0.1 + 0.1 * np.abs(x))
    return x[:, None], truth.rvs(random_state=rng), truth


@pytest.fixture(scope="module")
def wave() -> ConditionalVAEDensity:
    X, y, _ = waves(2000, 0)
    return ConditionalVAEDensity(**LEARNING).fit(X, y)


def test_density_follows_x(wave: ConditionalVAEDensity) -> None:
    X, y, truth = waves(1000, 1)
    excess = truth.logpdf(y).mean() - wave.score(X, y)
    assert 0 < excess < 0.05
    # The scale follows, too: where the noise is small, the density is high.
    log_p = wave.score_samples(X, y)
    near = np.abs(X[:, 0]) < 0.3
    assert log_p[near].mean() > log_p[~near].mean() + 0.5
    settings = {**QUICK, "max_iter": 20}
    unconditional = VAEDensity(**settings).fit(waves(2000, 0)[1][:, None])
    assert wave.score(X, y) > unconditional.score(y[:, None]) + 0.9


@pytest.mark.filterwarnings("ignore:The log-density of")
@pytest.mark.parametrize("x", [-2.0, 0.0, 6.0])
def test_density_integrates_to_one_for_every_x(
    x: float, wave: ConditionalVAEDensity
) -> None:
    y = np.linspace(-5, 5, 151)
    density = np.exp(wave.score_samples(np.full((len(y), 1), x), y))
    # The background has a thousandth of its weight beyond.
    assert integrate.trapezoid(density, y) == pytest.approx(1, abs=0.01)


@pytest.mark.filterwarnings("ignore:The log-density of")
def test_samples_follow_x(wave: ConditionalVAEDensity) -> None:
    """Kolmogorov-Smirnov tests against the density; false-alarm rate 1e-4 each."""
    grid = np.linspace(-5, 5, 151)
    for x in (-2.0, 0.5):
        drawn = wave.sample([[x]], 1000, random_state=0)
        assert drawn.shape == (1000,)
        log_p = wave.evidence(np.full((len(grid), 1), x), grid).log_density
        mass = integrate.cumulative_trapezoid(np.exp(log_p), grid, initial=0)
        cdf = np.interp(drawn, grid, mass / mass[-1])
        assert stats.kstest(cdf, "uniform").pvalue > 1e-4


def classes(n: int, seed: int) -> tuple[Array, Array, Array]:
    """Return names of three classes, rows of them and their true log-densities."""
    rng = np.random.default_rng(seed)
    truths = [stats.norm(0, 1), stats.norm(4, 0.2), stats.laplace(-2, 1.5)]
    code = rng.integers(0, 3, n)
    x = np.stack([truth.rvs(n, random_state=rng) for truth in truths])
    log_p = np.stack([truth.logpdf(row) for truth, row in zip(truths, x, strict=True)])
    each = np.arange(n)
    return (
        np.array(["elm", "oak", "fir"])[code][:, None],
        x[code, each][:, None],
        log_p[code, each],
    )


@pytest.mark.filterwarnings("ignore:The log-density of")
def test_density_given_a_class_is_about_that_of_the_class() -> None:
    X, y, _ = classes(1500, 0)
    labels, fresh, truth = classes(900, 1)
    together = ConditionalVAEDensity(**LEARNING).fit(X, y)
    log_p = together.score_samples(labels, fresh)
    for name in ("elm", "fir", "oak"):
        rows = labels[:, 0] == name
        alone = VAEDensity(companion=None, **LEARNING).fit(y[X[:, 0] == name])
        assert log_p[rows].mean() > truth[rows].mean() - 0.06
        assert log_p[rows].mean() > alone.score(fresh[rows]) - 0.05
    swapped = np.where(labels == "elm", "oak", "elm")[:50]
    assert together.score(swapped, fresh[:50]) < log_p.mean() - 2
    with pytest.raises(ValueError, match=r"column 0 has 'ash' in row 0, .* not seen"):
        together.score_samples([["ash"]], fresh[:1])


def test_bounds_are_below_and_in_order(wave: ConditionalVAEDensity) -> None:
    X, y, _ = waves(300, 2)
    bounds = wave.bounds(X, y, n_samples=(1, 8))
    assert bounds.iwae.shape == (2, 300)
    low, high = bounds.elbo.mean(), bounds.iwae[1].mean()
    assert low <= high + 1e-3 <= wave.score(X, y) + 0.02


def test_zeros_and_ones_given_a_number() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 1))
    chance = 1 / (1 + np.exp(-x * [3, -1]))
    y = (rng.random((800, 2)) < chance).astype(float)
    density = ConditionalVAEDensity(
        1, likelihood="bernoulli", prior="normal", **{**LEARNING, "max_iter": 20}
    ).fit(x, y)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    for value in (-1.0, 2.0):
        exact = density.evidence(np.full((4, 1), value), corners, proposal="quadrature")
        assert np.exp(exact.log_density).sum() == pytest.approx(1, abs=1e-4)
    truth = np.where(y == 1, np.log(chance), np.log1p(-chance)).sum(1)
    log_p = density.evidence(x[:200], y[:200], proposal="quadrature").log_density
    assert log_p.mean() == pytest.approx(truth[:200].mean(), abs=0.03)
    with pytest.raises(ValueError, match=r"columns of 0 and 1 only.*column 0 of y"):
        density.score_samples(np.zeros((4, 1)), corners + 0.5)


@pytest.mark.filterwarnings("ignore:The log-density of")
def test_far_rows_and_far_targets_have_finite_densities(
    wave: ConditionalVAEDensity,
) -> None:
    far = wave.score_samples([[0.0], [2.0], [0.0]], [1e6, 1e6, -1e200])
    assert np.isfinite(far).all()
    # Far from all rows, only the background is left, which does not know of x.
    assert far[0] == pytest.approx(far[1], abs=1e-6)
    assert np.isfinite(wave.score_samples([[1e6], [-1e300]], [0.0, 0.0])).all()
    assert np.isfinite(wave.sample([[1e6], [-1e300]], random_state=0)).all()


# Kinds of given columns


FRUIT = ["apple", "pear", "apple", "fig"] * 10
WHOLE = [1, 2, 1, 3] * 10


def column(values: Any) -> Array:
    return np.array(values)[:, None]


KINDS: dict[str, tuple[Any, Any, list[int]]] = {
    "integers are numbers": ([[value] for value in WHOLE], "auto", [0]),
    "floats": (column(WHOLE) / 2, "auto", [0]),
    "text": ([[value] for value in FRUIT], "auto", [3]),
    "array of text": (column(FRUIT), "auto", [3]),
    "truth values": (column(WHOLE) == 1, "auto", [2]),
    "mixed objects": ([[1], ["a"], [1], [None is None]] * 10, "auto", [2]),
    "numbers as objects": (column(WHOLE).astype(object), "auto", [0]),
    "integers as labels": (column(WHOLE), "categorical", [3]),
    "truth values as numbers": (column(WHOLE) == 1, "numeric", [0]),
    "text of numbers as numbers": ([["1"], ["2.5"]] * 20, "numeric", [0]),
    "text of a frame": (pd.DataFrame({"a": FRUIT}), "auto", [3]),
    "categories of a frame": (
        pd.DataFrame({"a": WHOLE}, dtype="category"),
        "auto",
        [3],
    ),
    "nullable integers": (pd.DataFrame({"a": WHOLE}, dtype="Int64"), "auto", [0]),
    "polars categories": (
        pl.DataFrame({"a": pl.Series(FRUIT, dtype=pl.Categorical)}),
        "auto",
        [3],
    ),
    "two columns": (np.c_[WHOLE, WHOLE[::-1]], "auto", [0, 0]),
    "two kinds": (np.c_[WHOLE, WHOLE], ["numeric", "categorical"], [0, 3]),
    "frame": (pd.DataFrame({"a": WHOLE, "b": FRUIT}), "auto", [0, 3]),
    "polars frame": (pl.DataFrame({"a": WHOLE, "b": FRUIT}), "auto", [0, 3]),
    "rows of a list": (
        [[a, b] for a, b in zip(WHOLE, FRUIT, strict=True)],
        "auto",
        [0, 3],
    ),
}


@pytest.fixture(scope="module")
def small() -> Array:
    """Return 40 rows of two targets."""
    return np.random.default_rng(0).normal(size=(40, 2))


@pytest.mark.parametrize("name", KINDS)
def test_kind_of_x(name: str, small: Array) -> None:
    X, kind, n_categories = KINDS[name]
    density = ConditionalVAEDensity(given_kind=kind, **FAST).fit(X, small)
    categories = density.columns_.given.schema.categories
    assert [len(values or ()) for values in categories] == n_categories
    assert np.isfinite(density.score_samples(X, small)).all()
    assert density.sample(X[:3] if not hasattr(X, "head") else X.head(3)).shape == (
        3,
        2,
    )


def test_equal_x_of_different_containers_give_equal_densities(small: Array) -> None:
    frame = pd.DataFrame({"a": WHOLE, "b": FRUIT})
    settings = {**FAST, "random_state": 0}
    one = ConditionalVAEDensity(**settings).fit(frame, small)
    again = ConditionalVAEDensity(**settings).fit(pl.from_pandas(frame), small)
    assert_array_equal(
        again.score_samples(frame, small),
        one.score_samples(pl.from_pandas(frame), small),
    )
    cells = frame.to_numpy(dtype=object)
    again = ConditionalVAEDensity(**settings).fit(cells, small)
    assert_array_equal(
        again.score_samples(cells, small), one.score_samples(frame, small)
    )


def test_the_unit_of_a_numeric_x_does_not_matter(small: Array) -> None:
    settings = {**FAST, "random_state": 0}
    X = column(WHOLE).astype(float)
    one = ConditionalVAEDensity(**settings).fit(X, small)
    other = ConditionalVAEDensity(**settings).fit(1024 * X, small)
    # (Noise of scores is keyed by the row, x as it came included.)
    assert_array_equal(one.encode(X, small), other.encode(1024 * X, small))


def test_constant_x_is_allowed(small: Array) -> None:
    for X in (np.zeros((40, 1)), np.full((40, 1), 1e300), [["a"]] * 40):
        density = ConditionalVAEDensity(**FAST).fit(X, small)
        assert np.isfinite(density.score(X, small))


# Kinds of targets


TARGETS: dict[str, Any] = {
    "list": np.arange(40.0).tolist(),
    "array": np.arange(40.0),
    "integers": np.arange(40),
    "series": pd.Series(np.arange(40.0), name="price"),
    "polars series": pl.Series("price", np.arange(40.0)),
    "one column": np.arange(40.0)[:, None],
    "frame": pd.DataFrame({"price": np.arange(40.0)}),
    "polars frame": pl.DataFrame({"price": np.arange(40.0)}),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_of_every_container(name: str, small: Array) -> None:
    y = TARGETS[name]
    settings = {**FAST, "random_state": 0}
    density = ConditionalVAEDensity(**settings).fit(small, y)
    expected = ConditionalVAEDensity(**settings).fit(small, np.arange(40.0))
    for each in TARGETS.values():
        assert_array_equal(
            density.score_samples(small, each),
            expected.score_samples(small, np.arange(40.0)),
        )
    drawn = density.sample(small, 2)
    flat = len(np.shape(y)) == 1
    assert drawn.shape == ((80,) if flat else (80, 1))
    assert_array_equal(np.ravel(drawn), expected.sample(small, 2))
    means = density.decode(small, density.encode(small, y))
    assert means.shape == ((40,) if flat else (40, 1))


def test_targets_may_be_text(small: Array) -> None:
    density = ConditionalVAEDensity(likelihood="auto", **FAST).fit(small, FRUIT)
    drawn = density.sample(small)
    assert drawn.shape == (40,)
    assert set(drawn) <= set(FRUIT)
    density.set_params(evidence_tol=0.03, max_evidence_samples=4096)
    log_p = [density.score_samples(small[:5], [fruit] * 5) for fruit in set(FRUIT)]
    assert_allclose(np.exp(log_p).sum(0), 1, atol=0.2)
    with pytest.raises(ValueError, match="y has 'kiwi' in row 0, a category that fit"):
        density.score_samples(small[:1], ["kiwi"])


def test_without_y_there_is_no_density(small: Array) -> None:
    density = ConditionalVAEDensity(**FAST).fit(small, WHOLE)
    with pytest.warns(UserWarning, match=r"call score_samples\(X, y\)") as caught:
        assert np.isnan(density.score_samples(small)).all()
    assert caught[0].filename == __file__
    for method in (density.score, density.evidence, density.encode, density.fit):
        with pytest.raises((TypeError, ValueError), match="y"):
            method(small)
        with pytest.raises(ValueError, match="requires y to be passed"):
            method(small, None)


# Errors


BAD_X: dict[str, tuple[Any, str]] = {
    "none": (None, "Expected 2D array, got scalar"),
    "one axis": (WHOLE, "Expected 2D array, got 1D array"),
    "nothing": ([], "Expected 2D array, got 1D array"),
    "short": (column(WHOLE[:-1]), "inconsistent numbers of samples"),
    "nan": (column([np.nan] * 40), "X has no observed cell in column 0"),
    "no text": ([[None]] * 40, "X has no observed cell in column 0"),
    "not available": (
        pd.DataFrame({"a": WHOLE, "b": pd.Series([pd.NA] * 40, dtype="Int64")}),
        "no observed cell in column 'b'",
    ),
    "infinite": (column([*WHOLE[:-1], np.inf]), "contains infinity .*in row 39"),
    "named column": (
        pd.DataFrame({"a": FRUIT, "b": [-np.inf, *WHOLE[1:]]}),
        "infinity in column 'b' .*in row 0",
    ),
    "second column": (np.c_[WHOLE, [np.inf] * 40], "infinity in column 1"),
    "three axes": (np.zeros((40, 1, 1)), "dim 3"),
    "no columns": (np.zeros((40, 0)), "0 feature"),
    "dates": (
        pd.DataFrame({"day": pd.date_range("2020", periods=40)}),
        "column 'day' holds dates .*numbers, text, truth values",
    ),
    "complex": (np.ones((40, 1)) * 1j, "Complex data not supported"),
}


@pytest.mark.parametrize("name", BAD_X)
def test_bad_x_is_named_and_leaves_the_estimator_as_it_was(
    name: str, small: Array
) -> None:
    X, message = BAD_X[name]
    density = ConditionalVAEDensity(**FAST)
    before = dict(vars(density))
    with pytest.raises(ValueError, match=message):
        density.fit(X, small)
    assert vars(density) == before


BAD_Y: dict[str, tuple[Any, str]] = {
    "none": (None, "requires y to be passed"),
    "short": (WHOLE[:-1], "inconsistent numbers of samples"),
    "nan": ([np.nan, *WHOLE[1:]], r"y contains NaN, .*, in y \(first in row 0"),
    "no number": ([*WHOLE[:-1], None], "y .*in row 39"),
    "not available": (pd.Series([*WHOLE[:-1], pd.NA], dtype="Int64"), "in row 39"),
    "infinite": ([*WHOLE[:-1], np.inf], "contains infinity in y .*row 39"),
    "named column": (
        pd.DataFrame({"a": WHOLE, "b": [np.nan, *WHOLE[1:]]}),
        "missing target, in column 'b' of y .*row 0",
    ),
    "second column": (np.c_[WHOLE, [np.nan] * 40], "NaN, .* in column 1 of y"),
    "three axes": (np.zeros((40, 1, 1)), r"got shape \(40, 1, 1\)"),
    "no columns": (np.zeros((40, 0)), r"got shape \(40, 0\)"),
    "dates": (pd.date_range("2020", periods=40), "y holds dates .*numbers, text"),
    "complex": (np.ones(40) * 1j, "Complex data not supported: y"),
    "masked": (np.ma.masked_equal(WHOLE, 3), "y is a masked array with 10 masked"),
    "text": (FRUIT, "'apple' in y. Use likelihood='auto'"),
    "text of a frame": (
        pd.DataFrame({"a": WHOLE, "b": FRUIT}),
        "'apple' in column 'b' of y. Use likelihood='auto'",
    ),
    "huge": ([*WHOLE[:-1], 10**400], "beyond float64.* in y .*row 39"),
}


@pytest.mark.parametrize("name", BAD_Y)
def test_bad_y_is_named_and_leaves_the_estimator_as_it_was(
    name: str, small: Array
) -> None:
    y, message = BAD_Y[name]
    density = ConditionalVAEDensity(**FAST)
    before = dict(vars(density))
    with pytest.raises(ValueError, match=message):
        density.fit(small, y)
    assert vars(density) == before


def test_columns_of_y_of_one_name_are_told_apart(small: Array) -> None:
    y = pd.DataFrame(np.c_[WHOLE, small[:, 0]], columns=["a", "a"])
    density = ConditionalVAEDensity(**FAST).fit(small, y)
    assert np.isfinite(density.score_samples(small, y)).all()
    drawn = density.set_output(transform="pandas").sample(small)
    assert drawn.columns.tolist() == ["a", "a"]


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("ordinal", ValueError, "given_kind must be 'auto'.*got 'ordinal'"),
        (["numeric"], ValueError, "given_kind has 1 entries, but X has 2 columns"),
        (["numeric", "x"], ValueError, "got 'x'"),
        (3, TypeError, "given_kind must be a str"),
        ("numeric", ValueError, "'apple' in column 'b'.*given_kind='categorical'"),
    ],
)
def test_bad_given_kind_is_named(
    kind: Any, error: type[Exception], message: str, small: Array
) -> None:
    frame = pd.DataFrame({"a": WHOLE, "b": FRUIT})
    with pytest.raises(error, match=message):
        ConditionalVAEDensity(given_kind=kind, **FAST).fit(frame, small)


def test_x_has_to_be_what_fit_has_seen(small: Array) -> None:
    frame = pd.DataFrame({"a": WHOLE, "b": FRUIT})
    density = ConditionalVAEDensity(**FAST).fit(frame, small)
    unseen = frame.replace("fig", "kiwi")
    for method in (density.score_samples, density.encode, density.bounds):
        with pytest.raises(ValueError, match=r"column 'b' has 'kiwi' in row 3.* fit"):
            method(unseen, small)
    with pytest.raises(ValueError, match=r"'kiwi'.*Known ones: 'apple', 'fig'"):
        density.sample(unseen)
    with pytest.raises(ValueError, match=r"X has 1 features, but .* is expecting 2"):
        ConditionalVAEDensity(**FAST).fit(small, WHOLE).score(small[:, :1], WHOLE)
    with pytest.raises(ValueError, match="feature names"):
        density.score(frame[["b", "a"]], small)
    with pytest.raises(ValueError, match=r"infinity in column 'a' \(first in row 3"):
        density.score(frame.assign(a=[1, 2, 3, np.inf] * 10), small)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        density.score(frame[:7], small)
    with pytest.raises(ValueError, match="Z has 3 columns"):
        density.decode(frame, np.zeros((40, 3)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        density.decode(frame, np.zeros((39, 2)))
    with pytest.raises(ValueError, match="n_samples must be an int"):
        density.sample(frame, 0)
    with pytest.raises(ValueError, match="Expected 2D array"):
        ConditionalVAEDensity(**FAST).fit(small, WHOLE).sample([])


def test_y_has_to_be_what_fit_has_seen(small: Array) -> None:
    frame = pd.DataFrame(small, columns=["a", "b"])
    density = ConditionalVAEDensity(**FAST).fit(small, frame)
    with pytest.raises(ValueError, match="y has 1 columns, but fit has seen 2"):
        density.score(small, WHOLE)
    assert density.score(small, frame) == density.score(small, small)


@pytest.mark.parametrize("library", [pd, pl])
def test_columns_of_y_are_matched_by_name(library: Any, small: Array) -> None:
    frame = library.DataFrame({"a": small[:, 0], "b": 7 + small[:, 1]})
    settings = {**FAST, "random_state": 0}
    density = ConditionalVAEDensity(**settings).fit(small, frame)
    other = pd.DataFrame({"b": 7 + small[:, 1], "a": small[:, 0]})
    turned = other if library is pd else pl.from_pandas(other)
    assert_array_equal(
        density.score_samples(small, turned), density.score_samples(small, frame)
    )
    again = clone(density).partial_fit(small, frame).partial_fit(small, turned)
    expected = clone(density).partial_fit(small, frame).partial_fit(small, frame)
    assert again.history_[1]["bound"] == expected.history_[1]["bound"]
    for wrong, message in (
        (other.drop(columns="a"), r"of fit, in any order, but it lacks 'a'\."),
        (other.assign(c=1.0), "but it has 'c', which fit has not seen"),
        (other.rename(columns={"b": "c"}), "it lacks 'b' and has 'c', which fit"),
        (other[["a", "a", "b"]], "several columns called 'a', so that names do not"),
    ):
        with pytest.raises(ValueError, match=message):
            density.score_samples(small, wrong)


def test_density_is_not_there_before_fit(small: Array) -> None:
    density = ConditionalVAEDensity()
    for call in (
        lambda: density.score_samples(small, WHOLE),
        lambda: density.score_samples(small),
        lambda: density.bounds(small, WHOLE),
        lambda: density.sample(small),
        lambda: density.encode(small, WHOLE),
        lambda: density.decode(small, small),
    ):
        with pytest.raises(NotFittedError):
            call()


# At home in scikit-learn


@pytest.fixture(scope="module")
def quick(table: Array) -> ConditionalVAEDensity:
    return ConditionalVAEDensity(**QUICK).fit(table[:, :1], table[:, 1:])


def global_state() -> Any:
    return np.random.get_state(legacy=False)  # noqa: NPY002


def test_same_seed_gives_the_same_density(
    table: Array, quick: ConditionalVAEDensity
) -> None:
    state, torch_state = str(global_state()), torch.get_rng_state()
    order = np.random.default_rng(0).permutation(len(table))
    again = ConditionalVAEDensity(**QUICK).fit(table[order, :1], table[order, 1:])
    X, y = table[:, :1], table[:, 1:]
    assert_array_equal(again.score_samples(X, y), quick.score_samples(X, y))
    assert_array_equal(again.sample(X, 2), quick.sample(X, 2))
    assert str(global_state()) == state
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_row_is_scored_the_same_in_any_company(
    table: Array, quick: ConditionalVAEDensity
) -> None:
    X, y = table[:, :1], table[:, 1:]
    together = quick.score_samples(X, y)
    assert_allclose(quick.score_samples(X[::-1], y[::-1])[::-1], together, rtol=1e-9)
    assert_allclose(quick.score_samples(X[5:6], y[5:6]), together[5:6], rtol=1e-9)


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_integer_weights_equal_repeated_rows(kind: str, table: Array) -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(0, 4, len(table))
    # 7 only without weight
    X = np.where(weight == 0, 7, np.arange(len(table)) % 3)[:, None]
    settings = {**QUICK, "given_kind": kind}
    weighted = ConditionalVAEDensity(**settings).fit(X, table, sample_weight=weight)
    repeated = ConditionalVAEDensity(**settings).fit(
        np.repeat(X, weight, axis=0), np.repeat(table, weight, axis=0)
    )
    used = weight > 0
    assert_array_equal(
        weighted.score_samples(X[used], table[used]),
        repeated.score_samples(X[used], table[used]),
    )
    three = [[0], [1], [2]]
    assert_array_equal(weighted.sample(three, 3), repeated.sample(three, 3))
    score = weighted.score(X[used], table[used], sample_weight=weight[used])
    evidence = weighted.evidence(X[used], table[used])
    each = evidence.unbiased()
    assert score == pytest.approx(np.average(each, weights=weight[used]))


def test_samples_of_one_row_of_x_follow_one_another(
    linear: ConditionalVAEDensity, pair: tuple[Array, Array]
) -> None:
    X = pair[0][:2] + np.array([[0, 0], [100, 0]])
    rows = linear.sample(X, 3, random_state=1)
    _, mean, covariance = closed_form(linear, X, pair[1][:2])
    assert (np.abs(rows[:3] - mean[0]) < 8 * np.sqrt(np.diag(covariance))).all()
    assert (np.abs(rows[3:] - mean[1]) < 8 * np.sqrt(np.diag(covariance))).all()
    assert (np.abs(mean[0] - mean[1]) > 50 * np.sqrt(np.diag(covariance))).any()


def test_pickle_and_clone(table: Array, quick: ConditionalVAEDensity) -> None:
    X, y = table[:, :1], table[:, 1:]
    copied = pickle.loads(pickle.dumps(quick))
    assert_array_equal(copied.score_samples(X, y), quick.score_samples(X, y))
    fresh = clone(quick.set_params())
    assert fresh.get_params() == quick.get_params()
    with pytest.raises(NotFittedError):
        fresh.score(X, y)


def test_grid_search_and_cross_validation_pass_y(table: Array) -> None:
    X, y = table[:, :1], table[:, 1:]
    search = GridSearchCV(
        ConditionalVAEDensity(**QUICK),
        {"prior": ["normal", "mixture"], "n_components": [1, 2]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 4
    assert search.score(X, y) == search.best_estimator_.score(X, y)
    scores = cross_val_score(ConditionalVAEDensity(**QUICK), X, y, cv=4)
    held_out = ConditionalVAEDensity(**QUICK).fit(X[50:], y[50:])
    assert scores[0] == held_out.score(X[:50], y[:50])


def test_cross_validation_takes_one_target(table: Array) -> None:
    X, y = table[:, :2], table[:, 2]
    scores = cross_val_score(ConditionalVAEDensity(**QUICK), X, y, cv=4)
    held_out = ConditionalVAEDensity(**QUICK).fit(X[50:], y[50:])
    assert scores[0] == held_out.score(X[:50], y[:50])


def test_pipeline_scales_x_and_passes_y(table: Array) -> None:
    X, y = table[:, :1], table[:, 1:]
    pipeline = make_pipeline(StandardScaler(), ConditionalVAEDensity(**QUICK))
    scaled = StandardScaler().fit_transform(X)
    alone = ConditionalVAEDensity(**QUICK).fit(scaled, y)
    assert pipeline.fit(X, y).score(X, y) == alone.score(scaled, y)


def test_feature_names_are_those_of_x(table: Array) -> None:
    frame = pd.DataFrame(table, columns=["a", "b", "c"])
    density = ConditionalVAEDensity(**QUICK).fit(frame[["b", "c"]], frame["a"])
    assert density.feature_names_in_.tolist() == ["b", "c"]
    assert density.n_features_in_ == 2
    with pytest.raises(ValueError, match="feature names should match"):
        density.score(frame[["c", "b"]], frame["a"])
    with pytest.raises(ValueError, match="column 'b'"):
        density.score(frame[["b", "c"]] * [np.inf, 1], frame["a"])


def test_latents_and_rows_have_their_shapes(
    table: Array, quick: ConditionalVAEDensity
) -> None:
    X, y = table[:, :1], table[:, 1:]
    latents = quick.encode(X, y)
    assert latents.shape == (len(X), quick.n_components_)
    assert quick.decode(X, latents).shape == y.shape


def test_warm_start_goes_on_with_the_same_coding(table: Array) -> None:
    X = np.array(["a", "b"])[np.arange(len(table)) % 2][:, None]
    density = ConditionalVAEDensity(warm_start=True, **QUICK).fit(X, table)
    given = density.columns_
    density.fit(X[1::2], table[1::2])
    assert density.columns_ is given
    assert density.n_iter_ == 2 * QUICK["max_iter"]
    assert np.isfinite(density.score(X, table))
    with pytest.raises(ValueError, match="'c' in row 0, a category that fit has not"):
        density.fit(np.full((len(table), 1), "c"), table)


def test_training_record_is_in_the_units_of_y(table: Array) -> None:
    X, y = table[:, :1], table[:, 1:]
    one = ConditionalVAEDensity(marginal_transform=None, **QUICK).fit(X, y)
    other = ConditionalVAEDensity(marginal_transform=None, **QUICK).fit(X, 1024 * y)
    shift = 2 * np.log(1024)
    for a, b in zip(one.history_, other.history_, strict=True):
        assert a["objective"] == pytest.approx(b["objective"] + shift, abs=1e-3)
        assert a["evidence"] == pytest.approx(
            b["evidence"] + shift, abs=1e-3, nan_ok=True
        )


# partial_fit


def test_partial_fit_trains_one_epoch_a_call() -> None:
    X, y, _ = waves(400, 3)
    settings = {"batch_size": 32, "dropout": 0.0, "weight_decay": 0.0}
    density = ConditionalVAEDensity(learning_rate=0.02, **settings, **QUICK)
    assert density.partial_fit(X[:200], y[:200]) is density
    coding, first = density.columns_, density.score(X, y)
    for part in 10 * [slice(None, 200), slice(200, None)]:
        density.partial_fit(X[part], y[part])
    assert density.columns_ is coding
    assert density.n_iter_ == len(density.history_) == 21
    assert {record["learning_rate"] for record in density.history_[1:]} == {0.02}
    assert density.score(X, y) > first + 0.1


def test_partial_fit_goes_on_from_a_fit_and_fit_starts_anew(table: Array) -> None:
    X, y = table[:, :1], table[:, 1:]
    density = ConditionalVAEDensity(**QUICK).fit(X, y)
    before = density.score_samples(X, y)
    density.partial_fit(X, y)
    assert density.n_iter_ == QUICK["max_iter"] + 1
    assert not np.array_equal(density.score_samples(X, y), before)
    assert_array_equal(density.fit(X, y).score_samples(X, y), before)


def test_partial_fit_counts_rows_by_their_weights(table: Array) -> None:
    X, y = table[:, :1], table[:, 1:]
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = ConditionalVAEDensity(**QUICK).partial_fit(X, y, sample_weight=weight)
    repeated = ConditionalVAEDensity(**QUICK).partial_fit(
        np.repeat(X, weight, axis=0), np.repeat(y, weight, axis=0)
    )
    assert_array_equal(weighted.score_samples(X, y), repeated.score_samples(X, y))


def test_partial_fit_goes_on_with_the_columns_of_the_first_batch(small: Array) -> None:
    X = pd.DataFrame({"a": WHOLE, "b": FRUIT})
    y = pd.DataFrame(small, columns=["c", "d"])
    density = ConditionalVAEDensity(**FAST).partial_fit(X, y)
    before = dict(vars(density))
    for batch, message in (
        ((X[["a"]], y), "feature names should match"),
        ((X.assign(b="kiwi"), y), "column 'b' has 'kiwi' in row 0, a category that"),
        ((X, small[:, :1]), "y has 1 columns, but fit has seen 2"),
        ((X, y[["c"]]), "y should have the columns 'c', 'd' .*lacks 'd'"),
        ((X, y.assign(d="x")), "'x' in column 'd' of y"),
        ((X, None), "requires y to be passed"),
        ((X[:7], y), "inconsistent numbers of samples"),
    ):
        with pytest.raises(ValueError, match=message):
            density.partial_fit(*batch)
    assert vars(density) == before
    assert density.partial_fit(X[:5], y[:5]).n_iter_ == 2


# diagnose


def test_diagnosis_is_about_the_targets(wave: ConditionalVAEDensity) -> None:
    X, y, _ = waves(120, 4)
    report = wave.diagnose(X, y)
    assert (report.n_rows, report.n_features, report.n_components) == (120, 1, 1)
    assert report.feature_names == ("y0",)
    assert not report.drawn_from_model
    assert report.log_density == pytest.approx(wave.score(X, y), abs=0.05)
    # The mean of log p(y | z, x) is an ELBO and its KL, in the units of the targets.
    elbo = report.log_likelihood - report.kl
    assert elbo == pytest.approx(report.bound[0], abs=0.05)
    assert len(report.reconstruction_error) == len(report.floor_share) == 1
    shifted = wave.diagnose(X + 2, y)
    assert shifted.log_density < report.log_density - 1
    far = wave.diagnose(X[:20], y[:20] + 1e6)
    assert far.background_share == 1
    assert "The background takes 100%" in " ".join(far.warnings)


def test_diagnosis_draws_targets_where_there_are_none(
    wave: ConditionalVAEDensity,
) -> None:
    X, y, _ = waves(120, 5)
    report = wave.diagnose(X)
    assert report.drawn_from_model
    assert report.n_rows == 120
    # Rows of the model's own are as probable as it says, and follow X.
    assert report.log_density == pytest.approx(wave.score(X, y), abs=0.15)
    assert report == wave.diagnose(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        wave.diagnose(X, y[:3])
    with pytest.raises(NotFittedError):
        ConditionalVAEDensity().diagnose(X, y)


def test_diagnosis_takes_categories_and_gaps(small: Array) -> None:
    X = pd.DataFrame({"a": [np.nan, *WHOLE[1:]], "b": FRUIT})
    y = pd.DataFrame({"fruit": FRUIT[::-1], "size": small[:, 0]})
    density = ConditionalVAEDensity(likelihood="auto", **FAST).fit(X, y)
    report = density.diagnose(X, y)
    assert report.feature_names == ("fruit", "size")
    assert np.isfinite(report.reconstruction_error).all()
    assert len(report.floor_share) == 2
    assert density.diagnose(X).n_rows == 40
