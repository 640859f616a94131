"""The pool manager with a batch system of its own: jobs that start, end, are refused or idle when a test says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from distributed.deploy.spec import ProcessInterface

from hbcoop_dist.clusters import BatchSystem, ClusterError, ClusterLostError, ClusterProfile, JobState, Pool
from hbcoop_dist.clusters import pool_cluster as pool_cluster_module
from hbcoop_dist.clusters.pool_cluster import MAX_FAILED_STARTS, RETRY_SECONDS, PoolCluster


class FakeJob(ProcessInterface):  # type: ignore[misc]
    """A job that runs nothing."""

    def __init__(self, scheduler: str, *, name: str, system: FakeSystem) -> None:
        super().__init__(scheduler=scheduler, name=name)
        self.name, self.system, self.job_id, self.started = name, system, None, False

    async def start(self) -> None:
        if self.system.refusal:
            raise RuntimeError(f"stdout:\nstderr:\n  {self.system.refusal}\n")
        self.started, self.job_id = True, f"id-{self.name}"
        self.system.submitted.append(self.name)
        await super().start()

    async def close(self) -> None:
        self.system.closed.append(self.name)
        await super().close()


class FakeSystem(BatchSystem):
    """Jobs are in the state that `states` has for them, else running."""

    blameless = frozenset({"NODE_FAIL"})
    loopback = True

    def __init__(self, profile: ClusterProfile, logs: Path) -> None:
        super().__init__(profile, logs, "fake=1")
        self.states: dict[str, JobState] = {}
        self.refusal = ""
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.closed: list[str] = []
        self.excluded: list[set[str]] = []
        self.error: BaseException | None = None

    def job_spec(self, name: str, pool: Pool, running: Collection[str], excluded: Iterable[str]) -> dict[str, Any]:
        self.excluded.append(set(excluded))
        return {"cls": FakeJob, "options": {"name": name, "system": self}}

    def preview(self, pool_name: str) -> str:
        return pool_name

    async def refresh(self, jobs_exist: bool) -> None:
        if self.error is not None:
            raise self.error

    def state_of(self, job: FakeJob, submitted: float) -> JobState:
        return self.states.get(job.name, JobState("RUNNING"))

    async def cancel(self, jobs: Sequence[FakeJob]) -> None:
        self.cancelled += [job.name for job in jobs]


class Setup:
    """A cluster with one pool, its batch system, and the messages of its manager."""

    def __init__(self, cluster: PoolCluster, system: FakeSystem, messages: list[str]) -> None:
        self.cluster, self.system, self.messages = cluster, system, messages

    def demand(self, batches: int, busy: Collection[str] = (), expiring: Collection[str] = ()) -> None:
        self.cluster.set_demand({"cpu": batches}, busy, expiring)

    def connect(self, *workers: str) -> None:
        """Let workers connect, as far as the pool manager can see."""
        scheduler = self.cluster.scheduler_info["workers"]
        scheduler.update({f"tcp://{name}": {"name": name, "host": "h"} for name in workers})

    @property
    def jobs(self) -> list[str]:
        return list(self.cluster.pools["cpu"].jobs)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Setup]]:
    """Start a cluster with a tick of 10 ms; its pool has the given fields."""
    monkeypatch.setattr(pool_cluster_module, "TICK_SECONDS", 0.01)
    clusters = []

    def make(refusal: str = "", **fields: Any) -> Setup:
        pools = {"cpu": {"jobs": "0:5", "memory": "1GB", "idle_seconds": 0, **fields}}
        profile = ClusterProfile.model_validate({"profile": "fake", "kind": "slurm", "pools": pools})
        system, messages = FakeSystem(profile, tmp_path), []
        system.refusal = refusal
        clusters.append(PoolCluster(profile, tmp_path, "fake=1", messages.append, system=system))
        return Setup(clusters[-1], system, messages)

    yield make
    for cluster in clusters:
        cluster.close()


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)


def test_a_pool_follows_its_demand_and_idle_jobs_are_cancelled(start: Callable[..., Setup]) -> None:
    setup = start(workers_per_job=2)
    setup.demand(5)
    until(lambda: sorted(setup.system.submitted) == ["cpu-1", "cpu-2", "cpu-3"])
    setup.connect("cpu-2-0", "cpu-2-1")
    setup.demand(1, busy={"cpu-2-1"})
    until(lambda: len(setup.jobs) == 1)
    assert setup.jobs == ["cpu-2"], "the busy job was cancelled"
    assert sorted(setup.system.cancelled) == ["cpu-1", "cpu-3"]


def test_a_job_that_ends_is_replaced_under_a_new_name(start: Callable[..., Setup]) -> None:
    setup = start(jobs=2)
    until(lambda: setup.jobs == ["cpu-1", "cpu-2"])
    setup.connect("cpu-1", "cpu-2")
    until(lambda: all(job.joined for job in setup.cluster.pools["cpu"].jobs.values()))
    setup.system.states["cpu-1"] = JobState("CANCELLED", "taken")
    until(lambda: setup.jobs == ["cpu-2", "cpu-3"])
    assert setup.messages == ["job id-cpu-1 (cpu-1) is gone: cancelled"]
    assert setup.cluster.fate("cpu-1", 0.0) == "taken"


def test_three_jobs_that_end_before_a_worker_connects_stop_the_run(start: Callable[..., Setup], tmp_path: Path) -> None:
    assert MAX_FAILED_STARTS == 3
    (tmp_path / "hbcoop-cpu-3-id-cpu-3.err").write_text("1\n2\n3\nno such Python\n")
    setup = start(jobs=1)
    for number in (1, 2, 3):
        setup.system.states[f"cpu-{number}"] = JobState("FAILED", "died")
    until(lambda: setup.cluster.problem)
    assert isinstance(setup.cluster.problem, ClusterError)
    assert not isinstance(setup.cluster.problem, ClusterLostError)
    assert "pool cpu: 3 jobs in a row ended before a worker came" in str(setup.cluster.problem)
    assert str(setup.cluster.problem).endswith("ends with: 2 / 3 / no such Python")
    assert setup.system.submitted == ["cpu-1", "cpu-2", "cpu-3"]


def test_a_cluster_that_has_worked_is_lost_and_keeps_its_results(start: Callable[..., Setup]) -> None:
    setup = start(jobs=1)
    until(lambda: setup.jobs == ["cpu-1"])
    setup.connect("cpu-1")
    until(lambda: setup.cluster.pools["cpu"].jobs["cpu-1"].joined)
    for number in (1, 2, 3, 4):
        setup.system.states[f"cpu-{number}"] = JobState("FAILED", "died")
    until(lambda: setup.cluster.problem)
    assert isinstance(setup.cluster.problem, ClusterLostError)


def test_jobs_on_failing_nodes_do_not_count_as_failed_starts(start: Callable[..., Setup]) -> None:
    setup = start(jobs=1)
    for number in range(1, 6):
        setup.system.states[f"cpu-{number}"] = JobState("NODE_FAIL", "taken")
    until(lambda: setup.jobs == ["cpu-6"])
    assert setup.cluster.problem is None


def test_a_refusal_is_reported_and_the_fourth_ends_the_run(
    start: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert RETRY_SECONDS == (1.0, 5.0, 15.0)
    monkeypatch.setattr(pool_cluster_module, "RETRY_SECONDS", (0.1, 0.2, 0.3))
    setup = start("invalid partition", jobs=1)
    until(lambda: setup.cluster.problem)
    assert str(setup.cluster.problem) == "pool cpu: no job could be started: invalid partition"
    assert setup.messages == ["pool cpu: a job was refused, next try in 0 s: invalid partition"] * 3
    assert setup.jobs == []


def test_refused_jobs_are_submitted_again_when_the_batch_system_accepts_them(
    start: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_cluster_module, "RETRY_SECONDS", (0.1, 0.1, 0.1))
    setup = start("controller is busy", jobs=1)
    until(lambda: setup.messages)
    setup.system.refusal = ""
    until(lambda: setup.jobs and setup.cluster.pools["cpu"].refusals == 0)
    assert setup.cluster.problem is None


def test_a_batch_system_that_does_not_answer_is_waited_for(start: Callable[..., Setup]) -> None:
    setup = start(jobs=1)
    setup.system.error = OSError("squeue: no answer")
    until(lambda: setup.messages)
    setup.system.error = None
    until(lambda: setup.jobs)
    assert "squeue: no answer" in setup.messages
    assert setup.cluster.problem is None


def test_an_unexpected_error_of_the_manager_reaches_the_driver(start: Callable[..., Setup]) -> None:
    setup = start()
    setup.system.error = ZeroDivisionError("x")
    until(lambda: setup.cluster.problem)
    assert str(setup.cluster.problem) == "the pool manager stopped: ZeroDivisionError: x"


def test_jobs_on_an_excluded_node_are_cancelled_and_new_ones_avoid_it(start: Callable[..., Setup]) -> None:
    setup = start(jobs=1, idle_seconds=100)
    until(lambda: setup.jobs == ["cpu-1"])
    setup.system.states["cpu-1"] = JobState("RUNNING", node="n1")
    setup.cluster.exclude("n1")
    until(lambda: setup.jobs == ["cpu-2"])
    assert setup.system.cancelled == ["cpu-1"]
    assert setup.system.excluded[-1] == {"n1"}


def test_a_job_whose_walltime_is_too_short_is_replaced(start: Callable[..., Setup]) -> None:
    setup = start(jobs=1, workers_per_job=2, idle_seconds=100)
    until(lambda: setup.jobs == ["cpu-1"])
    setup.connect("cpu-1-0", "cpu-1-1")
    setup.demand(1, busy={"cpu-1-0"}, expiring={"cpu-1-1"})
    time.sleep(0.1)
    assert setup.jobs == ["cpu-1"], "one of its workers still has a batch"
    setup.demand(1, expiring={"cpu-1-0", "cpu-1-1"})
    until(lambda: setup.jobs == ["cpu-2"])


def test_the_table_of_jobs_has_a_row_per_job(start: Callable[..., Setup]) -> None:
    setup = start(jobs=1)
    until(lambda: setup.jobs)
    setup.system.states["cpu-1"] = JobState("RUNNING", ends=1e9, node="n0")
    setup.connect("cpu-1")
    until(lambda: setup.cluster.job_table()[0]["workers"])
    assert setup.cluster.job_table() == [
        {"pool": "cpu", "name": "cpu-1", "job": "id-cpu-1", "state": "RUNNING", "node": "n0", "workers": 1, "ends": 1e9}
    ]


def test_closing_cancels_every_job(start: Callable[..., Setup]) -> None:
    setup = start(jobs=3)
    until(lambda: len(setup.jobs) == 3)
    setup.cluster.close()
    assert sorted(setup.system.cancelled) == sorted(setup.system.closed) == ["cpu-1", "cpu-2", "cpu-3"]
