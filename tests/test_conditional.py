"""Conditional densities p(x | y): right, honest, and at home in scikit-learn."""

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.integrate import cumulative_simpson
from sklearn.base import TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvae import (
    ConditionalVAEDensity,
    GaussianLikelihood,
    MLPDecoder,
    VAEDensity,
)
from tests.conftest import QUICK

Array = np.ndarray

FAST = {**QUICK, "max_iter": 2, "hidden_layer_sizes": (8,), "random_state": None}


class AtZero(TransformerMixin, ConditionalVAEDensity):
    """The same estimator where the checks pass no y: the density given y = 0."""

    def score_samples(self, X: Any, y: Any = None) -> Array:
        y = np.zeros(np.asarray(X).shape[0]) if y is None else y
        return super().score_samples(X, y)

    def transform(self, X: Any) -> Array:
        return super().transform(X, np.zeros(np.asarray(X).shape[0]))

    def inverse_transform(self, Z: Any) -> Array:
        return super().inverse_transform(Z, np.zeros(np.asarray(Z).shape[0]))


@parametrize_with_checks(
    [
        AtZero(**FAST),
        AtZero(
            prior="normal",
            posterior="diagonal",
            likelihood="gaussian",
            objective="elbo",
            marginal_transform="normal",
            background=None,
            **FAST,
        ),
    ]
)
def test_estimator_checks_pass(
    estimator: ConditionalVAEDensity, check: Callable[[Any], None]
) -> None:
    check(estimator)


def test_tags_say_that_y_is_needed() -> None:
    tags = get_tags(ConditionalVAEDensity())
    assert tags.estimator_type == "density_estimator"
    assert tags.target_tags.required
    assert tags.target_tags.multi_output
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test


def test_parameters_are_those_of_the_unconditional_density_and_the_kind_of_y() -> None:
    ours = ConditionalVAEDensity().get_params()
    assert ours.pop("y_kind") == "auto"
    assert ours == VAEDensity().get_params()
    own = inspect.signature(ConditionalVAEDensity).parameters
    for name, parameter in inspect.signature(VAEDensity).parameters.items():
        assert own[name].annotation == parameter.annotation
        assert own[name].kind == parameter.kind


# Right


@pytest.fixture(scope="module")
def pair() -> tuple[Array, Array]:
    """Return 300 rows of three columns that follow two numbers."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(300, 2)) * [1.0, 50.0] + [0.0, 200.0]
    left = rng.normal(size=(300, 1)) * [1.0, 0.5, 0.0]
    follow = (y - [0, 200]) / [1, 50] @ [[1.0, 0.0, 3.0], [1.0, 2.0, 0.0]]
    own = rng.normal(size=(300, 3)) * [0.3, 0.4, 1.0]
    return (follow + left + own) * [1.0, 10.0, 0.1] + [5.0, 0.0, 0.0], y


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
    """Return log p(x | y), E[x | y] and Cov[x | y] of a linear-Gaussian model."""
    state = {k: v.numpy() for k, v in density.model_.state_dict().items()}
    unit = state["likelihood.unit"][:, None]
    slope = unit * state["decoder.network.skip"]
    scale = np.exp(state["likelihood.scale.log_scale"])
    scale = scale + state["likelihood.scale.floor"]
    units = density.columns_.scale
    y_model = density.columns_.given.to_model(y)
    weight = slope[:, : density.n_components_]
    covariance = weight @ weight.T + np.diag(scale**2)
    mean = y_model @ slope[:, density.n_components_ :].T
    mean += unit[:, 0] * state["decoder.network.bias"]
    mean = density.columns_.to_table(mean)
    covariance = units[:, None] * covariance * units
    log_p = stats.multivariate_normal(np.zeros(len(units)), covariance).logpdf(X - mean)
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
    # The prior's mean is decoded to that of the rows.
    assert_allclose(linear.inverse_transform(np.zeros((100, 2)), y), mean)


def test_samples_of_a_linear_gaussian_model_have_its_moments(
    pair: tuple[Array, Array], linear: ConditionalVAEDensity
) -> None:
    """Hotelling's and a likelihood-ratio test; false-alarm rate 1e-4 each."""
    y = pair[1][:2]
    rows = linear.sample(y, 2000, random_state=0)
    assert rows.shape == (4000, 3)
    _, mean, covariance = closed_form(linear, pair[0][:2], y)
    for part, center in zip(np.split(rows, 2), mean, strict=True):
        shift = part.mean(0) - center
        distance = len(part) * shift @ np.linalg.solve(covariance, shift)
        assert stats.chi2(3).sf(distance) > 1e-4
        relative = np.linalg.solve(covariance, np.cov(part.T))
        ratio = np.trace(relative) - np.linalg.slogdet(relative)[1] - 3
        assert stats.chi2(6).sf(len(part) * ratio) > 1e-4


def test_training_starts_at_the_regression_on_y(pair: tuple[Array, Array]) -> None:
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
    design = np.c_[y, np.ones(len(y))]
    residual = X - design @ np.linalg.lstsq(design, X)[0]
    best = stats.multivariate_normal(np.zeros(3), np.cov(residual.T))
    assert start.score(X, y) > best.logpdf(residual).mean() - 0.15
    correlation = np.corrcoef(np.c_[start.transform(X, y), y].T)
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
    """Return x = sin(y) + noise that grows with |y|, y and the truth."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(-3, 3, n)
    truth = stats.norm(np.sin(y), 0.1 + 0.1 * np.abs(y))
    return truth.rvs(random_state=rng)[:, None], y, truth


@pytest.fixture(scope="module")
def wave() -> ConditionalVAEDensity:
    X, y, _ = waves(2000, 0)
    return ConditionalVAEDensity(**LEARNING).fit(X, y)


def test_density_follows_y(wave: ConditionalVAEDensity) -> None:
    X, y, truth = waves(1000, 1)
    excess = truth.logpdf(X[:, 0]).mean() - wave.score(X, y)
    assert 0 < excess < 0.05
    # The scale follows, too: where the noise is small, the density is high.
    log_p = wave.score_samples(X, y)
    near = np.abs(y) < 0.3
    assert log_p[near].mean() > log_p[~near].mean() + 0.5
    unconditional = VAEDensity(**{**QUICK, "max_iter": 20}).fit(waves(2000, 0)[0])
    assert wave.score(X, y) > unconditional.score(X) + 0.9


@pytest.mark.filterwarnings("ignore:The log-density of")
@pytest.mark.parametrize("y", [-2.0, 0.0, 6.0])
def test_density_integrates_to_one_for_every_y(
    y: float, wave: ConditionalVAEDensity
) -> None:
    x = np.linspace(-5, 5, 151)
    density = np.exp(wave.score_samples(x[:, None], np.full(len(x), y)))
    # The background has a thousandth of its weight beyond.
    assert np.trapezoid(density, x) == pytest.approx(1, abs=0.01)


@pytest.mark.filterwarnings("ignore:The log-density of")
def test_samples_follow_y(wave: ConditionalVAEDensity) -> None:
    """Kolmogorov-Smirnov tests against the density; false-alarm rate 1e-4 each."""
    grid = np.linspace(-5, 5, 151)
    for y in (-2.0, 0.5):
        rows = wave.sample([y], 1000, random_state=0)
        assert rows.shape == (1000, 1)
        log_p = wave.evidence(grid[:, None], np.full(len(grid), y)).log_density
        mass = cumulative_simpson(np.exp(log_p), x=grid, initial=0)
        cdf = np.interp(rows[:, 0], grid, mass / mass[-1])
        assert stats.kstest(cdf, "uniform").pvalue > 1e-4


def classes(n: int, seed: int) -> tuple[Array, Array, Array]:
    """Return rows of three named classes and their true log-densities."""
    rng = np.random.default_rng(seed)
    truths = [stats.norm(0, 1), stats.norm(4, 0.2), stats.laplace(-2, 1.5)]
    code = rng.integers(0, 3, n)
    x = np.stack([truth.rvs(n, random_state=rng) for truth in truths])
    log_p = np.stack([truth.logpdf(row) for truth, row in zip(truths, x, strict=True)])
    each = np.arange(n)
    return (
        x[code, each][:, None],
        np.array(["elm", "oak", "fir"])[code],
        log_p[code, each],
    )


@pytest.mark.filterwarnings("ignore:The log-density of")
def test_density_given_a_class_is_about_that_of_the_class() -> None:
    X, y, _ = classes(1500, 0)
    fresh, labels, truth = classes(900, 1)
    together = ConditionalVAEDensity(**LEARNING).fit(X, y)
    log_p = together.score_samples(fresh, labels)
    for name in ("elm", "fir", "oak"):
        rows = labels == name
        alone = VAEDensity(**LEARNING).fit(X[y == name])
        assert log_p[rows].mean() > truth[rows].mean() - 0.06
        assert log_p[rows].mean() > alone.score(fresh[rows]) - 0.05
    swapped = np.where(labels == "elm", "oak", "elm")[:50]
    assert together.score(fresh[:50], swapped) < log_p.mean() - 2
    with pytest.raises(ValueError, match="y has 'ash', which fit has not seen"):
        together.score_samples(fresh[:1], ["ash"])


def test_bounds_are_below_and_in_order(wave: ConditionalVAEDensity) -> None:
    X, y, _ = waves(300, 2)
    bounds = wave.bounds(X, y, n_samples=(1, 8))
    assert bounds.iwae.shape == (2, 300)
    low, high = bounds.elbo.mean(), bounds.iwae[1].mean()
    assert low <= high + 1e-3 <= wave.score(X, y) + 0.02


def test_zeros_and_ones_given_a_number() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=800)
    chance = 1 / (1 + np.exp(-np.c_[3 * y, -y]))
    X = (rng.random((800, 2)) < chance).astype(float)
    density = ConditionalVAEDensity(
        1, likelihood="bernoulli", prior="normal", **{**LEARNING, "max_iter": 20}
    ).fit(X, y)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    for value in (-1.0, 2.0):
        exact = density.evidence(corners, np.full(4, value), proposal="quadrature")
        assert np.exp(exact.log_density).sum() == pytest.approx(1, abs=1e-4)
    truth = np.where(X == 1, np.log(chance), np.log1p(-chance)).sum(1)
    log_p = density.evidence(X[:200], y[:200], proposal="quadrature").log_density
    assert log_p.mean() == pytest.approx(truth[:200].mean(), abs=0.03)
    with pytest.raises(ValueError, match="columns of 0 and 1 only"):
        density.score_samples(corners + 0.5, np.zeros(4))


@pytest.mark.filterwarnings("ignore:The log-density of")
def test_far_rows_and_far_y_have_finite_densities(wave: ConditionalVAEDensity) -> None:
    far = wave.score_samples([[1e6], [1e6], [-1e200]], [0.0, 2.0, 0.0])
    assert np.isfinite(far).all()
    # Far from all rows, only the background is left, which does not know of y.
    assert far[0] == pytest.approx(far[1], abs=1e-6)
    assert np.isfinite(wave.score_samples([[0.0], [0.0]], [1e6, -1e300])).all()
    assert np.isfinite(wave.sample([1e6, -1e300], random_state=0)).all()


# Kinds of y


FRUIT = ["apple", "pear", "apple", "fig"] * 10
WHOLE = [1, 2, 1, 3] * 10

KINDS: dict[str, tuple[Any, Any, list[int]]] = {
    "integers are numbers": (WHOLE, "auto", [0]),
    "floats": (np.array(WHOLE) / 2, "auto", [0]),
    "text": (FRUIT, "auto", [3]),
    "array of text": (np.array(FRUIT), "auto", [3]),
    "truth values": (np.array(WHOLE) == 1, "auto", [2]),
    "mixed objects": ([1, "a", 1, None is None] * 10, "auto", [2]),
    "numbers as objects": (np.array(WHOLE, dtype=object), "auto", [0]),
    "integers as labels": (WHOLE, "categorical", [3]),
    "truth values as numbers": (np.array(WHOLE) == 1, "numeric", [0]),
    "text of numbers as numbers": (["1", "2.5"] * 20, "numeric", [0]),
    "series": (pd.Series(FRUIT), "auto", [3]),
    "categories of a series": (pd.Series(WHOLE, dtype="category"), "auto", [3]),
    "nullable integers": (pd.Series(WHOLE, dtype="Int64"), "auto", [0]),
    "polars categories": (pl.Series(FRUIT, dtype=pl.Categorical), "auto", [3]),
    "two columns": (np.c_[WHOLE, WHOLE[::-1]], "auto", [0, 0]),
    "two kinds": (np.c_[WHOLE, WHOLE], ["numeric", "categorical"], [0, 3]),
    "frame": (pd.DataFrame({"a": WHOLE, "b": FRUIT}), "auto", [0, 3]),
    "polars frame": (pl.DataFrame({"a": WHOLE, "b": FRUIT}), "auto", [0, 3]),
    "one column": (np.array(WHOLE)[:, None], "auto", [0]),
    "rows of a list": (
        [[a, b] for a, b in zip(WHOLE, FRUIT, strict=True)],
        "auto",
        [0, 3],
    ),
}


@pytest.fixture(scope="module")
def small() -> Array:
    return np.random.default_rng(0).normal(size=(40, 2))


@pytest.mark.parametrize("name", KINDS)
def test_kind_of_y(name: str, small: Array) -> None:
    y, kind, n_categories = KINDS[name]
    density = ConditionalVAEDensity(y_kind=kind, **FAST).fit(small, y)
    given = density.columns_.given
    assert [len(c.categories or ()) for c in given.columns] == n_categories
    assert np.isfinite(density.score_samples(small, y)).all()
    assert density.sample(y[:3] if not hasattr(y, "head") else y.head(3)).shape == (
        3,
        2,
    )


def test_equal_y_of_different_containers_give_equal_densities(small: Array) -> None:
    frame = pd.DataFrame({"a": WHOLE, "b": FRUIT})
    settings = {**FAST, "random_state": 0}
    one = ConditionalVAEDensity(**settings).fit(small, frame)
    for other in (pl.from_pandas(frame), frame.to_numpy(dtype=object)):
        again = ConditionalVAEDensity(**settings).fit(small, other)
        assert_array_equal(
            again.score_samples(small, frame), one.score_samples(small, other)
        )


def test_the_unit_of_a_numeric_y_does_not_matter(small: Array) -> None:
    settings = {**FAST, "random_state": 0}
    y = np.array(WHOLE, dtype=float)
    one = ConditionalVAEDensity(**settings).fit(small, y)
    other = ConditionalVAEDensity(**settings).fit(small, 1024 * y)
    # (Noise of scores is keyed by the row, y as it came included.)
    assert_array_equal(one.transform(small, y), other.transform(small, 1024 * y))


def test_constant_y_is_allowed(small: Array) -> None:
    for y in (np.zeros(40), np.full(40, 1e300), ["a"] * 40):
        density = ConditionalVAEDensity(**FAST).fit(small, y)
        assert np.isfinite(density.score(small, y))


# Errors


BAD_Y: dict[str, tuple[Any, str]] = {
    "none": (None, "requires y to be passed"),
    "short": (WHOLE[:-1], "inconsistent numbers of samples"),
    "nan": ([np.nan, *WHOLE[1:]], "y contains NaN: y is missing in row 0"),
    "no text": ([*FRUIT[:-1], None], "y is missing in row 39"),
    "not available": (pd.Series([*WHOLE[:-1], pd.NA], dtype="Int64"), "in row 39"),
    "infinite": ([*WHOLE[:-1], np.inf], "contains infinity .* y has inf in row 39"),
    "named column": (
        pd.DataFrame({"a": WHOLE, "b": [None, *FRUIT[1:]]}),
        "column 'b' of y is missing in row 0",
    ),
    "second column": (np.c_[WHOLE, [np.nan] * 40], "column 1 of y is missing"),
    "three axes": (np.zeros((40, 1, 1)), r"got shape \(40, 1, 1\)"),
    "no columns": (np.zeros((40, 0)), r"got shape \(40, 0\)"),
    "dates": (pd.date_range("2020", periods=40), "numbers, text, truth values"),
    "complex": (np.ones(40) * 1j, "Complex data not supported"),
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


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("ordinal", ValueError, "y_kind must be 'auto'.*got 'ordinal'"),
        (["numeric"], ValueError, "y_kind has 1 entries, but y has 2 columns"),
        (["numeric", "x"], ValueError, "got 'x'"),
        (3, TypeError, "y_kind must be a str"),
        ("numeric", ValueError, "column 'b' of y has to hold numbers.*'apple'"),
    ],
)
def test_bad_y_kind_is_named(
    kind: Any, error: type[Exception], message: str, small: Array
) -> None:
    frame = pd.DataFrame({"a": WHOLE, "b": FRUIT})
    with pytest.raises(error, match=message):
        ConditionalVAEDensity(y_kind=kind, **FAST).fit(small, frame)


def test_y_has_to_be_what_fit_has_seen(small: Array) -> None:
    frame = pd.DataFrame({"a": WHOLE, "b": FRUIT})
    density = ConditionalVAEDensity(**FAST).fit(small, frame)
    unseen = frame.replace("fig", "kiwi")
    for method in (density.score_samples, density.transform, density.bounds):
        with pytest.raises(ValueError, match="column 'b' of y has 'kiwi', which fit"):
            method(small, unseen)
    with pytest.raises(ValueError, match=r"'kiwi'.*categories are 'apple', 'fig'"):
        density.sample(unseen)
    with pytest.raises(ValueError, match="y has 1 columns, but fit has seen 2"):
        density.score(small, WHOLE)
    with pytest.raises(ValueError, match="column 'b' of y is in the place of column"):
        density.score(small, frame[["b", "a"]])
    with pytest.raises(ValueError, match="column 'a' of y is missing in row 3"):
        density.score(small, frame.assign(a=[1, 2, 3, None] * 10))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        density.score(small, frame[:7])
    with pytest.raises(ValueError, match="Z has 3 columns"):
        density.inverse_transform(np.zeros((40, 3)), frame)
    with pytest.raises(ValueError, match="n_samples must be an int"):
        density.sample(frame, 0)


def test_density_is_not_there_before_fit(small: Array) -> None:
    density = ConditionalVAEDensity()
    for call in (
        lambda: density.score_samples(small, WHOLE),
        lambda: density.bounds(small, WHOLE),
        lambda: density.sample(WHOLE),
        lambda: density.transform(small, WHOLE),
        lambda: density.inverse_transform(small, WHOLE),
    ):
        with pytest.raises(NotFittedError):
            call()


# At home in scikit-learn


@pytest.fixture(scope="module")
def quick(table: Array) -> ConditionalVAEDensity:
    return ConditionalVAEDensity(**QUICK).fit(table[:, 1:], table[:, 0])


def global_state() -> Any:
    return np.random.get_state(legacy=False)  # noqa: NPY002


def test_same_seed_gives_the_same_density(
    table: Array, quick: ConditionalVAEDensity
) -> None:
    state, torch_state = str(global_state()), torch.get_rng_state()
    order = np.random.default_rng(0).permutation(len(table))
    again = ConditionalVAEDensity(**QUICK).fit(table[order, 1:], table[order, 0])
    X, y = table[:, 1:], table[:, 0]
    assert_array_equal(again.score_samples(X, y), quick.score_samples(X, y))
    assert_array_equal(again.sample(y, 2), quick.sample(y, 2))
    assert str(global_state()) == state
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_row_is_scored_the_same_in_any_company(
    table: Array, quick: ConditionalVAEDensity
) -> None:
    X, y = table[:, 1:], table[:, 0]
    together = quick.score_samples(X, y)
    assert_allclose(quick.score_samples(X[::-1], y[::-1])[::-1], together, rtol=1e-9)
    assert_allclose(quick.score_samples(X[5:6], y[5:6]), together[5:6], rtol=1e-9)


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_integer_weights_equal_repeated_rows(kind: str, table: Array) -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(0, 4, len(table))
    y = np.where(weight == 0, 7, np.arange(len(table)) % 3)  # 7 only without weight
    settings = {**QUICK, "y_kind": kind}
    weighted = ConditionalVAEDensity(**settings).fit(table, y, sample_weight=weight)
    repeated = ConditionalVAEDensity(**settings).fit(
        np.repeat(table, weight, axis=0), np.repeat(y, weight)
    )
    used = weight > 0
    assert_array_equal(
        weighted.score_samples(table[used], y[used]),
        repeated.score_samples(table[used], y[used]),
    )
    assert_array_equal(weighted.sample([0, 1, 2], 3), repeated.sample([0, 1, 2], 3))
    score = weighted.score(table[used], y[used], sample_weight=weight[used])
    each = weighted.score_samples(table[used], y[used])
    assert score == pytest.approx(np.average(each, weights=weight[used]))


def test_samples_of_one_row_of_y_follow_one_another(
    linear: ConditionalVAEDensity, pair: tuple[Array, Array]
) -> None:
    y = pair[1][:2] + np.array([[0, 0], [100, 0]])
    rows = linear.sample(y, 3, random_state=1)
    _, mean, covariance = closed_form(linear, pair[0][:2], y)
    assert (np.abs(rows[:3] - mean[0]) < 8 * np.sqrt(np.diag(covariance))).all()
    assert (np.abs(rows[3:] - mean[1]) < 8 * np.sqrt(np.diag(covariance))).all()
    assert (np.abs(mean[0] - mean[1]) > 50 * np.sqrt(np.diag(covariance))).any()


def test_pickle_and_clone(table: Array, quick: ConditionalVAEDensity) -> None:
    X, y = table[:, 1:], table[:, 0]
    copied = pickle.loads(pickle.dumps(quick))
    assert_array_equal(copied.score_samples(X, y), quick.score_samples(X, y))
    fresh = clone(quick.set_params())
    assert fresh.get_params() == quick.get_params()
    with pytest.raises(NotFittedError):
        fresh.score(X, y)


def test_grid_search_and_cross_validation_pass_y(table: Array) -> None:
    X, y = table[:, 1:], table[:, 0]
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


def test_pipeline_scales_x_and_passes_y(table: Array) -> None:
    X, y = table[:, 1:], table[:, 0]
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
        density.score(frame[["b", "c"]] * [np.nan, 1], frame["a"])


def test_latents_and_rows_have_their_shapes(
    table: Array, quick: ConditionalVAEDensity
) -> None:
    X, y = table[:, 1:], table[:, 0]
    latents = quick.transform(X, y)
    assert latents.shape == (len(X), quick.n_components_)
    assert quick.inverse_transform(latents, y).shape == X.shape


def test_warm_start_goes_on_with_the_same_coding(table: Array) -> None:
    y = np.array(["a", "b"])[np.arange(len(table)) % 2]
    density = ConditionalVAEDensity(warm_start=True, **QUICK).fit(table, y)
    given = density.columns_
    density.fit(table[1::2], y[1::2])
    assert density.columns_ is given
    assert density.n_iter_ == 2 * QUICK["max_iter"]
    assert np.isfinite(density.score(table, y))
    with pytest.raises(ValueError, match="'c', which fit has not seen"):
        density.fit(table, np.full(len(table), "c"))


def test_training_record_is_in_the_units_of_x(table: Array) -> None:
    X, y = table[:, 1:], table[:, 0]
    one = ConditionalVAEDensity(marginal_transform=None, **QUICK).fit(X, y)
    other = ConditionalVAEDensity(marginal_transform=None, **QUICK).fit(1024 * X, y)
    shift = 2 * np.log(1024)
    for a, b in zip(one.history_, other.history_, strict=True):
        assert a["objective"] == pytest.approx(b["objective"] + shift, abs=1e-3)
        assert a["evidence"] == pytest.approx(
            b["evidence"] + shift, abs=1e-3, nan_ok=True
        )
