"""Jobs of one pool, how many of them there should be, and the pools that can run a model: bookkeeping without I/O."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hbcoop_dist.clusters.batch_system import JobState
from hbcoop_dist.clusters.profiles import Pool
from hbcoop_dist.core.tasks import Source


@dataclass(slots=True)
class JobRecord:
    """One job.

    Attributes
    ----------
    pool : str
        Name of its pool.
    job_id : str
        Id in the batch system; empty on this machine.
    state : JobState
        Last known state.
    workers : set of str
        Names of its connected workers.
    joined : bool
        Whether a worker of the job has ever connected.
    idle_since : float or None
        Monotonic time since which none of its workers has had a batch.
    submitted : float
        Monotonic time of submission.
    """

    pool: str
    job_id: str = ""
    state: JobState = field(default_factory=lambda: JobState("PENDING"))
    workers: set[str] = field(default_factory=set)
    joined: bool = False
    idle_since: float | None = None
    submitted: float = field(default_factory=time.monotonic)

    def update(self, state: JobState, workers: set[str]) -> None:
        """Store the current state.

        Parameters
        ----------
        state : JobState
        workers : set of str
            Names of the connected workers.
        """
        self.state, self.workers = state, workers
        self.joined = self.joined or bool(workers)


@dataclass(slots=True)
class PoolJobs:
    """The jobs of one pool.

    Attributes
    ----------
    name : str
    pool : Pool
    demand : int
        Batches that are ready for this pool or run in it.
    jobs, ended_jobs : dict of str to JobRecord
        By name; names are never reused.
    failed_starts : int
        Consecutive jobs that ended before a worker connected.
    refusals : int
        Consecutive submissions that were refused.
    not_before : float
        Monotonic time before which nothing is submitted.
    """

    name: str
    pool: Pool
    demand: int = 0
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    ended_jobs: dict[str, JobRecord] = field(default_factory=dict)
    failed_starts: int = 0
    refusals: int = 0
    not_before: float = 0.0
    _number: int = 0

    @property
    def target(self) -> int:
        """Number of jobs that gives each batch a worker, within the pool's range."""
        jobs, needed = self.pool.jobs, math.ceil(self.demand / self.pool.workers_per_job)
        return max(jobs.least, min(jobs.most, needed))

    def next_name(self) -> str:
        """Return a name that no job of this pool has had.

        Returns
        -------
        str
        """
        self._number += 1
        return f"{self.name}-{self._number}"

    def surplus(self, busy: Collection[str]) -> list[str]:
        """Select jobs to cancel: those beyond the target that have been idle, or pending, for longer than allowed.

        Parameters
        ----------
        busy : collection of str
            Names of the jobs with a batch.

        Returns
        -------
        list of str
            Pending jobs first, since they hold no resources yet.
        """
        now = time.monotonic()
        for name, record in self.jobs.items():
            if name in busy:
                record.idle_since = None
            elif record.idle_since is None:
                record.idle_since = now
        idle = [
            name
            for name, record in self.jobs.items()
            if record.idle_since is not None and now - record.idle_since >= self.pool.idle_seconds
        ]
        idle.sort(key=lambda name: self.jobs[name].joined)
        return idle[: max(0, len(self.jobs) - self.target)]


def job_of(worker: str, jobs: Mapping[str, JobRecord]) -> JobRecord | None:
    """Return the job of a worker.

    Parameters
    ----------
    worker : str
        Name of the worker: the name of its job, or that name and a rank.
    jobs : mapping of str to JobRecord

    Returns
    -------
    JobRecord or None
    """
    return jobs.get(worker) or jobs.get(worker.rpartition("-")[0])


def pools_for(source: Source, pools: Mapping[str, Pool]) -> tuple[str, ...]:
    """Return the pools that can run the batches of a source.

    Parameters
    ----------
    source : Source
    pools : mapping of str to Pool

    Returns
    -------
    tuple of str
        Names of the pools that have its environment. Those whose use of GPUs equals that of the source are preferred;
        the others are returned only when there are none.
    """
    able = {name: pool for name, pool in pools.items() if source.needs.environment in pool.environments}
    if not able and source.here:
        # the driver's own Python can run it, whatever its environment is called
        able = {name: pool for name, pool in pools.items() if pool.python is None}
    return tuple(name for name, pool in able.items() if pool.gpus == source.needs.gpu) or tuple(able)
