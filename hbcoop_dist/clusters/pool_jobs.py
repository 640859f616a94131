"""What is known of one pool's jobs, and how many there should be: plain bookkeeping, no I/O."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from hbcoop_dist.clusters.profile import Pool
from hbcoop_dist.clusters.slurm_queue import Fate, SlurmState


@dataclass(slots=True)
class JobRecord:
    """One job.

    Attributes
    ----------
    pool : str
    job_id : str
        Slurm's; empty on this machine.
    state : SlurmState
        As last seen.
    workers : set of str
        Names of its workers that are there.
    joined : bool
        Whether a worker of it ever was.
    idle_since : float or None
        Monotonic time since when none of its workers has had anything to do.
    submitted : float
        Monotonic time.
    """

    pool: str
    job_id: str = ""
    state: SlurmState = field(default_factory=lambda: SlurmState("PENDING"))
    workers: set[str] = field(default_factory=set)
    joined: bool = False
    idle_since: float | None = None
    submitted: float = field(default_factory=time.monotonic)

    @property
    def fate(self) -> Fate:
        return self.state.fate

    def see(self, state: SlurmState, workers: set[str]) -> None:
        """Take note of how it stands."""
        self.state, self.workers = state, workers
        self.joined = self.joined or bool(workers)


@dataclass(slots=True)
class PoolJobs:
    """The jobs of one pool.

    Attributes
    ----------
    name : str
    pool : Pool
    wanted : int
        Batches that wait for this pool or are done in it.
    records, gone : dict of str to JobRecord
        By name; names are never used again.
    stillborn : int
        Jobs in a row that ended before a worker came.
    refusals : int
        Submissions in a row that were refused.
    not_before : float
        Monotonic time before which nothing is submitted.
    gpus : dict of str to str or None
        GPU of each job on this machine.
    """

    name: str
    pool: Pool
    wanted: int = 0
    records: dict[str, JobRecord] = field(default_factory=dict)
    gone: dict[str, JobRecord] = field(default_factory=dict)
    stillborn: int = 0
    refusals: int = 0
    not_before: float = 0.0
    gpus: dict[str, str | None] = field(default_factory=dict)
    _number: int = 0

    @property
    def target(self) -> int:
        """Jobs there should be: enough for a batch per worker, within the pool's range."""
        jobs, needed = self.pool.jobs, math.ceil(self.wanted / self.pool.workers_per_job)
        return max(jobs.least, min(jobs.most, needed))

    def next_name(self) -> str:
        """A name that no job of this pool has had."""
        self._number += 1
        return f"{self.name}-{self._number}"

    def idle(self, busy: Collection[str]) -> list[str]:
        """Jobs to give back: beyond the target, and idle (or still waiting) for longer than the pool allows."""
        now = time.monotonic()
        for name, record in self.records.items():
            if name in busy:
                record.idle_since = None
            elif record.idle_since is None:
                record.idle_since = now
        long_idle = [
            name
            for name, record in self.records.items()
            if record.idle_since is not None and now - record.idle_since >= self.pool.idle_seconds
        ]
        # those that wait in the queue go first: they hold nothing yet
        long_idle.sort(key=lambda name: self.records[name].joined)
        return long_idle[: max(0, len(self.records) - self.target)]
