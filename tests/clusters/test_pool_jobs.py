"""The bookkeeping of a pool, and Slurm's answers: no Slurm needed."""

from __future__ import annotations

import time

from hbcoop_dist.clusters import JobRange, Pool
from hbcoop_dist.clusters.pool_jobs import JobRecord, PoolJobs
from hbcoop_dist.clusters.slurm_queue import SlurmState, parse_queue


def pool(least: int, most: int, **fields: object) -> PoolJobs:
    return PoolJobs("cpu", Pool.model_validate({"jobs": JobRange(least=least, most=most), **fields}))


def test_a_pool_wants_a_worker_per_batch_within_its_range() -> None:
    jobs = pool(1, 5, workers_per_job=4)
    targets = []
    for jobs.wanted in (0, 1, 4, 5, 17, 1000):
        targets.append(jobs.target)
    assert targets == [1, 1, 1, 2, 5, 5]


def test_names_are_never_used_again() -> None:
    jobs = pool(0, 9)
    assert [jobs.next_name() for _ in range(3)] == ["cpu-1", "cpu-2", "cpu-3"]


def test_idle_jobs_are_given_back_after_a_while_and_never_below_the_target() -> None:
    jobs = pool(0, 9, idle_seconds=10)
    jobs.records = {f"cpu-{n}": JobRecord("cpu", joined=n > 1) for n in range(1, 4)}
    jobs.wanted = 1
    assert jobs.idle({"cpu-3"}) == []
    for name in ("cpu-1", "cpu-2"):
        jobs.records[name].idle_since = time.monotonic() - 11
    # the one that still waits in the queue goes first
    assert jobs.idle({"cpu-3"}) == ["cpu-1", "cpu-2"]
    jobs.wanted = 2
    assert jobs.idle({"cpu-3"}) == ["cpu-1"]
    assert jobs.idle({"cpu-1", "cpu-2", "cpu-3"}) == []
    assert jobs.records["cpu-1"].idle_since is None


def test_squeue_is_understood() -> None:
    text = (
        "7|RUNNING|2026-11-25T09:11:38|n0|None\n"
        "8|PENDING|N/A||Resources\n"
        "9|CANCELLED|2026-11-25T09:10:00|n1|None\n"
        "10|OUT_OF_MEMORY|2026-11-25T09:10:00|n1|OutOfMemory\n"
        "11|COMPLETING|2026-11-25T09:10:00|n1|None\n"
        "12|NODE_FAIL|2026-11-25T09:10:00|n1|NodeDown\n"
        "13|TIMEOUT|2026-11-25T09:10:00|n1|TimeLimit\n"
        "14|COMPLETED|2026-11-25T09:10:00|n1|None\n"
    )
    found = parse_queue(text)
    fates = ["lives", "lives", "taken", "died", "ending", "taken", "expired", "died"]
    assert [state.fate for state in found.values()] == fates
    assert found["7"].node == "n0"
    assert found["7"].ends is not None
    assert found["8"].ends is None
    assert SlurmState("SOMETHING_NEW").fate == "lives"
