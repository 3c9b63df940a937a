"""Martingales that bet against later rows being like earlier ones."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from skvae.typing import Array

__all__ = ["ConformalRanks", "SimpleJumper"]

SLOPES = np.array([-1.0, 0.0, 1.0])


@dataclass
class ConformalRanks:
    """Ranks of scores among all scores before them, as p-values.

    If the scores are exchangeable, the p-values are independent and uniform, exactly:
    ties are broken at random.

    Parameters
    ----------
    scores : list of float
        The scores so far, ascending: at first, those of the reference rows.
    random : numpy.random.Generator
        Breaks ties.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer, 2005. Algorithmic learning in a random world.
    """

    scores: list[float]
    random: np.random.Generator

    def p_values(self, scores: Array) -> Array:
        """Return the p-value of each score in turn, which then joins the others."""
        found = np.empty(len(scores))
        for i, (score, uniform) in enumerate(
            zip(scores.tolist(), self.random.random(len(scores)), strict=True)
        ):
            below = bisect_left(self.scores, score)
            equal = bisect_right(self.scores, score) - below + 1
            found[i] = (below + uniform * equal) / (len(self.scores) + 1)
            insort(self.scores, score)
        return found


@dataclass
class SimpleJumper:
    r"""Capital that grows if p-values are not uniform.

    A unit of capital is divided among three accounts, which bet by
    :math:`f_\epsilon(p) = 1 + \epsilon (p - 1/2)` with ε = −1, 0 and 1. Before each
    bet, a share J of every account is spread evenly over all three, so that capital
    follows a change that comes late.

    Parameters
    ----------
    jump : float
        J, between 0 and 1.
    log_capital : float, default=0.0
        Logarithm of the capital so far.
    share : ndarray of shape (3,)
        The accounts' shares of it; at first, they are equal.

    Notes
    -----
    While p-values are independent and uniform, capital is a martingale: the probability
    that it ever reaches c is at most 1/c (J. Ville, 1939. Étude critique de la notion
    de collectif).

    References
    ----------
    V. Vovk, I. Petej, I. Nouretdinov, E. Ahlberg, L. Carlsson and A. Gammerman, 2021.
    Retrain or not retrain: conformal test martingales for change-point detection.
    """

    jump: float
    log_capital: float = 0.0
    share: Array = field(default_factory=lambda: np.full(len(SLOPES), 1 / len(SLOPES)))

    def bet(self, p_values: Iterable[float]) -> Array:
        """Return the logarithm of the capital after each p-value in turn."""
        log_capital = []
        for p in p_values:
            share = (1 - self.jump) * self.share + self.jump / len(SLOPES)
            share = share * (1 + SLOPES * (p - 0.5))
            total = float(share.sum())
            self.share = share / total
            self.log_capital += np.log(total)
            log_capital.append(self.log_capital)
        return np.array(log_capital)
