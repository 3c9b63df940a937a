"""The state of torch while a model is fitted."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from skvae.model.threads import one_thread

__all__ = ["training_state"]


@contextmanager
def training_state() -> Iterator[None]:
    """Let torch use one thread, float32 by default, and gradients, within the block."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with one_thread(), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
