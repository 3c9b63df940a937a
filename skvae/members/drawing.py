"""Rows drawn from a fitted density, or from several."""

import copy
from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np

from skvae.typing import Array, Index, SamplingDensity

__all__ = ["draw_from", "draw_mixture"]


def draw_from(density: SamplingDensity, n_samples: int, seed: int) -> Array:
    """Draw rows from a fitted density; the same rows for the same seed."""
    if "random_state" in signature(density.sample).parameters:
        drawn = density.sample(n_samples, random_state=seed)  # type: ignore[call-arg]
    else:
        # The seed of GaussianMixture is a parameter of the estimator.
        seeded: Any = copy.copy(density)
        seeded.random_state = seed
        drawn = seeded.sample(n_samples)
    return np.asarray(drawn[0] if isinstance(drawn, tuple) else drawn)


def draw_mixture(
    densities: Sequence[SamplingDensity],
    weights: Array,
    n_samples: int,
    random: np.random.RandomState,
) -> tuple[Array, Index]:
    """Draw rows from a mixture of fitted densities.

    Parameters
    ----------
    densities : sequence of estimators
        Those with a positive weight have `sample`.
    weights : ndarray of shape (len(densities),)
        Probabilities.
    n_samples : int
        Number of rows.
    random : RandomState
        Source of all randomness.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features)
        In random order.
    code : ndarray of shape (n_samples,)
        Index of the density that each row comes from.
    """
    code = np.sort(random.choice(len(densities), n_samples, p=weights))
    parts = [
        draw_from(densities[c], int(n), int(random.randint(2**31 - 1)))
        for c, n in zip(*np.unique(code, return_counts=True), strict=True)
    ]
    order = random.permutation(n_samples)
    return np.concatenate(parts)[order], code[order]
