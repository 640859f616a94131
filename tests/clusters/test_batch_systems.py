"""The bundled batch systems pass the contract suite, and do what is theirs alone."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hbcoop_dist.clusters import BatchSystem, ClusterError, ClusterProfile, JobRange, JobState, Pool
from hbcoop_dist.clusters import slurm as slurm_module
from hbcoop_dist.clusters.batch_system import TICK_SECONDS, make_batch_system
from hbcoop_dist.clusters.slurm import (
    ENDING_SECONDS,
    FORGOTTEN_SECONDS,
    SILENT_SECONDS,
    AllocationSystem,
    SlurmSystem,
    parse_queue,
)
from hbcoop_dist.testing.clusters import EXAMPLE_POOLS, BatchSystemContract


def system_of(kind: str, logs: Path) -> BatchSystem:
    profile = ClusterProfile.model_validate({"profile": "example", "kind": kind, "pools": EXAMPLE_POOLS})
    return make_batch_system(profile, logs, "hbond=1")


class TestLocalSystem(BatchSystemContract):
    @pytest.fixture
    def system(self, tmp_path: Path) -> BatchSystem:
        return system_of("local", tmp_path)


class TestSlurmSystem(BatchSystemContract):
    @pytest.fixture
    def system(self, tmp_path: Path) -> BatchSystem:
        return system_of("slurm", tmp_path)


class TestAllocationSystem(BatchSystemContract):
    @pytest.fixture
    def system(self, tmp_path: Path) -> BatchSystem:
        return system_of("allocation", tmp_path)


def test_auto_stands_for_the_cores_or_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hbcoop_dist.clusters.local_jobs.usable_cores", lambda: 9)
    monkeypatch.setattr("hbcoop_dist.clusters.local_jobs.visible_gpus", lambda: ["4", "6"])
    system = system_of("local", tmp_path)
    counts = [
        system.sized(Pool(threads=threads, device=device)).jobs.most
        for threads, device in ((1, "cpu"), (4, "cpu"), (16, "cpu"), (4, "cuda"), (1, "cuda:1"))
    ]
    assert counts == [9, 2, 1, 2, 1]
    fixed = Pool(jobs=JobRange(least=0, most=3))
    assert system.sized(fixed) == fixed


def test_local_workers_share_the_gpus_evenly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hbcoop_dist.clusters.local_jobs.visible_gpus", lambda: ["4", "6"])
    system, pool = system_of("local", tmp_path), Pool(device="cuda")
    running: list[str] = []
    gpus = []
    for number in range(4):
        spec = system.job_spec(f"gpu-{number}", pool, running, ())
        gpus.append(spec["options"]["environ"]["CUDA_VISIBLE_DEVICES"])
        running.append(f"gpu-{number}")
    assert gpus == ["4", "6", "4", "6"]
    # two jobs on GPU 4 have ended
    spec = system.job_spec("gpu-4", pool, ["gpu-1", "gpu-3"], ())
    assert spec["options"]["environ"]["CUDA_VISIBLE_DEVICES"] == "4"


def test_a_local_job_writes_its_errors_and_ends(tmp_path: Path) -> None:
    system = system_of("local", tmp_path)
    spec = system.job_spec("main-1", EXAMPLE_POOLS["main"], (), ())
    spec["options"]["command"] = [sys.executable, "-c", "import sys; sys.exit('last words')"]

    async def life() -> tuple[str, str]:
        job = spec["cls"]("tcp://nowhere:1", **spec["options"])
        await job
        before = system.state_of(job, 0.0).fate if not job.ended else "alive"
        await job.process.wait()
        after = system.state_of(job, 0.0)
        await job.close()
        await job.close()
        return before, after.fate

    assert asyncio.run(life()) == ("alive", "taken")
    assert (tmp_path / "main-1.err").read_text() == "last words\n"


# Slurm


def test_squeue_is_parsed() -> None:
    states = parse_queue(
        "Welcome to the cluster | enjoy\n"
        "7|RUNNING|2026-11-25T09:11:38|n0|None\n"
        "8|PENDING|N/A||Resources\n"
        "9|CANCELLED|2026-11-25T09:10:00|n1|None\n"
        "10|OUT_OF_MEMORY|2026-11-25T09:10:00|n1|OutOfMemory\n"
        "11|COMPLETING|2026-11-25T09:10:00|n1|None\n"
        "12|NODE_FAIL|2026-11-25T09:10:00|n1|NodeDown\n"
        "13|TIMEOUT|2026-11-25T09:10:00|n1|TimeLimit\n"
        "14|COMPLETED|2026-11-25T09:10:00|n1|None\n"
        "15|SOMETHING_NEW|N/A||None\n"
    )
    fates = ["alive", "alive", "taken", "died", "ending", "taken", "expired", "died", "alive"]
    assert [state.fate for state in states.values()] == fates
    assert states["7"].node == "n0"
    assert (states["7"].ends is not None, states["8"].ends) == (True, None)


def test_a_reason_may_hold_bar_characters() -> None:
    state = parse_queue("8|PENDING|N/A||(a|b) | c||\n")["8"]
    assert (state.node, state.reason) == ("", "(a|b) | c||")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmSystem:
    """Slurm whose squeue was last read a moment ago and listed job 1 as running."""
    system = system_of("slurm", tmp_path)
    assert isinstance(system, SlurmSystem)

    async def queue() -> dict[str, JobState]:
        return {"1": JobState("RUNNING", node="n0")}

    monkeypatch.setattr(slurm_module, "read_queue", queue)
    asyncio.run(system.refresh(True))
    return system


def test_squeue_is_read_only_while_there_are_jobs(slurm: SlurmSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> dict[str, JobState]:
        raise OSError("squeue: no answer")

    monkeypatch.setattr(slurm_module, "read_queue", fail)
    asyncio.run(slurm.refresh(False))
    with pytest.raises(OSError, match="no answer"):
        asyncio.run(slurm.refresh(True))


def test_a_job_that_squeue_does_not_list_is_pending_and_after_a_minute_forgotten(slurm: SlurmSystem) -> None:
    listed, missing = SimpleNamespace(job_id=1), SimpleNamespace(job_id="2")
    assert slurm.state_of(listed, 0.0).state == "RUNNING"
    assert slurm.state_of(missing, slurm._read_at - FORGOTTEN_SECONDS + 1).state == "PENDING"
    forgotten = slurm.state_of(missing, slurm._read_at - FORGOTTEN_SECONDS - 1)
    assert (forgotten.state, forgotten.fate) == ("FORGOTTEN", "taken")


def test_a_loss_is_judged_when_squeue_was_read_after_it(slurm: SlurmSystem) -> None:
    running, ending = JobState("RUNNING"), JobState("COMPLETING", "ending")
    read = slurm._read_at
    assert slurm.fate_after_loss(running, True, read) is None
    assert slurm.fate_after_loss(running, True, read - TICK_SECONDS) == "alive"
    # the only worker of the job: its node may be dead, which Slurm notices late
    assert slurm.fate_after_loss(running, False, read - TICK_SECONDS) is None
    assert slurm.fate_after_loss(running, False, time.monotonic() - SILENT_SECONDS - 1) == "alive"
    assert slurm.fate_after_loss(ending, True, read - TICK_SECONDS) is None
    assert slurm.fate_after_loss(ending, True, time.monotonic() - ENDING_SECONDS - 1) == "taken"


def test_excluded_nodes_are_named_to_sbatch(slurm: SlurmSystem) -> None:
    spec = slurm.job_spec("main-1", EXAMPLE_POOLS["main"], (), {"n2", "n1"})
    assert "--exclude=n1,n2" in spec["options"]["job_extra_directives"]


def test_many_jobs_are_cancelled_with_few_calls(
    slurm: SlurmSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "scancel"
    command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    jobs = [SimpleNamespace(job_id=str(n), started=True, cancelled=False) for n in range(150)]
    jobs.append(SimpleNamespace(job_id=None, started=False, cancelled=False))
    asyncio.run(slurm.cancel(jobs))
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [len(words) for words in calls] == [101, 51]
    assert [word for words in calls for word in words[1:]] == [str(n) for n in range(150)]
    assert [job.cancelled for job in jobs] == [True] * 150 + [False]


def test_jobs_of_a_dead_driver_are_cancelled_by_id_and_name(
    slurm: SlurmSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "scancel"
    command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    slurm.cancel_abandoned({"7": "cpu-1", "8": "cpu-2"})
    assert (tmp_path / "calls").read_text().splitlines() == [
        "--quiet --me --name=hbcoop-cpu-1 7",
        "--quiet --me --name=hbcoop-cpu-2 8",
    ]


# an allocation


def test_an_allocation_needs_a_slurm_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = system_of("allocation", tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(ClusterError, match=r"expected to run inside a Slurm job.*hbcoop cluster submit"):
        system.check()
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    system.check()


def test_steps_end_with_the_walltime_of_their_allocation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    async def queue() -> dict[str, JobState]:
        calls.append(1)
        return {"5": JobState("RUNNING", ends=1e9)}

    monkeypatch.setattr("hbcoop_dist.clusters.slurm.read_queue", queue)
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    system = system_of("allocation", tmp_path)
    assert isinstance(system, AllocationSystem)
    for _ in range(3):
        asyncio.run(system.refresh(True))
    assert len(calls) == 1
    assert system.state_of(SimpleNamespace(ended=False), 0.0) == JobState("RUNNING", ends=1e9)
    assert not system.renews_walltime
