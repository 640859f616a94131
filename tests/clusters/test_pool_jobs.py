"""The bookkeeping of a pool: number of jobs, names, surplus jobs, and the pools that can run a source."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from hbcoop_dist.clusters import JobRange, JobState, Pool
from hbcoop_dist.clusters.pool_jobs import JobRecord, PoolJobs, job_of, pools_for
from hbcoop_dist.core.tasks import Requirements


def pool(least: int, most: int, **fields: object) -> PoolJobs:
    return PoolJobs("cpu", Pool.model_validate({"jobs": JobRange(least=least, most=most), **fields}))


def test_a_pool_has_a_worker_per_batch_within_its_range() -> None:
    jobs = pool(1, 5, workers_per_job=4)
    targets = []
    for jobs.demand in (0, 1, 4, 5, 17, 1000):
        targets.append(jobs.target)
    assert targets == [1, 1, 1, 2, 5, 5]


def test_names_are_never_reused() -> None:
    jobs = pool(0, 9)
    assert [jobs.next_name() for _ in range(3)] == ["cpu-1", "cpu-2", "cpu-3"]


def test_surplus_jobs_are_idle_ones_beyond_the_target_pending_ones_first() -> None:
    jobs = pool(0, 9, idle_seconds=10)
    jobs.jobs = {f"cpu-{n}": JobRecord("cpu", joined=n == 1) for n in range(1, 4)}
    jobs.demand = 1
    assert jobs.surplus({"cpu-3"}) == []
    for name in ("cpu-1", "cpu-2"):
        jobs.jobs[name].idle_since = time.monotonic() - 11
    assert jobs.surplus({"cpu-3"}) == ["cpu-2", "cpu-1"]
    jobs.demand = 2
    assert jobs.surplus({"cpu-3"}) == ["cpu-2"]
    assert jobs.surplus({"cpu-1", "cpu-2", "cpu-3"}) == []
    assert jobs.jobs["cpu-1"].idle_since is None


def test_a_job_has_joined_once_a_worker_has_connected() -> None:
    record = JobRecord("cpu")
    record.update(JobState("RUNNING"), {"cpu-1"})
    record.update(JobState("RUNNING"), set())
    assert (record.joined, record.workers) == (True, set())


def test_a_worker_belongs_to_the_job_of_its_name_with_or_without_a_rank() -> None:
    jobs = {"cpu-1": JobRecord("cpu")}
    assert job_of("cpu-1", jobs) is job_of("cpu-1-3", jobs) is jobs["cpu-1"]
    assert job_of("cpu-2", jobs) is None


POOLS = {
    "cpu": Pool(),
    "gpu": Pool(device="cuda"),
    "other": Pool(environments=("other", "third"), python="/other/python"),
}


@pytest.mark.parametrize(
    ("environment", "gpu", "here", "pools"),
    [
        ("main", False, True, ("cpu",)),
        ("main", True, True, ("gpu",)),
        ("other", False, False, ("other",)),
        # no pool of that environment has a GPU
        ("third", True, False, ("other",)),
        # the driver's own Python has it under another name
        ("mine", False, True, ("cpu",)),
        ("mine", False, False, ()),
    ],
)
def test_a_source_runs_in_the_pools_of_its_environment(
    environment: str, gpu: bool, here: bool, pools: tuple[str, ...]
) -> None:
    needs = Requirements((), (), environment, gpu)
    assert pools_for(SimpleNamespace(name="x", needs=needs, here=here), POOLS) == pools  # type: ignore[arg-type]
