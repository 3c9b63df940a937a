"""Distributions over the latents, driven by standard-normal noise from outside."""

from skvae.model.distributions._base import LatentDistribution
from skvae.model.distributions.chain import Chain, GaussianStep, MergedStep, Step
from skvae.model.distributions.codes import CodeDistribution
from skvae.model.distributions.fixed_noise import fixed_noise, mean_over_fixed_noise
from skvae.model.distributions.gaussian import (
    HALF_LOG_2PI,
    CholeskyGaussian,
    DiagonalGaussian,
    StandardNormal,
)
from skvae.model.distributions.gaussian_mixtures import (
    CholeskyGaussianMixture,
    DiagonalGaussianMixture,
)
from skvae.model.distributions.implicit import ImplicitDistribution
from skvae.model.distributions.mixtures import MixtureOfDistributions, MixtureOverRows
from skvae.model.distributions.shared import SharedDistribution
from skvae.model.distributions.transformed import BentGaussian, PulledBackNormal

__all__ = [
    "HALF_LOG_2PI",
    "BentGaussian",
    "Chain",
    "CholeskyGaussian",
    "CholeskyGaussianMixture",
    "CodeDistribution",
    "DiagonalGaussian",
    "DiagonalGaussianMixture",
    "GaussianStep",
    "ImplicitDistribution",
    "LatentDistribution",
    "MergedStep",
    "MixtureOfDistributions",
    "MixtureOverRows",
    "PulledBackNormal",
    "SharedDistribution",
    "StandardNormal",
    "Step",
    "fixed_noise",
    "mean_over_fixed_noise",
]
