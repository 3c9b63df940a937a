"""Backgrounds p₀(x): densities in closed form of the rows that no latent explains."""

from skvae.model.backgrounds._base import BackgroundModule, BackgroundSpec
from skvae.model.backgrounds.independent import IndependentBackground
from skvae.model.backgrounds.mixed import MixedBackground
from skvae.model.backgrounds.student_t import StudentTBackground

__all__ = [
    "BackgroundModule",
    "BackgroundSpec",
    "IndependentBackground",
    "MixedBackground",
    "StudentTBackground",
]
