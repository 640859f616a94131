"""Which cells a run computes: mixed stores, changed packages, retries, and what of a cell is done again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hbcoop_dist.campaigns import pending_cells
from hbcoop_dist.campaigns.hbond.kind import KIND
from hbcoop_dist.campaigns.hbond.plan import HBondPlan, make_plan
from hbcoop_dist.campaigns.hbond.spec import Cell, HBondSpec
from hbcoop_dist.campaigns.pending_cells import FINAL, RETRYABLE, PendingCells, find_pending_cells, labels_of
from hbcoop_dist.core.results import Record, Status, TaskResult
from hbcoop_dist.store import Journal, StoreWriter, prepare_store

VERSIONS = {"numpy": "1", "hbcoop_dist": "1"}


@pytest.fixture(scope="module")
def made() -> HBondPlan:
    return make_plan(HBondSpec.model_validate({"campaign": "test", "models": ["toy"], "lengths": [2, 3, 4, 5]}))


@pytest.fixture
def writer(made: HBondPlan, tmp_path: Path) -> Iterator[StoreWriter]:
    path = tmp_path / "a.zarr"
    prepare_store(path, KIND.schema, KIND.axis_labels(made), protocol=made.spec.protocol)
    with StoreWriter(path, KIND.schema) as writer:
        yield writer


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "a.journal", {}) as journal:
        yield journal


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, made: HBondPlan) -> dict[str, str]:
    """Versions of the packages of the plan's model, whatever is installed."""
    versions = dict.fromkeys(made.sources["toy"].needs.packages, "1")
    monkeypatch.setattr(pending_cells, "installed_version", versions.get)
    return versions


def put(
    writer: StoreWriter, made: HBondPlan, cell: Cell, status: Status = "done", reason: str = "", **values: Any
) -> None:
    """Write a cell as a run would."""
    content = {
        "task_key": made.cell_tasks[cell].final_key,
        "versions": json.dumps(VERSIONS),
        "cooperative_energy": [0.1] * 3,
        "hbond_cooperative_energy": [0.1] * (cell.length - 1),
        **values,
    }
    dims = KIND.schema.cells.dims
    labels = dict(zip(dims, labels_of(KIND.schema)(cell), strict=True))
    writer.write([Record("cell", labels, status, reason, content)])
    writer.flush()


def pending(
    made: HBondPlan, writer: StoreWriter, journal: Journal, *, retry: tuple[str, ...] = (), match: str = ""
) -> PendingCells:
    return find_pending_cells(made, KIND, writer, journal, retry, match)


def test_every_status_is_either_final_or_computed(made: HBondPlan, writer: StoreWriter, journal: Journal) -> None:
    """A store in a mixed state: exactly the cells that are not final are computed, and nothing is repeated."""
    statuses: tuple[Status, ...] = ("done", "unconverged", "stale", "skipped")
    for cell, status in zip(made.cells, statuses, strict=True):
        put(writer, made, cell, status)
    todo = pending(made, writer, journal)
    assert todo.cells == made.cells[2:]
    assert todo.repeat == frozenset()
    assert [todo.statuses[labels_of(KIND.schema)(cell)] for cell in made.cells] == list(statuses)


def test_cells_without_a_row_are_pending(made: HBondPlan, writer: StoreWriter, journal: Journal) -> None:
    put(writer, made, made.cells[1])
    assert pending(made, writer, journal).cells == (made.cells[0], *made.cells[2:])


@pytest.mark.parametrize("status", FINAL)
def test_another_key_makes_a_final_cell_pending(
    made: HBondPlan, writer: StoreWriter, journal: Journal, status: Status
) -> None:
    for cell in made.cells:
        put(writer, made, cell, status)
    put(writer, made, made.cells[0], status, task_key="of another checkpoint")
    assert pending(made, writer, journal).cells == made.cells[:1]


@pytest.mark.parametrize(
    ("before", "now", "outdated"),
    [
        ({"one": "1", "two": "1"}, {"one": "1", "two": "1"}, False),
        ({"one": "1", "two": "1"}, {"one": "2", "two": "1"}, True),
        ({"one": "1", "two": "1"}, {"one": "1", "two": "2"}, True),
        ({"one": "1", "two": "1"}, {"one": "2", "two": "2"}, True),
        ({"one": "1"}, {"one": "1", "two": "9"}, False),
        ({"one": "1", "two": "1"}, {"one": "1"}, False),
    ],
    ids=["same", "first", "second", "both", "not recorded", "not installed"],
)
def test_versions_are_compared_package_by_package(
    made: HBondPlan,
    writer: StoreWriter,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    before: Mapping[str, str],
    now: Mapping[str, str],
    outdated: bool,
) -> None:
    source = made.sources["toy"]
    two = replace(source, card=source.card.with_fields(packages=("one", "two")))
    other = replace(made, sources={"toy": two})
    monkeypatch.setattr(pending_cells, "installed_version", now.get)
    for cell in made.cells:
        put(writer, made, cell, versions=json.dumps(before))
    todo = pending(other, writer, journal)
    assert todo.cells == (made.cells if outdated else ())
    keys = set().union(*(made.cell_tasks[cell].keys for cell in made.cells))
    assert todo.repeat == (keys if outdated else set())
    elsewhere = replace(made, sources={"toy": replace(two, here=False)})
    assert pending(elsewhere, writer, journal).cells == (), "the versions of this Python do not matter there"


def test_done_cells_without_values_are_computed_and_nothing_is_repeated(
    made: HBondPlan, writer: StoreWriter, journal: Journal
) -> None:
    for cell in made.cells:
        put(writer, made, cell)
    put(writer, made, made.cells[2], cooperative_energy=[float("nan")] * 3)
    todo = pending(made, writer, journal)
    assert todo.cells == (made.cells[2],)
    assert todo.repeat == frozenset(), "the journal may still have the results"


def test_a_retry_repeats_every_task_of_the_cell_its_isolated_dimers_too(
    made: HBondPlan, writer: StoreWriter, journal: Journal
) -> None:
    """What failed may be the dimer: a retry of the chain alone would give the same failure again."""
    for cell in made.cells:
        put(writer, made, cell)
    failed = made.cells[1]
    put(writer, made, failed, "failed", "isolated dimer of H-bond 1: an energy is not finite")
    tasks = made.cell_tasks[failed]
    (dimer,) = {dimer.keys for dimer in tasks.dimers}
    journal.append_many(
        TaskResult(key, "failed" if key in dimer else "done", "an energy is not finite" if key in dimer else "")
        for key in made.tasks
    )
    assert pending(made, writer, journal).cells == ()
    todo = pending(made, writer, journal, retry=RETRYABLE)
    assert todo.cells == (failed,)
    assert set(dimer) <= todo.repeat <= set(tasks.keys)


def test_only_the_statuses_and_reasons_asked_for_are_retried(
    made: HBondPlan, writer: StoreWriter, journal: Journal
) -> None:
    put(writer, made, made.cells[0], "failed", "CUDA out of memory")
    put(writer, made, made.cells[1], "quarantined", "lost worker")
    put(writer, made, made.cells[2], "done")
    first, second, _, fourth = made.cells
    assert pending(made, writer, journal, retry=("failed",)).cells == (first, fourth)
    assert pending(made, writer, journal, retry=RETRYABLE).cells == (first, second, fourth)
    # with a text, cells that are pending anyway are left alone
    assert pending(made, writer, journal, retry=RETRYABLE, match="Lost").cells == (second,)
    assert pending(made, writer, journal, retry=("failed",), match="lost").cells == ()
