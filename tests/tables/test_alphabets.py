"""Values of columns, and their places."""

import numpy as np
import pytest

from skvae.model.features import ColumnKind
from skvae.tables.alphabets import (
    Codes,
    Decimals,
    Floats,
    Palette,
    alphabet_from,
    fit_alphabet,
)

REAL = ColumnKind("real")
RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=1000)
COLUMNS = {
    "two digits": (NORMAL.round(2), Decimals),
    "sevens": (7.0 * np.arange(10) + 3, Decimals),
    "large": (1e12 + 1000 * np.arange(10.0), Decimals),
    "two digits of single precision": (NORMAL.round(2).astype("f4"), Decimals),
    "comes again": (RANDOM.choice(NORMAL[:5], size=1000), Palette),
    "single": (NORMAL.astype("f4"), Floats),
    "double": (NORMAL, Floats),
    "far": (NORMAL * 1e300, Floats),
    "tiny": (NORMAL * 5e-324 * 100, Floats),
    "one value": (np.full(5, 0.1), Palette),
    "none": (np.empty(0), Palette),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_values_come_back_to_the_bit(name: str) -> None:
    values, kind = COLUMNS[name]
    values = values.astype(float)
    alphabet = fit_alphabet(values, REAL)
    assert isinstance(alphabet, kind)
    places = alphabet.places(values)
    assert (alphabet.values(places) == values).all()
    assert (places < alphabet.size).all()
    assert alphabet_from({"name": alphabet.name} | alphabet.description()) == alphabet


@pytest.mark.parametrize("name", COLUMNS)
def test_edges_are_between_neighbours(name: str) -> None:
    values = COLUMNS[name][0].astype(float)
    alphabet = fit_alphabet(values, REAL)
    places = np.unique(alphabet.places(values))
    places = places[places > 0]
    edges = alphabet.edges(places)
    assert (edges <= alphabet.values(places)).all()
    assert (edges >= alphabet.values(places - np.uint64(1))).all()


def test_widths_cover_the_line() -> None:
    """The widths of inner values reach from edge to edge."""
    for name in ("two digits", "comes again"):
        alphabet = fit_alphabet(COLUMNS[name][0], REAL)
        places = np.arange(1, alphabet.size - 1, dtype=np.uint64)
        above = alphabet.edges(places + np.uint64(1))
        width = above - alphabet.edges(places)
        np.testing.assert_allclose(alphabet.widths(places), width, rtol=1e-9)


def test_steps() -> None:
    assert fit_alphabet(COLUMNS["two digits"][0], REAL).step == 0.01
    assert fit_alphabet(COLUMNS["sevens"][0], REAL).step == 7.0
    assert np.isnan(fit_alphabet(NORMAL, REAL).step)
    assert fit_alphabet(np.array([0.0, 1.0]), ColumnKind("binary")) == Codes(2)
    counts = fit_alphabet(np.array([0.0, 3.0, 7.0]), ColumnKind("count"))
    assert (counts.size, counts.step) == (8, 1.0)


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"name": "codes"},
        {"name": "codes", "n_values": -1},
        {"name": "codes", "n_values": 2.5},
        {"name": "palette", "numbers": [1.0, 1.0]},
        {"name": "palette", "numbers": []},
        {"name": "floats", "first": 0, "n_values": 5, "dtype": "O"},
        {
            "name": "decimals", "first": 0, "gap": 0, "n_values": 5, "digits": 1,
            "dtype": "<f8",
        },
    ],
)  # fmt: skip
def test_descriptions_of_nothing_are_refused(description: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="describes no values"):
        alphabet_from(description)
