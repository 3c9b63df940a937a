"""The state of torch while rows are read."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from skvae.model.threads import one_thread

__all__ = ["reading_state"]


@contextmanager
def reading_state() -> Iterator[None]:
    """Let torch use one thread, without gradients, within the block.

    Inference mode is off: the search for proposals needs the gradient of log p(x, z),
    which torch does not compute for tensors that were made in inference mode.
    """
    with torch.inference_mode(False), torch.no_grad(), one_thread():
        yield
