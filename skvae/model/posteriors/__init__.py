"""Approximate posteriors q(z | x)."""

from skvae.model.posteriors._base import PosteriorModule, PosteriorSpec
from skvae.model.posteriors.diagonal import DiagonalPosterior
from skvae.model.posteriors.flow import FlowPosterior
from skvae.model.posteriors.full import FullPosterior
from skvae.model.posteriors.implicit import ImplicitPosterior
from skvae.model.posteriors.ladder import LadderPosterior

__all__ = [
    "DiagonalPosterior",
    "FlowPosterior",
    "FullPosterior",
    "ImplicitPosterior",
    "LadderPosterior",
    "PosteriorModule",
    "PosteriorSpec",
]
