"""Workers as steps of the Slurm job in which the driver runs: one allocation, and no further jobs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from hbcoop_dist.clusters.batch_system import JobFate, JobState
from hbcoop_dist.clusters.dask_worker import LOGS_VARIABLE, PROTOCOL_VARIABLE
from hbcoop_dist.clusters.local_jobs import LocalJob, LocalSystem, worker_options
from hbcoop_dist.clusters.profiles import ClusterError, ClusterProfile, Pool
from hbcoop_dist.clusters.slurm import SILENT_SECONDS, read_queue

TERM_SECONDS = 10.0
_SHARED_FIELDS = (
    "workers_per_job", "threads", "memory", "gpus", "gres", "partition", "account", "walltime", "directives"
)  # fmt: skip
"""Fields that are equal in all pools of one allocation, since Slurm allots the same to each of its nodes."""


class StepJob(LocalJob):
    """The workers of one node, under srun; see `LocalJob`."""

    async def close(self) -> None:
        """End the step."""
        # srun passes SIGTERM on to its workers, which would outlive an srun that is killed at once
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), TERM_SECONDS)
        await super().close()


class AllocationSystem(LocalSystem):
    """Steps of the Slurm job in which the driver runs; see `BatchSystem`."""

    renews_walltime = False
    loopback = False
    _ends: float | None = None
    _refreshed = False

    @classmethod
    def pool_error(cls, pool: Pool) -> str:
        """Return which field of a pool is not accepted; see `BatchSystem.pool_error`."""
        growing = pool.jobs.auto or pool.jobs.least != pool.jobs.most
        return "jobs: expected a number of nodes, since an allocation does not grow" if growing else ""

    def check(self) -> None:
        self._job_id()

    def _job_id(self) -> str:
        if (job := os.environ.get("SLURM_JOB_ID")) is None:
            name = self.profile.profile
            raise ClusterError(
                f"profile {name}: expected to run inside a Slurm job, found no SLURM_JOB_ID; "
                f"hbcoop cluster submit SPEC STORE --cluster {shlex.quote(name)} makes one"
            )
        return job

    def sized(self, pool: Pool) -> Pool:
        return pool

    def job_spec(self, name: str, pool: Pool, running: Collection[str], excluded: Iterable[str]) -> dict[str, Any]:
        del running, excluded
        environ = {LOGS_VARIABLE: str(self.logs), PROTOCOL_VARIABLE: self.protocol}
        return {"cls": StepJob, "options": self._options(name, self.command(name, pool), environ)}

    def command(self, name: str, pool: Pool) -> list[str]:
        step = ["srun", "--nodes=1", f"--ntasks={pool.workers_per_job}", f"--cpus-per-task={pool.threads}", "--exact"]
        if pool.gpus:
            step.append("--gpus-per-task=1")
        if pool.memory:
            step.append(f"--mem={pool.slurm_memory}")
        # a worker that dies leaves the others of its step running
        step += ["--kill-on-bad-exit=0", pool.python or sys.executable, "-m", "hbcoop_dist.clusters.dask_worker"]
        network = ["--interface", self.profile.interface] if self.profile.interface else []
        return [*step, "SCHEDULER", *network, *worker_options(name, pool)]

    async def refresh(self, jobs_exist: bool) -> None:
        # once, for the end of the walltime
        if not self._refreshed:
            own = (await read_queue()).get(self._job_id())
            self._ends, self._refreshed = own.ends if own else None, True

    def state_of(self, job: Any, submitted: float) -> JobState:
        return replace(super().state_of(job, submitted), ends=self._ends)

    def fate_after_loss(self, state: JobState, workers_left: bool, lost_at: float) -> JobFate | None:
        # Slurm notices a silent node much later than Dask does; other workers of the step prove that it is alive
        return state.fate if workers_left or time.monotonic() - lost_at > SILENT_SECONDS else None


def allocation_directives(profile: ClusterProfile) -> list[str]:
    """Return the sbatch options of a job that holds the driver and all workers of a profile.

    Parameters
    ----------
    profile : ClusterProfile
        Of kind ``allocation``.

    Returns
    -------
    list of str

    Raises
    ------
    ClusterError
        When the pools differ in a field that all nodes of a job share.
    """
    (first, pool), *others = profile.pools.items()
    for name, other in others:
        for field in _SHARED_FIELDS:
            expected, found = getattr(pool, field), getattr(other, field)
            if found != expected:
                raise ClusterError(
                    f"profile {profile.profile}, pools.{name}.{field}: expected {expected!r} as in pool {first}, "
                    f"since pools of one allocation share its job; found {found!r}"
                )
    options = {
        "mem": pool.slurm_memory,
        "partition": pool.partition,
        "account": pool.account,
        "time": pool.walltime,
    }
    return [
        f"--nodes={sum(pool.jobs.most for pool in profile.pools.values())}",
        f"--ntasks-per-node={pool.workers_per_job}",
        f"--cpus-per-task={pool.threads}",
        # the rest of the job continues when one of its nodes dies
        "--no-kill",
        *pool.gpu_request,
        *(f"--{option}={value}" for option, value in options.items() if value),
        *pool.directives,
    ]


def allocation_prologue(profile: ClusterProfile) -> list[str]:
    """Return the shell lines that run before the driver, and therefore before every step.

    Parameters
    ----------
    profile : ClusterProfile

    Returns
    -------
    list of str
        The prologues of all pools, each line once.
    """
    return list(dict.fromkeys(line for pool in profile.pools.values() for line in pool.prologue))
