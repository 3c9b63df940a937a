"""Which family of densities? p(x) = ∫ p(x | z) p(z) dz, with an encoder q(z | x)."""

from skvae.model.closed_form import ClosedFormPart
from skvae.model.context import BuildContext, LinearStart
from skvae.model.draw import Aggregate, LatentDraw
from skvae.model.vae import VAE

__all__ = [
    "VAE",
    "Aggregate",
    "BuildContext",
    "ClosedFormPart",
    "LatentDraw",
    "LinearStart",
]
