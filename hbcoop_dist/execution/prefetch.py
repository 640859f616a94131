"""Items made in a thread of their own: who makes them does not wait for what is done with them.

A driver hands out batches while it writes what came of others; else its workers would wait for its disk.
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
    """The caller wants no more."""


def ahead(
    items: Callable[[Callable[[], None]], Iterator[T]], most: int, idle: Callable[[], None]
) -> Generator[list[T]]:
    """Iterate over `items(rest)` in another thread.

    Parameters
    ----------
    items : callable
        Gives the iterator; called in that thread, as is the iterator's ``close`` when the caller stops early. While it
        waits it has to call `rest` now and then, which raises once the caller has stopped: an item may take hours.
    most : int
        Items that may wait for the caller; the thread then waits for him.
    idle : callable
        Called about once a second, in the caller's thread, while there is no item.

    Yields
    ------
    list
        All items that there are by then, in order. What `items` raises is raised here after the items before it.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(most)
    stop = threading.Event()

    def put(item: T | _End) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False

    def rest() -> None:
        if stop.is_set():
            raise _StoppedError

    def make() -> None:
        error: BaseException | None = None
        iterator = items(rest)
        try:
            for item in iterator:
                if not put(item):
                    break
        except _StoppedError:
            pass
        except BaseException as raised:  # noqa: BLE001  the caller gets it
            error = raised
        finally:
            if close := getattr(iterator, "close", None):
                close()
        put(_End(error))

    thread = threading.Thread(target=make, name="hbcoop-dispatch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                found = [waiting.get(timeout=1.0)]
            except queue.Empty:
                idle()
                continue
            with contextlib.suppress(queue.Empty):
                while True:
                    found.append(waiting.get_nowait())
            if there := [item for item in found if not isinstance(item, _End)]:
                yield there
            if isinstance(end := found[-1], _End):
                if end.error is not None:
                    raise end.error
                return
    finally:
        stop.set()
        thread.join()
