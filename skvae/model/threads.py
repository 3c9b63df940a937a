"""How many threads torch uses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[int]:
    """Let torch use one thread within the block; yield the number it had before.

    The layers are too small to divide among threads: two threads gain little on an
    idle machine and lose a lot on a busy one. Training uses one thread, so that a fit
    does not depend on the number of cores; scoring gives each thread rows of its own.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield n_threads
    finally:
        torch.set_num_threads(n_threads)
