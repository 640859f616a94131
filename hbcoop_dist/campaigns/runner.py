"""Run a plan into a store: results come out of `execute`, go through the journal, and are written at their labels."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path

from hbcoop_dist.campaigns.cell_tracker import Cells, Earlier
from hbcoop_dist.campaigns.checkpoint_changes import compare_identities, earlier_identities
from hbcoop_dist.campaigns.complexes.cells import ComplexCells
from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.plan import plan as make_plan
from hbcoop_dist.campaigns.hbond.rotamer_choice import choose_rotamers
from hbcoop_dist.campaigns.hbond.spec import Cell
from hbcoop_dist.campaigns.hbond.worker import restart_state, working
from hbcoop_dist.campaigns.pending_cells import FINAL, Survey, labels_of, survey
from hbcoop_dist.campaigns.requested_cells import UNASKED, asked_for
from hbcoop_dist.clusters import ClusterProfile
from hbcoop_dist.core.results import CELL_DIMS, TaskResult
from hbcoop_dist.core.tasks import PROTOCOL_VERSION, with_inputs
from hbcoop_dist.execution.backends import ExecutionSettings
from hbcoop_dist.execution.driver import Driver
from hbcoop_dist.execution.progress import Display, RunCounts
from hbcoop_dist.store import Journal, Labels, Layout, StoreLock, StoreWriter, history_of, prepare_store
from hbcoop_dist.store.errors import writing


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
    cluster: ClusterProfile | None = None,
    retry: Collection[str] = (),
    match: str = "",
    report: Path | None = None,
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
    cluster : ClusterProfile, optional
        Where the workers run, instead of `workers` and `device`.
    retry : collection of str
        Final statuses to compute again, e.g. ``("failed", "unconverged")``.
    match : str
        Only those of them whose reason has this text in it, in capitals or not, and nothing else.
    report : Path, optional
        HTML file for a Dask performance report.
    display : Display, optional
        A live bar on a terminal, plain lines elsewhere, by default.

    Returns
    -------
    Summary

    Raises
    ------
    DeviceError
        When the device is not there.
    ClusterError
        When no pool of the cluster has what a model needs, or none of its jobs can be started.
    StoreError
        When the store cannot be used: another protocol, another driver, not a store. Nothing is computed then.
    """
    protocol = f"hbond={PROTOCOL_VERSION}"
    settings = ExecutionSettings(plan.sources, serial, workers, device, cluster, report, protocol)
    path = Path(store)
    with StoreLock(path) as lock:
        layout = _layout(plan)
        with writing(path):
            prepare_store(
                path, layout, protocol=plan.spec.protocol, spec=plan.spec.model_dump_json(exclude_none=True), lock=lock
            )
        with (
            StoreWriter(path, lock=lock) as writer,
            settings.open_driver(path, writer.journal, display, restart_state) as (driver, shown),
        ):
            settled = _settled(plan, driver, shown)
            systems = ComplexCells(settled, str(path), retry, match)
            run_ = _Run(settled, writer, survey(settled, writer, retry, match), systems, history_of(path))
            run_.mark()
            if run_.todo or run_.systems.todo:
                run_.compute(driver, shown)
            return run_.summary()


def _settled(plan: Plan, driver: Driver, display: Display) -> Plan:
    """The plan with the rotamers that are chosen by energy; what cannot be chosen now stays a question."""
    if not plan.questions:
        return plan
    needed = with_inputs(plan.tasks, (key for keys in plan.questions.values() for key in keys))
    known = Earlier(driver.journal, needed)
    make = working(plan.sources, plan.spec.minimize)
    if left := len(needed) - len(known):
        display.message(f"choosing rotamers of {len(plan.questions)} cells by the energies of short chains")
        count = RunCounts(len(plan.questions), tasks=left)
        with contextlib.closing(
            driver.compute(plan.batches, make, needed, known, lambda: display.update(count))
        ) as arriving:
            for results in arriving:
                count.tasks -= len(results)
                count.running = driver.running
                display.update(count)
    chosen = choose_rotamers(plan, Earlier(driver.journal, needed).get)
    return make_plan(plan.spec, chosen, device=plan.device, elsewhere=plan.elsewhere)


class _Run:
    """One run of one plan into one open store."""

    def __init__(self, plan: Plan, writer: StoreWriter, found: Survey, systems: ComplexCells, history: str) -> None:
        self.history = history
        self.plan, self.writer, self.journal, self.systems = plan, writer, writer.journal, systems
        self.statuses = dict(found.statuses)
        self.todo, self.again = found.todo, found.again | systems.again
        self.earlier = earlier_identities(plan, writer)
        self.computed = 0

    def mark(self) -> None:
        """Say of every cell that will not run why, and of every cell whose numbers are out of date that they are."""
        todo = {labels_of(cell) for cell in self.todo}
        for labels in todo:
            if self.statuses[labels] in FINAL:
                self._mark(
                    labels, "stale", "to be computed again: checkpoint or packages changed, values lost, or a retry"
                )
            elif self.statuses[labels] == "skipped":
                # a run that is killed must not leave it with the reason of another campaign
                self._mark(labels, "pending", "")
        for cell, reason in self.plan.skipped.items():
            if self.statuses[labels_of(cell)] in ("pending", "skipped", "stale"):
                self._mark(labels_of(cell), "skipped", reason)
        for cell, keys in self.plan.questions.items():
            self._mark(labels_of(cell), "failed", f"rotamers could not be chosen: {self._why_open(keys)}")
        asked, asked_before = {labels_of(cell) for cell in self.plan.cells}, asked_for(self.history)
        for labels, status in self.statuses.items():
            # what an earlier campaign of this store was interrupted in is still to be done
            if status == "pending" and labels not in asked and not asked_before(labels):
                self._mark(labels, "skipped", f"{UNASKED} {self.plan.spec.campaign}")
        self.systems.mark()
        self.writer.flush()

    def _why_open(self, keys: Collection[str]) -> str:
        """Why there is a question left: the first candidate without a result that holds."""
        bad = next(key for key in keys if self.journal.status(key) in (None, "failed", "quarantined"))
        result = self.journal.get(bad)
        return f"{self.plan.tasks[bad].system}: {result.reason if result else 'no result'}"

    def _mark(self, labels: Labels, status: str, reason: str) -> None:
        self.writer.mark([labels], status, reason)  # type: ignore[arg-type]
        self.statuses[labels] = status

    def compute(self, driver: Driver, display: Display) -> None:
        """Do every task the cells of this run need; write each cell as soon as its last task is over."""
        wanted = (key for cell in self.todo for key in self.plan.cell_tasks[cell].keys)
        needed = with_inputs(self.plan.tasks, chain(wanted, self.systems.keys))
        known = Earlier(self.journal, needed - self.again)
        driver.continue_from(needed & self.again)
        make = working(self.plan.sources, self.plan.spec.minimize)
        count = RunCounts(len(self.todo) + len(self.systems.todo), tasks=len(needed) - len(known))
        cells = Cells(self.plan, self.todo, known)
        display.update(count)
        for cell in cells.complete():
            self._write(cells, cell, count, display)
            display.update(count)
        for system in self.systems.begin(known):
            self._counted(self.systems.write(system), count)

        def idle() -> None:
            self.writer.flush_if_due()
            count.running = driver.running
            display.update(count)

        # closed before the cluster is, whatever happens: it hands out batches in a thread of its own
        with contextlib.closing(driver.compute(self.plan.batches, make, needed, known, idle)) as arriving:
            for results in arriving:
                count.tasks -= len(results)
                count.running = driver.running
                for cell in cells.take(results):
                    self._write(cells, cell, count, display)
                for system in self.systems.take(results):
                    self._counted(self.systems.write(system), count)
                display.update(count)
        self.writer.flush()
        display.update(count, last=True)

    def _write(self, cells: Cells, cell: Cell, count: RunCounts, display: Display) -> None:
        records = cells.records(cell)
        if told := compare_identities(self.earlier, records[0]):
            display.message(told)
            del self.earlier[cell.model]
        self.writer.write(records)
        if not cells.left[cell.model]:
            # one flush for a model that is complete costs as much as one for its first cell
            self.writer.flush_model(cell.model)
        status = records[0].status
        self.statuses[labels_of(cell)] = status
        self._counted(status, count)

    def _counted(self, status: str, count: RunCounts) -> None:
        self.computed += 1
        if status == "done":
            count.done += 1
        else:
            count.failed += 1

    def summary(self) -> Summary:
        cells = (self.statuses[labels_of(cell)] for cell in self.plan.cells)
        return Summary(Counter(chain(cells, self.systems.statuses.values())), self.computed)


def _layout(plan: Plan) -> Layout:
    if not plan.cells:
        # a store always has chains; of a campaign without any, every cell is skipped
        return Layout(tuple(entry.name for entry in plan.spec.models), ("arc",), (2,), ("none",))
    axes = {dim: tuple(dict.fromkeys(map(attrgetter(dim), plan.cells))) for dim in CELL_DIMS}
    return Layout.from_labels(axes)


def task_results(store: str | Path) -> Iterator[TaskResult]:
    """Every task result in a store's journal, for measured costs."""
    from hbcoop_dist.store import journal_path

    with Journal(journal_path(store)) as journal:
        yield from journal.replay()
