"""Run a plan into a store: results come out of `execute`, go through the journal, and are written at their labels."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from hbcoop_dist.assemble import cell_record, dimer_records
from hbcoop_dist.campaign import Cell
from hbcoop_dist.clusters import check_device, local_cluster
from hbcoop_dist.dask_backend import DaskBackend
from hbcoop_dist.engine import State
from hbcoop_dist.execute import Backend, SerialBackend, execute
from hbcoop_dist.plan import Plan
from hbcoop_dist.progress import Count, Display, default_display
from hbcoop_dist.restart import RestartFolder
from hbcoop_dist.results import CELL_DIMS, DIMER_DIMS, TaskResult
from hbcoop_dist.store import Journal, Layout, StoreLock, StoreWriter, open_store, prepare_store, scratch_path

Labels = tuple[str | int, ...]

FINAL = ("done", "unconverged", "broken-geometry", "quarantined", "failed")
"""Statuses that a run leaves alone unless it is asked to retry them."""
RETRYABLE = FINAL[1:]


@dataclass(frozen=True, slots=True)
class Summary:
    """How a campaign stands after a run.

    Attributes
    ----------
    statuses : mapping of str to int
        Number of the plan's cells by status.
    computed : int
        Cells computed by this run.
    """

    statuses: Mapping[str, int]
    computed: int

    @property
    def ok(self) -> bool:
        """Whether every cell is done or skipped with a reason."""
        return set(self.statuses) <= {"done", "skipped"}

    def __str__(self) -> str:
        words = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        return f"{sum(self.statuses.values())} cells: {words}; {self.computed} computed now"


def run(
    plan: Plan,
    store: str | Path,
    *,
    serial: bool = False,
    workers: int | None = None,
    device: str = "cpu",
    retry: Collection[str] = (),
    display: Display | None = None,
) -> Summary:
    """Compute what a plan asks for and the store does not have yet.

    Parameters
    ----------
    plan : Plan
    store : str or Path
        Zarr store; created, or grown by the models and lengths it lacks.
    serial : bool
        Everything in this process, for debugging; otherwise one Dask worker per core.
    workers : int, optional
        Number of Dask workers.
    device : str
        ``cpu``, ``cuda`` or ``cuda:0``.
    retry : collection of str
        Final statuses to compute again, e.g. ``("failed", "unconverged")``.
    display : Display, optional
        A live bar on a terminal, plain lines elsewhere, by default.

    Returns
    -------
    Summary

    Raises
    ------
    DeviceError
        When the device is not there.
    StoreError
        When the store cannot be used: another protocol, another driver, not a store. Nothing is computed then.
    """
    check_device(device)
    path, shown = Path(store), display or default_display()
    with StoreLock(path) as lock:
        layout = _layout(plan)
        prepare_store(
            path, layout, protocol=plan.spec.protocol, spec=plan.spec.model_dump_json(exclude_none=True), lock=lock
        )
        outdated, lost = _outdated(plan, path), _lost(path)
        with StoreWriter(path, lock=lock) as writer:
            run_ = _Run(plan, writer, outdated, lost, retry, str(scratch_path(path)))
            run_.mark()
            if run_.todo:
                try:
                    with _backend(serial, workers, shown) as backend:
                        run_.compute(backend, device, shown)
                finally:
                    shown.close()
            return run_.summary()


@contextlib.contextmanager
def _backend(serial: bool, workers: int | None, display: Display) -> Iterator[Backend]:
    if serial:
        yield SerialBackend()
        return
    from distributed import Client

    with local_cluster(workers) as cluster, Client(cluster) as client:
        display.say(f"Dask dashboard: {cluster.dashboard_link}")
        backend = DaskBackend(client)
        try:
            yield backend
        finally:
            backend.close()


class _Run:
    """One run of one plan into one open store."""

    def __init__(
        self,
        plan: Plan,
        writer: StoreWriter,
        outdated: Collection[Labels],
        lost: Collection[Labels],
        retry: Collection[str],
        scratch: str,
    ) -> None:
        self.scratch, self.restarts = scratch, RestartFolder(scratch)
        self.plan, self.writer, self.journal = plan, writer, writer.journal
        statuses, keys = writer.statuses(), writer.stored_keys()
        self.statuses: dict[Labels, str] = dict(statuses)
        self.todo: list[Cell] = []
        self.again: set[str] = set()
        for cell, tasks in plan.cell_tasks.items():
            labels = _labels(cell)
            final = statuses[labels] in FINAL and keys.get(labels) == tasks.complex.energies[-1]
            if final and statuses[labels] not in retry and labels not in outdated and labels not in lost:
                continue
            self.todo.append(cell)
            if labels in outdated or statuses[labels] in retry:
                self.again.update(tasks.keys)
        self.computed = 0
        self._dimers: set[tuple[object, ...]] = set()

    def mark(self) -> None:
        """Say of every cell that will not run why, and of every cell whose numbers are out of date that they are."""
        todo = {_labels(cell) for cell in self.todo}
        for labels in todo:
            if self.statuses[labels] in FINAL:
                self._mark(
                    labels, "stale", "to be computed again: checkpoint or packages changed, values lost, or a retry"
                )
        for cell, reason in self.plan.skipped.items():
            if self.statuses[_labels(cell)] in ("pending", "skipped", "stale"):
                self._mark(_labels(cell), "skipped", reason)
        asked = {_labels(cell) for cell in self.plan.cells}
        for labels, status in self.statuses.items():
            if status == "pending" and labels not in asked:
                self._mark(labels, "skipped", f"not asked for by campaign {self.plan.spec.campaign}")
        self.writer.flush()

    def _mark(self, labels: Labels, status: str, reason: str) -> None:
        self.writer.mark([labels], status, reason)  # type: ignore[arg-type]
        self.statuses[labels] = status

    def compute(self, backend: Backend, device: str, display: Display) -> None:
        """Do every task the cells of this run need; write each cell as soon as its last task is over."""
        needed = self._needed()
        known = self._known(needed)
        self._go_on(needed)
        batches = [
            kept
            for batch in self.plan.batches
            if (kept := type(batch)(batch.name, batch.model, tuple(t for t in batch.tasks if t.key in needed))).tasks
        ]
        results = dict(known)
        open_tasks = {cell: {key for key in self.plan.cell_tasks[cell].keys if key not in known} for cell in self.todo}
        waiting: dict[str, list[Cell]] = {}
        for cell, keys in open_tasks.items():
            for key in keys:
                waiting.setdefault(key, []).append(cell)
        count = Count(len(self.todo), tasks=len(needed) - len(known))
        for cell in [cell for cell, keys in open_tasks.items() if not keys]:
            self._write(cell, results, count)
        display.show(count)

        def idle() -> None:
            self.writer.flush_if_due()
            count.running = backend.flying
            display.show(count)

        for result in execute(
            batches,
            self.plan.sources,
            self.plan.spec.minimize,
            known,
            backend,
            device=device,
            scratch=self.scratch,
            idle=idle,
        ):
            self.journal.append(result)
            self.restarts.forget(result.key)
            results[result.key] = result
            count.tasks -= 1
            count.running = backend.flying
            for cell in waiting.pop(result.key, []):
                open_tasks[cell].discard(result.key)
                if not open_tasks[cell]:
                    self._write(cell, results, count)
            display.show(count)
        self.writer.flush()
        self.restarts.close()
        display.show(count, last=True)

    def _go_on(self, needed: set[str]) -> None:
        """Minimisations that gave up, and are to be tried again, go on from where they were."""
        for key in needed & self.again:
            before = self.journal.get(key)
            if before is not None and before.status == "unconverged" and "hessian" in before.data:
                q, curvature = (np.asarray(before.data[name], dtype=float) for name in ("q", "hessian"))
                self.restarts.write(key, State(q, curvature))

    def _needed(self) -> set[str]:
        """Keys of the tasks of this run's cells and of everything those start from."""
        needed: set[str] = set()
        stack = [key for cell in self.todo for key in self.plan.cell_tasks[cell].keys]
        while stack:
            key = stack.pop()
            if key not in needed:
                needed.add(key)
                stack += self.plan.tasks[key].inputs
        return needed

    def _known(self, needed: set[str]) -> dict[str, TaskResult]:
        """Results of earlier runs that still hold; failures are tried again."""
        found = (self.journal.get(key) for key in needed - self.again)
        return {result.key: result for result in found if result and result.status not in ("failed", "quarantined")}

    def _write(self, cell: Cell, results: Mapping[str, TaskResult], count: Count) -> None:
        record = cell_record(self.plan, cell, results.__getitem__)
        self.writer.write([record])
        for dimer in dimer_records(self.plan, cell, results.__getitem__):
            place = tuple(dimer.labels[dim] for dim in DIMER_DIMS)
            if place not in self._dimers:
                self._dimers.add(place)
                self.writer.write([dimer])
        self.statuses[_labels(cell)] = record.status
        self.computed += 1
        if record.status == "done":
            count.done += 1
        else:
            count.failed += 1

    def summary(self) -> Summary:
        return Summary(Counter(self.statuses[_labels(cell)] for cell in self.plan.cells), self.computed)


def _labels(cell: Cell) -> Labels:
    return tuple(cell.labels[dim] for dim in CELL_DIMS)


def _layout(plan: Plan) -> Layout:
    cells = plan.cells
    axes = {dim: tuple(dict.fromkeys(cell.labels[dim] for cell in cells)) for dim in CELL_DIMS}
    return Layout.from_labels(axes)


def _outdated(plan: Plan, path: Path) -> set[Labels]:
    """Cells whose family package has another version now than when they were computed."""
    versions = open_store(path).versions
    found: set[Labels] = set()
    for labels, text in versions.stack(cell=CELL_DIMS).to_series().items():
        source = plan.sources.get(str(labels[0]))
        if source is None or not text:
            continue
        before = json.loads(text)
        for package in source.card.packages:
            with contextlib.suppress(PackageNotFoundError):
                if before.get(package) not in (None, version(package)):
                    found.add(tuple(labels))
    return found


def _lost(path: Path) -> set[Labels]:
    """Cells that are done and have no value: a chunk is gone; the journal may still hold what was in it."""
    ds = open_store(path)
    gone = (ds.status == "done") & ds.cooperative_energy.isnull().any("position")
    series = gone.stack(cell=CELL_DIMS).to_series()
    return {tuple(labels) for labels in series.index[series]}


def task_results(store: str | Path) -> Iterator[TaskResult]:
    """Every task result in a store's journal, for measured costs."""
    from hbcoop_dist.store import journal_path

    with Journal(journal_path(store)) as journal:
        yield from journal.replay()
