"""Likelihoods p(x | z), column by column."""

from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec
from skvae.model.likelihoods.bernoulli import BernoulliLikelihood
from skvae.model.likelihoods.gaussian import GaussianLikelihood
from skvae.model.likelihoods.mixture import MixtureLikelihood

__all__ = [
    "BernoulliLikelihood",
    "GaussianLikelihood",
    "LikelihoodModule",
    "LikelihoodSpec",
    "MixtureLikelihood",
]
