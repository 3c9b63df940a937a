"""Objects as a tree of plain values beside arrays, and back.

Pickle stores *what to call* to make an object, so that reading it runs code. Here, an
object is the name of its class and the values of its attributes. Reading it allocates
an object of a registered class (`registry.py`) and sets the attributes.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from skvae.persistence.frames import frame_from_parts, parts_of_frame
from skvae.persistence.registry import (
    PlainState,
    class_named,
    defaults_of,
    is_own,
    name_of_class,
    registers,
)
from skvae.tables.labels import is_frame

__all__ = ["Encoded", "MalformedError", "decode", "encode"]

# A node is a value as JSON has it (None, bool, int, str, finite float), or a mapping
# whose entry KIND says what the others mean.
KIND = "is"
ARRAY_KINDS = "biufU"  # truth values, whole and real numbers, text
BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
OF_EVERY_MODULE = frozenset(vars(nn.Module()))
MODULE_STATE = ("_parameters", "_buffers", "_modules")
MODULE_FLAGS = ("training", "_non_persistent_buffers_set")


class MalformedError(ValueError):
    """A tree that says what cannot be."""


@dataclass
class Encoded:
    """An object as a tree.

    Attributes
    ----------
    root : object
        What JSON can hold.
    arrays : list of ndarray
        The arrays, to which the tree refers by number.
    others : list of object
        Objects of other libraries' or of unknown classes, by number.
    places : list of str
        Where each of the others was found, such as "density_.prior".
    """

    root: Any
    arrays: list[NDArray[Any]] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


def encode(value: object, *, own: bool = False) -> Encoded:
    """Return an object as a tree, arrays, and what is neither.

    Parameters
    ----------
    value : object
        Its parts may be shared, and may refer to one another.
    own : bool, default=False
        Whether components that users wrote are part of the tree, not others.

    Returns
    -------
    encoded : Encoded
    """
    encoder = _Encoder(own)
    root = encoder.node(value)
    return Encoded(root, encoder.arrays, encoder.others, encoder.places)


def decode(encoded: Encoded, components: Mapping[str, type] | None = None) -> Any:
    """Return the object that was encoded.

    Parameters
    ----------
    encoded : Encoded
        Its tree may come from anyone.
    components : mapping of str to type, default=None
        Classes that may be built besides the registered ones, by their full names.

    Returns
    -------
    value : object

    Raises
    ------
    MalformedError
        If the tree names a class that is not registered, or is none of `encode`'s.
    """
    decoder = _Decoder(encoded, components or {})
    try:
        return decoder.value(encoded.root)
    except MalformedError:
        raise
    except RecursionError:
        raise MalformedError("the tree is too deep") from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise MalformedError(f"{type(error).__name__}: {error}") from error


class _Encoder:
    def __init__(self, own: bool) -> None:
        self.arrays: list[NDArray[Any]] = []
        self.others: list[Any] = []
        self.places: list[str] = []
        self._own = own
        self._path: list[str] = []
        # Numbers of the nodes of objects that may be shared. The objects are kept, so
        # that no other one gets the same identity meanwhile.
        self._seen: dict[int, tuple[int, Any]] = {}

    def node(self, value: Any) -> Any:
        """Return the node of a value."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else _node("float", of=repr(value))
        if isinstance(value, np.generic) and value.dtype.kind in ARRAY_KINDS:
            # A NumPy scalar is an array of no dimensions.
            return _node("scalar", **self._array(np.asarray(value)))
        known = self._seen.get(id(value))
        if known is not None:
            return _node("same", number=known[0])
        self._seen[id(value)] = len(self._seen), value
        return self._composite(value)

    def _composite(self, value: Any) -> Any:
        kind = type(value)
        if kind in SEQUENCES.values():
            # Sets have no order; that of their items' texts is always the same.
            items = sorted(value, key=repr) if kind in (set, frozenset) else value
            return _node(kind.__name__, items=[self.node(item) for item in items])
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, np.ndarray):
            return self._ndarray(value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, torch.dtype):
            return _node("torch.dtype", name=str(value).removeprefix("torch."))
        if isinstance(value, (np.random.RandomState, np.random.Generator)):
            return self._random(value)
        if isinstance(value, sparse.spmatrix | sparse.sparray):
            return self._sparse(value)
        if is_frame(value):
            return _node("frame", parts=self.node(parts_of_frame(value)))
        if registers(kind) or (self._own and is_own(kind)):
            return self._object(value)
        return self._other(value)

    def _other(self, value: object) -> Any:
        self.others.append(value)
        self.places.append(".".join(self._path))
        return _node("other", number=len(self.others) - 1)

    def _mapping(self, value: dict[Any, Any]) -> Any:
        if type(value) is not dict and not registers(type(value)):
            return self._other(value)
        items = [[self.node(key), self.node(item)] for key, item in value.items()]
        name = None if type(value) is dict else name_of_class(type(value))
        return _node("dict", items=items, **({"class": name} if name else {}))

    def _array(self, value: NDArray[Any]) -> dict[str, Any]:
        """Keep an array; return its number, and the order of its axes in memory.

        Sums over arrays of another layout differ by rounding.
        """
        axes = sorted(range(value.ndim), key=lambda axis: -value.strides[axis])
        self.arrays.append(np.asarray(value.transpose(axes), order="C"))
        number = {"array": len(self.arrays) - 1}
        return number | ({"axes": axes} if axes != sorted(axes) else {})

    def _ndarray(self, value: NDArray[Any]) -> Any:
        if value.dtype.kind in ARRAY_KINDS:
            return _node("array", **self._array(np.asarray(value)))
        if value.dtype == object:
            items = [self.node(item) for item in value.ravel()]
            return _node("cells", shape=list(value.shape), items=items)
        return self._other(value)

    def _tensor(self, value: Tensor) -> Any:
        array = self._array(value.detach().cpu().numpy())
        if isinstance(value, nn.Parameter):
            return _node("parameter", trained=value.requires_grad, **array)
        return _node("tensor", **array)

    def _random(self, value: np.random.RandomState | np.random.Generator) -> Any:
        state: Mapping[str, Any]
        legacy = isinstance(value, np.random.RandomState)
        if isinstance(value, np.random.RandomState):
            state = value.get_state(legacy=False)
        else:
            state = value.bit_generator.state
        return _node("random", legacy=legacy, state=self.node(dict(state)))

    def _sparse(self, value: Any) -> Any:
        rows = sparse.csr_array(value)
        parts = [rows.data, rows.indices, rows.indptr]
        return _node(
            "sparse",
            is_array=isinstance(value, sparse.sparray),
            shape=list(rows.shape),
            parts=[self.node(part) for part in parts],
        )

    def _object(self, value: Any) -> Any:
        state: Mapping[str, Any] = vars(value)
        if isinstance(value, PlainState):
            state = value.plain_state()
        elif isinstance(value, nn.Module):
            hooks = [
                name
                for name in OF_EVERY_MODULE - {*MODULE_STATE, *MODULE_FLAGS}
                if name.endswith("_hooks") and state.get(name)
            ]
            if hooks:
                raise ValueError(f"{value!r} has {hooks[0]}, which no file can hold.")
            own = {k: v for k, v in state.items() if k not in OF_EVERY_MODULE}
            own |= {name: dict(state[name]) for name in MODULE_STATE}
            state = own | {name: state[name] for name in MODULE_FLAGS}
        attributes = {}
        for name, item in state.items():
            self._path.append(name)
            attributes[name] = self.node(item)
            self._path.pop()
        return _node(
            "object", **{"class": name_of_class(type(value))}, state=attributes
        )


class _Decoder:
    def __init__(self, encoded: Encoded, components: Mapping[str, type]) -> None:
        self._arrays = encoded.arrays
        self._others = encoded.others
        self._components = components
        self._seen: list[Any] = []
        self._kinds: dict[str, Callable[[dict[str, Any], int], Any]] = {
            "array": self._ndarray,
            "cells": self._cells,
            "dict": self._mapping,
            "frame": self._frame,
            "object": self._object,
            "other": self._other,
            "parameter": self._parameter,
            "random": self._random,
            "sparse": self._sparse,
            "tensor": self._tensor,
            "torch.dtype": self._dtype,
            **dict.fromkeys(SEQUENCES, self._sequence),
        }

    def value(self, node: Any) -> Any:
        """Return the value of a node."""
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if not isinstance(node, dict):
            raise MalformedError(f"a node is a {type(node).__name__}")
        kind = node[KIND]
        if kind == "float":
            return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[node["of"]]
        if kind == "scalar":
            array = self._array(node)
            if array.shape:
                raise MalformedError("a scalar has dimensions")
            return array[()]
        if kind == "same":
            found = self._seen[_index(node["number"], len(self._seen))]
            if found is _UNFINISHED:
                raise MalformedError("an object contains itself")
            return found
        if kind not in self._kinds:
            raise MalformedError(f"nodes of kind {kind!r} are unknown")
        number = len(self._seen)
        self._seen.append(_UNFINISHED)
        found = self._kinds[kind](node, number)
        self._seen[number] = found
        return found

    def _array(self, node: dict[str, Any]) -> NDArray[Any]:
        """Return a copy: arrays may be read-only, as those that joblib maps are."""
        array = self._arrays[_index(node["array"], len(self._arrays))].copy()
        if "axes" not in node:
            return array
        axes = [_index(axis) for axis in _list(node["axes"])]
        if sorted(axes) != list(range(array.ndim)):
            raise MalformedError(f"{axes} are not the axes of {array.ndim} dimensions")
        return array.transpose(np.argsort(axes))

    def _ndarray(self, node: dict[str, Any], number: int) -> NDArray[Any]:
        return self._array(node)

    def _parameter(self, node: dict[str, Any], number: int) -> nn.Parameter:
        tensor = self._tensor(node, number)
        return nn.Parameter(tensor, requires_grad=bool(node["trained"]))

    def _tensor(self, node: dict[str, Any], number: int) -> Tensor:
        return torch.from_numpy(self._array(node))

    def _sequence(self, node: dict[str, Any], number: int) -> Any:
        kind = SEQUENCES[node[KIND]]
        if kind is list:
            found: list[Any] = []
            self._seen[number] = found
            found.extend(self.value(item) for item in _list(node["items"]))
            return found
        return kind([self.value(item) for item in _list(node["items"])])

    def _mapping(self, node: dict[str, Any], number: int) -> Any:
        kind = self._class_of(node) if "class" in node else dict
        if not issubclass(kind, dict):
            raise MalformedError(f"{kind.__name__} is no mapping")
        found = kind.__new__(kind)
        self._seen[number] = found
        for key, item in _list(node["items"]):
            dict.__setitem__(found, self.value(key), self.value(item))
        return found

    def _cells(self, node: dict[str, Any], number: int) -> NDArray[Any]:
        items = [self.value(item) for item in _list(node["items"])]
        shape = tuple(_index(length) for length in _list(node["shape"]))
        if math.prod(shape) != len(items):
            raise MalformedError(f"{len(items)} cells cannot have the shape {shape}")
        found = np.empty(len(items), dtype=object)
        found[:] = items
        return found.reshape(shape)

    def _dtype(self, node: dict[str, Any], number: int) -> torch.dtype:
        found = getattr(torch, _text(node["name"]))
        if not isinstance(found, torch.dtype):
            raise MalformedError(f"{node['name']!r} is no dtype")
        return found

    def _random(self, node: dict[str, Any], number: int) -> Any:
        state = self.value(node["state"])
        name = state["bit_generator"]
        if name not in BIT_GENERATORS:
            raise MalformedError(f"{name!r} is no bit generator")
        bits = getattr(np.random, name)(0)
        if not node["legacy"]:
            bits.state = state
            return np.random.Generator(bits)
        random = np.random.RandomState(bits)
        random.set_state(state)
        return random

    def _sparse(self, node: dict[str, Any], number: int) -> Any:
        data, indices, indptr = (self.value(part) for part in _list(node["parts"]))
        shape = tuple(_index(length) for length in _list(node["shape"]))
        kind = sparse.csr_array if node["is_array"] else sparse.csr_matrix
        found = kind((data, indices, indptr), shape=shape)
        found.check_format()
        return found

    def _frame(self, node: dict[str, Any], number: int) -> Any:
        return frame_from_parts(self.value(node["parts"]))

    def _other(self, node: dict[str, Any], number: int) -> Any:
        return self._others[_index(node["number"], len(self._others))]

    def _class_of(self, node: dict[str, Any]) -> type:
        return class_named(_text(node["class"]), self._components)

    def _object(self, node: dict[str, Any], number: int) -> Any:
        kind = self._class_of(node)
        found: Any = object.__new__(kind)
        self._seen[number] = found
        if not isinstance(node["state"], dict):
            raise MalformedError(f"the state of {kind.__name__} is no mapping")
        if isinstance(found, nn.Module):
            nn.Module.__init__(found)
        state = {name: self.value(item) for name, item in node["state"].items()}
        if isinstance(found, PlainState):
            found.restore(state)
            return found
        if is_dataclass(kind):
            declared = {f.name for f in fields(kind)}
            if not declared <= set(state):
                missing = ", ".join(sorted(declared - set(state)))
                raise MalformedError(f"{kind.__name__} has no {missing}")
        if isinstance(found, nn.Module):
            _check_module(kind, state)
        vars(found).update(defaults_of(kind) | state)
        return found


SEQUENCES: dict[str, type] = {
    kind.__name__: kind for kind in (list, tuple, set, frozenset)
}
_UNFINISHED = object()


def _node(kind: str, **entries: Any) -> dict[str, Any]:
    return {KIND: kind, **entries}


def _index(number: Any, length: int | None = None) -> int:
    if type(number) is not int or number < 0:
        raise MalformedError(f"{number!r} is no index")
    if length is not None and number >= length:
        raise MalformedError(f"there are {length} objects, but no number {number}")
    return number


def _list(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise MalformedError(f"items are a {type(items).__name__}")
    return items


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise MalformedError(f"a name is a {type(name).__name__}")
    return name


def _check_module(kind: type, state: dict[str, Any]) -> None:
    """Raise if the parts of a torch module are none."""
    parts: Iterable[tuple[str, tuple[type, ...]]] = (
        ("_parameters", (nn.Parameter, type(None))),
        ("_buffers", (Tensor, type(None))),
        ("_modules", (nn.Module, type(None))),
    )
    for name, allowed in parts:
        of_name = state.get(name)
        if not isinstance(of_name, dict) or not all(
            isinstance(key, str) and isinstance(part, allowed)
            for key, part in of_name.items()
        ):
            raise MalformedError(f"{kind.__name__} has no proper {name}")
    if not isinstance(state.get("_non_persistent_buffers_set"), set):
        raise MalformedError(f"{kind.__name__} does not say which buffers are kept")
    if not isinstance(state.get("training"), bool):
        raise MalformedError(f"{kind.__name__} does not say whether it is training")
    strangers = (OF_EVERY_MODULE - {*MODULE_STATE, *MODULE_FLAGS}) & set(state)
    if strangers:
        raise MalformedError(f"{kind.__name__} has {sorted(strangers)[0]}")
