"""A copy of a module whose parameters receive no gradients."""

import copy
from typing import TypeVar

from torch import nn

__all__ = ["detached_module"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def detached_module(module: ModuleT) -> ModuleT:
    """Return a copy that shares all tensors and passes gradients to its inputs only.

    Make a copy for each forward pass: when the tensors of the original are replaced, as
    by ``module.to``, the copy keeps the old ones.
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
