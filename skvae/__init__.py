"""Densities of tables by variational autoencoders, at home in scikit-learn."""

from skvae.classification import DensityClassifier
from skvae.conditional import ConditionalVAEDensity
from skvae.density import VAEDensity
from skvae.diagnostics import Diagnosis
from skvae.evidence import (
    Bounds,
    DefensiveProposal,
    EncoderProposal,
    Evidence,
    PriorProposal,
    Proposal,
    QuadratureProposal,
    RefinedProposal,
)
from skvae.model.backgrounds import (
    BackgroundSpec,
    IndependentBackground,
    StudentTBackground,
)
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
    "BackgroundSpec",
    "BernoulliLikelihood",
    "Bounds",
    "ConditionalVAEDensity",
    "DecoderSpec",
    "DefensiveProposal",
    "DensityClassifier",
    "Diagnosis",
    "DiagonalPosterior",
    "EncoderProposal",
    "Evidence",
    "FullPosterior",
    "GaussianLikelihood",
    "IndependentBackground",
    "LikelihoodSpec",
    "MLPDecoder",
    "MixtureLikelihood",
    "MixturePrior",
    "NormalPrior",
    "ObjectiveSpec",
    "PosteriorSpec",
    "PriorProposal",
    "PriorSpec",
    "Proposal",
    "QuadratureProposal",
    "RefinedProposal",
    "StudentTBackground",
    "VAEDensity",
]
