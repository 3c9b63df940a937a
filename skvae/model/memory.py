"""Sizes that cannot work, refused before anything is allocated."""

import os

__all__ = ["check_memory", "check_weights"]

# What a training keeps for each weight of the model, in single precision: the weight,
# its gradient, two moments, the average, and the best and the last good value; and the
# fitted model's own, in double precision.
BYTES_PER_WEIGHT = 7 * 4 + 8
UNKNOWN = 2**40


def check_memory(n_bytes: float, what: str) -> None:
    """Raise a ValueError if something needs more memory than the machine has.

    Parameters
    ----------
    n_bytes : float
        Memory that is needed at least.
    what : str
        What needs it, with the parameters by which the user can change it.
    """
    available = _memory_of_machine()
    if n_bytes > available:
        raise ValueError(
            f"{what} would need at least {n_bytes / 2**30:,.0f} GiB of memory; this "
            f"machine has {available / 2**30:,.0f} GiB."
        )


def check_weights(n_weights: int, what: str) -> None:
    """Raise a ValueError if the training of so many weights needs too much memory.

    Parameters
    ----------
    n_weights : int
        Number of weights.
    what : str
        What has them, with the parameters by which the user can change it.
    """
    check_memory(BYTES_PER_WEIGHT * n_weights, what)


def _memory_of_machine() -> int:
    """Return the physical memory in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # as on Windows
        return UNKNOWN
