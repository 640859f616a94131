"""The scheduler's retry policy, with exact numbers of tries, and what it keeps in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Mapping

import pytest
from fake_tasks import FakeTask, FakeWork, batch_of, pair

from hbcoop_dist.core.failures import Failure, LostWorkerError
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Batch
from hbcoop_dist.execution.scheduler import (
    EXPIRED_TRIES,
    EXPIRED_TRIES_ALONE,
    FAILURE_TRIES,
    LOST_WORKER_TRIES,
    Outcome,
    SerialBackend,
    WorkerSlot,
    iter_results,
    run_batches,
)

EXPIRED = LostWorkerError("the walltime ended", blamed=False, expired=True)


class Failing(SerialBackend):
    """A backend on which a batch fails with the error that `error_of(batch, number of batches so far)` returns."""

    def __init__(self, error_of: Callable[[Batch, int], BaseException | None]) -> None:
        super().__init__()
        self.error_of = error_of
        self.seen: list[list[str]] = []

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        ticket, work = self._submitted[0]
        self.seen.append([task.key for task in work.batch.tasks])
        if error := self.error_of(work.batch, len(self.seen)):
            self._submitted.popleft()
            return ticket, error
        return super().wait(seconds)


def failing_with(error: BaseException, key: str) -> Failing:
    return Failing(lambda batch, _: error if key in [task.key for task in batch.tasks] else None)


def run(batches: Iterable[Batch], backend: SerialBackend | None = None, **known: TaskResult) -> dict[str, TaskResult]:
    results = list(iter_results(batches, FakeWork, known, backend or SerialBackend()))
    assert len({result.key for result in results}) == len(results), "a task has two results"
    return {result.key: result for result in results}


def statuses(results: Mapping[str, TaskResult]) -> dict[str, str]:
    return {key: result.status for key, result in results.items()}


def test_every_task_has_one_result_and_inputs_arrive_first() -> None:
    batches = [batch_of(FakeTask("c", ("a", "b"))), batch_of(FakeTask("b", ("a",))), batch_of(FakeTask("a"))]
    assert list(run(batches)) == ["a", "b", "c"]


def test_known_results_are_not_computed_and_looked_up_only_when_needed() -> None:
    looked_up = []

    class Known(dict[str, TaskResult]):
        def __getitem__(self, key: str) -> TaskResult:
            looked_up.append(key)
            return super().__getitem__(key)

    known = Known({key: TaskResult(key, "done") for key in ("a", "b", "c")})
    batches = [batch_of(FakeTask("a"), FakeTask("b")), batch_of(FakeTask("c")), batch_of(FakeTask("d", ("b",)))]
    assert [result.key for result in iter_results(batches, FakeWork, known, SerialBackend())] == ["d"]
    assert looked_up == ["b"]


def test_work_receives_its_inputs_the_device_and_the_scratch_folder() -> None:
    made = []

    def make(batch: Batch, inputs: Mapping[str, TaskResult], device: str, scratch: str | None) -> FakeWork:
        made.append((batch.tasks[0].key, dict(inputs), device, scratch))
        return FakeWork(batch, inputs)

    batches = [batch_of(FakeTask("a")), batch_of(FakeTask("b", ("a",)))]
    first, _ = iter_results(batches, make, {}, SerialBackend("cuda:1"), scratch="folder")
    assert made == [("a", {}, "cuda:1", "folder"), ("b", {"a": first}, "cuda:1", "folder")]


def test_one_failing_task_costs_only_itself_and_the_tasks_that_it_leads() -> None:
    batch = batch_of(*pair(1), *pair(2, error="no such orbital"), *pair(3))
    results = run([batch])
    assert {key for key, status in statuses(results).items() if status == "failed"} == {"minimum 2", "energies 2"}
    assert results["minimum 2"].reason == "code: ValueError: no such orbital"


def test_a_batch_that_fails_is_split_by_leaders_and_only_once() -> None:
    backend = failing_with(ValueError("x"), "minimum 2")
    run([batch_of(*pair(1), *pair(2))], backend)
    assert backend.seen == [
        ["minimum 1", "energies 1", "minimum 2", "energies 2"],
        ["minimum 1", "energies 1"],
        ["minimum 2", "energies 2"],
    ]


def test_tasks_whose_inputs_belong_to_no_batch_fail_instead_of_waiting() -> None:
    results = run([batch_of(FakeTask("x", ("nowhere",)), FakeTask("y")), batch_of(FakeTask("z"))])
    assert statuses(results) == {"z": "done", "x": "failed", "y": "failed"}
    assert results["x"].reason == "a task it needs is not part of this plan"


def test_a_single_task_may_kill_exactly_three_workers() -> None:
    assert LOST_WORKER_TRIES == 3
    for deaths, status in ((2, "done"), (3, "quarantined")):
        backend = Failing(lambda batch, count, deaths=deaths: LostWorkerError("gone") if count <= deaths else None)
        results = run([batch_of(FakeTask("x"))], backend)
        assert results["x"].status == status
        assert len(backend.seen) == 3
    assert results["x"].reason == "lost worker: gone"


def test_a_batch_that_kills_its_worker_is_split_without_a_further_try() -> None:
    backend = failing_with(LostWorkerError("gone"), "minimum 2")
    assert set(statuses(run([batch_of(*pair(1), *pair(2))], backend)).values()) == {"done", "quarantined"}
    assert [len(keys) for keys in backend.seen if "minimum 2" in keys] == [4] + [2] * LOST_WORKER_TRIES


def test_a_worker_that_was_taken_away_costs_its_batch_no_try() -> None:
    backend = Failing(lambda batch, count: LostWorkerError("scancel", blamed=False) if count <= 10 else None)
    assert set(statuses(run([batch_of(*pair(1), *pair(2))], backend)).values()) == {"done"}
    assert [len(keys) for keys in backend.seen] == [4] * 11


def test_a_batch_that_outlasts_every_walltime_is_split_and_its_task_quarantined() -> None:
    assert (EXPIRED_TRIES, EXPIRED_TRIES_ALONE) == (3, 10)
    backend = failing_with(EXPIRED, "minimum 2")
    results = run([batch_of(*pair(1), *pair(2))], backend)
    assert results["minimum 2"].reason == "lost worker: the walltime ended, 10 times"
    assert {key for key, one in results.items() if one.status == "quarantined"} == {"minimum 2", "energies 2"}
    assert [len(keys) for keys in backend.seen if "minimum 2" in keys] == [4] * 3 + [2] * 10


def test_a_walltime_that_ends_twice_costs_nothing() -> None:
    backend = Failing(lambda batch, count: EXPIRED if count <= 2 else None)
    assert set(statuses(run([batch_of(*pair(1), *pair(2))], backend)).values()) == {"done"}
    assert [len(keys) for keys in backend.seen] == [4] * 3


class Hosts(SerialBackend):
    """One worker per host, the sick one first; `outcome_of(host, number of batches so far)` may replace an outcome."""

    def __init__(self, outcome_of: Callable[[str, int], BaseException | None], hosts: set[str]) -> None:
        super().__init__()
        self.outcome_of, self.hosts = outcome_of, hosts
        self.used: list[str] = []

    def free_slots(self, ready: Mapping[str, int]) -> Iterable[WorkerSlot]:
        for host in () if self._submitted else ("sick", "well"):
            if host in self.hosts and not self._submitted:
                yield WorkerSlot(host, host=host, elsewhere=lambda model, avoided: bool(self.hosts - avoided))

    def submit(self, ticket: int, work: FakeWork, slot: WorkerSlot) -> None:
        self.used.append(slot.host)
        super().submit(ticket, work, slot)

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        if error := self.outcome_of(self.used[-1], len(self.used)):
            return self._submitted.popleft()[0], error
        return super().wait(seconds)


def test_a_task_that_fails_on_one_host_is_tried_once_on_another() -> None:
    assert FAILURE_TRIES == 2
    backend = Hosts(lambda host, _: RuntimeError("device unavailable") if host == "sick" else None, {"sick", "well"})
    assert run([batch_of(FakeTask("x"))], backend)["x"].status == "done"
    assert backend.used == ["sick", "well"]
    backend = Hosts(lambda host, _: RuntimeError("boom"), {"sick", "well"})
    assert run([batch_of(FakeTask("x"))], backend)["x"].status == "failed"
    assert backend.used == ["sick", "well"]


def test_a_task_that_fails_on_the_only_host_is_not_tried_again() -> None:
    backend = Hosts(lambda host, _: RuntimeError("boom"), {"sick"})
    assert run([batch_of(FakeTask("x"))], backend)["x"].reason == "code: RuntimeError: boom"
    assert backend.used == ["sick"]


def test_a_requeue_without_blame_keeps_the_hosts_to_avoid() -> None:
    """Fails on the sick host, is requeued when the worker on the other is taken away, and avoids the sick one again."""
    errors = {1: RuntimeError("device unavailable"), 2: LostWorkerError("scancel", blamed=False)}
    backend = Hosts(lambda host, count: errors.get(count), {"sick", "well"})
    assert run([batch_of(FakeTask("x"))], backend)["x"].status == "done"
    assert backend.used == ["sick", "well", "well"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("8 GB"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (FileNotFoundError("x.model"), "missing checkpoint"),
        (ModuleNotFoundError("No module named 'sevenn'"), "missing package"),
        (LostWorkerError("worker main-1 died"), "lost worker"),
        (ZeroDivisionError("division by zero"), "code"),
    ],
)
def test_failures_are_classified(error: Exception, kind: str) -> None:
    failure = Failure.of(error)
    assert failure.kind == kind
    assert str(error) in failure.reason


class WatchedResult(TaskResult):
    """A result that can be weakly referenced."""

    __slots__ = ("__weakref__",)


class Watching(SerialBackend):
    """Returns results that are watched until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: weakref.WeakValueDictionary[str, WatchedResult] = weakref.WeakValueDictionary()

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        ticket, work = self._submitted.popleft()
        results: list[TaskResult] = [WatchedResult(task.key, "done") for task in work.batch.tasks]
        self.alive.update({result.key: result for result in results})
        return ticket, results


def test_results_that_no_batch_needs_any_more_are_freed() -> None:
    """The Hessians of 1e5 cells are 7 GB: a result lives until the last batch that starts from it has ended."""
    batches = [batch_of(FakeTask("0"))]
    batches += [batch_of(FakeTask(str(n), (str(n - 1), "0"))) for n in range(1, 6)]
    backend = Watching()
    groups = run_batches(batches, FakeWork, {}, backend)
    for number in range(6):
        group = next(groups)
        assert [result.key for result in group] == [str(number)]
        del group
        gc.collect()
        # inputs of the next batch, which is submitted already; the generator itself holds the last group
        assert set(backend.alive) == ({"0", str(number)} if number < 5 else {"5"})
    assert next(groups, None) is None


class ManyWorkers(SerialBackend):
    """Runs six batches at a time, and returns them at once."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted = 0

    def free_slots(self, ready: Mapping[str, int]) -> Iterable[WorkerSlot]:
        return [WorkerSlot(f"worker {n}") for n in range(6 - len(self._submitted))]

    def submit(self, ticket: int, work: FakeWork, slot: WorkerSlot) -> None:
        self.submitted += 1
        super().submit(ticket, work, slot)

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        return super().wait(seconds) if self._submitted else None


def test_all_batches_that_have_ended_are_one_group() -> None:
    batches = [batch_of(FakeTask(str(n))) for n in range(8)]
    assert [len(group) for group in run_batches(batches, FakeWork, {}, ManyWorkers())] == [6, 2]


def test_the_inputs_of_a_batch_are_computed_once_however_many_batches_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    real = Batch.inputs
    monkeypatch.setattr(Batch, "inputs", property(lambda batch: (looks.append(1), real.__get__(batch))[1]))
    for count in (30, 300):
        looks.clear()
        batches = [batch_of(FakeTask(str(n), (str(n - 7),) if n > 6 else ())) for n in range(count)]
        backend = ManyWorkers()
        assert len(run(batches, backend)) == backend.submitted == len(looks) == count


def test_idle_is_called_while_no_batch_ends() -> None:
    class Slow(SerialBackend):
        waits = 0

        def wait(self, seconds: float) -> tuple[int, Outcome] | None:
            assert seconds == 1.0
            self.waits += 1
            return super().wait(seconds) if self.waits == 4 else None

    idled: list[int] = []
    list(iter_results([batch_of(FakeTask("x"))], FakeWork, {}, Slow(), idle=lambda: idled.append(1)))
    assert len(idled) == 3
