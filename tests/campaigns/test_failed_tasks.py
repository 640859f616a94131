"""Tasks of chains that fail or do not converge: the cells that need them, and their reasons."""

from __future__ import annotations

from typing import Any

from hbcoop_dist.campaigns.hbond.plan import HBondPlan, make_plan
from hbcoop_dist.campaigns.hbond.records import cell_record
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.hbond.worker import ChainWork
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.execution.scheduler import Outcome, SerialBackend, iter_results


class FailingBackend(SerialBackend):
    """A backend on which every batch with a certain task fails."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__()
        self.key, self.reason = key, reason

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        ticket, work = self._submitted[0]
        if self.key not in [task.key for task in work.batch.tasks]:
            return super().wait(seconds)
        self._submitted.popleft()
        return ticket, ValueError(self.reason)


def plan_of(**fields: Any) -> HBondPlan:
    return make_plan(HBondSpec.model_validate({"campaign": "test", "models": ["toy"], "lengths": [2, 3, 4], **fields}))


def results_of(made: HBondPlan, backend: SerialBackend) -> dict[str, TaskResult]:
    results = iter_results(made.batches, ChainWork.factory(made.sources, made.spec.minimize), {}, backend)
    return {result.key: result for result in results}


def test_a_failed_minimisation_costs_its_own_cell_only() -> None:
    made = plan_of()
    trimer = next(t.key for t in made.tasks.values() if t.kind == "minimise" and t.chain.length == 3)
    results = results_of(made, FailingBackend(trimer, "no such orbital"))
    energies = {task.key for task in made.tasks.values() if task.leader == trimer}
    assert {key for key, result in results.items() if result.status == "failed"} == {trimer, *energies}
    records = {cell.length: cell_record(made, cell, results.__getitem__) for cell in made.cell_tasks}
    assert [records[n].status for n in (2, 3, 4)] == ["done", "failed", "done"]
    assert records[3].reason == "code: ValueError: no such orbital"
    assert "cooperative_energy" not in records[3].values


def test_a_failed_dimer_fails_the_cells_that_need_it() -> None:
    made = plan_of(patterns=["linear"], lengths=[3])
    anti = next(t.key for t in made.tasks.values() if t.kind == "minimise" and t.chain.conformers == ("anti",))
    results = results_of(made, FailingBackend(anti, "boom"))
    record = cell_record(made, made.cells[0], results.__getitem__)
    assert record.status == "failed"
    assert "boom" in record.reason


def test_unconverged_cells_keep_their_values() -> None:
    made = plan_of(lengths=[3], minimize={"max_calls": 5})
    record = cell_record(made, made.cells[0], results_of(made, SerialBackend()).__getitem__)
    assert record.status == "unconverged"
    assert "after 5 force calls" in record.reason
    assert "cooperative_energy" in record.values
