"""A worker of this machine as a process of its own: the same worker as in a Slurm job, started without one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
from dask.utils import parse_bytes
from distributed.core import Status
from distributed.deploy.subprocess import Subprocess

from hbcoop_dist.clusters import dask_worker as worker
from hbcoop_dist.clusters.dask_worker import LOGS, PROTOCOL
from hbcoop_dist.clusters.profile import Pool

DEATH_SECONDS = 60
"""How long a worker waits for a scheduler that it has lost."""


class LocalJob(Subprocess):  # type: ignore[misc]  # distributed has no types
    """A worker process and its nanny.

    Unlike the workers of `distributed.LocalCluster` it does not start from a copy of the user's program, so that a
    plain script needs no ``if __name__ == "__main__"``; and it may have another Python.

    Parameters
    ----------
    scheduler : str
        Address.
    name : str
    pool : Pool
    gpu : str or None
        What CUDA_VISIBLE_DEVICES is set to; None leaves it as it is.
    logs : Path
        Folder of worker logs.
    protocol : int
        The driver's `PROTOCOL_VERSION`.
    """

    def __init__(self, scheduler: str, *, name: str, pool: Pool, gpu: str | None, logs: Path, protocol: int) -> None:
        self.name, self.pool = name, pool
        self.command = local_command(scheduler, name, pool)
        self.environ = {**os.environ, LOGS: str(logs), PROTOCOL: str(protocol)}
        # Without it every one of them announces its coming and going.
        self.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
        if gpu is not None:
            self.environ["CUDA_VISIBLE_DEVICES"] = gpu
        self.output = logs / f"{name}.err"
        super().__init__()

    async def _start(self) -> None:
        with self.output.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, env=self.environ, stderr=output, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )

    async def close(self) -> None:
        # Ctrl-C reaches the driver only, which ends its workers; one that ended by itself meanwhile is no error
        with contextlib.suppress(psutil.NoSuchProcess):
            await super().close()
        self.status = Status.closed

    @property
    def ended(self) -> bool:
        """Whether the worker's nanny is gone, and with it the worker."""
        return self.process is not None and self.process.returncode is not None


def local_command(scheduler: str, name: str, pool: Pool) -> Sequence[str]:
    """The command line of a worker."""
    options = worker_options(name, pool)
    if pool.python is not None:
        return [pool.python, "-m", "hbcoop_dist.clusters.dask_worker", scheduler, *options]
    # The driver's own package, as a file: the nanny has no use for the package, and starts a second earlier without it
    # (measured). -P keeps the folder of the file off the path, whose modules would pass for others.
    return [sys.executable, "-P", worker.__file__, scheduler, *options]


def worker_options(name: str, pool: Pool) -> list[str]:
    """Options of `hbcoop_dist.clusters.dask_worker` that are the same wherever it runs."""
    options = ["--name", name, "--nthreads", str(pool.threads)]
    if pool.memory:
        memory = parse_bytes(pool.memory) // pool.workers_per_job
        options += ["--memory-limit", str(memory)]
    else:
        options += ["--memory-limit", "auto"]
    return [*options, "--death-timeout", str(DEATH_SECONDS)]
