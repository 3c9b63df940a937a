"""Random tables, parameters and methods: answers or errors that say why."""

import pytest

from tests.fuzz.cases import run

PARTS = 20


@pytest.mark.parametrize("seed", range(15))
def test_a_random_case_is_answered_or_refused(seed: int) -> None:
    run(seed)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(PARTS))
def test_ten_thousand_random_cases_are_answered_or_refused(part: int) -> None:
    n_answered = sum(run(seed) == "answered" for seed in range(part, 10_000, PARTS))
    assert n_answered > 5000 / PARTS
