"""Cells are complete with their last result, and results stay in memory only while a cell needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hbcoop_dist.campaigns.hbond.plan import HBondPlan, make_plan
from hbcoop_dist.campaigns.hbond.records import record_builder
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.hbond.worker import ChainWork
from hbcoop_dist.campaigns.runner import CellTracker, StoredResults
from hbcoop_dist.core.results import STATUSES, TaskResult
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.store import Journal

Result = TaskResult[Any]


@pytest.fixture(scope="module")
def made() -> HBondPlan:
    fields = {"models": ["toy", "toy-additive"], "lengths": [2, 3, 4], "patterns": ["arc", "linear"]}
    return make_plan(HBondSpec.model_validate({"campaign": "test", **fields}))


@pytest.fixture(scope="module")
def results(made: HBondPlan) -> list[Result]:
    return list(iter_results(made.batches, ChainWork.factory(made.sources, made.spec.minimize), {}, SerialBackend()))


def plain(made: HBondPlan) -> list[Result]:
    return [TaskResult(key, "done") for key in made.tasks]


def test_every_cell_is_complete_once_with_its_last_result(made: HBondPlan) -> None:
    tracker = CellTracker(made, made.cells, {})
    assert tracker.complete() == []
    seen: set[str] = set()
    order = []
    for result in plain(made):
        seen.add(result.key)
        for cell in tracker.add([result]):
            keys = made.cell_tasks[cell].keys
            assert set(keys) <= seen
            assert result.key in keys
            assert [tracker.result(key).key for key in keys] == list(keys)
            order.append(cell)
            tracker.release(cell)
            if not tracker.open_by_source[cell.source]:
                assert not any(other.source == cell.source for other in made.cells if other not in order)
    assert sorted(map(str, order)) == sorted(map(str, made.cells))
    assert len(tracker) == 0
    assert set(tracker.open_by_source.values()) == {0}


def test_results_that_no_open_cell_needs_are_not_kept(made: HBondPlan) -> None:
    first = made.cells[0]
    tracker = CellTracker(made, [first], {})
    assert list(tracker.add(plain(made))) == [first]
    assert len(tracker) == len(made.cell_tasks[first].keys)


def test_an_isolated_dimer_gets_one_record(made: HBondPlan, results: list[Result]) -> None:
    tracker, records, written = CellTracker(made, made.cells, {}), record_builder(made), set()
    dimers = []
    for cell in tracker.add(results):
        for record in records(cell, tracker.result, written)[1:]:
            dimers.append((record.labels["model"], record.labels["conformer"]))
            written.add((record.table, tuple(record.labels.values())))
    models = ("toy", "toy-additive")
    assert sorted(dimers) == [(model, conformer) for model in models for conformer in ("anti", "syn")]


def test_stored_results_are_read_one_cell_at_a_time(made: HBondPlan, tmp_path: Path) -> None:
    with Journal(tmp_path / "a.journal", {}) as journal:
        journal.append_many(plain(made))
        stored = StoredResults(journal, made.tasks)
        tracker = CellTracker(made, made.cells, stored)
        assert len(tracker.complete()) == len(made.cells)
        for cell in tracker.complete():
            keys = made.cell_tasks[cell].keys
            assert [tracker.result(key).status for key in keys] == ["done"] * len(keys)
            assert len(tracker) <= len(made.tasks) / 2
            tracker.release(cell)
    assert len(stored) == len(made.tasks)
    assert len(tracker) == 0


def test_partly_stored_cells_wait_for_the_rest(made: HBondPlan) -> None:
    cell = made.cells[-1]
    keys = made.cell_tasks[cell].keys
    stored: dict[str, Result] = {key: TaskResult(key, "done") for key in keys[:-1]}
    tracker = CellTracker(made, [cell], stored)
    assert tracker.complete() == []
    assert list(tracker.add([TaskResult(keys[-1], "done")])) == [cell]


def test_failures_of_earlier_runs_do_not_hold(tmp_path: Path) -> None:
    returned = [status for status in STATUSES if status not in ("pending", "skipped", "stale")]
    with Journal(tmp_path / "a.journal", {}) as journal:
        journal.append_many(TaskResult(status, status) for status in returned)  # type: ignore[arg-type]
        stored = StoredResults(journal, [*returned, "absent"])
    assert set(stored) == {"done", "unconverged", "broken-geometry"}
    assert len(stored) == 3
    for key in ("failed", "quarantined", "absent"):
        assert key not in stored
        with pytest.raises(KeyError):
            stored[key]
