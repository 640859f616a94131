"""Cells of a run whose tasks are not all done: which are complete now, and which results are still needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hbcoop_dist.campaigns.kind import AnyPlan, Cell
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.execution.result_cache import ResultCache
from hbcoop_dist.store import Journal


class StoredResults(Mapping[str, TaskResult[Any]]):
    """Results of earlier runs that still hold, read from the journal when they are looked up.

    Results that failed or were quarantined do not hold.

    Parameters
    ----------
    journal : Journal
    keys : iterable of str
        Tasks that matter.
    """

    def __init__(self, journal: Journal, keys: Iterable[str]) -> None:
        self._journal = journal
        self._keys = {key for key in keys if journal.status(key) not in (None, "failed", "quarantined")}

    def __getitem__(self, key: str) -> TaskResult[Any]:
        if key not in self._keys:
            raise KeyError(key)
        result = self._journal.get(key)
        assert result is not None
        return result

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class CellTracker:
    """Counts the open tasks of every cell, and keeps results in memory while a cell needs them.

    Parameters
    ----------
    plan : Plan
    cells : sequence of Cell
        Cells to be computed.
    stored : mapping of str to TaskResult
        Results of earlier runs.

    Attributes
    ----------
    open_by_source : Counter of str
        Number of cells that are not released yet, by source.
    """

    def __init__(self, plan: AnyPlan, cells: Sequence[Cell], stored: Mapping[str, TaskResult[Any]]) -> None:
        self._plan = plan
        self._cache = ResultCache(stored.__getitem__)
        self._open: dict[Cell, int] = {}
        self._waiting: dict[str, list[Cell]] = {}
        self.open_by_source = Counter(cell.source for cell in cells)
        for cell in cells:
            keys = plan.cell_tasks[cell].keys
            self._cache.need(keys)
            missing = [key for key in keys if key not in stored]
            self._open[cell] = len(missing)
            for key in missing:
                self._waiting.setdefault(key, []).append(cell)

    def complete(self) -> list[Cell]:
        """Return the cells that have all their results from earlier runs."""
        return [cell for cell, count in self._open.items() if not count]

    def add(self, results: Iterable[TaskResult[Any]]) -> Iterator[Cell]:
        """Add results; yield the cells that have all of theirs with them."""
        for result in results:
            self._cache.put(result)
            for cell in self._waiting.pop(result.key, ()):
                self._open[cell] -= 1
                if not self._open[cell]:
                    yield cell

    def result(self, key: str) -> TaskResult[Any]:
        """Return the result of a task of a complete cell."""
        return self._cache[key]

    def release(self, cell: Cell) -> None:
        """Forget the results that only this cell needed."""
        self._cache.release(self._plan.cell_tasks[cell].keys)
        self.open_by_source[cell.source] -= 1

    def __len__(self) -> int:
        """Number of results in memory."""
        return len(self._cache)
