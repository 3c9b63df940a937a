"""Companions: densities in closed form that take a share of p(x) beside the latents."""

from skvae.model.companions._base import (
    Companion,
    CompanionFit,
    CompanionSpec,
    CompanionTable,
)
from skvae.model.companions._mixtures import GaussianMixture, GaussianMixtureFit
from skvae.model.companions._pool import CompanionPool
from skvae.model.companions.gaussian_mixture import GaussianMixtureCompanion
from skvae.model.companions.tree import TreeCompanion

__all__ = [
    "Companion",
    "CompanionFit",
    "CompanionPool",
    "CompanionSpec",
    "CompanionTable",
    "GaussianMixture",
    "GaussianMixtureCompanion",
    "GaussianMixtureFit",
    "TreeCompanion",
]
