"""Combinations of components in which every pair of variants occurs."""

import itertools
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["covering"]

T = TypeVar("T")


def covering(families: Sequence[Sequence[T]]) -> list[tuple[T, ...]]:
    """Return combinations, one variant of each family, that cover all pairs.

    All combinations would be the product of the families' sizes; faults that need
    three particular variants at once are rare. Greedy: each combination starts at a
    pair that is still missing and takes, family by family, the variant that covers
    most of the others.

    Parameters
    ----------
    families : sequence of sequences
        The variants of every family.

    References
    ----------
    D. M. Cohen, S. R. Dalal, M. L. Fredman and G. C. Patton, 1997. The AETG system:
    an approach to testing based on combinatorial design.
    """
    # Variants by number: they need not be hashable.
    sizes = [range(len(variants)) for variants in families]
    cells = [(f, v) for f, size in enumerate(sizes) for v in size]
    missing = dict.fromkeys(
        (a, b) for a, b in itertools.combinations(cells, 2) if a[0] != b[0]
    )
    result = []
    while missing:
        chosen = dict(next(iter(missing)))
        for family, size in enumerate(sizes):
            if family not in chosen:
                fixed = list(chosen.items())

                def gain(
                    v: int,
                    family: int = family,
                    fixed: list[tuple[int, int]] = fixed,
                ) -> int:
                    new = (family, v)
                    return sum(tuple(sorted((new, old))) in missing for old in fixed)

                chosen[family] = max(size, key=gain)
        combination = sorted(chosen.items())
        for pair in itertools.combinations(combination, 2):
            missing.pop(pair, None)
        result.append(tuple(families[f][v] for f, v in combination))
    return result
