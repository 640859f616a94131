"""A pool's Slurm job: dask-jobqueue's, with one worker per GPU and without what a driver's own job leaks."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import dask

from hbcoop_dist.clusters.dask_worker import LOGS, PROTOCOL
from hbcoop_dist.clusters.errors import ClusterError
from hbcoop_dist.clusters.profile import ClusterProfile, Pool

_before = signal.getsignal(signal.SIGINT)
from dask_jobqueue.slurm import SLURMJob  # noqa: E402

# dask-jobqueue replaces the handler of Ctrl-C when it is imported
signal.signal(signal.SIGINT, _before)

LEAKING = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_")


def clean_environ() -> dict[str, str]:
    """The environment for Slurm's commands: a driver inside a job must not hand its own job's settings to new ones."""
    return {name: text for name, text in os.environ.items() if not name.startswith(LEAKING) or name == "SLURM_CONF"}


class SlurmJob(SLURMJob):  # type: ignore[misc]  # dask-jobqueue has no types
    """One job of a pool; see `slurm_options`.

    Attributes
    ----------
    cancelled : bool
        Whether whoever closes it has cancelled it already, many at once.
    """

    cancelled = False

    async def close(self) -> None:
        if not self.cancelled:
            await super().close()

    async def _submit_job(self, script_filename: str) -> str:
        command = [*shlex.split(self.submit_command), script_filename]
        return str(await self._call(command, env=clean_environ()))


def slurm_options(name: str, pool: Pool, profile: ClusterProfile, logs: Path, protocol: int) -> dict[str, Any]:
    """What `SlurmJob` is made of; what is None is left to the user's jobqueue.yaml.

    Several workers of one job are started by srun, which gives each a GPU of its own: with ``processes`` of
    dask-jobqueue all of them see all the GPUs (measured).
    """
    python = shlex.quote(pool.python or sys.executable)
    directives = [f"--nodes=1 --ntasks={pool.workers_per_job} --cpus-per-task={pool.threads}", "--no-requeue"]
    if pool.gpus:
        directives.append(f"--gres={pool.gres or f'gpu:{pool.workers_per_job}'}")
    if pool.workers_per_job > 1:
        binding = ["--gpus-per-task=1"] if pool.gpus else []
        step = ["srun", f"--ntasks={pool.workers_per_job}", f"--cpus-per-task={pool.threads}", *binding]
        # one worker that dies leaves the others of its job alone
        python = " ".join([*step, "--kill-on-bad-exit=0", python])
    return {
        "name": name,
        "job_name": f"hbcoop-{name}",
        "python": python,
        "worker_command": "hbcoop_dist.clusters.dask_worker",
        "cores": pool.threads * pool.workers_per_job,
        "processes": pool.workers_per_job,
        "memory": pool.memory,
        "queue": pool.partition,
        "account": pool.account,
        "walltime": pool.walltime,
        "interface": profile.interface,
        "log_directory": str(logs),
        "job_directives_skip": ["-n 1", "--cpus-per-task="],
        "job_extra_directives": [*directives, *_configured("job-extra-directives"), *pool.directives],
        "job_script_prologue": [
            f"export {LOGS}={shlex.quote(str(logs))} {PROTOCOL}={protocol}",
            *_configured("job-script-prologue"),
            *pool.prologue,
        ],
    }


def _configured(field: str) -> list[str]:
    """A list in the user's jobqueue.yaml, which ours comes on top of instead of in place of."""
    return list(dask.config.get(f"jobqueue.slurm.{field}", default=None) or [])


def job_script(pool_name: str, profile: ClusterProfile, logs: Path, protocol: int) -> str:
    """The script that is handed to sbatch for the first job of a pool.

    Raises
    ------
    ClusterError
        When neither the profile nor jobqueue.yaml says what Slurm must know.
    """
    pool = profile.pools[pool_name]
    # dask-jobqueue makes the folder of logs as soon as it is named
    with tempfile.TemporaryDirectory() as folder:
        options = slurm_options(f"{pool_name}-1", pool, profile, Path(folder), protocol)
        try:
            script = str(SlurmJob("tcp://DRIVER:PORT", **options).job_script())
        except ValueError as error:
            text = str(error).splitlines()[0]
            where = f"profile {profile.profile}, pool {pool_name}"
            raise ClusterError(f"{where}: memory: expected e.g. 16GB; {text}") from None
    return script.replace(folder, str(logs))
