"""A module's twin whose parameters are out of reach of gradients."""

import copy
from typing import TypeVar

from torch import nn

__all__ = ["detached_module"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def detached_module(module: ModuleT) -> ModuleT:
    """Return a module that shares all tensors; gradients flow to its inputs only.

    It is for one forward pass: where the original's tensors are replaced, as by
    ``module.to``, the twin keeps the old ones.
    """
    twin = copy.copy(module)
    twin.__dict__["_parameters"] = {
        name: None if parameter is None else parameter.detach()
        for name, parameter in module._parameters.items()
    }
    twin.__dict__["_modules"] = {
        name: None if part is None else detached_module(part)
        for name, part in module._modules.items()
    }
    return twin
