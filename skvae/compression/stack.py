"""A stack of bits: asymmetric numeral systems, by the package constriction.

A symbol that is pushed under a law takes −log₂ of its probability, in bits. A symbol
that is popped under a law without having been pushed is a draw from it, made of bits
that were pushed before: pushing it again gives them back.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from skvae.typing import Array

__all__ = ["BitStack", "Channel", "Codes", "Flags", "Law", "Normals", "Popped", "Tape"]

Symbols = NDArray[np.int32]
Words = NDArray[np.uint32]

PRECISION = 24  # bits of a probability
LEAST = 2.0**-PRECISION
STATE = 64  # bits of the coder's own


class Law(Protocol):
    """Distributions of several symbols.

    Attributes
    ----------
    is_certain : bool
        Whether all symbols are zero, and take no bits.
    """

    @property
    def is_certain(self) -> bool:
        """See above."""

    def __len__(self) -> int: ...

    def __getitem__(self, some: slice) -> "Law": ...

    def family(self, model: Any) -> tuple[Any, tuple[Array, ...]]:
        """Return constriction's model and its parameters."""


@dataclass(frozen=True)
class Flags:
    """Zeros and ones, with the probabilities of a one, (n,)."""

    probability: Array
    is_certain: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.probability)

    def __getitem__(self, some: slice) -> "Flags":
        return Flags(self.probability[some])

    def family(self, model: Any) -> tuple[Any, tuple[Array, ...]]:
        """Return Bernoulli distributions."""
        probability = self.probability.clip(LEAST, 1 - LEAST)
        return model.Bernoulli(perfect=False), (probability,)


@dataclass(frozen=True)
class Codes:
    """Numbers 0 … V − 1, with their masses up to a factor, (n, V)."""

    mass: Array

    @property
    def is_certain(self) -> bool:
        """Whether there is one number only."""
        return self.mass.shape[1] == 1

    def __len__(self) -> int:
        return len(self.mass)

    def __getitem__(self, some: slice) -> "Codes":
        return Codes(self.mass[some])

    def family(self, model: Any) -> tuple[Any, tuple[Array, ...]]:
        """Return categorical distributions."""
        mass = np.ascontiguousarray(self.mass, dtype=np.float64)
        return model.Categorical(perfect=False), (mass,)


@dataclass(frozen=True)
class Normals:
    """Whole numbers from −`most` to `most`, normal with means and deviations (n,)."""

    mean: Array
    scale: Array
    most: int
    is_certain: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, some: slice) -> "Normals":
        return Normals(self.mean[some], self.scale[some], self.most)

    def family(self, model: Any) -> tuple[Any, tuple[Array, ...]]:
        """Return Gaussians over the bins around whole numbers."""
        mean = self.mean.clip(-self.most, self.most)
        return model.QuantizedGaussian(-self.most, self.most), (mean, self.scale)


class BitStack:
    """Bits, the last one on top.

    Parameters
    ----------
    words : ndarray of uint32 or None, default=None
        The bits that `words` has returned; None for an empty stack, from which symbols
        can be popped all the same: bits are put below all others as they are needed,
        the same ones every time.
    """

    def __init__(self, words: Words | None = None) -> None:
        stream = _constriction().stream
        self._model, self._make = stream.model, stream.stack.AnsCoder
        self._below = None
        if words is None:
            self._below = np.random.Generator(np.random.PCG64(0))
            # The coder's own bits have to be there before anything is pushed, or
            # nothing could be put below them later.
            words = self._random_words()
        self._coder = self._make(words)

    @property
    def words(self) -> Words:
        """The bits, 32 to a word."""
        return np.asarray(self._coder.get_compressed(), dtype=np.uint32)

    @property
    def n_bits(self) -> int:
        """Number of bits."""
        return int(self._coder.num_valid_bits())

    def push(self, symbols: Symbols, law: Law) -> None:
        """Put symbols (n,) on top; the first one is the topmost."""
        if len(law) and not law.is_certain:
            family, parameters = law.family(self._model)
            self._coder.encode_reverse(symbols, family, *parameters)

    def pop(self, law: Law) -> Symbols:
        """Take symbols (n,) from the top."""
        n_symbols = len(law)
        if not n_symbols or law.is_certain:
            return np.zeros(n_symbols, dtype=np.int32)
        if self._below is not None and self._lacks(n_symbols):
            # One by one, no more bits are put below than are needed.
            if n_symbols > 1:
                each = [self.pop(law[i : i + 1]) for i in range(n_symbols)]
                return np.concatenate(each)
            self._coder = self._make(np.concatenate([self._random_words(), self.words]))
        family, parameters = law.family(self._model)
        return np.asarray(self._coder.decode(family, *parameters), dtype=np.int32)

    def _random_words(self) -> Words:
        assert self._below is not None
        # The last word of a stack must not be zero.
        return 1 + self._below.integers(2**32 - 1, size=2, dtype=np.uint32)

    def _lacks(self, n_symbols: int) -> bool:
        return self.n_bits < PRECISION * n_symbols + STATE


class Channel(Protocol):
    """Where symbols are written to, or read from, in the same order."""

    def code(self, law: Law, symbols: Symbols | None) -> Symbols:
        """Write symbols (n,), and return them; read and return them for None."""


class Tape:
    """Symbols that are pushed at the end, the last one first, to be read in order.

    Parameters
    ----------
    stack : BitStack
        Where they go.
    """

    def __init__(self, stack: BitStack) -> None:
        self._stack = stack
        self._written: list[tuple[Symbols, Law]] = []

    def __enter__(self) -> "Tape":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            for symbols, law in reversed(self._written):
                self._stack.push(symbols, law)

    def code(self, law: Law, symbols: Symbols | None) -> Symbols:
        """Write down symbols."""
        assert symbols is not None
        symbols = np.ascontiguousarray(symbols, dtype=np.int32)
        self._written.append((symbols, law))
        return symbols


class Popped:
    """Symbols that are popped.

    Parameters
    ----------
    stack : BitStack
        Where they come from.
    """

    def __init__(self, stack: BitStack) -> None:
        self._stack = stack

    def code(self, law: Law, symbols: Symbols | None) -> Symbols:
        """Take symbols."""
        return self._stack.pop(law)


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise ImportError(
            "Compression needs the package constriction, which is not installed: "
            "pip install 'skvae[compress]'."
        ) from error
    return constriction
