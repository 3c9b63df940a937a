"""Training objectives: lower bounds on log p(x)."""

from skvae.training.objectives._base import ObjectiveSpec
from skvae.training.objectives.dreg import DReG
from skvae.training.objectives.elbo import ELBO
from skvae.training.objectives.info import InfoObjective
from skvae.training.objectives.iwae import IWAE
from skvae.training.objectives.stl import StickingTheLanding

__all__ = [
    "ELBO",
    "IWAE",
    "DReG",
    "InfoObjective",
    "ObjectiveSpec",
    "StickingTheLanding",
]
