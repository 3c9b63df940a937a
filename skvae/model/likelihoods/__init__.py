"""Likelihoods p(x | z), column by column."""

from skvae.model.likelihoods._base import LikelihoodModule, LikelihoodSpec
from skvae.model.likelihoods.bernoulli import BernoulliLikelihood
from skvae.model.likelihoods.categorical import CategoricalLikelihood
from skvae.model.likelihoods.gaussian import GaussianLikelihood
from skvae.model.likelihoods.logistic_mixture import LogisticMixtureLikelihood
from skvae.model.likelihoods.mixed import MixedLikelihood
from skvae.model.likelihoods.mixture import MixtureLikelihood
from skvae.model.likelihoods.negative_binomial import NegativeBinomialLikelihood
from skvae.model.likelihoods.poisson import PoissonLikelihood
from skvae.model.likelihoods.student_t import StudentTLikelihood

__all__ = [
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "GaussianLikelihood",
    "LikelihoodModule",
    "LikelihoodSpec",
    "LogisticMixtureLikelihood",
    "MixedLikelihood",
    "MixtureLikelihood",
    "NegativeBinomialLikelihood",
    "PoissonLikelihood",
    "StudentTLikelihood",
]
