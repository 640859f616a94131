"""The driver journals results before it yields them, once, and lets repeated minimisations continue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_tasks import FakeTask, FakeWork, batch_of

from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.execution.driver import Driver
from hbcoop_dist.execution.restart_files import RestartFolder
from hbcoop_dist.execution.scheduler import Backend, SerialBackend
from hbcoop_dist.optimize.quasi_newton import State


class FakeJournal:
    """Keeps results in memory, and counts the writes, each of which is one fsync."""

    def __init__(self) -> None:
        self.results: dict[str, TaskResult] = {}
        self.writes: list[int] = []

    def append_many(self, results: list[TaskResult]) -> None:
        self.writes.append(len(results))
        self.results.update({result.key: result for result in results})

    def get(self, key: str) -> TaskResult | None:
        return self.results.get(key)

    def status(self, key: str) -> str | None:
        return self.results[key].status if key in self.results else None


class OtherBackend:
    """A backend that is not the serial one, so that the driver computes in a background thread."""

    def __init__(self) -> None:
        inner = SerialBackend()
        self.free_slots, self.submit, self.wait, self.close = inner.free_slots, inner.submit, inner.wait, inner.close
        self._inner = inner

    @property
    def running(self) -> int:
        return self._inner.running


BATCHES = [batch_of(FakeTask(str(n), (str(n - 1),) if n else ())) for n in range(6)]


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


def driver_of(journal: FakeJournal, folder: Path, backend: Callable[[], Backend] = SerialBackend) -> Driver:
    return Driver(journal, backend, str(folder), lambda result: State(np.zeros(3), np.eye(2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", [SerialBackend, OtherBackend])
def test_results_are_journaled_before_they_are_yielded(
    journal: FakeJournal, tmp_path: Path, backend: Callable[[], Backend]
) -> None:
    needed, seen = {str(n) for n in range(6)}, []
    made = backend()
    for results in driver_of(journal, tmp_path, lambda: made).compute(BATCHES, FakeWork, needed, {}, lambda: None):
        assert all(result.key in journal.results for result in results)
        assert journal.writes[-1] == len(results), "more than one write for a group"
        seen += [result.key for result in results]
    assert seen == [str(n) for n in range(6)]


def test_only_needed_tasks_without_a_result_are_computed(journal: FakeJournal, tmp_path: Path) -> None:
    driver, known = driver_of(journal, tmp_path), {"0": TaskResult("0", "done")}
    list(driver.compute(BATCHES, FakeWork, {"0", "1", "2"}, known, lambda: None))
    assert list(journal.results) == ["1", "2"]


def test_groups_that_wait_for_a_slow_consumer_are_journaled_in_one_write(
    journal: FakeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_at_once(items, limit, idle):  # type: ignore[no-untyped-def]
        yield list(items(lambda: None))

    monkeypatch.setattr("hbcoop_dist.execution.driver.iterate_in_background", all_at_once)
    made = OtherBackend()
    groups = driver_of(journal, tmp_path, lambda: made).compute(BATCHES, FakeWork, set("012345"), {}, lambda: None)
    assert [len(results) for results in groups] == journal.writes == [6]


def test_the_restart_file_of_a_finished_task_is_removed(journal: FakeJournal, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    restarts = RestartFolder(folder)
    for key in ("0", "other"):
        restarts.save(key, State(np.zeros(3), np.eye(2)))
    list(driver_of(journal, folder).compute(BATCHES[:1], FakeWork, {"0"}, {}, lambda: None))
    assert [path.name for path in folder.iterdir()] == ["other.npz"]


def test_repeated_minimisations_continue_from_their_unconverged_results(journal: FakeJournal, tmp_path: Path) -> None:
    journal.append_many([TaskResult(status, status) for status in ("unconverged", "failed", "done")])
    asked = []

    def restart_state(result: TaskResult) -> State | None:
        asked.append(result.key)
        return State(np.arange(3.0), np.eye(2))

    driver = Driver(journal, SerialBackend, str(tmp_path / "scratch"), restart_state)  # type: ignore[arg-type]
    driver.continue_from(["unconverged", "failed", "done", "absent"])
    assert asked == ["unconverged"]
    state = RestartFolder(tmp_path / "scratch").load("unconverged", 3, 2)
    assert state is not None
    np.testing.assert_array_equal(state.q, np.arange(3.0))


def test_without_a_restart_state_no_file_is_written(journal: FakeJournal, tmp_path: Path) -> None:
    journal.append_many([TaskResult("a", "unconverged")])
    folder = tmp_path / "scratch"
    Driver(journal, SerialBackend, str(folder), lambda result: None).continue_from(["a"])  # type: ignore[arg-type]
    assert not folder.exists()
