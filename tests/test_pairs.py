"""The covering combinations that other tests are parametrised with."""

import itertools

from tests.pairs import covering


def test_every_pair_occurs_and_few_combinations_do_it() -> None:
    families = [list("abcd"), list("efg"), list("h"), list("ijklmno"), list("pq")]
    combinations = covering(families)
    assert len(combinations) <= 1.5 * 4 * 7
    assert len(set(combinations)) == len(combinations)
    for combination in combinations:
        assert len(combination) == 5
        assert all(v in f for v, f in zip(combination, families, strict=True))
    for (i, one), (j, other) in itertools.combinations(enumerate(families), 2):
        for pair in itertools.product(one, other):
            assert any((c[i], c[j]) == pair for c in combinations)
