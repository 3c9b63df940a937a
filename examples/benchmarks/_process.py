"""Processes of the benchmarks: their threads, their memory, and fresh ones."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["in_fresh_process", "limit_threads", "peak_memory"]

P = ParamSpec("P")
T = TypeVar("T")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads(n_threads: int) -> None:
    """Limit the threads of the processes that this one starts from here on.

    OpenMP and BLAS read these variables once, when a process loads them. In this
    process, which may have loaded them, nothing changes.
    """
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(n_threads)


def peak_memory() -> float:
    """Return the peak resident memory of this process in MiB, nan on Windows."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a newly started interpreter and return its result.

    On Linux a child's peak memory starts at its parent's. A parent whose children
    report their memory should therefore import no torch and load no data.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()
