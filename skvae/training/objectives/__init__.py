"""Training objectives: lower bounds on log p(x)."""

from skvae.training.objectives._base import ObjectiveSpec
from skvae.training.objectives.elbo import ELBO
from skvae.training.objectives.iwae import IWAE

__all__ = ["ELBO", "IWAE", "ObjectiveSpec"]
