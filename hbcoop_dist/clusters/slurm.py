"""Slurm: jobs of dask-jobqueue with one worker per GPU, their queue in one squeue call, and steps of an allocation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue.slurm import SLURMJob

from hbcoop_dist.clusters.batch_system import TICK_SECONDS, BatchSystem, JobFate, JobState
from hbcoop_dist.clusters.dask_worker import LOGS_VARIABLE, PROTOCOL_VARIABLE
from hbcoop_dist.clusters.local_jobs import LocalJob, LocalSystem, worker_options
from hbcoop_dist.clusters.profiles import ClusterError, ClusterProfile, Pool

_sigint_handler = signal.getsignal(signal.SIGINT)

# importing dask-jobqueue replaces the handler of Ctrl-C
signal.signal(signal.SIGINT, _sigint_handler)

_FATES: Mapping[str, JobFate] = {
    "COMPLETING": "ending",
    "CANCELLED": "taken",
    "TIMEOUT": "expired",
    "DEADLINE": "expired",
    "NODE_FAIL": "taken",
    "BOOT_FAIL": "taken",
    "PREEMPTED": "taken",
    "REVOKED": "taken",
    # by itself in the middle of a batch: a step that runs out of memory may end like this (seen)
    "COMPLETED": "died",
    "FAILED": "died",
    "OUT_OF_MEMORY": "died",
}
FORGOTTEN_SECONDS = 60.0
"""Time after its submission at which squeue must list a job."""
ENDING_SECONDS = 30.0
"""Time after the loss of a worker at which squeue should list the final state of its job."""
SILENT_SECONDS = 420.0
"""Time within which Slurm declares a silent node dead: SlurmdTimeout, 300 s by default, and its next round."""
QUEUE_SECONDS = 60.0
CANCELS_PER_CALL = 100
_DRIVER_VARIABLES = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_")
TERM_SECONDS = 10.0
_SHARED_FIELDS = (
    "workers_per_job", "threads", "memory", "gpus", "gres", "partition", "account", "walltime", "directives"
)  # fmt: skip
"""Fields that are equal in all pools of one allocation, since Slurm allots the same to each of its nodes."""


def clean_environ() -> dict[str, str]:
    """Return the environment for Slurm's commands, without the settings of a job in which the driver runs.

    Returns
    -------
    dict of str to str
        `os.environ` without Slurm's variables, except SLURM_CONF.
    """
    kept = [name for name in os.environ if name == "SLURM_CONF" or not name.startswith(_DRIVER_VARIABLES)]
    return {name: os.environ[name] for name in kept}


class SlurmJob(SLURMJob):  # type: ignore[misc]  # dask-jobqueue has no types
    """One job of a pool; its parameters are those of `slurm_options`.

    Attributes
    ----------
    cancelled : bool
        Whether `SlurmSystem.cancel` has cancelled the job, so that closing it does not call scancel again.
    """

    cancelled = False

    @property
    def started(self) -> bool:
        """Whether sbatch accepted the job."""
        return self.job_id is not None

    async def close(self) -> None:
        """Cancel the job."""
        if not self.cancelled:
            await super().close()

    async def _submit_job(self, script_filename: str) -> str:
        command = [*shlex.split(self.submit_command), script_filename]
        return str(await self._call(command, env=clean_environ()))


class SlurmSystem(BatchSystem):
    """Slurm jobs that the driver submits; see `BatchSystem`."""

    blameless = frozenset({"CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL"})

    @classmethod
    def pool_error(cls, pool: Pool) -> str:
        """Return which field of a pool is not accepted; see `BatchSystem.pool_error`."""
        return "jobs: expected a number or a range like 0:20, found none" if pool.jobs.auto else ""

    def __init__(self, profile: ClusterProfile, logs: Path, protocol: str) -> None:
        super().__init__(profile, logs, protocol)
        self._queue: Mapping[str, JobState] = {}
        self._read_at = 0.0

    def job_spec(self, name: str, pool: Pool, running: Collection[str], excluded: Iterable[str]) -> dict[str, Any]:
        del running
        options = slurm_options(name, pool, self.profile.interface, self.logs, self.protocol)
        if nodes := sorted(excluded):
            options["job_extra_directives"].append(f"--exclude={','.join(nodes)}")
        return {"cls": SlurmJob, "options": options}

    def preview(self, pool_name: str) -> str:
        pool = self.profile.pools[pool_name]
        # dask-jobqueue creates the log folder as soon as a job is constructed
        with tempfile.TemporaryDirectory() as folder:
            options = slurm_options(f"{pool_name}-1", pool, self.profile.interface, Path(folder), self.protocol)
            try:
                script = str(SlurmJob("tcp://DRIVER:PORT", **options).job_script())
            except ValueError as error:
                text = str(error).splitlines()[0]
                where = f"profile {self.profile.profile}, pool {pool_name}"
                raise ClusterError(f"{where}: memory: expected e.g. 16GB; {text}") from None
        return script.replace(folder, str(self.logs)).strip()

    async def refresh(self, jobs_exist: bool) -> None:
        if jobs_exist:
            self._queue = await read_queue()
            self._read_at = time.monotonic()

    def state_of(self, job: Any, submitted: float) -> JobState:
        # a job submitted after the last squeue call is not listed; one that Slurm has forgotten has ended
        forgotten = self._read_at > submitted + FORGOTTEN_SECONDS
        missing = JobState("FORGOTTEN", "taken") if forgotten else JobState("PENDING")
        return self._queue.get(str(job.job_id), missing)

    def fate_after_loss(self, state: JobState, workers_left: bool, lost_at: float) -> JobFate | None:
        waited = time.monotonic() - lost_at
        # squeue must have been called after the loss; the state of a job that is ending does not tell its cause
        if state.fate == "ending" or self._read_at < lost_at + TICK_SECONDS:
            return None if waited < ENDING_SECONDS else "taken"
        # Slurm notices a silent node much later than Dask does; other workers of the job prove that it is alive
        return state.fate if workers_left or waited > SILENT_SECONDS else None

    async def cancel(self, jobs: Sequence[Any]) -> None:
        submitted = [job for job in jobs if job.started]
        # one call for many jobs: a call each would flood the controller
        for start in range(0, len(submitted), CANCELS_PER_CALL):
            ids = [str(job.job_id) for job in submitted[start : start + CANCELS_PER_CALL]]
            process = await asyncio.create_subprocess_exec(
                *("scancel", "--quiet", *ids),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=clean_environ(),
            )
            try:
                # the exit status does not matter: scancel refuses jobs that have ended
                await asyncio.wait_for(process.wait(), QUEUE_SECONDS)
            except TimeoutError:
                process.kill()
        for job in submitted:
            job.cancelled = True

    def cancel_abandoned(self, jobs: Mapping[str, str]) -> None:
        for job, name in jobs.items():
            command = ["scancel", "--quiet", "--me", f"--name=hbcoop-{name}", job]
            subprocess.run(command, env=clean_environ(), capture_output=True, check=False, timeout=60)


def slurm_options(name: str, pool: Pool, interface: str | None, logs: Path, protocol: str) -> dict[str, Any]:
    """Return the parameters of a `SlurmJob`.

    Several workers of one job are started by srun, which gives each a GPU of its own: with ``processes`` of
    dask-jobqueue all of them see all GPUs (measured).

    Parameters
    ----------
    name : str
        Name of the job.
    pool : Pool
        Fields that are None are left to the user's jobqueue.yaml.
    interface : str or None
        Network interface of the workers.
    logs : Path
        Folder of worker logs.
    protocol : str
        ``KIND=VERSION`` of the campaign.

    Returns
    -------
    dict
    """
    python = shlex.quote(pool.python or sys.executable)
    if pool.workers_per_job > 1:
        binding = ["--gpus-per-task=1"] if pool.gpus else []
        step = ["srun", f"--ntasks={pool.workers_per_job}", f"--cpus-per-task={pool.threads}", *binding]
        # a worker that dies leaves the others of its job running
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
        "interface": interface,
        "log_directory": str(logs),
        "job_directives_skip": ["-n 1", "--cpus-per-task="],
        "job_extra_directives": [
            f"--nodes=1 --ntasks={pool.workers_per_job} --cpus-per-task={pool.threads}",
            "--no-requeue",
            *pool.gpu_request,
            *_user_setting("job-extra-directives"),
            *pool.directives,
        ],
        "job_script_prologue": [
            f"export {LOGS_VARIABLE}={shlex.quote(str(logs))} {PROTOCOL_VARIABLE}={shlex.quote(protocol)}",
            *_user_setting("job-script-prologue"),
            *pool.prologue,
        ],
    }


def _user_setting(field: str) -> list[str]:
    """A list in the user's jobqueue.yaml, which the profile extends instead of replacing it."""
    return list(dask.config.get(f"jobqueue.slurm.{field}", default=None) or [])


def parse_queue(text: str) -> dict[str, JobState]:
    """Parse the answer of squeue.

    Parameters
    ----------
    text : str
        Lines ``id|state|end|node|reason``; other lines, such as greetings of a site, are skipped. The reason may
        contain bar characters.

    Returns
    -------
    dict of str to JobState
        By job id.
    """
    states = {}
    for line in text.splitlines():
        if line.count("|") < 4:
            continue
        job, state, end, node, reason = line.split("|", 4)
        try:
            ends = datetime.fromisoformat(end).timestamp()
        except ValueError:
            ends = None
        states[job] = JobState(state, _FATES.get(state, "alive"), ends, node, reason)
    return states


async def read_queue() -> dict[str, JobState]:
    """Return the user's jobs, including ended ones that Slurm remembers (for five minutes by default).

    Returns
    -------
    dict of str to JobState
        By job id.

    Raises
    ------
    OSError
        When squeue fails, e.g. while the controller restarts; the state of every job is unknown then.
    """
    command = ("squeue", "--noheader", "--me", "--states=all", "--format=%i|%T|%e|%N|%r")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=clean_environ()
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), QUEUE_SECONDS)
    except TimeoutError:
        process.kill()
        raise OSError(f"squeue: no answer within {QUEUE_SECONDS:.0f} s") from None
    if process.returncode != 0:
        raise OSError(f"squeue: {err.decode(errors='replace').strip()}")
    return parse_queue(out.decode(errors="replace"))


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
