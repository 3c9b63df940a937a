"""Priors p(z)."""

from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.priors.mixture import MixturePrior
from skvae.model.priors.normal import NormalPrior

__all__ = ["MixturePrior", "NormalPrior", "PriorModule", "PriorSpec"]
