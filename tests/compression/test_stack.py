"""Bits: what they cost, and that they come back."""

import numpy as np
import pytest
from scipy import stats

from skvae.compression.stack import BitStack, Codes, Flags, Law, Normals, Popped, Tape

pytest.importorskip("constriction")

RANDOM = np.random.default_rng(0)
N = 4000
MASS = RANDOM.dirichlet([0.5] * 7, size=N)
LAWS: list[tuple[Law, np.ndarray]] = [
    (Flags(np.full(N, 0.1)), (RANDOM.random(N) < 0.1).astype(np.int32)),
    (Codes(MASS), np.array([RANDOM.choice(7, p=p) for p in MASS], dtype=np.int32)),
    (
        Normals(np.full(N, 0.3), np.full(N, 2.5), 64),
        np.rint(RANDOM.normal(0.3, 2.5, N)).astype(np.int32),
    ),
]


def bits_of(law: Law, symbols: np.ndarray) -> float:
    """Return −log₂ of the probability of symbols, by scipy."""
    if isinstance(law, Flags):
        mass = stats.bernoulli(law.probability).pmf(symbols)
    elif isinstance(law, Codes):
        mass = law.mass[np.arange(len(symbols)), symbols]
    else:
        assert isinstance(law, Normals)
        normal = stats.norm(law.mean, law.scale)
        mass = normal.cdf(symbols + 0.5) - normal.cdf(symbols - 0.5)
    return float(-np.log2(mass).sum())


@pytest.mark.parametrize("number", range(len(LAWS)))
def test_symbols_take_their_bits_and_come_back(number: int) -> None:
    law, symbols = LAWS[number]
    stack = BitStack()
    stack.push(symbols, law)
    assert stack.n_bits == pytest.approx(bits_of(law, symbols), rel=2e-3, abs=64)
    assert (BitStack(stack.words).pop(law) == symbols).all()


@pytest.mark.parametrize("number", range(len(LAWS)))
def test_popped_symbols_are_draws_and_give_their_bits_back(number: int) -> None:
    """From random bits come symbols of the law (one false alarm in 10⁴), for free."""
    law, _ = LAWS[number]
    words = np.random.default_rng(1).integers(2**32, size=2000, dtype=np.uint32)
    stack = BitStack(words)
    drawn = stack.pop(law)
    per_symbol = bits_of(law, drawn) / N
    again = [bits_of(law, LAWS[number][1]) / N, per_symbol]
    assert abs(again[0] - again[1]) < 4 * 1.5 * np.sqrt(2 / N)
    stack.push(drawn, law)
    assert (stack.words == words).all()


def test_an_empty_stack_is_filled_from_below() -> None:
    """What is below does not change what was pushed, and is no more than is needed."""
    law, symbols = LAWS[0]
    stack = BitStack()
    stack.push(symbols[:10], law[:10])
    with_few = stack.n_bits
    popped = stack.pop(LAWS[1][0][:20])
    assert stack.n_bits < with_few + 3 * 64
    stack.push(popped, LAWS[1][0][:20])
    assert (stack.pop(law[:10]) == symbols[:10]).all()


def test_a_tape_is_read_in_order() -> None:
    stack = BitStack()
    with Tape(stack) as tape:
        for law, symbols in LAWS:
            tape.code(law[:50], symbols[:50])
    channel = Popped(stack)
    for law, symbols in LAWS:
        assert (channel.code(law[:50], None) == symbols[:50]).all()
