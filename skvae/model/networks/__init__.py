"""Networks: what the modules of the components learn with."""

from skvae.model.networks._base import (
    INPUT_BOUND,
    Network,
    dropout_from,
    dropout_mask,
)
from skvae.model.networks.critic import Critic
from skvae.model.networks.detached import detached_module
from skvae.model.networks.level import LevelModule
from skvae.model.networks.masked_mlp import MaskedMLP
from skvae.model.networks.skip_mlp import SkipMLP
from skvae.model.networks.spline_flow import SplineFlow

__all__ = [
    "INPUT_BOUND",
    "Critic",
    "LevelModule",
    "MaskedMLP",
    "Network",
    "SkipMLP",
    "SplineFlow",
    "detached_module",
    "dropout_from",
    "dropout_mask",
]
