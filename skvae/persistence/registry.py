"""Which classes may be built from a file, and their names."""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Protocol, runtime_checkable

from sklearn.base import BaseEstimator
from sklearn.utils import Bunch
from torch import nn

__all__ = [
    "PlainState",
    "class_named",
    "defaults_of",
    "is_own",
    "name_of_class",
    "package_version",
    "registers",
]

PACKAGE = __name__.split(".", maxsplit=1)[0]
# Parts of the package that may be built, by their base classes.
BASES: tuple[type, ...] = (BaseEstimator, nn.Module)
TORCH_LAYERS = "torch.nn.modules."


@runtime_checkable
class PlainState(Protocol):
    """What is not stored by its attributes, but by other values."""

    def plain_state(self) -> dict[str, Any]:
        """Return plain values that say what the object is."""

    def restore(self, state: dict[str, Any]) -> None:
        """Make an object without attributes the one that has this state.

        The state may come from anyone: it raises what `decode` turns into an error
        before it allocates more memory than the state itself takes.
        """


def registers(kind: type) -> bool:
    """Return whether objects of a class are stored by their attributes."""
    if kind is Bunch or _is_layer(kind):
        return True
    if not _in_package(kind):
        return False
    return issubclass(kind, BASES) or is_dataclass(kind)


def is_own(kind: type) -> bool:
    """Return whether a class is a user's own component, or a part of one.

    Objects of it are stored like those of skvae, but built only if the class is given.
    """
    return issubclass(kind, nn.Module) or any(map(_in_package, kind.__mro__[1:]))


def name_of_class(kind: type) -> str:
    """Return the full name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def package_version() -> str:
    """Return the version of this package."""
    return str(importlib.import_module(PACKAGE).__version__)


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the default values of an estimator's parameters, by name.

    A file of an earlier version lacks parameters that came later.
    """
    if not issubclass(kind, BaseEstimator):
        return {}
    return {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def class_named(name: str, components: Mapping[str, type]) -> type:
    """Return a class by its full name.

    Parameters
    ----------
    name : str
        As `name_of_class` has it.
    components : mapping of str to type
        Classes that are allowed besides the registered ones.

    Raises
    ------
    ValueError
        If it is not allowed.
    """
    if name in components:
        return components[name]
    found = _registered().get(name)
    if found is None and name.startswith(TORCH_LAYERS):
        layer = getattr(nn, name.rsplit(".", maxsplit=1)[-1], None)
        if (
            isinstance(layer, type)
            and _is_layer(layer)
            and name_of_class(layer) == name
        ):
            found = layer
    if found is None:
        raise ValueError(
            f"the class {name} is not one that may be built. If it is a component of "
            f"your own, pass the class in components"
        )
    return found


@functools.cache
def _registered() -> dict[str, type]:
    """Return all classes that may be built, by name."""
    package = importlib.import_module(PACKAGE)
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")
        if not found.name.endswith(".__main__")
    ]
    own = {
        name_of_class(kind): kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type)
        and kind.__module__ == module.__name__
        and registers(kind)
    }
    return own | {name_of_class(Bunch): Bunch}


def _in_package(kind: type) -> bool:
    return kind.__module__.split(".", maxsplit=1)[0] == PACKAGE


def _is_layer(kind: type) -> bool:
    """Return whether a class is one of torch's layers and containers of layers."""
    return kind.__module__.startswith(TORCH_LAYERS) and issubclass(kind, nn.Module)
