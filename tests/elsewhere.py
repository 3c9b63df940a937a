"""A pretended second device: its tensors hold numbers, and mix with no others.

They say that they are on torch's device "meta", which takes part in autograd and needs
no hardware. In fact each of them wraps a tensor of the CPU, so that code that reads
values works, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.distributed.tensor  # which torch imports lazily, and needs its Generator
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")
MOVES = ("aten.copy_.default", "aten._to_copy.default")
SELECTS = ("aten.index.Tensor", "aten.index_put.default", "aten.index_put_.default")
Generator = torch.Generator
GENERATORS: list[Generator] = []  # those that are elsewhere


class Elsewhere(torch.Tensor):
    """A tensor of the CPU that pretends to be elsewhere."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "Elsewhere":
        outer = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=ELSEWHERE,
            requires_grad=inner.requires_grad,
        )
        outer.inner = inner
        return outer

    @property
    def data(self) -> "Elsewhere":
        return Elsewhere(self.inner.detach())

    @data.setter
    def data(self, value: "Elsewhere") -> None:
        torch.Tensor.data.__set__(self, value)
        self.inner = value.inner

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return run(function, args, kwargs or {})


class PretendMode(TorchDispatchMode):
    """Runs every operation on the CPU, and raises if it mixes devices."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return run(function, args, kwargs or {})


class GeneratorMode(TorchFunctionMode):
    """Raises if random numbers are of another device than their generator.

    Operations below this level get another object for the same generator.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        for value in (*args, *kwargs.values()):
            if isinstance(value, Generator) and isinstance(out, torch.Tensor):
                away = any(value is generator for generator in GENERATORS)
                if away != (out.device == ELSEWHERE):
                    raise RuntimeError(f"{function} mixes devices with its generator")
        return out


def run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = str(function)
    given = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in given if isinstance(leaf, torch.Tensor)]
    device = kwargs.get("device")
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    away = [isinstance(tensor, Elsewhere) for tensor in tensors]
    if any(away) and not all(away) and name not in MOVES:
        # As on CUDA: numbers of the CPU may take part, and its indices may select from
        # what is elsewhere, but not the other way round.
        indices = tree_leaves(args[1]) if name in SELECTS and away[0] else []
        for tensor in tensors:
            if not isinstance(tensor, Elsewhere) and tensor.dim():
                if not any(tensor is index for index in indices):
                    raise RuntimeError(f"{name} mixes devices: {tuple(tensor.shape)}")
    goes_away = any(away) if device is None else torch.device(device) == ELSEWHERE
    out = function(*tree_map(_inside, args), **tree_map(_inside, kwargs))
    if name == "aten.copy_.default":
        return args[0]

    def outside(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        for tensor in tensors:  # changed in place
            if value is tensor or getattr(tensor, "inner", None) is value:
                return tensor
        return Elsewhere(value) if goes_away else value

    return tree_map(outside, out)


def _inside(value: Any) -> Any:
    return value.inner if isinstance(value, Elsewhere) else value


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """Let tensors move to the pretended device, and generators be on it."""
    to, tolist, new = torch.Tensor.to, torch.Tensor.tolist, torch.tensor

    def moved(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        device, dtype = kwargs.get("device"), kwargs.get("dtype")
        for value in args:
            if isinstance(value, torch.Tensor):
                device, dtype = value.device, value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, (str, torch.device)):
                device = torch.device(value)
        out = self if dtype in (None, self.dtype) else to(self, dtype)
        if device is None or device == out.device:
            return out
        if device == ELSEWHERE:
            return Elsewhere(out.detach()).requires_grad_(out.requires_grad)
        return _inside(out)

    def tensor(data: Any, *, dtype: Any = None, device: Any = "cpu") -> torch.Tensor:
        return new(data, dtype=dtype).to(torch.device(device))

    def new_tensor(self: torch.Tensor, data: Any, **kwargs: Any) -> torch.Tensor:
        return tensor(data, **{"dtype": self.dtype, "device": self.device, **kwargs})

    def generator(device: Any = "cpu") -> Generator:
        made = Generator("cpu")
        if torch.device(device) == ELSEWHERE:
            GENERATORS.append(made)
        return made

    with pytest.MonkeyPatch.context() as patch, PretendMode(), GeneratorMode():
        patch.setattr(torch, "tensor", tensor)
        patch.setattr(torch.Tensor, "new_tensor", new_tensor)
        patch.setattr(torch.Tensor, "to", moved)
        patch.setattr(torch.Tensor, "cpu", _inside)
        patch.setattr(torch.Tensor, "tolist", lambda self: tolist(_inside(self)))
        patch.setattr(torch, "Generator", generator)
        yield ELSEWHERE
        GENERATORS.clear()
