"""Worker processes on this machine: the worker of a Slurm job, started without Slurm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from distributed.core import Status
from distributed.deploy.subprocess import Subprocess

from hbcoop_dist.clusters import dask_worker
from hbcoop_dist.clusters.batch_system import BatchSystem, JobState
from hbcoop_dist.clusters.dask_worker import LOGS_VARIABLE, PROTOCOL_VARIABLE
from hbcoop_dist.clusters.profiles import JobRange, Pool, memory_bytes, usable_cores, visible_gpus

DEATH_SECONDS = 60
"""Time after which a worker without a scheduler exits."""


class LocalJob(Subprocess):  # type: ignore[misc]  # distributed has no types
    """A worker process and its nanny.

    Unlike the workers of `distributed.LocalCluster` it does not start from a copy of the user's program, so a plain
    script needs no ``if __name__ == "__main__"``, and the worker may have another Python.

    Parameters
    ----------
    scheduler : str
        Address of the scheduler.
    name : str
    command : sequence of str
        Command line of the worker without the scheduler's address, which replaces ``SCHEDULER``.
    environ : mapping of str to str
        Environment variables to set.
    logs : Path
        Folder that receives the standard error of the process, in ``NAME.err``.
    """

    job_id = None
    command: list[str]

    def __init__(self, scheduler: str, *, name: str, command: list[str], environ: dict[str, str], logs: Path) -> None:
        self.name = name
        self.command = [scheduler if word == "SCHEDULER" else word for word in command]
        self.environ = {**os.environ, **environ}
        # suppresses the messages of every worker that connects or leaves
        self.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
        self.output = logs / f"{name}.err"
        super().__init__()

    async def _start(self) -> None:
        with self.output.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, env=self.environ, stderr=output, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )

    async def close(self) -> None:
        """End the process."""
        # Ctrl-C reaches the driver only, which ends its workers; one that has exited meanwhile is no error
        with contextlib.suppress(psutil.NoSuchProcess):
            await super().close()
        self.status = Status.closed

    @property
    def started(self) -> bool:
        """Whether the process was created."""
        return self.process is not None

    @property
    def ended(self) -> bool:
        """Whether the worker's nanny has exited, and with it the worker."""
        return self.process is not None and self.process.returncode is not None


def worker_options(name: str, pool: Pool) -> list[str]:
    """Return the options of `hbcoop_dist.clusters.dask_worker` that do not depend on the batch system.

    Parameters
    ----------
    name : str
        Name of the worker, or of the job with several workers.
    pool : Pool

    Returns
    -------
    list of str
    """
    memory = "auto" if pool.memory is None else str(memory_bytes(pool.memory) // pool.workers_per_job)
    limits = ["--nthreads", str(pool.threads), "--memory-limit", memory]
    return ["--name", name, *limits, "--death-timeout", str(DEATH_SECONDS)]


class LocalSystem(BatchSystem):
    """Processes on this machine in place of a batch system; see `BatchSystem`."""

    loopback = True

    @classmethod
    def pool_error(cls, pool: Pool) -> str:
        """Return which field of a pool is not accepted; see `BatchSystem.pool_error`."""
        shared = pool.workers_per_job > 1
        return "workers_per_job: expected 1 on this machine, as many jobs as workers" if shared else ""

    @cached_property
    def _gpus(self) -> list[str]:
        return visible_gpus()

    @cached_property
    def _gpu_of_job(self) -> dict[str, str | None]:
        return {}

    def sized(self, pool: Pool) -> Pool:
        if not pool.jobs.auto:
            return pool
        count = usable_cores() // pool.threads
        if pool.gpus:
            # a numbered GPU, as in cuda:1, is one
            count = len(self._gpus) if pool.device == "cuda" else 1
        count = max(1, count)
        return pool.model_copy(update={"jobs": JobRange(least=count, most=count)})

    def job_spec(self, name: str, pool: Pool, running: Collection[str], excluded: Iterable[str]) -> dict[str, Any]:
        del excluded
        environ = {LOGS_VARIABLE: str(self.logs), PROTOCOL_VARIABLE: self.protocol}
        if pool.device == "cuda":
            in_use = Counter(self._gpu_of_job.get(job) for job in running)
            gpu = self._gpu_of_job[name] = min(self._gpus, key=in_use.__getitem__, default=None)
            if gpu is not None:
                environ["CUDA_VISIBLE_DEVICES"] = gpu
        return {"cls": LocalJob, "options": self._options(name, self.command(name, pool), environ)}

    def _options(self, name: str, command: list[str], environ: dict[str, str]) -> dict[str, Any]:
        return {"name": name, "command": command, "environ": environ, "logs": self.logs}

    def command(self, name: str, pool: Pool) -> list[str]:
        """Return the command line of a job, with ``SCHEDULER`` in place of the scheduler's address.

        Parameters
        ----------
        name : str
        pool : Pool

        Returns
        -------
        list of str
        """
        options = worker_options(name, pool)
        if pool.python is not None:
            return [pool.python, "-m", "hbcoop_dist.clusters.dask_worker", "SCHEDULER", *options]
        # The driver's own package, as a file: the nanny does not need the package, and starts a second earlier without
        # it (measured). -P keeps the folder of the file, whose modules would shadow others, off the import path.
        return [sys.executable, "-P", dask_worker.__file__, "SCHEDULER", *options]

    def preview(self, pool_name: str) -> str:
        command = self.command(f"{pool_name}-1", self.profile.pools[pool_name])
        return shlex.join(command).replace("SCHEDULER", "tcp://DRIVER:PORT")

    def state_of(self, job: Any, submitted: float) -> JobState:
        del submitted
        return JobState("CANCELLED", "taken") if job.ended else JobState("RUNNING")
