"""Which family of densities? p(x) = ∫ p(x | z) p(z) dz, with an encoder q(z | x)."""

from skvae.model.context import BuildContext, LinearStart
from skvae.model.draw import LatentDraw
from skvae.model.vae import VAE

__all__ = ["VAE", "BuildContext", "LatentDraw", "LinearStart"]
