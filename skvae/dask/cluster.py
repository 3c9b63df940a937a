"""Fits by the workers of a dask cluster."""

import contextlib
import ctypes
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from sklearn.base import clone

from skvae.dask.partitions import Part
from skvae.density import VAEDensity
from skvae.distributed import (
    LostProcessError,
    Processes,
    choose_rows,
    common_seed,
    fit_same_rows,
    join_parts,
)

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["fit_on_workers", "import_distributed"]

POLL_SECONDS = 0.2
STOP_SECONDS = 30.0  # for the workers of a fit that has failed
# Options of the C library's `mallopt`, and values of them that suit a training.
TRIM_THRESHOLD, MMAP_THRESHOLD = (-1, 2**28), (-3, 2**25)
USUAL_MMAP_THRESHOLD = 2**17


def import_distributed() -> Any:
    """Return the package, or say how to install it."""
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "Fits on a dask cluster need the packages dask and distributed: "
            "pip install 'skvae[dask]'."
        ) from error
    return distributed


def fit_on_workers(
    client: "Client", density: VAEDensity, parts: Sequence[Any]
) -> VAEDensity:
    """Return a density fitted to parts of a table by all workers."""
    from dask import delayed

    distributed = import_distributed()
    seed = common_seed(density.random_state)
    # Two passes, so that none but chosen rows are kept.
    lengths = client.gather(client.compute([delayed(_n_rows)(part) for part in parts]))
    if not sum(lengths):
        raise ValueError("There are no rows in any partition.")
    chosen = client.compute(
        [
            delayed(_choose)(part, n_rows / sum(lengths), [seed, number])
            for number, (part, n_rows) in enumerate(zip(parts, lengths, strict=True))
            if n_rows
        ]
    )
    workers = _one_of_each_process(client)
    # Two fits at a time would wait for each other's workers.
    with distributed.MultiLock(workers, client=client), _Fit(client, workers) as fit:
        fitted = fit.run(clone(density), chosen, seed)
    fitted.random_state = density.random_state
    return fitted


def _n_rows(part: Part) -> int:
    return len(part[0])


def _choose(part: Part, share: float, seed: Sequence[int]) -> Part:
    return choose_rows(*part, share, seed)


def _one_of_each_process(client: "Client") -> list[str]:
    """Return addresses of workers; of those in one process, the first."""
    host_of = import_distributed().comm.get_address_host
    processes: dict[tuple[str, int], str] = {}
    for worker, number in sorted(client.run(os.getpid).items()):
        processes.setdefault((host_of(worker), number), worker)
    if not processes:
        raise RuntimeError("The dask cluster has no workers.")
    return list(processes.values())


class _Fit:
    """One training by workers of a cluster, seen from the client."""

    def __init__(self, client: "Client", workers: Sequence[str]) -> None:
        self._client, self._workers = client, list(workers)
        self._name = uuid.uuid4().hex
        self._futures: list[Future] = []

    def __enter__(self) -> "_Fit":
        return self

    def __exit__(self, *error: object) -> None:
        # Also after ^C: no worker goes on for nothing.
        going_on = [future for future in self._futures if not future.done()]
        if going_on:
            self._stop()
            self._client.cancel(going_on)

    def run(
        self, density: VAEDensity, chosen: Sequence["Future"], seed: int
    ) -> VAEDensity:
        """Return the density that the workers have fitted."""
        first = self._workers[0]
        host = "127.0.0.1"
        if not first.startswith("inproc"):
            host = import_distributed().comm.get_address_host(first)
        port = self._submit(first, _open_store, self._name, host).result()
        size = len(self._workers)
        self._futures = [
            self._submit(
                *(worker, _train, self._name, density, list(chosen), seed),
                *(rank, size, host, port),
            )
            for rank, worker in enumerate(self._workers)
        ]
        while not all(future.done() for future in self._futures):
            failed = any(
                future.done() and future.status != "finished"
                for future in self._futures
            )
            gone = self._gone()
            if failed or gone:
                self._stop()
                self._raise(gone)
            time.sleep(POLL_SECONDS)
        if any(future.status != "finished" for future in self._futures):
            self._raise(self._gone())
        return self._futures[0].result()

    def _submit(self, worker: str, function: Any, *arguments: Any) -> "Future":
        return self._client.submit(
            function, *arguments, workers=[worker], pure=False, retries=0
        )

    def _gone(self) -> list[str]:
        """Return the workers that the cluster has lost."""
        present = self._client.nthreads()
        return [worker for worker in self._workers if worker not in present]

    def _stop(self) -> None:
        """Let the workers give up, and wait until they have."""
        gone = self._gone()
        present = [worker for worker in self._workers if worker not in gone]
        if present:
            self._client.run(_stop, self._name, workers=present)
        until = time.monotonic() + STOP_SECONDS
        futures = dict(zip(self._workers, self._futures, strict=True))
        while time.monotonic() < until:
            if all(futures[worker].done() for worker in present):
                break
            time.sleep(POLL_SECONDS)

    def _raise(self, gone: Sequence[str]) -> None:
        """Raise what has gone wrong: an error of a worker, or that one was lost."""
        lost: BaseException | None = None
        for future in self._futures:
            error = future.exception() if future.status == "error" else None
            if isinstance(error, LostProcessError):
                lost = error
            elif error is not None and not gone:
                raise error
        which = ", ".join(gone) or "one that has come back since"
        raise LostProcessError(
            f"The dask cluster has lost a worker of the fit: {which}. Nothing is "
            f"half-fitted; call fit again."
        ) from lost


# What runs in the workers.

_stores: dict[str, Any] = {}
_stopped: dict[str, threading.Event] = {}


def _open_store(name: str, host: str) -> int:
    """Open the place where the processes of a fit meet; return its port."""
    store = torch.distributed.TCPStore(host, 0, is_master=True, wait_for_workers=False)
    _stores[name] = store
    return store.port


def _stop(name: str) -> None:
    _stopped.setdefault(name, threading.Event()).set()


def _train(
    name: str,
    density: VAEDensity,
    chosen: Sequence[Part],
    seed: int,
    rank: int,
    size: int,
    host: str,
    port: int,
) -> VAEDensity | None:
    """Take part in a fit; return the density if this is the first process."""
    rows, weight = join_parts(chosen)
    stopped = _stopped.setdefault(name, threading.Event())
    if rank:
        density.verbose = 0
    try:
        with _joined_group(name, rank, size, host, port), _kept_memory():
            processes = Processes(None, stopped.is_set)
            fitted = fit_same_rows(density, rows, weight, processes, seed)
    finally:
        _stopped.pop(name, None)
        _stores.pop(name, None)
    return None if rank else fitted


@contextlib.contextmanager
def _joined_group(
    name: str, rank: int, size: int, host: str, port: int
) -> Iterator[None]:
    """Let this process be one of a group within the block."""
    if torch.distributed.is_initialized():
        raise RuntimeError(
            "A worker belongs to a group of torch.distributed already: a fit needs its "
            "processes for itself."
        )
    store = _stores.get(name) or torch.distributed.TCPStore(host, port)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(
        backend, store=store, rank=rank, world_size=size
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _kept_memory() -> Iterator[None]:
    """Let the C library keep freed memory for the next tensor, within the block.

    It does so by itself, unless it was told when to give memory back, as dask tells it
    for its workers (MALLOC_TRIM_THRESHOLD_): every larger tensor is then made of new
    pages of the system, and a training step takes twice as long.
    """
    told = os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    if not sys.platform.startswith("linux") or not told.isdecimal():
        yield
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda option, value: None)
    mallopt(*TRIM_THRESHOLD)
    mallopt(*MMAP_THRESHOLD)
    try:
        yield
    finally:
        usual = os.environ.get("MALLOC_MMAP_THRESHOLD_", "")
        mallopt(TRIM_THRESHOLD[0], int(told))
        mallopt(
            MMAP_THRESHOLD[0], int(usual) if usual.isdecimal() else USUAL_MMAP_THRESHOLD
        )
