"""How many threads torch uses, and threads that share the blocks of a computation."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["map_in_threads", "one_thread"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Here(threading.local):
    """What is known of the present thread.

    Attributes
    ----------
    allowed : int or None
        Within a block of `one_thread`, how many threads torch could use before it.
    """

    allowed: int | None = None


class _Helpers:
    """The threads that help those that compute, the same for the whole process.

    Attributes
    ----------
    pool : ThreadPoolExecutor or None
        The helpers; None before the first are needed.
    size : int
        How many there may be.
    """

    pool: ThreadPoolExecutor | None = None
    size: int = 0

    def start(self, work: Callable[[], None], n: int, size: int) -> list[Future[None]]:
        """Let up to `n` helpers out of `size` do some work as soon as they are idle."""
        with _lock:
            if self.pool is None or self.size != size:
                if self.pool is not None:
                    self.pool.shutdown(wait=False)
                self.pool = ThreadPoolExecutor(size, "skvae", _limit_helper)
                self.size = size
            try:
                return [self.pool.submit(work) for _ in range(n)]
            except RuntimeError:  # the interpreter is about to exit
                return []

    def forget(self) -> None:
        """Forget the helpers, which a forked process does not have."""
        self.pool, self.size = None, 0


_here = _Here()
_helpers = _Helpers()
# Held while the numbers of threads change, or the helpers. A fork waits for it: the
# child would inherit a lock that no thread of its own ever releases.
_lock = threading.Lock()


def _after_fork_in_child() -> None:
    _helpers.forget()
    _lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_lock.acquire,
        after_in_parent=_lock.release,
        after_in_child=_after_fork_in_child,
    )


@contextmanager
def one_thread() -> Iterator[int]:
    """Let torch use one thread within the block; yield the number it could use before.

    The layers are too small to divide among threads: two threads gain little on an
    idle machine and lose a lot on a busy one. Training uses one thread, so that a fit
    does not depend on the number of cores; scoring gives each thread rows of its own.

    The block also makes a forked process safe. OpenMP, by which torch divides an
    operation among threads, waits for ever in a child of a process that has used it;
    within the block it is not used.

    Only the present thread is limited, so that concurrent blocks do not touch one
    another's numbers. A block within a block changes nothing.
    """
    allowed = _here.allowed
    if allowed is not None:
        yield allowed
        return
    with _lock:
        n_threads = torch.get_num_threads()
    if n_threads == 1:
        yield 1
        return
    try:
        with _new_threads_keep_their_number():
            torch.set_num_threads(1)
        _here.allowed = n_threads
        yield n_threads
    finally:
        _here.allowed = None
        try:
            with _new_threads_keep_their_number():
                torch.set_num_threads(n_threads)
        except BaseException:  # ^C while it waited
            torch.set_num_threads(n_threads)
            raise


@contextmanager
def _new_threads_keep_their_number() -> Iterator[None]:
    """Let `torch.set_num_threads` in the block change the present thread alone.

    torch has a number of every thread, which `torch.get_num_threads` returns, and one
    that a thread takes over when it first asks. `torch.set_num_threads` changes both.
    Here a new thread takes the second number over before the block and sets it again
    after the block.
    """
    taken, changed = threading.Event(), threading.Event()

    def keep() -> None:
        n_threads = torch.get_num_threads()
        taken.set()
        changed.wait()
        torch.set_num_threads(n_threads)

    keeper = threading.Thread(target=keep, name="skvae", daemon=True)
    with _lock:
        keeper.start()
        try:
            taken.wait()
            yield
        finally:
            changed.set()
            keeper.join()


def _limit_helper() -> None:
    """Let torch use one thread in a helper for as long as the helper lives."""
    # When a thread first asks, the number that it takes over replaces its own.
    torch.get_num_threads()
    with _new_threads_keep_their_number():
        torch.set_num_threads(1)


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], n_threads: int
) -> list[Result]:
    """Apply a function to items in the present thread, and in helpers that are idle.

    All threads that compute share the same `n_threads` − 1 helpers. A thread that finds
    them busy does the work alone, so that concurrent callers neither wait for one
    another nor start threads beyond the number that the user allows.

    Parameters
    ----------
    function : callable
        Applied to each item. In a helper, torch uses one thread; gradients are on.
    items : sequence
        What it is applied to.
    n_threads : int
        How many threads may work on the items.

    Returns
    -------
    results : list
        The results, in the order of the items.
    """
    waiting = deque(enumerate(items))
    results: dict[int, Result] = {}

    def work() -> None:
        try:
            while True:
                try:
                    number, item = waiting.popleft()
                except IndexError:
                    return
                results[number] = function(item)
        except BaseException:
            waiting.clear()  # the other threads stop after their present items
            raise

    n_helpers = min(n_threads, len(items)) - 1
    helpers = _helpers.start(work, n_helpers, n_threads - 1) if n_helpers > 0 else []
    try:
        work()
    finally:
        for helper in helpers:
            helper.cancel()  # it has not begun, and nothing is left to do
    for helper in helpers:
        if not helper.cancelled():
            helper.result()
    return [results[number] for number in range(len(items))]
