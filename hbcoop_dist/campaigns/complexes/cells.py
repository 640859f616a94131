"""The marked systems of a run: which are to be done, and each written as its last task comes in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress

from hbcoop_dist.campaigns.complexes.records import complex_values
from hbcoop_dist.campaigns.complexes.tasks import ComplexCell
from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.pending_cells import FINAL
from hbcoop_dist.core.results import Status, TaskResult
from hbcoop_dist.execution.result_cache import ResultCache
from hbcoop_dist.store import SystemsWriter

STALE = "to be computed again: system or checkpoint changed, or a retry"


class ComplexCells:
    """Marked systems of a plan in an open store.

    Parameters
    ----------
    plan : Plan
    path : str
        The store.
    retry : collection of str
        Final statuses to compute again.
    match : str
        Only where the reason has this text in it, and nothing beside them.

    Attributes
    ----------
    todo : tuple of ComplexCell
        To be computed.
    again : frozenset of str
        Keys of tasks whose kept results do not count.
    statuses : dict of ComplexCell to str
    """

    def __init__(self, plan: Plan, path: str, retry: Collection[str], match: str = "") -> None:
        self._plan = plan
        cells = (*plan.systems, *plan.skipped_systems)
        self._writer = None
        if cells:
            systems = list({cell.system.name: cell.system for cell in cells}.values())
            self._writer = SystemsWriter(path, [entry.name for entry in plan.spec.models], systems)
        stored = self._writer.stored() if self._writer else {}
        self.statuses = {cell: stored[cell.labels][0] for cell in cells}

        def retried(cell: ComplexCell) -> bool:
            return self.statuses[cell] in retry and match.lower() in stored[cell.labels][1].lower()

        def open_(cell: ComplexCell) -> bool:
            final = self.statuses[cell] in FINAL and stored[cell.labels][2] == plan.systems[cell].complex.key
            return retried(cell) or not (final or match)

        self.todo = tuple(cell for cell in plan.systems if open_(cell))
        self.again = frozenset(key for cell in self.todo if retried(cell) for key in plan.systems[cell].keys)
        self._held: ResultCache | None = None
        self._open: dict[ComplexCell, int] = {}
        self._waiting: dict[str, list[ComplexCell]] = {}

    @property
    def keys(self) -> set[str]:
        """Keys of the tasks that what is to be done needs."""
        return {key for cell in self.todo for key in self._plan.systems[cell].keys}

    def mark(self) -> None:
        """Say of every system that will not run why, and of every one whose numbers are out of date that they are."""
        for cell in self.todo:
            if self.statuses[cell] in FINAL:
                self._write(cell, "stale", STALE, None)
        for cell, reason in self._plan.skipped_systems.items():
            if self.statuses[cell] not in FINAL:
                self._write(cell, "skipped", reason, None)

    def begin(self, known: Mapping[str, TaskResult]) -> Iterator[ComplexCell]:
        """Take what is known from earlier; hand out what is complete with it."""
        self._held = ResultCache(known.__getitem__)
        for cell in self.todo:
            keys = self._plan.systems[cell].keys
            self._held.need(keys)
            unknown = [key for key in keys if key not in known]
            self._open[cell] = len(unknown)
            for key in unknown:
                self._waiting.setdefault(key, []).append(cell)
        yield from [cell for cell, count in self._open.items() if not count]

    def take(self, results: Iterable[TaskResult]) -> Iterator[ComplexCell]:
        """Take results; hand out the systems that have all of theirs now."""
        assert self._held is not None
        for result in results:
            with suppress(KeyError):
                waiting = self._waiting.pop(result.key)
                self._held.put(result)
                for cell in waiting:
                    self._open[cell] -= 1
                    if not self._open[cell]:
                        yield cell

    def write(self, cell: ComplexCell) -> Status:
        """Write a system that has all its results; its status."""
        assert self._held is not None
        tasks = self._plan.systems[cell]
        status, reason, values = complex_values(self._plan.sources[cell.model], tasks, self._held.__getitem__)
        self._held.release(tasks.keys)
        self._write(cell, status, reason, values)
        return status

    def _write(self, cell: ComplexCell, status: Status, reason: str, values: Mapping[str, object] | None) -> None:
        assert self._writer is not None
        self._writer.write(cell.labels, status, reason, values)
        self.statuses[cell] = status
