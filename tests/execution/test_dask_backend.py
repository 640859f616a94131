"""The Dask backend with a fake client and cluster: which outcome each batch has when workers end, die or hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_cluster import FakeClient, FakeCluster, FakeFuture
from fake_tasks import FakeSource, FakeTask, FakeWork, batch_of

from hbcoop_dist.clusters import ClusterError
from hbcoop_dist.core.failures import Failure, LostWorkerError
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.execution.dask_backend import FETCHED_AT_ONCE, DaskBackend
from hbcoop_dist.execution.scheduler import LOST_WORKER_TRIES, Outcome, iter_results


class Setup:
    """A backend with its fakes, and single batches by number."""

    def __init__(self, *workers: str) -> None:
        self.client, self.cluster, self.now = FakeClient(), FakeCluster(*workers), 100.0
        sources = {"a": FakeSource("a"), "b": FakeSource("b")}
        self.backend = DaskBackend(self.client, self.cluster, sources, clock=lambda: self.now)
        self.ticket = 0

    def submit(self, worker: str, **fields: str) -> FakeFuture:
        """Send a batch of one task to a worker."""
        (slot,) = (slot for slot in self.backend.free_slots({"a": 9, "b": 9}) if slot.worker == worker)
        task = FakeTask(f"task {self.ticket}", **fields)
        self.backend.submit(self.ticket, FakeWork(batch_of(task, model=task.model), {}), slot)
        self.ticket += 1
        return self.client.futures[-1]

    def outcomes(self) -> dict[int, Outcome]:
        """All outcomes that exist now."""
        found = {}
        while (ended := self.backend.wait(0.0)) is not None:
            found[ended[0]] = ended[1]
        return found


def reason(outcome: Outcome) -> tuple[str, bool, bool]:
    assert isinstance(outcome, Failure)
    return outcome.text, outcome.blamed, outcome.expired


def quick(setup: Setup) -> None:
    """Let model a have a runtime at which workers prefetch."""
    setup.submit("cpu-1").run()
    assert len(setup.outcomes()) == 1


def test_a_batch_runs_on_the_worker_of_its_slot_and_its_answer_is_released() -> None:
    setup = Setup("cpu-1", "cpu-2")
    future = setup.submit("cpu-2")
    assert (future.worker, future.key, setup.backend.running) == ("cpu-2", "a-task-0-0", 1)
    assert setup.outcomes() == {}
    future.run()
    assert setup.outcomes() == {0: [TaskResult("task 0", "done", seconds=1.0)]}
    assert (future.released, setup.backend.running) == (True, 0)


def test_an_exception_in_a_worker_comes_back_as_a_failure_in_words() -> None:
    setup = Setup("cpu-1")
    setup.submit("cpu-1", error="boom").run()
    assert setup.outcomes() == {0: Failure("code", "ValueError: boom")}


def test_answers_that_exist_are_fetched_in_one_trip_of_limited_size() -> None:
    workers = [f"cpu-{number}" for number in range(FETCHED_AT_ONCE + 6)]
    setup = Setup(*workers)
    for worker in workers:
        setup.submit(worker).run()
    assert len(setup.outcomes()) == len(workers)
    assert setup.client.gathers == [FETCHED_AT_ONCE, 6]


def test_a_batch_whose_future_failed_or_was_cancelled_has_no_answer() -> None:
    setup = Setup("cpu-1", "cpu-2")
    setup.submit("cpu-1").end("error", MemoryError("8 GB"))
    setup.submit("cpu-2").end("lost")
    outcomes = setup.outcomes()
    assert outcomes[0] == Failure("out of memory", "MemoryError: 8 GB")
    assert reason(outcomes[1]) == ("no answer, status lost", False, False)


@pytest.mark.parametrize(
    ("fate", "text", "blamed", "expired"),
    [
        ("died", "lost worker cpu-1 on host-cpu-1", True, False),
        ("alive", "lost worker cpu-1 on host-cpu-1", True, False),
        ("taken", "lost worker cpu-1 on host-cpu-1", False, False),
        ("expired", "the walltime ended of worker cpu-1 on host-cpu-1", False, True),
    ],
)
def test_the_running_batch_of_a_lost_worker_is_judged_by_the_fate_of_its_job(
    fate: str, text: str, blamed: bool, expired: bool
) -> None:
    setup = Setup("cpu-1")
    future = setup.submit("cpu-1")
    setup.cluster.disconnect("cpu-1")
    assert (setup.outcomes(), setup.backend.running) == ({}, 1), "judged before the fate is known"
    setup.cluster.fates["cpu-1"] = "ending"
    assert setup.outcomes() == {}
    setup.cluster.fates["cpu-1"] = fate
    assert reason(setup.outcomes()[0]) == (text, blamed, expired)
    assert (future.released, setup.backend.running) == (True, 0)


def test_batches_that_waited_behind_another_are_innocent() -> None:
    setup = Setup("cpu-1")
    quick(setup)
    for _ in range(3):
        setup.submit("cpu-1")
    setup.cluster.disconnect("cpu-1", "died")
    outcomes = setup.outcomes()
    assert [reason(outcomes[ticket])[1] for ticket in (1, 2, 3)] == [True, False, False]


def test_a_batch_that_had_ended_before_its_worker_died_is_not_blamed() -> None:
    setup = Setup("cpu-1")
    quick(setup)
    first = setup.submit("cpu-1")
    setup.submit("cpu-1")
    first.run()
    setup.client.unreachable.add("cpu-1")
    setup.cluster.disconnect("cpu-1", "died")
    outcomes = setup.outcomes()
    assert reason(outcomes[1])[1] is False
    assert reason(outcomes[2])[1] is True


def test_an_answer_that_died_with_its_worker_does_not_hold_up_the_others() -> None:
    setup = Setup("cpu-1", "cpu-2", "cpu-3")
    futures = [setup.submit(worker) for worker in ("cpu-1", "cpu-2", "cpu-3")]
    for future in futures:
        future.run()
    setup.client.unreachable |= {"cpu-2", "cpu-3"}

    def die_during_fetch(futures: list[FakeFuture], asynchronous: bool) -> object:
        setup.cluster.scheduler_info["workers"].pop("cpu-2", None)
        return gather(futures, asynchronous)

    gather: Callable[..., object] = setup.client.gather
    setup.client.gather = die_during_fetch  # type: ignore[method-assign]
    first = setup.backend.wait(0.0)
    assert first == (0, [TaskResult("task 0", "done", seconds=1.0)])
    second = setup.backend.wait(0.0)
    assert second is not None
    assert reason(second[1]) == ("worker cpu-2 died with the answer", False, False)
    assert setup.backend.running == 1, "the answer of a living worker is fetched again"
    assert not futures[2].released
    setup.client.unreachable.clear()
    assert setup.outcomes() == {2: [TaskResult("task 2", "done", seconds=1.0)]}


def test_a_lost_cluster_is_raised_after_the_last_outcome() -> None:
    setup = Setup("cpu-1", "cpu-2")
    setup.submit("cpu-1").run()
    setup.submit("cpu-2")
    setup.cluster.problem = ClusterError("no job could be started")
    assert setup.backend.wait(0.01) is not None
    assert setup.backend.wait(0.0) is None, "raised although the caller did not wait"
    with pytest.raises(ClusterError, match="no job could be started"):
        setup.backend.wait(0.01)


def test_a_new_worker_has_a_slot_and_a_lost_one_has_none() -> None:
    setup = Setup("cpu-1")
    setup.cluster.connect("cpu-2")
    assert [slot.worker for slot in setup.backend.free_slots({"a": 1})] == ["cpu-1", "cpu-2"]
    setup.cluster.disconnect("cpu-1", "taken")
    assert [slot.worker for slot in setup.backend.free_slots({"a": 1})] == ["cpu-2"]


def test_demand_is_reported_every_half_second() -> None:
    setup = Setup("cpu-1")
    for setup.now in (100.0, 100.4, 100.5, 100.9, 101.0):
        list(setup.backend.free_slots({"a": 3}))
    assert setup.cluster.reports == 3
    assert setup.cluster.demand == ({"cpu": 3}, set(), set())


def test_closing_cancels_what_runs() -> None:
    setup = Setup("cpu-1", "cpu-2")
    setup.submit("cpu-1").run()
    setup.outcomes()
    setup.submit("cpu-2")
    setup.backend.close()
    assert (setup.client.cancelled, setup.backend.running) == (["a-task-1-1"], 0)


def test_a_plan_on_workers_that_die_ends_with_one_quarantined_task() -> None:
    """Scheduler and backend together: one task kills every worker that runs it; all others are done."""
    setup = Setup("cpu-1", "cpu-2")
    batches = [batch_of(*(FakeTask(f"{number}.{part}") for part in range(3))) for number in range(4)]
    killed = 0

    def work() -> None:
        nonlocal killed
        for future in setup.client.futures:
            if future.status != "pending" or future.worker not in setup.cluster.scheduler_info["workers"]:
                continue
            if "poison" in future.key or any(key == "2.1" for key in keys[future.key]):
                killed += 1
                setup.cluster.disconnect(future.worker, "died")
                setup.cluster.connect(f"cpu-{killed + 2}")
            else:
                future.run()

    keys: dict[str, list[str]] = {}
    submit = setup.backend.submit

    def recording(ticket: int, work: FakeWork, slot: object) -> None:
        submit(ticket, work, slot)  # type: ignore[arg-type]
        keys[setup.client.futures[-1].key] = [task.key for task in work.batch.tasks]

    wait = setup.backend.wait

    def working(seconds: float) -> tuple[int, Outcome] | None:
        work()
        return wait(0.0)

    setup.backend.submit, setup.backend.wait = recording, working  # type: ignore[method-assign, assignment]
    results = {result.key: result for result in iter_results(batches, FakeWork, {}, setup.backend)}
    assert len(results) == 12
    assert {key for key, result in results.items() if result.status != "done"} == {"2.1"}
    assert results["2.1"].status == "quarantined"
    # once in the whole batch, then alone
    assert killed == 1 + LOST_WORKER_TRIES


def test_lost_worker_errors_keep_their_meaning() -> None:
    failure = Failure.of(LostWorkerError("x", blamed=False, expired=True))
    assert (failure.kind, failure.blamed, failure.expired) == ("lost worker", False, True)
