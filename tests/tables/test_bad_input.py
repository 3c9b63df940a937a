"""Bad input raises an error that names what is wrong and what is allowed."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from skvae import (
    ELBO,
    IWAE,
    DiagonalPosterior,
    GaussianLikelihood,
    MixtureLikelihood,
    MixturePrior,
    MLPDecoder,
    NormalPrior,
    PriorProposal,
    VAEDensity,
)
from tests.conftest import QUICK

METHODS = ["score_samples", "score", "evidence", "transform"]


def spoilt(table: np.ndarray, value: float) -> np.ndarray:
    bad = table.copy()
    bad[7, 1] = value
    return bad


# Tables


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform", *METHODS])
def test_an_infinite_cell_is_located(
    method: str, value: float, table: np.ndarray
) -> None:
    density = VAEDensity(**QUICK)
    if method in METHODS:
        density.fit(table)
    with pytest.raises(ValueError, match=r"contains infinity in column 1 .*row 7"):
        getattr(density, method)(spoilt(table, value))


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("method", ["fit", "score_samples"])
def test_an_infinite_cell_is_located_by_the_columns_name(
    method: str, kind: type, table: np.ndarray
) -> None:
    names = ["width", "height", "mass"]
    density = VAEDensity(**QUICK)
    if method != "fit":
        density.fit(pd.DataFrame(table, columns=names))
    frame = kind(dict(zip(names, spoilt(table, np.inf).T, strict=True)))
    with pytest.raises(ValueError, match="infinity in column 'height'"):
        getattr(density, method)(frame)


def test_many_bad_columns_are_counted() -> None:
    bad = np.full((5, 9), np.inf)
    with pytest.raises(ValueError, match=r"column 0, .*column 4 and 4 more"):
        VAEDensity(**QUICK).fit(bad)


def test_infinities_that_cancel_in_a_sum_are_found() -> None:
    bad = np.zeros((6, 2))
    bad[0, 0], bad[1, 1] = np.inf, -np.inf
    with pytest.raises(ValueError, match="infinity in column 0, column 1"):
        VAEDensity(**QUICK).fit(bad)


def test_large_finite_numbers_are_not_taken_for_infinity() -> None:
    rng = np.random.default_rng(0)
    table = 1e307 * (1 + rng.random((200, 2)))
    with np.errstate(over="ignore"):
        assert np.isinf(table.sum())
    assert np.isfinite(VAEDensity(**QUICK).fit(table).score(table))


@pytest.mark.parametrize("method", ["fit", "partial_fit", *METHODS])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.empty((0, 3)), "0 sample"),
        (np.empty((5, 0)), "0 feature"),
        (np.zeros(3), "1D array"),
        (np.zeros((2, 3, 4)), "dim 3"),
        (3.0, "scalar"),
        ([["a", "b", "c"], ["d", "e", "f"]], "convert string to float|dtype"),
        (np.ones((4, 3), dtype=complex), "[Cc]omplex"),
        ([[1, 2, 3], [4, 5]], "inhomogeneous|setting an array element"),
    ],
)
def test_what_is_no_table_is_an_error(
    method: str, bad: Any, message: str, table: np.ndarray
) -> None:
    density = VAEDensity(**QUICK)
    if method in METHODS:
        density.fit(table)
    with pytest.raises(ValueError, match=message):
        getattr(density, method)(bad)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_one_row_is_too_few_to_fit(method: str) -> None:
    with pytest.raises(ValueError, match="1 sample"):
        getattr(VAEDensity(**QUICK), method)([[1.0, 2.0]])


@pytest.mark.parametrize("method", ["fit", "partial_fit", *METHODS])
@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.coo_matrix])
def test_a_sparse_table_is_an_error(
    method: str, kind: Callable[..., Any], table: np.ndarray
) -> None:
    density = VAEDensity(**QUICK)
    if method in METHODS:
        density.fit(table)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        getattr(density, method)(kind(table))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_columns", [1, 2, 4])
def test_a_wrong_number_of_columns_is_an_error(
    method: str, n_columns: int, density: VAEDensity
) -> None:
    message = f"X has {n_columns} features, but VAEDensity is expecting 3"
    with pytest.raises(ValueError, match=message):
        getattr(density, method)(np.zeros((5, n_columns)))


@pytest.mark.parametrize("method", METHODS)
def test_wrong_column_names_are_an_error(method: str, table: np.ndarray) -> None:
    density = VAEDensity(**QUICK).fit(pd.DataFrame(table, columns=list("abc")))
    with pytest.raises(ValueError, match=r"feature names.*\n.*\n- d\n.*\n- b"):
        getattr(density, method)(pd.DataFrame(table, columns=list("adc")))


def test_text_columns_are_an_error() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["red", "blue"]})
    with pytest.raises(ValueError, match="could not convert string to float"):
        VAEDensity(**QUICK).fit(frame)


@pytest.mark.skipif(
    np.finfo(np.longdouble).max == np.finfo(float).max, reason="no longer floats here"
)
@pytest.mark.parametrize("working_memory", [0, 1024])
def test_long_doubles_beyond_float64_are_located(
    working_memory: int, table: np.ndarray
) -> None:
    bad = table.astype(np.longdouble)
    bad[7, 1] = np.longdouble(10) ** 400
    message = r"contains infinity in column 1 \(first in row 7\)"
    density = VAEDensity(**QUICK).fit(table)
    with sklearn.config_context(working_memory=working_memory):
        for method in (VAEDensity(**QUICK).fit, density.score_samples):
            with pytest.raises(ValueError, match=message):
                method(bad)


@pytest.mark.parametrize("working_memory", [0, 1024])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_one_row_is_too_few_whatever_the_working_memory(
    method: str, working_memory: int
) -> None:
    with sklearn.config_context(working_memory=working_memory):
        with pytest.raises(ValueError, match=r"1 sample.*minimum of 2"):
            getattr(VAEDensity(**QUICK), method)(np.zeros((1, 2)))


@pytest.mark.parametrize("likelihood", ["mixture", "auto"])
@pytest.mark.parametrize("cell", [10**400, -(10**400)], ids=["+", "-"])
def test_integers_beyond_floats_are_located(cell: int, likelihood: str) -> None:
    rows = [[1, 2.0], [2, 3.0], [cell, 4.0], [5, 6.0]]
    message = r"beyond float64, .* in column {} \(first in row 2\)"
    density = VAEDensity(likelihood=likelihood, **QUICK)
    with pytest.raises(ValueError, match=message.format(0)):
        density.fit(rows)
    with pytest.raises(ValueError, match=message.format("'a'")):
        density.fit(pd.DataFrame(rows, columns=["a", "b"], dtype=object))
    text = [["x", *row] for row in rows]
    with pytest.raises(ValueError, match=message.format(1)):
        density.fit(text)


@pytest.mark.parametrize("name", ["max_iter", "learning_rate", "n_components"])
@pytest.mark.parametrize("value", [10**400, 10**5000], ids=["400", "5000"])
def test_parameters_beyond_floats_are_errors(
    name: str, value: int, table: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        VAEDensity(**{name: value}).fit(table)


@pytest.mark.parametrize("method", METHODS)
def test_a_masked_array_without_masked_cells_is_an_array(
    method: str, table: np.ndarray, density: VAEDensity
) -> None:
    whole = getattr(density, method)(np.ma.masked_array(table))
    assert type(whole) is type(getattr(density, method)(table))


def test_masked_latents_are_an_error(density: VAEDensity) -> None:
    with pytest.raises(ValueError, match="Z is a masked array with 3 masked cells"):
        density.inverse_transform(np.ma.masked_array(np.zeros((1, 3)), mask=True))


@pytest.mark.parametrize("settings", [{}, {"marginal_transform": "normal"}], ids=str)
def test_far_rows_give_no_warnings_of_overflow(
    settings: dict[str, Any], table: np.ndarray
) -> None:
    far = np.array([1e308, -1e308, 1e155, 1e-308])[:, None] * np.ones(3)
    density = VAEDensity(**settings, **QUICK).fit(table)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=RuntimeWarning)
        warnings.filterwarnings("ignore", "The log-density of")
        density.score_samples(far)
        density.transform(far)
        density.inverse_transform(np.full((2, 3), 1e300))
        for factor in (1e300, 1e-300):
            scaled = VAEDensity(likelihood="auto", **settings, **QUICK)
            scaled.fit(np.round(factor * table) if factor > 1 else factor * table)
            assert np.isfinite(scaled.sample(5)).all()
        with_far = np.vstack([table, far])
        VAEDensity(likelihood="auto", **settings, **QUICK).fit(with_far)
        VAEDensity(smoothing=0.2, **settings, **QUICK).fit(with_far)


def test_values_other_than_zero_and_one_do_not_fit_bernoulli(
    binary_table: np.ndarray,
) -> None:
    density = VAEDensity(likelihood="bernoulli", **QUICK)
    bad = spoilt(binary_table, 0.5)
    with pytest.raises(ValueError, match=r"0 and 1.* column 1 has 0\.5 in row 7"):
        density.fit(bad)
    density.fit(binary_table)
    for method in METHODS:
        with pytest.raises(ValueError, match="0 and 1"):
            getattr(density, method)(bad)
    named = pd.DataFrame(bad, columns=list("abcd"))
    with pytest.raises(ValueError, match=r"column 'b' has 0\.5"):
        VAEDensity(likelihood="bernoulli", **QUICK).fit(named)


# Weights


@pytest.mark.parametrize("method", ["fit", "partial_fit", "score"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: np.r_[np.ones(n - 1), -2.0], "negative, got -2 at row 199"),
        (lambda n: np.zeros(n), "sample_weight.*zero"),
        (lambda n: np.r_[np.ones(n - 1), np.nan], "sample_weight.*NaN"),
        (lambda n: np.r_[np.ones(n - 1), np.inf], "sample_weight.*infinity"),
        (lambda n: np.ones(n - 1), "inconsistent numbers of samples"),
        (lambda n: np.ones((n, 1)), "sample_weight must be 1D"),
        (lambda n: ["heavy"] * n, "could not convert string"),
        (lambda n: "x", "sample_weight must hold .*got 'x'.*could not convert"),
        (lambda n: [10**400] * n, "sample_weight must hold one number .*too large"),
        (lambda n: np.ma.masked_less(np.arange(n), 2), "sample_weight is a masked"),
    ],
)
def test_bad_weights_are_an_error(
    method: str,
    make: Callable[[int], Any],
    message: str,
    table: np.ndarray,
    density: VAEDensity,
) -> None:
    estimator = density if method == "score" else VAEDensity(**QUICK)
    with pytest.raises(ValueError, match=message):
        getattr(estimator, method)(table, sample_weight=make(len(table)))


# Components


@pytest.mark.parametrize(
    ("family", "allowed"),
    [
        ("prior", ["mixture", "normal"]),
        ("posterior", ["diagonal", "full"]),
        ("decoder", ["mlp"]),
        ("likelihood", ["bernoulli", "gaussian", "mixture"]),
        ("objective", ["elbo", "iwae"]),
    ],
)
def test_an_unknown_component_name_lists_the_known_ones(
    family: str, allowed: list[str], table: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=f"{family}='foo' is unknown") as caught:
        VAEDensity(**{family: "foo"}).fit(table)
    for name in allowed:
        assert repr(name) in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, NormalPrior, ("mixture",), ELBO()])
@pytest.mark.parametrize("family", ["prior", "posterior", "decoder", "likelihood"])
def test_a_component_of_the_wrong_type_is_an_error(
    family: str, value: object, table: np.ndarray
) -> None:
    with pytest.raises(TypeError, match=rf"{family} must be a str or .*Spec"):
        VAEDensity(**{family: value}).fit(table)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"prior": MixturePrior(n_modes=0)}, "n_modes of MixturePrior.* got 0"),
        ({"prior": MixturePrior(n_modes=2.5)}, "n_modes of MixturePrior.* got 2.5"),
        ({"prior": MixturePrior(n_modes="many")}, "positive int or 'auto'"),
        ({"prior": MixturePrior(n_modes=True)}, "n_modes of MixturePrior.* got True"),
        ({"likelihood": MixtureLikelihood(n_modes=-1)}, "n_modes of MixtureLikelihood"),
        ({"likelihood": GaussianLikelihood(scale="x")}, "'column' or a positive"),
        ({"likelihood": GaussianLikelihood(scale=0)}, "positive number, got 0"),
        ({"likelihood": GaussianLikelihood(scale=-1.0)}, "positive number, got -1"),
        ({"likelihood": GaussianLikelihood(scale=True)}, "got True"),
        ({"likelihood": GaussianLikelihood(scale=None)}, "got None"),
        ({"likelihood": GaussianLikelihood(scale=np.nan)}, "got nan"),
        ({"likelihood": GaussianLikelihood(scale=np.inf)}, "got inf"),
        ({"objective": IWAE(n_samples=0)}, "n_samples of IWAE.* got 0"),
        ({"objective": IWAE(first_part=2)}, r"first_part of IWAE.*\[0, 1\], got 2"),
        ({"objective": IWAE(first_part="half")}, "first_part of IWAE"),
        ({"objective": IWAE(first_part=np.nan)}, "first_part of IWAE"),
        ({"objective": ELBO(n_samples=1.5)}, "n_samples of ELBO.* got 1.5"),
        ({"posterior": DiagonalPosterior((0,))}, "hidden_layer_sizes.* got 0"),
        ({"posterior": DiagonalPosterior(("a",))}, "hidden_layer_sizes"),
        ({"decoder": MLPDecoder((-4,))}, "hidden_layer_sizes.* got -4"),
        ({"decoder": MLPDecoder(8)}, "hidden_layer_sizes"),
    ],
    ids=repr,
)
def test_a_bad_parameter_of_a_component_is_named(
    parameters: dict[str, Any], message: str, table: np.ndarray
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        VAEDensity(**{**QUICK, **parameters}).fit(table)


# Numbers

INTEGERS = [
    "n_components",
    "n_importance_samples",
    "batch_size",
    "max_iter",
    "n_iter_no_change",
    "max_evidence_samples",
]
NUMBERS = {
    "learning_rate": [0, -1.0, np.nan, np.inf],
    "weight_decay": [-1e-3, np.nan, np.inf],
    "dropout": [-0.1, 1.0, np.nan],
    "smoothing": [-0.1, 10.5, np.nan],
    "validation_fraction": [0, -0.1, 1.0, np.nan],
    "tol": [-1e-9, np.nan],
    "evidence_tol": [0, -0.5, np.nan],
    "verbose": [-1],
}


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [0, -3])
def test_a_size_below_one_is_an_error(name: str, value: int, table: np.ndarray) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be an int.* got {value}\."):
        VAEDensity(**{name: value}).fit(table)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [True, 2.0, "two", None, [3]])
def test_a_size_of_another_type_is_an_error(
    name: str, value: object, table: np.ndarray
) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be an int"):
        VAEDensity(**{name: value}).fit(table)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in NUMBERS for value in NUMBERS[name]]
)
def test_a_number_out_of_range_is_an_error(
    name: str, value: float, table: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .*got {value!r}"):
        VAEDensity(**{name: value}).fit(table)


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "verbose"])
@pytest.mark.parametrize("value", [True, "fast", None, (0.1,), 1j])
def test_a_number_of_another_type_is_an_error(
    name: str, value: object, table: np.ndarray
) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be a number"):
        VAEDensity(**{name: value}).fit(table)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("early_stopping", "yes"),
        ("early_stopping", None),
        ("early_stopping", 2),
        ("warm_start", "yes"),
        ("warm_start", None),
        ("marginal_transform", "uniform"),
        ("marginal_transform", True),
    ],
)
def test_a_choice_that_does_not_exist_lists_the_choices(
    name: str, value: object, table: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be one of .*, got {value!r}"):
        VAEDensity(**{name: value}).fit(table)


@pytest.mark.parametrize("name", ["max_iter", "tol", "marginal_transform", "device"])
def test_an_array_in_place_of_a_number_is_an_error(
    name: str, table: np.ndarray
) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"{name} must be"):
        VAEDensity(**{name: np.array([1, 2])}).fit(table)


@pytest.mark.parametrize(
    "value", [32, None, "32", (0,), (16, -1), (16.0,), (True,), (16, "a"), {16}]
)
def test_bad_hidden_layer_sizes_are_an_error(value: object, table: np.ndarray) -> None:
    with pytest.raises((TypeError, ValueError), match="hidden_layer_sizes must be"):
        VAEDensity(hidden_layer_sizes=value).fit(table)


@pytest.mark.parametrize("value", ["gpu", "cuda:", "cuda:x", "cpu:", "cuda:-1", ""])
def test_an_unknown_device_lists_what_is_allowed(value: str, table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu', 'cuda'"):
        VAEDensity(device=value).fit(table)


def test_a_device_that_is_no_string_is_an_error(table: np.ndarray) -> None:
    with pytest.raises(TypeError, match="device must be 'auto', 'cpu', 'cuda'"):
        VAEDensity(device=0).fit(table)


def test_an_unavailable_device_is_an_error(table: np.ndarray) -> None:
    device = f"cuda:{torch.cuda.device_count() + 7}"
    with pytest.raises(ValueError, match=f"device='{device}' is not available"):
        VAEDensity(device=device).fit(table)
    density = VAEDensity(**QUICK).fit(table).set_params(device=device)
    for use in (density.score_samples, density.transform):
        with pytest.raises(ValueError, match="not available"):
            use(table)
    with pytest.raises(ValueError, match="not available"):
        density.sample()


@pytest.mark.parametrize("value", [-1, 2**32, 1.5, "seed"])
def test_a_bad_seed_is_an_error(
    value: object, table: np.ndarray, density: VAEDensity
) -> None:
    with pytest.raises(ValueError, match=r"seed|Seed"):
        VAEDensity(**{**QUICK, "random_state": value}).fit(table)
    with pytest.raises(ValueError, match=r"seed|Seed"):
        density.sample(random_state=value)


# Methods of a fitted or unfitted estimator


@pytest.mark.parametrize("method", [*METHODS, "inverse_transform", "sample"])
def test_using_an_unfitted_estimator_is_an_error(
    method: str, table: np.ndarray
) -> None:
    argument = 1 if method == "sample" else table
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(VAEDensity(**QUICK), method)(argument)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (np.zeros((4, 2)), "n_components_=3"),
        (np.zeros((4, 4)), "n_components_=3"),
        (np.zeros(3), "1D array"),
        (np.full((2, 3), np.nan), "Z contains NaN"),
        (np.empty((0, 3)), "0 sample"),
        ([["a", "b", "c"]], "could not convert string"),
    ],
)
def test_bad_latents_are_an_error(
    latents: Any, message: str, density: VAEDensity
) -> None:
    with pytest.raises(ValueError, match=message):
        density.inverse_transform(latents)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)],
)
def test_a_bad_number_of_rows_to_sample_is_an_error(
    value: object, kind: type[Exception], density: VAEDensity
) -> None:
    with pytest.raises(kind, match="n_samples must be an int at least 1"):
        density.sample(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tol": 0}, "tol must be"),
        ({"tol": -1.0}, "tol must be"),
        ({"tol": np.nan}, "tol must be"),
        ({"tol": True}, "tol must be"),
        ({"max_samples": 0}, "max_samples must be"),
        ({"max_samples": 8.0}, "max_samples must be"),
        ({"random_state": -1}, "[sS]eed"),
        ({"proposal": 3}, "proposal must be a str or an instance of a Proposal"),
        ({"proposal": PriorProposal}, "proposal must be a str or an instance"),
        ({"proposal": "nonsense"}, "proposal='nonsense' is unknown. Allowed: 'def"),
    ],
)
def test_bad_arguments_of_evidence_are_an_error(
    arguments: dict[str, Any], message: str, table: np.ndarray, density: VAEDensity
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        density.evidence(table, **arguments)


# Failures leave no trace


def failing_objective() -> ELBO:
    class Failing(ELBO):
        alias = ""

        def bound(self, draw: Any, progress: float) -> torch.Tensor:
            raise ArithmeticError("the bound failed")

    return Failing()


FAILURES: dict[str, Callable[[VAEDensity, np.ndarray], object]] = {
    "infinity": lambda density, table: density.fit(spoilt(table, np.inf)),
    "named infinity": lambda density, table: density.fit(
        pd.DataFrame(spoilt(table, np.inf), columns=list("xyz"))
    ),
    "missing column": lambda density, table: density.fit(table * [1, np.nan, 1]),
    "missing rows": lambda density, table: density.fit(table * np.nan),
    "one row": lambda density, table: density.fit(table[:1]),
    "other columns": lambda density, table: density.partial_fit(
        pd.DataFrame(table[:, :2], columns=list("ab"))
    ),
    "weights": lambda density, table: density.fit(table[:, :2], None, -table[:, 0]),
    "parameter": lambda density, table: density.set_params(batch_size=0).fit(table),
    "component": lambda density, table: density.set_params(prior="foo").fit(table),
    "spec": lambda density, table: density.set_params(
        prior=MixturePrior(n_modes=0)
    ).fit(table[:, :2]),
    "in training": lambda density, table: density.set_params(
        objective=failing_objective()
    ).fit(table[:, :2]),
    "in further training": lambda density, table: density.set_params(
        objective=failing_objective(), warm_start=True
    ).fit(pd.DataFrame(table, columns=list("abc"))),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_fit_leaves_the_estimator_as_it_was(
    name: str, table: np.ndarray
) -> None:
    density = VAEDensity(**QUICK).fit(pd.DataFrame(table, columns=list("abc")))
    parameters = density.get_params(deep=False)
    frame = pd.DataFrame(table, columns=list("abc"))
    scores, rows = density.score_samples(frame), density.sample(5)
    state = {key: value for key, value in vars(density).items() if key.endswith("_")}
    before = copy.deepcopy(state["history_"])
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        FAILURES[name](density, table)
    density.set_params(**parameters)
    after = {key: value for key, value in vars(density).items() if key.endswith("_")}
    assert after.keys() == state.keys()
    assert all(after[key] is state[key] for key in state)
    assert density.history_ == before
    assert_array_equal(density.score_samples(frame), scores)
    assert_array_equal(density.sample(5), rows)


@pytest.mark.parametrize("name", [name for name in FAILURES if name != "other columns"])
def test_a_failed_first_fit_leaves_the_estimator_unfitted(
    name: str, table: np.ndarray
) -> None:
    density = VAEDensity(**QUICK)
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        FAILURES[name](density, table)
    assert not [key for key in vars(density) if key.endswith("_")]
    with pytest.raises(NotFittedError):
        density.sample()
