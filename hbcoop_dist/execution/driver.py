"""Get results of tasks: batches go to the backend, and what comes back is in the journal before a cell is made of it.

What needs a result may be handed out before that result is kept: a driver that is killed then computes both again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import closing
from typing import Any

from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Batch
from hbcoop_dist.execution.prefetch import ahead
from hbcoop_dist.execution.restart_files import RestartFolder
from hbcoop_dist.execution.scheduler import Backend, MakeWork, SerialBackend, turns
from hbcoop_dist.store import Journal

TURNS_AHEAD = 16
"""Turns of results that may wait to be written: a driver that is killed loses them, and they are in memory."""


class Driver:
    """What a run computes with.

    Parameters
    ----------
    journal : Journal
    backend : callable
        Gives the backend; called when there is something to compute, so that nothing is started for nothing.
    scratch : str
        Folder of restart files.
    """

    def __init__(
        self, journal: Journal, backend: Callable[[], Backend], scratch: str, restart_state: Any = None
    ) -> None:
        self._restart_state = restart_state
        self.journal = journal
        self._backend, self._scratch, self._restarts = backend, scratch, RestartFolder(scratch)

    @property
    def running(self) -> int:
        """Batches that are being done."""
        return self._backend().flying

    def compute(
        self,
        planned: Iterable[Batch[Any]],
        make: MakeWork,
        needed: Collection[str],
        known: Mapping[str, TaskResult],
        idle: Callable[[], None],
    ) -> Generator[list[TaskResult]]:
        """Results of the needed tasks of a plan that are not known, as they come; who stops early has to close it."""
        batches = [
            batch.part(batch.name, kept)
            for batch in planned
            if (kept := tuple(task for task in batch.tasks if task.key in needed))
        ]
        backend = self._backend()

        def arriving(rest: Callable[[], None] = lambda: None) -> Generator[list[TaskResult]]:
            return turns(batches, make, known, backend, scratch=self._scratch, idle=rest)

        # in this process work and writing take turns anyhow
        there = isinstance(backend, SerialBackend)
        with closing(arriving(idle) if there else _joined(ahead(arriving, TURNS_AHEAD, idle))) as found:
            for results in found:
                self.journal.append_many(results)
                for result in results:
                    self._restarts.forget(result.key)
                yield results
        self._restarts.close()

    def continue_from(self, keys: Iterable[str]) -> None:
        """Temporary."""
        for key in keys:
            before = self.journal.get(key)
            state = self._restart_state(before) if before is not None else None
            if state is not None:
                self._restarts.write(key, state)


def _joined(groups: Generator[list[list[TaskResult]]]) -> Generator[list[TaskResult]]:
    """All turns that there are by now as one: one fsync keeps them all."""
    with closing(groups):
        for group in groups:
            yield [result for results in group for result in results]
