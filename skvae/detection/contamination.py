"""How many rows of a table are outliers, as far as the rows themselves can say."""

from dataclasses import dataclass

import numpy as np

from skvae.detection.typical import typical_rows
from skvae.detection.views import MixtureView, RankUnits, TailProbability, shuffled
from skvae.tables.columns import merge_duplicates
from skvae.typing import Array

__all__ = ["Cliff", "find_cliff"]

TRIMMED = 0.2  # share of a half that its mixtures are not fitted to
LEAST, MOST = 0.02, 0.1  # shares that a cliff may be at
STEP = 1.5  # ratio of the two shares whose distances are compared
STEEP = 3.3  # slope of a cliff; that of a heavy tail is its power
LEAST_BEYOND = 10  # rows, in each half
MOST_ROWS = 6000
N_SPLITS = 3
LEAST_DISTANCE = 0.3  # nats, so that rows in the middle are no cliff
N_SHARES = 30
ROUNDING = 1e-9  # of a share
N_FITS = 3  # of each kind of mixture
HELD_OUT = 0.25  # of the typical rows of a half, whose scores calibrate its mixtures


@dataclass(frozen=True)
class Cliff:
    """Where the rows' distances from the typical rows drop most steeply.

    Attributes
    ----------
    share : float
        Share of the rows beyond it.
    slope : float
        In the half of the rows where it is less steep: by which power of the share the
        distance falls.
    distance : float
        Of the rows beyond it, the smallest: minus the log-probability of a row as far
        from the typical ones, nats.
    """

    share: float
    slope: float
    distance: float

    @property
    def is_steep(self) -> bool:
        """Whether it is steeper than the tails of tables without outliers are."""
        return self.slope > STEEP


def find_cliff(numbers: Array, weight: Array, seed: int) -> Cliff | None:
    r"""Return where the distances of a table's rows drop most steeply.

    Let r(a) be the distance from the typical rows that a share a of the rows exceeds.
    In a thin tail r falls like the logarithm of a, in a heavy one like a power of it.
    Where rows of another source are mixed in, it falls off a cliff at their share. The
    slope is

    .. math:: \frac{\log r(a) - \log r(1.5 a)}{\log 1.5},

    and the cliff is where it is largest, for a between 0.02 and 0.1.

    Distances are measured between two halves of the rows. The typical rows of one half
    (`typical_rows`) have mixtures fitted to them: in the units of the table, few modes,
    and many modes seen through noise; and of their normal scores. The distance of a row
    of the other half is the smallest of −log P(S ≤ s) in these three views. Both halves
    have to agree: at each share, the smaller slope counts, as a mean over three
    divisions into halves.

    Parameters
    ----------
    numbers : ndarray of shape (n, D)
        Finite numbers.
    weight : ndarray of shape (n,)
        Positive weights; equal to repeated rows where they are integers.
    seed : int
        Seed of the halves, which are chosen by what is in the rows.

    Returns
    -------
    cliff : Cliff or None
        None if there are too few rows, or no columns, to say.
    """
    if not numbers.shape[1]:
        return None
    rows, of_rows = merge_duplicates(numbers, weight)
    chosen = shuffled(rows, seed)[:MOST_ROWS]
    if len(chosen) < 2 * LEAST_BEYOND:
        return None
    least = max(LEAST, 2 * LEAST_BEYOND / float(of_rows[chosen].sum()))
    if least > MOST:
        return None
    shares = np.geomspace(least, MOST, N_SHARES)
    slope, far = np.zeros((2, N_SHARES))
    for split in range(N_SPLITS):
        of_half, far_of_half = [], []
        order = shuffled(rows[chosen], seed + 1 + split)
        halves = np.array_split(chosen[order], 2)
        for half, other in (halves, halves[::-1]):
            distance = _distances(rows[half], of_rows[half], rows[other], seed)
            near, beyond = _exceeded(distance, of_rows[other], shares)
            of_half.append(np.log(beyond / near) / np.log(STEP))
            far_of_half.append(beyond)
        slope += np.min(of_half, axis=0) / N_SPLITS
        far += np.min(far_of_half, axis=0) / N_SPLITS
    k = int(slope.argmax())
    return Cliff(float(shares[k]), float(slope[k]), float(far[k]))


def _distances(rows: Array, weight: Array, others: Array, seed: int) -> Array:
    """Return how far other rows are from the typical ones of these, shape (n,)."""
    typical = np.flatnonzero(typical_rows(rows, weight, TRIMMED))
    n_held_out = max(1, int(HELD_OUT * len(typical)))
    order = typical[shuffled(rows[typical], seed + 1)]
    held_out, fitted_to = order[:n_held_out], np.sort(order[n_held_out:])
    fitted, of_fitted = rows[fitted_to], weight[fitted_to]
    normal = RankUnits.normal(fitted, of_fitted)
    views = [
        (MixtureView.few_modes(fitted, of_fitted, N_FITS, seed), None),
        (MixtureView.many_modes(fitted, of_fitted, N_FITS, seed), None),
        (MixtureView.few_modes(normal(fitted), of_fitted, N_FITS, seed), normal),
    ]
    distances = []
    for view, units in views:
        known, new = (
            view.log_prob(of if units is None else units(of))
            for of in (rows[held_out], others)
        )
        tail = TailProbability.fit(known, weight[held_out])
        distances.append(-tail.log_prob(new))
    return np.maximum(np.min(distances, axis=0), LEAST_DISTANCE)


def _exceeded(distance: Array, mass: Array, shares: Array) -> tuple[Array, Array]:
    """Return the distances that 1.5 times these shares exceed, and these shares."""
    order = np.argsort(-distance, kind="stable")
    beyond = np.cumsum(mass[order]) / mass.sum()
    near, far = (
        distance[order][np.searchsorted(beyond, factor * shares + ROUNDING)]
        for factor in (STEP, 1.0)
    )
    return near, far
