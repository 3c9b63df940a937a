"""One thread for torch here, other threads untouched, and helpers for all callers."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
import torch

from skvae.model.threads import map_in_threads, one_thread

Result = TypeVar("Result")
WAIT = 60  # seconds, for an event that comes at once


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n_threads)


def in_new_thread(function: Callable[[], Result]) -> Result:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(WAIT)


def test_the_block_limits_the_present_thread_alone() -> None:
    with ThreadPoolExecutor(1) as other:
        assert other.submit(torch.get_num_threads).result(WAIT) == 2
        with one_thread() as n_threads:
            assert n_threads == 2
            assert torch.get_num_threads() == 1
            assert other.submit(torch.get_num_threads).result(WAIT) == 2
            assert in_new_thread(torch.get_num_threads) == 2
        assert torch.get_num_threads() == 2
        assert in_new_thread(torch.get_num_threads) == 2


def test_a_block_within_a_block_changes_nothing() -> None:
    with one_thread():
        with one_thread() as n_threads:
            assert n_threads == 2
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_the_number_comes_back_after_an_error() -> None:
    with pytest.raises(KeyboardInterrupt), one_thread():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2
    assert in_new_thread(torch.get_num_threads) == 2


def test_blocks_that_overlap_restore_the_users_number() -> None:
    """The block that began first ends first, whichever thread is new."""
    entered, leave = threading.Event(), threading.Event()

    def overlap() -> tuple[int, int, int]:
        with one_thread() as n_threads:
            entered.set()
            assert leave.wait(WAIT)
            within = torch.get_num_threads()
        return n_threads, within, torch.get_num_threads()

    with ThreadPoolExecutor(1) as other:
        with one_thread():
            second = other.submit(overlap)
            assert entered.wait(WAIT)
        assert torch.get_num_threads() == 2
        assert in_new_thread(torch.get_num_threads) == 2
        leave.set()
        assert second.result(WAIT) == (2, 1, 2)
    assert torch.get_num_threads() == 2
    assert in_new_thread(torch.get_num_threads) == 2


def test_a_number_that_the_user_sets_meanwhile_is_kept() -> None:
    with one_thread():
        in_new_thread(lambda: torch.set_num_threads(3))
    assert torch.get_num_threads() == 2
    assert in_new_thread(torch.get_num_threads) == 3


def test_results_have_the_order_of_the_items() -> None:
    items = list(range(50))
    with one_thread() as n_threads:
        assert map_in_threads(lambda i: i * i, items, n_threads) == [
            i * i for i in items
        ]
        assert map_in_threads(lambda i: i * i, [], n_threads) == []
        assert map_in_threads(lambda i: i * i, [3], n_threads) == [9]


@pytest.mark.parametrize("where", ["here", "in a helper"])
def test_errors_reach_the_caller_and_end_the_work(where: str) -> None:
    here = threading.get_ident()
    others_began = threading.Event()
    n_done = 0

    def fail(item: int) -> None:
        nonlocal n_done
        if (threading.get_ident() == here) == (where == "here"):
            others_began.set()
            raise IndexError("no such row")
        assert others_began.wait(WAIT)
        n_done += 1

    with one_thread(), pytest.raises(IndexError, match="no such row"):
        map_in_threads(fail, range(1000), 2)
    assert n_done < 1000


def test_callers_share_helpers_that_use_one_thread_each() -> None:
    """Four callers, each allowed two threads, get one helper between them."""
    n_callers = 4
    callers: set[int] = set()
    workers: set[tuple[int, int]] = set()
    together = threading.Barrier(n_callers)

    def work(item: int) -> None:
        workers.add((threading.get_ident(), torch.get_num_threads()))
        torch.ones(100_000).exp_()

    def call() -> int:
        callers.add(threading.get_ident())
        together.wait(WAIT)
        for _ in range(5):
            with one_thread() as n_threads:
                map_in_threads(work, range(40), n_threads)
        return torch.get_num_threads()

    with ThreadPoolExecutor(n_callers) as pool:
        calls = [pool.submit(call) for _ in range(n_callers)]
        assert [call.result(WAIT) for call in calls] == [2] * n_callers
    assert {n_threads for _, n_threads in workers} == {1}
    assert len({thread for thread, _ in workers} - callers) <= 1
    assert in_new_thread(torch.get_num_threads) == 2
