"""Items made in another thread: in order, bounded, and with nothing lost when either side stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hbcoop_dist.execution.prefetch import ahead


def test_items_come_in_order_from_another_thread() -> None:
    threads = set()

    def items(rest: Callable[[], None]) -> Iterator[int]:
        for number in range(100):
            threads.add(threading.current_thread().name)
            yield number

    assert [item for found in ahead(items, 4, lambda: None) for item in found] == list(range(100))
    assert threads == {"hbcoop-dispatch"}


def test_the_maker_waits_for_a_slow_caller() -> None:
    made: list[int] = []

    def items(rest: Callable[[], None]) -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    found = ahead(items, 3, lambda: None)
    first = next(found)
    time.sleep(0.3)
    # what the caller has, what waits for him, and the one in the maker's hand
    assert len(made) <= len(first) + 3 + 1
    found.close()


def test_what_the_maker_raises_comes_after_the_items_before_it() -> None:
    def items(rest: Callable[[], None]) -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    seen: list[int] = []
    found = (seen.extend(some) for some in ahead(items, 4, lambda: None))
    with pytest.raises(OSError, match="gone"):
        list(found)
    assert seen == [1, 2]


def test_a_caller_who_stops_ends_the_maker() -> None:
    closed = threading.Event()

    def items(rest: Callable[[], None]) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    found = ahead(items, 2, lambda: None)
    next(found)
    found.close()
    assert closed.is_set()
    assert "hbcoop-dispatch" not in {thread.name for thread in threading.enumerate()}


def test_the_caller_is_called_while_there_is_nothing() -> None:
    idled = threading.Event()

    def items(rest: Callable[[], None]) -> Iterator[int]:
        assert idled.wait(10), "the caller was never called"
        yield 1

    assert list(ahead(items, 2, idled.set)) == [[1]]


def test_a_caller_who_stops_while_nothing_comes_does_not_wait_for_it() -> None:
    """An item may take hours: a minimisation with quantum chemistry."""
    closed = threading.Event()

    def items(rest: Callable[[], None]) -> Iterator[int]:
        try:
            yield 1
            while True:
                time.sleep(0.01)
                rest()
        finally:
            closed.set()

    found = ahead(items, 2, lambda: None)
    assert next(found) == [1]
    found.close()
    assert closed.is_set()
