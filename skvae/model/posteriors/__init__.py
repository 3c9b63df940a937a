"""Approximate posteriors q(z | x)."""

from skvae.model.posteriors._base import PosteriorModule, PosteriorSpec
from skvae.model.posteriors.diagonal import DiagonalPosterior
from skvae.model.posteriors.full import FullPosterior

__all__ = ["DiagonalPosterior", "FullPosterior", "PosteriorModule", "PosteriorSpec"]
