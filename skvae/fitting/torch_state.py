"""The state of torch while a model is fitted."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from skvae.model.dtype import BUILD_DTYPE
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.spec import ComponentSpec, registered
from skvae.model.threads import one_thread

__all__ = ["global_state_for", "training_state"]

PACKAGE = __name__.partition(".")[0]

# Torch's global state is changed by one fit at a time. A fork waits for it: the child
# would inherit a lock that no thread of its own ever releases.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_lock.acquire,
        after_in_parent=_lock.release,
        after_in_child=_lock.release,
    )


@contextmanager
def training_state() -> Iterator[None]:
    """Let torch use one thread, with gradients, within the block.

    All of this belongs to the present thread: other threads notice nothing of a fit.
    """
    with torch.inference_mode(False), torch.enable_grad(), one_thread():
        yield


@contextmanager
def global_state_for(components: object, seed: int) -> Iterator[None]:
    """Prepare torch's global state for the construction of a user's own components.

    Our components draw first weights from a generator of the fit, and say which dtype
    a tensor has. A user's may use torch's global generator and its default dtype, as
    torch's layers do. For these components alone, the global generator starts from a
    seed and the default dtype is that of the model within the block; both are put back
    after the block. Meanwhile other threads of the process see the changed state, but
    no other fit changes it.

    Parameters
    ----------
    components : ComponentSpec, or a collection of them
        What is constructed in the block.
    seed : int
        Seed of the global generator.
    """
    if all(_is_ours(spec) for spec in _specs_in(components)):
        yield
        return
    with _lock, torch.random.fork_rng(devices=[]):
        dtype = torch.get_default_dtype()
        torch.default_generator.manual_seed(seed)
        torch.set_default_dtype(BUILD_DTYPE)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def _is_ours(spec: type[ComponentSpec]) -> bool:
    return spec.__module__.partition(".")[0] == PACKAGE


def _specs_in(value: object) -> Iterator[type[ComponentSpec]]:
    """Yield the classes of the components in a value and in their parameters."""
    if isinstance(value, ComponentSpec):
        yield type(value)
        value = value.get_params(deep=False)
    if isinstance(value, str):
        # Likelihoods of single columns may be given by their aliases.
        variant = registered(LikelihoodSpec).get(value)
        if variant is not None:
            yield variant
    elif isinstance(value, (Mapping, tuple, list)):
        parts = value.values() if isinstance(value, Mapping) else value
        for part in parts:
            yield from _specs_in(part)
