"""Densities of tables by variational autoencoders, at home in scikit-learn."""

from skvae.density import VAEDensity
from skvae.evidence import Evidence
from skvae.model.decoders import DecoderSpec, MLPDecoder
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    GaussianLikelihood,
    LikelihoodSpec,
    MixtureLikelihood,
)
from skvae.model.posteriors import DiagonalPosterior, FullPosterior, PosteriorSpec
from skvae.model.priors import MixturePrior, NormalPrior, PriorSpec
from skvae.training.objectives import ELBO, IWAE, ObjectiveSpec

__version__ = "0.1.0"

__all__ = [
    "ELBO",
    "IWAE",
    "BernoulliLikelihood",
    "DecoderSpec",
    "DiagonalPosterior",
    "Evidence",
    "FullPosterior",
    "GaussianLikelihood",
    "LikelihoodSpec",
    "MLPDecoder",
    "MixtureLikelihood",
    "MixturePrior",
    "NormalPrior",
    "ObjectiveSpec",
    "PosteriorSpec",
    "PriorSpec",
    "VAEDensity",
]
