"""Cells as their last task comes in: what each still waits for is counted, and its results go when it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.records import Place, cell_record, complex_of, dimer_records
from hbcoop_dist.campaigns.hbond.spec import Cell
from hbcoop_dist.core.results import Record, TaskResult
from hbcoop_dist.execution.result_cache import ResultCache
from hbcoop_dist.store import Journal

_DIMERS_KEPT = 64
"""Isolated dimers kept in memory: the cells of the few models that are under way share them."""


class Earlier(Mapping[str, TaskResult]):
    """Results of earlier runs that still hold, read from the journal when they are looked up; failures do not hold.

    Parameters
    ----------
    journal : Journal
    keys : iterable of str
        Tasks that matter.
    """

    def __init__(self, journal: Journal, keys: Iterable[str]) -> None:
        self._journal = journal
        self._keys = {key for key in keys if journal.status(key) not in (None, "failed", "quarantined")}

    def __getitem__(self, key: str) -> TaskResult:
        if key not in self._keys:
            raise KeyError(key)
        found = self._journal.get(key)
        assert found is not None
        return found

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class Cells:
    """Cells of a run that are not written yet.

    Parameters
    ----------
    plan : Plan
    todo : sequence of Cell
    known : mapping of str to TaskResult
        Results from earlier.

    Attributes
    ----------
    left : mapping of str to int
        Cells without their records yet, by model.
    """

    def __init__(self, plan: Plan, todo: Sequence[Cell], known: Mapping[str, TaskResult]) -> None:
        self._plan = plan
        self._held = ResultCache(known.__getitem__)
        self._open: dict[Cell, int] = {}
        self._waiting: dict[str, list[Cell]] = {}
        self._dimers: set[Place] = set()
        self._isolated = lru_cache(_DIMERS_KEPT)(partial(complex_of, plan, results=self._held.__getitem__))
        self.left = Counter(cell.model for cell in todo)
        for cell in todo:
            keys = plan.cell_tasks[cell].keys
            self._held.need(keys)
            unknown = [key for key in keys if key not in known]
            self._open[cell] = len(unknown)
            for key in unknown:
                self._waiting.setdefault(key, []).append(cell)

    def complete(self) -> list[Cell]:
        """Cells that have all their results from earlier."""
        return [cell for cell, count in self._open.items() if not count]

    def take(self, results: Iterable[TaskResult]) -> Iterator[Cell]:
        """Take results; hand out the cells that have all of theirs now."""
        for result in results:
            self._held.put(result)
            for cell in self._waiting.pop(result.key, ()):
                self._open[cell] -= 1
                if not self._open[cell]:
                    yield cell

    def records(self, cell: Cell) -> list[Record]:
        """The record of a cell and those of its isolated dimers that have none yet; its results are let go."""
        find = self._held.__getitem__
        records = [
            cell_record(self._plan, cell, find, self._isolated),
            *dimer_records(self._plan, cell, find, self._dimers, self._isolated),
        ]
        self._held.release(self._plan.cell_tasks[cell].keys)
        self.left[cell.model] -= 1
        return records

    def __len__(self) -> int:
        """Results in memory."""
        return len(self._held)
