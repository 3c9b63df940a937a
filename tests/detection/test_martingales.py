"""P-values of a stream, and the capital that is won against them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skvae.detection.martingales import ConformalRanks, SimpleJumper


@pytest.mark.parametrize("n_distinct", [2, None])
def test_p_values_of_one_source_are_uniform_and_independent(
    n_distinct: int | None,
) -> None:
    """Two tests with a false-alarm rate of 1e-4 each, with ties and without."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=5000)
    if n_distinct:
        scores = np.floor(stats.norm.cdf(scores) * n_distinct)
    ranks = ConformalRanks(sorted(scores[:20].tolist()), np.random.default_rng(1))
    p_values = ranks.p_values(scores[20:])
    assert stats.kstest(p_values, "uniform").pvalue > 1e-4
    assert stats.pearsonr(p_values[1:], p_values[:-1]).pvalue > 1e-4


def test_the_first_p_value_is_the_rank() -> None:
    class Half(np.random.Generator):
        def random(self, size: int) -> np.ndarray:
            return np.full(size, 0.5)

    ranks = ConformalRanks([1.0, 2.0, 3.0], Half(np.random.PCG64(0)))
    # Then 1.5 is among the others.
    assert_allclose(ranks.p_values(np.array([1.5, 1.5])), [1.5 / 4, 2 / 5])


def test_capital_is_that_of_three_accounts() -> None:
    p_values = np.random.default_rng(0).random(50)
    jump, accounts, capital = 0.1, np.full(3, 1 / 3), []
    for p in p_values:
        accounts = 0.9 * accounts + 0.1 * accounts.sum() / 3
        accounts = accounts * (1 + np.array([-1, 0, 1]) * (p - 0.5))
        capital.append(accounts.sum())
    jumper = SimpleJumper(jump)
    found = [*jumper.bet(p_values[:20]), *jumper.bet(p_values[20:])]
    assert_allclose(found, np.log(capital))


def test_capital_seldom_becomes_large() -> None:
    """Of 1,000 streams of uniform numbers, at most 5 % reach a capital of 20.

    With a probability of 5 % each, 80 of them would be four standard errors more.
    """
    rng = np.random.default_rng(0)
    reached = [
        SimpleJumper(0.05).bet(rng.random(300)).max() >= np.log(20) for _ in range(1000)
    ]
    assert 0 < sum(reached) < 80
