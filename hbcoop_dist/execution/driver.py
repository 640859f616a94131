"""The driver: runs batches on a backend and journals every result before a cell is made of it.

A batch may start from a result that is not journaled yet; a driver that is killed then computes both again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Batch
from hbcoop_dist.execution.restart_files import RestartFolder
from hbcoop_dist.execution.scheduler import Backend, MakeWork, SerialBackend, run_batches
from hbcoop_dist.optimize.quasi_newton import State
from hbcoop_dist.store import Journal

T = TypeVar("T")
PREFETCHED_GROUPS = 16
"""Groups of results that may wait in memory to be journaled; a driver that is killed loses them."""
RestartState = Callable[[TaskResult], State | None]
"""Result of a minimisation that did not converge -> state from which it can continue, if there is one."""


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


class Driver:
    """Computes the tasks of a run.

    Parameters
    ----------
    journal : Journal
    backend : callable
        Returns the backend; called when there is something to compute, so that no worker is started in vain.
    scratch : str
        Folder of restart files.
    restart_state : callable
        Result -> state from which an unconverged minimisation continues, or None.
    """

    def __init__(
        self, journal: Journal, backend: Callable[[], Backend], scratch: str, restart_state: RestartState
    ) -> None:
        self.journal = journal
        self._backend, self._scratch, self._restart_state = backend, scratch, restart_state
        self._restarts = RestartFolder(scratch)

    @property
    def running(self) -> int:
        """Number of batches that workers run."""
        return self._backend().running

    def compute(
        self,
        planned: Iterable[Batch[Any]],
        make: MakeWork,
        needed: Collection[str],
        known: Mapping[str, TaskResult],
        idle: Callable[[], None],
    ) -> Generator[list[TaskResult]]:
        """Compute the needed tasks of a plan that have no result.

        Parameters
        ----------
        planned : iterable of Batch
            Batches of the plan, inputs first.
        make : callable
            Makes the work of a batch.
        needed : collection of str
            Keys of the tasks to compute, and of their inputs.
        known : mapping of str to TaskResult
            Results of earlier runs.
        idle : callable
            Called about once a second while no result arrives.

        Yields
        ------
        list of TaskResult
            Journaled results. A consumer that stops early must close the generator.
        """
        batches = [
            batch.part(batch.name, tasks)
            for batch in planned
            if (tasks := tuple(task for task in batch.tasks if task.key in needed))
        ]
        backend = self._backend()

        def results_of(wait: Callable[[], None]) -> Generator[list[TaskResult]]:
            return run_batches(batches, make, known, backend, scratch=self._scratch, idle=wait)

        # the serial backend works in this process, where computing and writing alternate anyway
        serial = isinstance(backend, SerialBackend)
        background = _merged(iterate_in_background(results_of, PREFETCHED_GROUPS, idle))
        with closing(results_of(idle) if serial else background) as groups:
            for results in groups:
                self.journal.append_many(results)
                for result in results:
                    self._restarts.remove(result.key)
                yield results
        self._restarts.close()

    def continue_from(self, keys: Iterable[str]) -> None:
        """Write restart files, so that unconverged minimisations that are repeated continue where they ended.

        Parameters
        ----------
        keys : iterable of str
            Tasks to repeat.
        """
        for key in keys:
            result = self.journal.get(key) if self.journal.status(key) == "unconverged" else None
            if result is not None and (state := self._restart_state(result)) is not None:
                self._restarts.save(key, state)


def _merged(groups: Generator[list[list[TaskResult]]]) -> Generator[list[TaskResult]]:
    """Merge all groups of results that exist at a time, so that one fsync suffices."""
    with closing(groups):
        for group in groups:
            yield [result for results in group for result in results]
