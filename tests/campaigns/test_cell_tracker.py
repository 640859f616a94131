"""Cells are written when their last result comes, and their results are not kept longer than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hbcoop_dist import plan
from hbcoop_dist.campaigns.cell_tracker import Cells, Earlier
from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.campaigns.hbond.worker import working
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.store import Journal


def draw(**fields: Any) -> Plan:
    return plan(CampaignSpec.model_validate({"campaign": "test", "models": ["toy", "toy-additive"], **fields}))


@pytest.fixture(scope="module")
def drawn() -> Plan:
    return draw(lengths=[2, 3, 4], patterns=["arc", "linear"])


@pytest.fixture(scope="module")
def results(drawn: Plan) -> list[TaskResult]:
    return list(iter_results(drawn.batches, working(drawn.sources, drawn.spec.minimize), {}, SerialBackend()))


def test_every_cell_comes_once_and_nothing_of_a_written_model_stays(drawn: Plan, results: list[TaskResult]) -> None:
    cells = Cells(drawn, drawn.cells, {})
    written = []
    for result in results:
        for cell in cells.take([result]):
            assert cells.records(cell)[0].status == "done"
            written.append(cell)
            if not cells.left[cell.model]:
                assert len(cells) == 0
    assert sorted(map(str, written)) == sorted(map(str, drawn.cells))


def test_an_isolated_dimer_is_written_once(drawn: Plan, results: list[TaskResult]) -> None:
    cells = Cells(drawn, drawn.cells, {})
    records = [record for cell in cells.take(results) for record in cells.records(cell)[1:]]
    assert sorted((r.labels["model"], r.labels["conformer"]) for r in records) == [
        ("toy", "anti"),
        ("toy", "syn"),
        ("toy-additive", "anti"),
        ("toy-additive", "syn"),
    ]


def test_results_of_earlier_runs_are_read_one_cell_at_a_time(
    drawn: Plan, results: list[TaskResult], tmp_path: Path
) -> None:
    with Journal(tmp_path / "a.journal") as journal:
        journal.append_many(results)
        known = Earlier(journal, drawn.tasks)
        cells = Cells(drawn, drawn.cells, known)
        most = 0
        for cell in cells.complete():
            assert cells.records(cell)[0].status == "done"
            most = max(most, len(cells))
    assert len(known) == len(results)
    assert 0 < most < len(results) / 2
    assert len(cells) == 0


def test_failures_of_earlier_runs_do_not_count(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.journal") as journal:
        journal.append_many(TaskResult(status, status) for status in ("done", "unconverged", "failed", "quarantined"))  # type: ignore[arg-type]
        known = Earlier(journal, ["done", "unconverged", "failed", "quarantined", "absent"])
    assert set(known) == {"done", "unconverged"}
    assert "absent" not in known
    with pytest.raises(KeyError):
        known["failed"]
