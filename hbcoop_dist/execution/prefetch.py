"""Prefetch items in a background thread, so that the producer never blocks on the consumer.

The driver dispatches batches while it writes earlier results; otherwise its workers would wait for its disk.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


class _StoppedError(Exception):
    """The consumer has stopped."""


def iterate_in_background(
    items: Callable[[Callable[[], None]], Iterator[T]], limit: int, idle: Callable[[], None]
) -> Generator[list[T]]:
    """Iterate over `items(check_stopped)` in another thread.

    Parameters
    ----------
    items : callable
        Returns the iterator. It is called in that thread, as is the iterator's ``close`` when the consumer stops early.
        While it waits it must call its argument now and then, which raises after the consumer has stopped: an item may
        take hours.
    limit : int
        Number of unconsumed items at which the thread waits for the consumer.
    idle : callable
        Called about once a second, in the consumer's thread, while there is no item.

    Yields
    ------
    list
        All items that exist at that moment, in order. An exception of `items` is raised here after the items before it.
    """
    buffer: queue.Queue[T | _End] = queue.Queue(limit)
    stopped = threading.Event()

    def put(item: T | _End) -> bool:
        while not stopped.is_set():
            try:
                buffer.put(item, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False

    def check_stopped() -> None:
        if stopped.is_set():
            raise _StoppedError

    def produce() -> None:
        error: BaseException | None = None
        iterator = items(check_stopped)
        try:
            for item in iterator:
                if not put(item):
                    break
        except _StoppedError:
            pass
        except BaseException as raised:  # noqa: BLE001  raised again in the consumer's thread
            error = raised
        finally:
            if close := getattr(iterator, "close", None):
                close()
        put(_End(error))

    thread = threading.Thread(target=produce, name="hbcoop-dispatch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                group = [buffer.get(timeout=1.0)]
            except queue.Empty:
                idle()
                continue
            with contextlib.suppress(queue.Empty):
                while True:
                    group.append(buffer.get_nowait())
            if ready := [item for item in group if not isinstance(item, _End)]:
                yield ready
            if isinstance(end := group[-1], _End):
                if end.error is not None:
                    raise end.error
                return
    finally:
        stopped.set()
        thread.join()
