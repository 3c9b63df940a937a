"""Priors p(z)."""

from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.priors.codebook import CodebookPrior, CodesModule
from skvae.model.priors.flow import FlowPrior
from skvae.model.priors.ladder import LadderPrior
from skvae.model.priors.mixture import MixturePrior
from skvae.model.priors.normal import NormalPrior
from skvae.model.priors.vamp import VampPrior

__all__ = [
    "CodebookPrior",
    "CodesModule",
    "FlowPrior",
    "LadderPrior",
    "MixturePrior",
    "NormalPrior",
    "PriorModule",
    "PriorSpec",
    "VampPrior",
]
