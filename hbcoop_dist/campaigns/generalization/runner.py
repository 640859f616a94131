"""Run a generalization plan into a store: results go through the journal, and every network into a file of its own."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from hbcoop_dist.campaigns.cell_tracker import Earlier
from hbcoop_dist.campaigns.generalization.array_files import lost_arrays
from hbcoop_dist.campaigns.generalization.model_files import write_model
from hbcoop_dist.campaigns.generalization.planner import GeneralizationPlan
from hbcoop_dist.campaigns.generalization.records import cell_values, dataset_values, split_values
from hbcoop_dist.campaigns.generalization.schema import SPLIT_DIMS
from hbcoop_dist.campaigns.generalization.spec import TrainingCell
from hbcoop_dist.campaigns.generalization.store import GeneralizationStore
from hbcoop_dist.campaigns.generalization.tasks import PROTOCOL_VERSION
from hbcoop_dist.campaigns.generalization.worker import making
from hbcoop_dist.campaigns.runner import Summary
from hbcoop_dist.clusters import ClusterProfile
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import with_inputs
from hbcoop_dist.execution.backends import ExecutionSettings
from hbcoop_dist.execution.driver import Driver
from hbcoop_dist.execution.progress import Display, RunCounts
from hbcoop_dist.store import Journal, StoreLock, journal_path, kept_path

FINAL = ("done", "failed", "quarantined")


def run(
    plan: GeneralizationPlan,
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
    """Compute what a plan asks for and the store does not have yet; parameters and errors as of `hbcoop_dist.run`.

    Trained networks are written into the folder ``STORE.models`` beside the store, one ``.npz`` each.

    Returns
    -------
    Summary
    """
    protocol = f"generalization={PROTOCOL_VERSION}"
    settings = ExecutionSettings(plan.sources, serial, workers, device, cluster, report, protocol)
    path = Path(store)
    with StoreLock(path), Journal(journal_path(path)) as journal:
        run_ = _Run(plan, GeneralizationStore(path, plan.spec), journal, path)
        with settings.open_driver(path, journal, display, lambda result: None) as (driver, shown):
            run_.survey(retry, match)
            if run_.todo:
                run_.compute(driver, shown)
            run_.store.flush()
            return run_.summary()


class _Run:
    """One run of one plan into one open store."""

    def __init__(self, plan: GeneralizationPlan, store: GeneralizationStore, journal: Journal, path: Path) -> None:
        self.plan, self.store, self.journal, self.path = plan, store, journal, path
        self.kept = kept_path(path)
        self.todo: dict[TrainingCell, int] = {}
        self.again: set[str] = set()
        self.computed = 0
        self._told: set[str] = set()

    def survey(self, retry: Collection[str], match: str) -> None:
        """Find out what there is to do; say of every cell that will not run why."""
        statuses = self.store.statuses()
        for cell, reason in self.plan.skipped.items():
            if statuses[cell][0] not in FINAL:
                self.store.put(cell.labels, {"status": "skipped", "reason": reason})
        for cell, tasks in self.plan.cell_tasks.items():
            status, key = statuses[cell]
            again = status in retry and match.lower() in self._reason(cell).lower()
            if match and not again:
                continue
            if status in FINAL and key == tasks.evaluated and not again:
                continue
            if again:
                self.again.update(key for key in tasks.keys if self.journal.status(key) != "done")
            self.todo[cell] = 0
        asked = self.store.asked()
        for cell, (status, _) in statuses.items():
            if status == "pending" and cell not in asked:
                self.store.put(cell.labels, {"status": "skipped", "reason": "not asked for by any campaign"})

    def _reason(self, cell: TrainingCell) -> str:
        return str(self.store.ds["reason"].sel(cell.labels).item())

    def compute(self, driver: Driver, display: Display) -> None:
        """Do every task the cells need; write each cell as soon as its last task is over."""
        keys = [key for cell in self.todo for key in self.plan.cell_tasks[cell].keys]
        needed = with_inputs(self.plan.tasks, keys)
        self.again |= lost_arrays(self.plan.tasks, needed, self.journal, self.kept)
        known = Earlier(self.journal, needed - self.again)
        count = RunCounts(len(self.todo), tasks=len(needed) - len(known))
        display.update(count)
        self._settle(known, count)

        def idle() -> None:
            self.store.flush_if_due()
            count.running = driver.running
            display.update(count)

        make = making(self.plan.sources, str(self.kept))
        with contextlib.closing(driver.compute(self.plan.batches, make, needed, known, idle)) as arriving:
            for results in arriving:
                count.tasks -= len(results)
                count.running = driver.running
                self._settle([result.key for result in results], count)
                self.store.flush_if_due()
                display.update(count)
        display.update(count, last=True)

    def _settle(self, keys: Iterable[str], count: RunCounts) -> None:
        """Take note of tasks that are over; write the cells that have all of theirs."""
        self._told.update(keys)
        for cell in list(self.todo):
            tasks = self.plan.cell_tasks[cell]
            if self._told.issuperset(tasks.keys):
                del self.todo[cell]
                status = self._write(cell)
                self.computed += 1
                count.done += status == "done"
                count.failed += status != "done"

    def _write(self, cell: TrainingCell) -> str:
        tasks = self.plan.cell_tasks[cell]
        results: Mapping[str, TaskResult] = {key: self._result(key) for key in tasks.keys}
        failed = [results[key] for key in tasks.keys if results[key].status != "done"]
        # the first that failed is the cause; the others say that an input is missing
        status, reason = (failed[0].status, failed[0].reason) if failed else ("done", "")
        if not failed:
            along, values = dataset_values([results[key] for key in tasks.labels], results[tasks.mapped])
            self.store.put({"dataset": cell.dataset}, values, along)
            divided = {dim: cell.labels[dim] for dim in SPLIT_DIMS}
            self.store.put(divided, split_values(results[tasks.divided], len(along["structure"])), along)
            along, values = cell_values(results[tasks.trained], results[tasks.evaluated])
            self.store.put(cell.labels, values, along)
            write_model(self.path, cell, results[tasks.trained])
        self.store.put(cell.labels, {"status": status, "reason": reason, "task_key": tasks.evaluated})
        return status

    def _result(self, key: str) -> TaskResult:
        found = self.journal.get(key)
        assert found is not None
        return found

    def summary(self) -> Summary:
        """Statuses of the plan's cells."""
        statuses = self.store.statuses()
        return Summary(Counter(statuses[cell][0] for cell in self.plan.cells), self.computed)
