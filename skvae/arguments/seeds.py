"""Seeds and generators from scikit-learn's `random_state`."""

import numpy as np
from sklearn.utils import check_random_state

from skvae.typing import RandomState

__all__ = ["generator_from", "seed_from", "seed_of_draws"]


def seed_from(random_state: RandomState) -> int:
    """Return a seed; None is fresh entropy, never NumPy's global state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


def generator_from(
    random_state: RandomState,
) -> np.random.RandomState:
    """Return a generator; None is fresh entropy, never NumPy's global state."""
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)


def seed_of_draws(random_state: int | None) -> int:
    """Return the seed of draws that are the same at every call, for None as well."""
    return 0 if random_state is None else 1 + int(random_state)
