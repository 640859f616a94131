"""A pool's workers as a step of the Slurm job that the driver itself runs in: one allocation, and no further jobs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hbcoop_dist.clusters.errors import ClusterError
from hbcoop_dist.clusters.local_job import LocalJob, worker_options
from hbcoop_dist.clusters.profile import ClusterProfile, Pool

TERM_SECONDS = 10.0
SHAPE = ("workers_per_job", "threads", "memory", "gpus", "gres", "partition", "account", "walltime", "directives")
"""What all pools of one allocation share, since Slurm gives the same to each of its nodes."""


class StepJob(LocalJob):
    """The workers of one node, under srun; see `LocalJob`."""

    def __init__(self, scheduler: str, *, name: str, pool: Pool, interface: str | None, logs: Path, protocol: int):
        super().__init__(scheduler, name=name, pool=pool, gpu=None, logs=logs, protocol=protocol)
        self.command = step_command(scheduler, name, pool, interface)

    async def close(self) -> None:
        # srun hands this on to its workers; were it killed at once, they would outlive it
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), TERM_SECONDS)
        await super().close()


def step_command(scheduler: str, name: str, pool: Pool, interface: str | None) -> Sequence[str]:
    """The srun command of one job of a pool."""
    step = ["srun", "--nodes=1", f"--ntasks={pool.workers_per_job}", f"--cpus-per-task={pool.threads}", "--exact"]
    if pool.gpus:
        step.append("--gpus-per-task=1")
    if pool.memory:
        step.append(f"--mem={pool.slurm_memory}")
    python = pool.python or sys.executable
    network = ["--interface", interface] if interface else []
    # one worker that dies leaves the others of its step alone
    return [
        *step,
        "--kill-on-bad-exit=0",
        python,
        "-m",
        "hbcoop_dist.clusters.dask_worker",
        scheduler,
        *network,
    ] + worker_options(name, pool)


def allocation_directives(profile: ClusterProfile) -> list[str]:
    """What a job must ask of Slurm that holds the driver and all workers of a profile.

    Raises
    ------
    ClusterError
        When its pools cannot share one job.
    """
    first, *others = profile.pools.items()
    for name, pool in others:
        for field in SHAPE:
            expected, found = getattr(first[1], field), getattr(pool, field)
            if found != expected:
                raise ClusterError(
                    f"profile {profile.profile}, pools.{name}.{field}: expected {expected!r} as in pool {first[0]}, "
                    f"since pools of one allocation share its job; found {found!r}"
                )
    pool = first[1]
    lines = [
        f"--nodes={sum(pool.jobs.most for pool in profile.pools.values())}",
        f"--ntasks-per-node={pool.workers_per_job}",
        f"--cpus-per-task={pool.threads}",
        # what is left of the job goes on when one of its nodes dies
        "--no-kill",
    ]
    if pool.gpus:
        lines.append(f"--gres={pool.gres or f'gpu:{pool.workers_per_job}'}")
    asked = {
        "mem": pool.slurm_memory,
        "partition": pool.partition,
        "account": pool.account,
        "time": pool.walltime,
    }
    lines += [f"--{option}={value}" for option, value in asked.items() if value]
    return [*lines, *pool.directives]


def prologue(profile: ClusterProfile) -> list[str]:
    """Shell lines that come before the driver, and so before every step."""
    return list(dict.fromkeys(line for pool in profile.pools.values() for line in pool.prologue))


def require_allocation(profile: ClusterProfile) -> str:
    """The id of the job this process runs in.

    Raises
    ------
    ClusterError
        When it runs in none.
    """
    if (job := os.environ.get("SLURM_JOB_ID")) is None:
        raise ClusterError(
            f"profile {profile.profile}: expected to run inside a Slurm job, found no SLURM_JOB_ID; "
            f"hbcoop cluster submit SPEC STORE --cluster {shlex.quote(profile.profile)} makes one"
        )
    return job
