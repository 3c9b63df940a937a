"""Component specs: the hyper-parameters of one part of the model."""

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, ClassVar, TypeVar

from sklearn.base import BaseEstimator, clone

__all__ = [
    "ComponentSpec",
    "layer_sizes",
    "level_sizes",
    "open_aliases",
    "positive_int",
    "registered",
    "resolve",
]


class ComponentSpec(BaseEstimator):
    """Hyper-parameters of one component; a scikit-learn parameter object.

    A spec holds no tensors. ``get_params``, ``clone``, nested ``set_params``
    (``prior__n_modes=8``), pickling and printing are scikit-learn's. A family
    (prior, posterior, ...) is a direct subclass; a variant is a direct subclass of
    its family, so that Python's own subclass list is the registry.

    Attributes
    ----------
    family : str
        What the component is called in messages and in the estimator's parameters.
    alias : str
        The string that stands for this spec with its defaults. Empty for none.
    """

    family: ClassVar[str]
    alias: ClassVar[str] = ""

    def set_params(self, **params: Any) -> "ComponentSpec":
        """Set parameters by name, also those of components inside this one.

        A component inside, such as the `top` of a ladder, is of the same family. If it
        is an alias, it becomes a spec: ``set_params(top__n_modes=8)``.
        """
        own = next(c for c in type(self).__mro__ if ComponentSpec in c.__bases__)
        return super().set_params(**open_aliases(self, params, lambda name: own))


SpecT = TypeVar("SpecT", bound=ComponentSpec)


def registered(family: type[SpecT]) -> dict[str, type[SpecT]]:
    """Return the variants of a family that have an alias, by alias.

    Raises
    ------
    ValueError
        If two classes of different names have the same alias. A class that is defined
        anew, as in a notebook, takes the place of its former self.
    """
    variants: dict[str, type[SpecT]] = {}
    for spec in family.__subclasses__():
        if not spec.alias:
            continue
        other = variants.get(spec.alias, spec)
        if _full_name(other) != _full_name(spec):
            raise ValueError(
                f"{_full_name(spec)} has the alias {spec.alias!r}, which is that of "
                f"{_full_name(other)} already. Give it another one, or none."
            )
        variants[spec.alias] = spec
    return variants


def _full_name(spec: type) -> str:
    return f"{spec.__module__}.{spec.__qualname__}"


def resolve(value: object, family: type[SpecT], *, also: str = "") -> SpecT:
    """Return a fresh spec for an alias or for a spec object.

    Parameters
    ----------
    value : str or ComponentSpec
        An alias such as ``"mixture"``, or a spec, which is cloned.
    family : type
        The family that the spec has to belong to.
    also : str, default=""
        What else is allowed, for the message, such as ``"'auto', None, "``.

    Raises
    ------
    ValueError
        If the alias is unknown.
    TypeError
        If the object is neither a string nor a spec of this family.
    """
    if isinstance(value, family):
        return clone(value)
    if isinstance(value, str):
        variants = registered(family)
        if value in variants:
            return variants[value]()
        raise ValueError(
            f"{family.family}={value!r} is unknown. Allowed: "
            f"{also}{', '.join(repr(alias) for alias in sorted(variants))}, "
            f"or an instance of a {family.__name__} subclass."
        )
    raise TypeError(
        f"{family.family} must be a str or an instance of a {family.__name__} "
        f"subclass, got {value!r} of type {type(value).__name__}."
    )


def open_aliases(
    estimator: BaseEstimator,
    params: Mapping[str, Any],
    family_of: Callable[[str], type[ComponentSpec] | None],
) -> dict[str, Any]:
    """Return parameters to set, with specs for the aliases that some of them are of.

    scikit-learn sets ``prior__n_modes`` on the object that is the parameter `prior`.
    An alias is no object: here it becomes the spec that it stands for, with this
    parameter set.

    Parameters
    ----------
    estimator : estimator
        Whose parameters are to be set.
    params : dict
        What the user gave to its `set_params`.
    family_of : callable
        Returns the family of components that a parameter takes, by its name; None for
        a parameter that takes no component.

    Raises
    ------
    ValueError
        If the parameter is one of a component that is not chosen yet, as for "auto".
    """
    opened = {name: value for name, value in params.items() if "__" not in name}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in params.items():
        outer, found, inner = name.partition("__")
        if found:
            nested.setdefault(outer, {})[inner] = value
    current = estimator.get_params(deep=False)
    for outer, inside in nested.items():
        value = opened.get(outer, current.get(outer))
        family = family_of(outer)
        if family is None or outer not in current or hasattr(value, "set_params"):
            opened.update({f"{outer}__{name}": each for name, each in inside.items()})
            continue
        if not isinstance(value, str) or value not in registered(family):
            known = ", ".join(repr(alias) for alias in sorted(registered(family)))
            (first, *_) = inside
            raise ValueError(
                f"{outer}__{first} is a parameter of a component, but "
                f"{outer}={value!r} is none. Set both: {outer}=<one of {known}, or an "
                f"instance of a {family.__name__} subclass>, {outer}__{first}=..."
            )
        opened[outer] = resolve(value, family).set_params(**inside)
    return opened


def positive_int(value: object, name: str, *, also: str = "") -> int:
    """Return value as an int of at least one.

    Parameters
    ----------
    value : object
        What the user gave.
    name : str
        What to call it in the message, such as ``"n_modes of MixturePrior"``.
    also : str, default=""
        What else is allowed, for the message, such as ``" or 'auto'"``.

    Raises
    ------
    ValueError
        If it is not a positive integer.
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1:
        return int(value)
    raise ValueError(f"{name} must be a positive int{also}, got {value!r}.")


def layer_sizes(value: object, default: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Return hidden layer sizes as a tuple of positive ints; None is the default."""
    if value is None:
        return default
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of int or None, got {value!r}.")
    return tuple(positive_int(size, f"each of {name}") for size in value)


def level_sizes(value: object, n_components: int, name: str) -> tuple[int, ...]:
    """Return the numbers of latents of each level, bottom level first.

    Parameters
    ----------
    value : object
        What the user gave.
    n_components : int
        Number of latents of the model, which the levels have to add up to.
    name : str
        What to call it in the message, such as ``"levels of LadderPrior"``.

    Raises
    ------
    ValueError
        If it is not a tuple of positive ints, or if these do not add up.
    """
    if not isinstance(value, (tuple, list)) or not value:
        raise ValueError(
            f"{name} must be a non-empty tuple of positive int, got {value!r}."
        )
    levels = tuple(positive_int(size, f"each of {name}") for size in value)
    if sum(levels) != n_components:
        raise ValueError(
            f"{name}={levels} are {sum(levels)} latents, but the model has "
            f"{n_components}."
        )
    return levels
