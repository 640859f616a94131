"""Run a plan of any kind into a store: compute what is pending, journal every result, write every complete cell."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from hbcoop_dist.campaigns.kind import AnyKind, AnyPlan, Cell, Labels, RowLabels, kind_of, specs_in_history
from hbcoop_dist.campaigns.pending_cells import (
    FINAL,
    PendingCells,
    changed_checkpoints,
    describe_change,
    find_pending_cells,
    labels_of,
    retry_filter,
)
from hbcoop_dist.clusters import ClusterProfile
from hbcoop_dist.core.results import NOT_REQUESTED, Record, Status, TaskResult
from hbcoop_dist.core.tasks import with_inputs
from hbcoop_dist.execution.backends import ExecutionSettings
from hbcoop_dist.execution.driver import Driver
from hbcoop_dist.execution.progress import Display, RunCounts
from hbcoop_dist.execution.scheduler import ResultCache
from hbcoop_dist.store import Journal, StoreLock, StoreWriter, arrays_path, history_of, journal_path, prepare_store
from hbcoop_dist.store.paths import writing

_STALE = "to be computed again: checkpoint, files or packages changed, values lost, or a retry"


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


@dataclass(frozen=True, slots=True)
class Summary:
    """State of a campaign after a run.

    Attributes
    ----------
    statuses : mapping of str to int
        Number of the plan's cells by status.
    computed : int
        Cells that this run has computed.
    """

    statuses: Mapping[str, int]
    computed: int

    @property
    def ok(self) -> bool:
        """Whether every cell is done, or skipped with a reason."""
        return set(self.statuses) <= {"done", "skipped"}

    def __str__(self) -> str:
        words = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        return f"{sum(self.statuses.values())} cells: {words}; {self.computed} computed now"


def run(
    plan: AnyPlan,
    store: str | Path,
    *,
    serial: bool = False,
    workers: int | None = None,
    device: str = "cpu",
    cluster: ClusterProfile | None = None,
    retry: Collection[str] = (),
    match: str = "",
    report: Path | None = None,
    display: Display | None = None,
) -> Summary:
    """Compute what a plan requests and the store does not have yet.

    Parameters
    ----------
    plan : Plan
    store : str or Path
        Zarr store; created, or extended by the labels that it lacks.
    serial : bool
        Compute everything in this process, for debugging, instead of on one Dask worker per core.
    workers : int, optional
        Number of Dask workers.
    device : str
        ``cpu``, ``cuda`` or ``cuda:0``.
    cluster : ClusterProfile, optional
        Where the workers run, instead of `workers` and `device`.
    retry : collection of str
        Final statuses to compute again, e.g. ``("failed", "unconverged")``.
    match : str
        Retry only cells whose reason contains this text, in any case, and compute no others.
    report : Path, optional
        HTML file for a Dask performance report.
    display : Display, optional
        By default a live bar on a terminal, plain lines elsewhere.

    Returns
    -------
    Summary

    Raises
    ------
    DeviceError
        When the device does not exist.
    ClusterError
        When no pool of the cluster has what a source needs, or none of its jobs can be started.
    StoreError
        When the store cannot be used: another protocol, another driver, not a store. Nothing is computed then.
    """
    kind = kind_of(plan.spec)
    settings = ExecutionSettings(plan.sources, serial, workers, device, cluster, report, kind.protocol)
    path = Path(store)
    with StoreLock(path) as lock:
        with writing(path):
            prepare_store(
                path,
                kind.schema,
                kind.axis_labels(plan),
                protocol=plan.spec.protocol,
                spec=plan.spec.to_json(),
                definitions=kind.definitions(plan),
                lock=lock,
            )
        with (
            StoreWriter(path, kind.schema, lock=lock) as writer,
            Journal(journal_path(path), kind.payloads) as journal,
            settings.open_driver(path, journal, display, kind.restart_state) as (driver, shown),
        ):
            undecided = dict(plan.undecided)
            if match:
                is_retried, labels = retry_filter(kind.schema, writer, retry, match), labels_of(kind.schema)
                undecided = {cell: keys for cell, keys in undecided.items() if is_retried(labels(cell))}
            decided = _decide(plan, undecided, kind, path, driver, shown)
            undecided = {cell: keys for cell, keys in decided.undecided.items() if cell in undecided}
            pending = find_pending_cells(decided, kind, writer, journal, retry, match)
            campaign_run = _Run(decided, undecided, kind, path, writer, journal, pending)
            campaign_run.mark()
            if campaign_run.cells:
                campaign_run.compute(driver, shown)
            return campaign_run.summary()


def _decide(
    plan: AnyPlan,
    undecided: Mapping[Cell, Collection[str]],
    kind: AnyKind,
    path: Path,
    driver: Driver,
    display: Display,
) -> AnyPlan:
    """Compute what undecided cells depend on, and return the plan with their tasks as far as they can be decided."""
    if not undecided:
        return plan
    needed = with_inputs(plan.tasks, chain.from_iterable(undecided.values()))
    stored = StoredResults(driver.journal, needed)
    if missing := len(needed) - len(stored):
        display.message(f"computing what the tasks of {len(undecided)} cells depend on")
        count = RunCounts(len(undecided), tasks=missing)
        work = kind.work(plan, arrays_path(path))
        with contextlib.closing(
            driver.compute(plan.batches, work, needed, stored, lambda: display.update(count))
        ) as arriving:
            for results in arriving:
                count.tasks -= len(results)
                count.running = driver.running
                display.update(count)
    return kind.decide(plan, StoredResults(driver.journal, needed).get)


class _Run:
    """One run of one plan into one open store."""

    def __init__(
        self,
        plan: AnyPlan,
        undecided: Mapping[Cell, Collection[str]],
        kind: AnyKind,
        path: Path,
        writer: StoreWriter,
        journal: Journal,
        pending: PendingCells,
    ) -> None:
        self.plan, self.kind, self.path, self.writer, self.journal = plan, kind, path, writer, journal
        self._undecided = undecided
        self.cells, self.repeat, self.statuses = pending.cells, pending.repeat, dict(pending.statuses)
        self.computed = 0
        self._labels_of = labels_of(kind.schema)
        self._changed = changed_checkpoints(plan, kind.schema, writer)
        self._records = kind.records(plan)
        self._written: set[RowLabels] = set()

    def mark(self) -> None:
        """Mark cells that are out of date, cells that will not run, and cells that no campaign requests."""
        for cell in self.cells:
            labels = self._labels_of(cell)
            if self.statuses[labels] in FINAL:
                self._mark(labels, "stale", _STALE)
            elif self.statuses[labels] == "skipped":
                # a run that is killed must not leave the reason of another campaign
                self._mark(labels, "pending", "")
        for cell, reason in self.plan.skipped.items():
            if self.statuses[labels := self._labels_of(cell)] in ("pending", "skipped", "stale"):
                self._mark(labels, "skipped", reason)
        for cell, keys in self._undecided.items():
            self._mark(
                self._labels_of(cell), "failed", f"its tasks could not be decided: {self._undecided_reason(keys)}"
            )
        requested = self.kind.requested(specs_in_history(history_of(self.path)))
        of_plan = {self._labels_of(cell) for cell in self.plan.cells}
        for labels, status in self.statuses.items():
            # what an earlier campaign of this store was interrupted in is still to be done
            if status == "pending" and labels not in of_plan and not requested(labels):
                self._mark(labels, "skipped", f"{NOT_REQUESTED} {self.plan.spec.campaign}")
        self.writer.flush()

    def _undecided_reason(self, keys: Collection[str]) -> str:
        journal = self.journal
        key = next(key for key in keys if journal.status(key) in (None, "failed", "quarantined"))
        result = journal.get(key)
        return f"task {key}: {result.reason if result else 'no result'}"

    def _mark(self, labels: Labels, status: Status, reason: str) -> None:
        self.writer.mark(self.kind.schema.cells.name, [labels], status, reason)
        self.statuses[labels] = status

    def compute(self, driver: Driver, display: Display) -> None:
        """Compute every task that the cells need, and write each cell as soon as its last task is done."""
        plan, journal, arrays = self.plan, self.journal, arrays_path(self.path)
        needed = with_inputs(plan.tasks, (key for cell in self.cells for key in plan.cell_tasks[cell].keys))
        stored = StoredResults(journal, needed - self.repeat)
        repeat = self.repeat | self.kind.lost_results(plan, needed - stored.keys(), journal, arrays)
        stored = StoredResults(journal, needed - repeat)
        driver.continue_from(needed & repeat)
        count = RunCounts(len(self.cells), tasks=len(needed) - len(stored))
        tracker = CellTracker(plan, self.cells, stored)
        display.update(count)
        for cell in tracker.complete():
            self._write(tracker, cell, count, display)
            display.update(count)

        def idle() -> None:
            self.writer.flush_if_due()
            count.running = driver.running
            display.update(count)

        # closed before the cluster is, whatever happens: it dispatches batches from a thread of its own
        with contextlib.closing(
            driver.compute(plan.batches, self.kind.work(plan, arrays), needed, stored, idle)
        ) as arriving:
            for results in arriving:
                count.tasks -= len(results)
                count.running = driver.running
                for cell in tracker.add(results):
                    self._write(tracker, cell, count, display)
                display.update(count)
        self.writer.flush()
        display.update(count, last=True)

    def _write(self, tracker: CellTracker, cell: Cell, count: RunCounts, display: Display) -> None:
        records = self._records(cell, tracker.result, self._written)
        if change := describe_change(self._changed, records[0]):
            model, line = change
            display.message(line)
            del self._changed[model]
        self._written.update(_row_labels(record) for record in records[1:])
        status = records[0].status
        if status == "done":
            # before the record: when the files cannot be written, the cell must not become done
            self.kind.finish_cell(self.plan, self.path, cell, tracker.result)
        self.writer.write(records)
        tracker.release(cell)
        if not tracker.open_by_source[cell.source]:
            # one flush for a source that is complete costs as much as one for its first cell
            self.writer.flush_partition(records[0].labels[self.kind.schema.partition])
        self.statuses[self._labels_of(cell)] = status
        self.computed += 1
        if status == "done":
            count.done += 1
        else:
            count.failed += 1

    def summary(self) -> Summary:
        """Count the cells of the plan by status."""
        return Summary(Counter(self.statuses[self._labels_of(cell)] for cell in self.plan.cells), self.computed)


def _row_labels(record: Record) -> RowLabels:
    return record.table, tuple(record.labels.values())


def stored_results(store: str | Path, payloads: Mapping[str, type]) -> Iterator[TaskResult[Any]]:
    """Yield every task result in the journal of a store, for measured costs."""
    with Journal(journal_path(store), payloads) as journal:
        yield from journal.results()
