"""Prefetching from another thread: in order, bounded, and without loss when either side stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hbcoop_dist.execution.driver import iterate_in_background


def test_items_come_in_order_from_another_thread() -> None:
    threads = set()

    def items(check_stopped: Callable[[], None]) -> Iterator[int]:
        for number in range(100):
            threads.add(threading.current_thread().name)
            yield number

    assert [item for group in iterate_in_background(items, 4, lambda: None) for item in group] == list(range(100))
    assert threads == {"hbcoop-dispatch"}


def test_the_producer_waits_for_a_slow_consumer() -> None:
    made: list[int] = []

    def items(check_stopped: Callable[[], None]) -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    groups = iterate_in_background(items, 3, lambda: None)
    first = next(groups)
    time.sleep(0.3)
    # those of the consumer, those in the buffer, and the one that the producer holds
    assert len(made) <= len(first) + 3 + 1
    groups.close()


def test_an_error_of_the_producer_comes_after_the_items_before_it() -> None:
    def items(check_stopped: Callable[[], None]) -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    seen: list[int] = []
    groups = (seen.extend(group) for group in iterate_in_background(items, 4, lambda: None))
    with pytest.raises(OSError, match="gone"):
        list(groups)
    assert seen == [1, 2]


def test_a_consumer_that_stops_ends_the_producer() -> None:
    closed = threading.Event()

    def items(check_stopped: Callable[[], None]) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    groups = iterate_in_background(items, 2, lambda: None)
    next(groups)
    groups.close()
    assert closed.is_set()
    assert "hbcoop-dispatch" not in {thread.name for thread in threading.enumerate()}


def test_idle_is_called_while_there_is_no_item() -> None:
    idled = threading.Event()

    def items(check_stopped: Callable[[], None]) -> Iterator[int]:
        assert idled.wait(10), "idle was never called"
        yield 1

    assert list(iterate_in_background(items, 2, idled.set)) == [[1]]


def test_a_consumer_that_stops_does_not_wait_for_the_next_item() -> None:
    """An item may take hours: a minimisation with quantum chemistry."""
    closed = threading.Event()

    def items(check_stopped: Callable[[], None]) -> Iterator[int]:
        try:
            yield 1
            while True:
                time.sleep(0.01)
                check_stopped()
        finally:
            closed.set()

    groups = iterate_in_background(items, 2, lambda: None)
    assert next(groups) == [1]
    groups.close()
    assert closed.is_set()
