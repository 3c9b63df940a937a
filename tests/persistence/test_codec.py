"""Objects as trees of plain values, and back."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from torch import nn

from skvae import MixturePrior, VAEDensity
from skvae.detection.martingales import SimpleJumper
from skvae.persistence.codec import Encoded, MalformedError, decode, encode
from skvae.tables.labels import is_frame


def there_and_back(value: Any) -> Any:
    """Return what is left of a value after JSON."""
    encoded = encode(value)
    assert not encoded.others
    text = json.dumps(encoded.root, allow_nan=False)
    return decode(Encoded(json.loads(text), encoded.arrays))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**70,
        0.1,
        -0.0,
        math.inf,
        -math.inf,
        "ü\n",
        [1, (2.5, "x"), {3}, frozenset({"a"})],
        {"a": 1, 2: None, (3, "c"): [math.inf]},
    ],
    ids=repr,
)
def test_plain_values(value: Any) -> None:
    again = there_and_back(value)
    assert again == value
    assert type(again) is type(value)
    assert repr(again) == repr(value)


def test_nan_is_nan() -> None:
    assert math.isnan(there_and_back(math.nan))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(6).reshape(2, 3).T,
        np.array(["a", "longer"]),
        np.array([True, False]),
        np.empty((0, 3), dtype=np.float32),
        np.array(2.5),
    ],
    ids=str,
)
def test_arrays_keep_their_layout(array: np.ndarray) -> None:
    """Sums over other strides differ in their last bit."""
    again = there_and_back(array)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert not array.size or again.strides == array.strides
    np.testing.assert_array_equal(again, array)
    again[...] = again  # writeable, and a copy
    assert not np.shares_memory(again, array)


def test_arrays_of_objects() -> None:
    cells = np.array([["a", 1], [None, math.inf]], dtype=object)
    again = there_and_back(cells)
    assert again.tolist() == cells.tolist()
    assert again.dtype == object


@pytest.mark.parametrize("scalar", [np.float32(0.1), np.int8(-3), np.bool_(True)])
def test_scalars_keep_their_types(scalar: np.generic) -> None:
    again = there_and_back(scalar)
    assert type(again) is type(scalar)
    assert again == scalar


def test_tensors_and_parameters() -> None:
    """A tensor without dimensions stays one; a frozen parameter stays frozen."""
    tensor, frozen = torch.tensor(0.5), nn.Parameter(torch.ones(2, 3).T, False)
    again, parameter = there_and_back([tensor, frozen])
    assert again.shape == ()
    assert again == tensor
    assert isinstance(parameter, nn.Parameter)
    assert not parameter.requires_grad
    assert parameter.stride() == frozen.stride()


def test_what_is_shared_stays_shared() -> None:
    weights = torch.ones(3)
    mapping: dict[str, Any] = {"a": [weights], "b": weights}
    mapping["self"] = mapping["a"]
    again = there_and_back(mapping)
    assert again["a"][0] is again["b"]
    assert again["self"] is again["a"]


def test_a_list_may_contain_itself() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    again = there_and_back(loop)
    assert again[1] is again


@pytest.mark.parametrize(
    "random",
    [
        np.random.RandomState(3),
        np.random.default_rng(3),
        np.random.Generator(np.random.MT19937(3)),
        np.random.Generator(np.random.Philox(3)),
    ],
    ids=lambda random: type(getattr(random, "bit_generator", random)).__name__,
)
def test_generators_go_on_where_they_were(random: Any) -> None:
    random.normal(size=3)
    again = there_and_back(random)
    np.testing.assert_array_equal(again.normal(size=5), random.normal(size=5))


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix])
def test_sparse_tables(kind: Any) -> None:
    table = kind(np.diag([1.0, 0.0, 3.0]))
    again = there_and_back(table)
    np.testing.assert_array_equal(again.toarray(), table.toarray())
    assert isinstance(again, sparse.sparray) == isinstance(table, sparse.sparray)


COLUMNS = {
    "number": [1.5, 2.0, -1.0],
    "text": ["a", None, "c"],
    "flag": [True, False, True],
    "whole": [1, 2, 3],
}
PANDAS = pd.DataFrame(COLUMNS).assign(
    category=pd.Categorical(["u", None, "v"], categories=["v", "u"], ordered=True),
    nullable=pd.array([1, None, 3], dtype="Int64"),
)
POLARS = pl.DataFrame(COLUMNS).with_columns(
    pl.Series("enum", ["u", None, "v"], dtype=pl.Enum(["v", "u"])),
    pl.Series("gaps", [1, None, 3]),
)


@pytest.mark.parametrize("empty", [False, True])
def test_pandas_frames(empty: bool) -> None:
    frame = PANDAS.iloc[:0] if empty else PANDAS
    pd.testing.assert_frame_equal(there_and_back(frame), frame)


@pytest.mark.parametrize("empty", [False, True])
def test_polars_frames(empty: bool) -> None:
    frame = POLARS.clear() if empty else POLARS
    again = there_and_back(frame)
    assert is_frame(again)
    assert again.equals(frame)
    assert again.schema == frame.schema


def test_names_of_a_frame_may_repeat() -> None:
    frame = pd.DataFrame(np.eye(2), columns=["a", "a"])
    pd.testing.assert_frame_equal(there_and_back(frame), frame)


def test_estimators_and_records() -> None:
    density = VAEDensity(prior=MixturePrior(n_modes=7), random_state=3)
    again = there_and_back(density)
    assert repr(again) == repr(density)
    jumper = SimpleJumper(0.1)
    jumper.bet([0.1, 0.2])
    again = there_and_back(jumper)
    np.testing.assert_array_equal(again.bet([0.3]), jumper.bet([0.3]))


@dataclass
class Stranger:
    value: int = 0


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ({"is": "object", "class": "os.system", "state": {}}, "os.system"),
        ({"is": "object", "class": "builtins.eval", "state": {}}, "may be built"),
        ({"is": "object", "class": f"{__name__}.Stranger", "state": {}}, "Stranger"),
        ({"is": "dict", "class": "skvae.density.VAEDensity", "items": []}, "mapping"),
        ({"is": "list", "items": 3}, "items are a int"),
        ({"is": "tensor", "array": 0}, "no number 0"),
        ({"is": "tensor", "array": -1}, "no index"),
        ({"is": "same", "number": 4}, "no number 4"),
        ({"is": "tuple", "items": [{"is": "same", "number": 0}]}, "contains itself"),
        ({"is": "frame", "parts": {"is": "dict", "items": []}}, "library"),
        ({"is": "cells", "shape": [10**9], "items": []}, "0 cells"),
        ({"is": "magic"}, "magic"),
        ({"kind": "list"}, "KeyError"),
        ([1], "a node is a list"),
        (
            {
                "is": "object",
                "class": "skvae.detection.martingales.SimpleJumper",
                "state": {"jump": 0.1},
            },
            "SimpleJumper has no log_capital, share",
        ),
        (
            {
                "is": "object",
                "class": "torch.nn.modules.linear.Linear",
                "state": {"forward": 1},
            },
            "no proper _parameters",
        ),
    ],
)
def test_trees_that_cannot_be(root: Any, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        decode(Encoded(root))


def test_deep_trees_are_refused() -> None:
    root: Any = None
    for _ in range(10_000):
        root = {"is": "list", "items": [root]}
    with pytest.raises(MalformedError, match="too deep"):
        decode(Encoded(root))


def test_functions_are_named_with_their_place() -> None:
    encoded = encode(VAEDensity(prior=MixturePrior(n_modes=print)))
    assert encoded.others == [print]
    assert encoded.places == ["prior.n_modes"]
