"""The values that the cells of a column have: their steps, and places among them.

A density has log-densities, but a cell has one of finitely many values. What a value
weighs is the integral of the density from half-way to the value below it to half-way to
the one above.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skvae.model.features import ColumnKind
from skvae.typing import Array

__all__ = [
    "Alphabet",
    "Codes",
    "Decimals",
    "Floats",
    "Palette",
    "alphabet_from",
    "fit_alphabet",
]

Places = NDArray[np.uint64]

MOST_DIGITS = 9  # after the decimal point
LARGEST = 2.0**52  # whole numbers up to which all are floats
BITS_OF_A_VALUE = 64  # that a palette costs


class Alphabet(ABC):
    """The values of a column, in rising order.

    Attributes
    ----------
    name : str
        What it is called in files.
    size : int
        Number of values.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of values."""

    @abstractmethod
    def values(self, places: Places) -> Array:
        """Return the values at places from 0 to `size` − 1."""

    @abstractmethod
    def places(self, values: Array) -> Places:
        """Return the places of values; those of others are any places."""

    def edges(self, places: Places) -> Array:
        """Return what is half-way between each place, from 1 on, and the one before."""
        below, above = self.values(places - np.uint64(1)), self.values(places)
        return below + 0.5 * (above - below)

    def widths(self, places: Places) -> Array:
        """Return what a density is integrated over; one for a mass.

        The first and the last value have a neighbour on one side alone, and are taken
        to have another one as far away.
        """
        if self.size == 1:
            return np.ones(len(places))
        last = np.uint64(self.size - 1)
        one = np.uint64(1)
        below = np.where(places > 0, places - one, 0).astype(np.uint64)
        above = np.where(places < last, places + one, last).astype(np.uint64)
        n_neighbours = (above - below).astype(np.float64)
        width = (self.values(above) - self.values(below)) / n_neighbours
        return np.maximum(width, np.finfo(float).tiny)

    @property
    def step(self) -> float:
        """What all widths are; NaN where they differ."""
        return math.nan

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Return what `alphabet_from` makes it of, as JSON has it."""


@dataclass(frozen=True)
class Codes(Alphabet):
    """Zeros and ones, or codes of categories, which have masses."""

    name: ClassVar[str] = "codes"
    n_values: int

    @property
    def size(self) -> int:
        """Number of values."""
        return self.n_values

    def values(self, places: Places) -> Array:
        """Return the codes."""
        return places.astype(np.float64)

    def places(self, values: Array) -> Places:
        """Return the codes."""
        return values.clip(0, self.size - 1).astype(np.uint64)

    def widths(self, places: Places) -> Array:
        """Return ones."""
        return np.ones(len(places))

    @property
    def step(self) -> float:
        """One."""
        return 1.0

    def description(self) -> dict[str, Any]:
        """Return the number of values."""
        return {"n_values": self.n_values}


@dataclass(frozen=True)
class Decimals(Alphabet):
    """The numbers (first + i · gap) / 10^digits, as floats of some dtype.

    Attributes
    ----------
    first, gap, n_values, digits : int
        See above.
    dtype : str
        To which the numbers are rounded.
    """

    name: ClassVar[str] = "decimals"
    first: int
    gap: int
    n_values: int
    digits: int
    dtype: str

    @property
    def size(self) -> int:
        """Number of values."""
        return self.n_values

    def values(self, places: Places) -> Array:
        """Return the numbers."""
        whole = self.first + self.gap * places.astype(np.int64)
        return (whole / 10.0**self.digits).astype(self.dtype).astype(np.float64)

    def places(self, values: Array) -> Places:
        """Return the nearest places."""
        whole = np.rint(values * 10.0**self.digits) - self.first
        return np.rint(whole / self.gap).clip(0, self.size - 1).astype(np.uint64)

    @property
    def step(self) -> float:
        """The distance of neighbours."""
        return self.gap / 10.0**self.digits

    def widths(self, places: Places) -> Array:
        """Return the step."""
        return np.full(len(places), self.step)

    def description(self) -> dict[str, Any]:
        """Return the attributes."""
        return vars(self)


@dataclass(frozen=True)
class Palette(Alphabet):
    """A list of numbers.

    Attributes
    ----------
    numbers : tuple of float
        In rising order.
    """

    name: ClassVar[str] = "palette"
    numbers: tuple[float, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.numbers)

    def values(self, places: Places) -> Array:
        """Return the numbers."""
        return np.array(self.numbers)[places]

    def places(self, values: Array) -> Places:
        """Return the places."""
        found = np.searchsorted(np.array(self.numbers), values)
        return np.minimum(found, self.size - 1).astype(np.uint64)

    def description(self) -> dict[str, Any]:
        """Return the numbers."""
        return {"numbers": list(self.numbers)}


@dataclass(frozen=True)
class Floats(Alphabet):
    """All floats of a dtype between two of them.

    Attributes
    ----------
    first : int
        The place of the first one among all floats, zero for 0.
    n_values : int
        Number of floats.
    dtype : str
        "<f4" or "<f8".
    """

    name: ClassVar[str] = "floats"
    first: int
    n_values: int
    dtype: str

    @property
    def size(self) -> int:
        """Number of values."""
        return self.n_values

    def values(self, places: Places) -> Array:
        """Return the floats."""
        return _float_at(places.view(np.int64) + np.int64(self.first), self.dtype)

    def places(self, values: Array) -> Places:
        """Return their places."""
        found = _place_of_float(values, self.dtype).view(np.uint64)
        # Differences may need all 64 bits.
        return found - np.array(self.first).astype(np.int64).view(np.uint64)

    def description(self) -> dict[str, Any]:
        """Return the attributes."""
        return vars(self)


ALPHABETS: dict[str, Any] = {
    kind.name: kind for kind in (Codes, Decimals, Palette, Floats)
}


def alphabet_from(description: Mapping[str, Any]) -> Alphabet:
    """Return the alphabet of a name and a description.

    Raises
    ------
    ValueError
        If they are none of an alphabet's.
    """
    parts = dict(description)
    kind = ALPHABETS.get(parts.pop("name", ""))
    if kind is Palette and isinstance(parts.get("numbers"), list):
        numbers = tuple(map(float, parts["numbers"]))
        if numbers and all(np.diff(numbers) > 0):
            return Palette(numbers)
    elif kind is not None and set(parts) == {part.name for part in fields(kind)}:
        dtype = parts.get("dtype", "<f8")
        sizes = [value for name, value in parts.items() if name != "dtype"]
        is_whole = all(type(size) is int for size in sizes)
        if is_whole and dtype in ("<f4", "<f8"):
            if parts["n_values"] > 0 and parts.get("gap", 1) > 0:
                return kind(**parts)
    raise ValueError(f"{description!r} describes no values of a column")


def fit_alphabet(values: Array, kind: ColumnKind) -> Alphabet:
    """Return an alphabet that has all of these values, to the bit.

    Of real columns it is the one by which cells take the fewest bits: numbers of few
    digits, a list of values that come again, or all floats.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Observed cells.
    kind : ColumnKind
        What the column holds.
    """
    if kind.support in ("binary", "category"):
        return Codes({"binary": 2}.get(kind.support, kind.n_values))
    distinct, count = np.unique(values + 0.0, return_counts=True)
    if not len(distinct):
        return Palette((0.0,))
    if len(distinct) == 1:
        return Palette((float(distinct[0]),))
    with np.errstate(over="ignore"):
        is_single = (distinct.astype("<f4") == distinct).all()
    dtype = "<f4" if is_single else "<f8"
    share = count / count.sum()
    places = _place_of_float(distinct[[0, -1]], dtype)
    candidates: list[Alphabet] = [
        Floats(int(places[0]), int(places[1]) - int(places[0]) + 1, dtype)
    ]
    decimals = _decimals(distinct, dtype)
    if decimals is not None:
        candidates.append(decimals)
    if kind.support == "real":
        candidates.append(Palette(tuple(distinct.tolist())))

    def worth(alphabet: Alphabet) -> float:
        """Bits that a cell does not need, less what the alphabet itself needs."""
        width = np.log2(alphabet.widths(alphabet.places(distinct)))
        bill = BITS_OF_A_VALUE * alphabet.size if isinstance(alphabet, Palette) else 0
        return float(share @ width) - bill / len(values)

    exact = [
        alphabet
        for alphabet in candidates
        if (alphabet.values(alphabet.places(distinct)) == distinct).all()
    ]
    return max(exact, key=worth)


def _decimals(distinct: Array, dtype: str) -> Decimals | None:
    """Return numbers of the fewest digits that have all values, if there are any."""
    for digits in range(MOST_DIGITS + 1):
        scaled = distinct * 10.0**digits
        if np.abs(scaled[[0, -1]]).max() > LARGEST:
            return None
        whole = np.rint(scaled)
        back = (whole / 10.0**digits).astype(dtype).astype(np.float64)
        if (back == distinct).all():
            places = whole.astype(np.int64)
            gap = int(np.gcd.reduce(np.diff(places)))
            if gap == 0:
                return None
            size = int(places[-1] - places[0]) // gap + 1
            return Decimals(int(places[0]), gap, size, digits, dtype)
    return None


def _place_of_float(values: Array, dtype: str) -> NDArray[np.int64]:
    """Return the places of floats among all floats, in their order; zero for 0."""
    whole = np.dtype(f"<i{np.dtype(dtype).itemsize}")
    bits = (values + 0.0).astype(dtype).view(whole).astype(np.int64)
    # Of negative floats, all bits but the sign are those of the absolute value.
    return np.where(bits < 0, np.iinfo(whole).min - bits, bits)


def _float_at(places: NDArray[np.int64], dtype: str) -> Array:
    whole = np.dtype(f"<i{np.dtype(dtype).itemsize}")
    bits = np.where(places < 0, np.iinfo(whole).min - places, places)
    return bits.astype(whole).view(dtype).astype(np.float64)
