"""Several pools of workers under one Dask scheduler, which neither dask-jobqueue nor distributed offers.

`SpecCluster` starts and stops jobs; the pool manager here decides which. Every second it compares each pool with its
jobs: it replaces jobs that ended, under new names, grows a pool with its demand, cancels idle jobs, and reports refused
jobs. Two SLURMClusters on one scheduler adapt the wrong pool, and adaptive scaling does not replace a dead job (both
measured), which is why neither is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import dask
from distributed import Scheduler, SpecCluster
from distributed.core import Status
from distributed.deploy.cluster import Cluster

from hbcoop_dist.clusters.batch_system import ENDED, TICK_SECONDS, BatchSystem, JobFate, make_batch_system
from hbcoop_dist.clusters.dask_worker import QUIET_CONFIG
from hbcoop_dist.clusters.pool_jobs import JobRecord, PoolJobs, job_of
from hbcoop_dist.clusters.profiles import ClusterError, ClusterLostError, ClusterProfile, raise_open_files

RETRY_SECONDS = (1.0, 5.0, 15.0)
"""Waiting times after refused jobs; after the last, a pool that never had a job raises an error."""
MAX_FAILED_STARTS = 3
"""Consecutive jobs that may end before a worker connects."""
REPORTED_FAILURES = (1, 30)
"""Consecutive failures of the batch system's query that are reported."""
CLOSE_SECONDS = 120.0
SUBMITTED_AT_ONCE = 50
"""Largest number of jobs submitted in one tick: controllers do not cope with floods."""


class PoolCluster(SpecCluster):  # type: ignore[misc]  # distributed has no types
    """A Dask scheduler in this process, and the jobs of a profile's pools.

    Methods that the driver's thread calls replace whole attributes and never change them in place, since the event loop
    reads them at the same time.

    Parameters
    ----------
    profile : ClusterProfile
    logs : Path
        Folder of worker logs, which the workers see under the same path.
    protocol : str
        ``KIND=VERSION`` of the campaign; workers with another version refuse to start.
    log : callable
        Takes a message for the user; called from another thread.
    system : BatchSystem, optional
        Starts the jobs; by default the batch system of the profile.

    Attributes
    ----------
    pools : dict of str to PoolJobs
    problem : ClusterError or None
        Error that stopped the pool manager.
    excluded : frozenset of str
        Nodes that get no more jobs.

    Raises
    ------
    ClusterError
        When no jobs can be started from this process.
    """

    def __init__(
        self,
        profile: ClusterProfile,
        logs: Path,
        protocol: str,
        log: Callable[[str], None],
        *,
        system: BatchSystem | None = None,
    ) -> None:
        self.system = make_batch_system(profile, logs, protocol) if system is None else system
        self.system.check()
        self.logs, self.log = logs, log
        self.pools = {name: PoolJobs(name, self.system.sized(pool)) for name, pool in profile.pools.items()}
        self.problem: ClusterError | None = None
        self.excluded: frozenset[str] = frozenset()
        self._busy: frozenset[str] = frozenset()
        self._expiring: frozenset[str] = frozenset()
        self._manager: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        raise_open_files()
        # Dask keeps the last thousand messages to every worker for debugging, 0.2 MB of Hessians per batch here
        dask.config.set({"distributed.admin.low-level-log-length": 0})
        dask.config.update_defaults(QUIET_CONFIG)
        logs.mkdir(parents=True, exist_ok=True)
        host = {"interface": profile.interface} if profile.interface else {}
        if self.system.loopback:
            host = {"host": "127.0.0.1"}
        dashboard = "127.0.0.1:0" if self.system.loopback else ":0"
        options = {"protocol": "tcp://", "dashboard_address": dashboard, **host}
        super().__init__(
            workers={}, scheduler={"cls": Scheduler, "options": options}, name="hbcoop", silence_logs=logging.ERROR
        )

    async def _start(self) -> None:
        await super()._start()
        self._manager = asyncio.ensure_future(self._manage())

    async def _close(self) -> None:
        # the manager is not cancelled, since jobs that it is submitting would then be lost track of
        self._stop.set()
        if self._manager is not None:
            await asyncio.wait({self._manager}, timeout=CLOSE_SECONDS)
        await self._cancel(self.workers)
        self.worker_spec.clear()
        await super()._close()

    async def _cancel(self, names: Iterable[str]) -> None:
        await self.system.cancel([job for name in names if (job := self.workers.get(name)) is not None])

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # SpecCluster would close a job some seconds after its worker left, though its nanny may be starting another
        Cluster._update_worker_status(self, op, msg)

    # called by the driver's thread

    def set_demand(self, batches: Mapping[str, int], busy: Collection[str], expiring: Collection[str]) -> None:
        """Set the demand that decides the size of the pools.

        Parameters
        ----------
        batches : mapping of str to int
            Pool -> batches that are ready for it or run in it.
        busy : collection of str
            Names of workers with a batch.
        expiring : collection of str
            Names of workers whose walltime is too short for any ready batch.
        """
        for name, jobs in self.pools.items():
            jobs.demand = batches.get(name, 0)
        self._busy, self._expiring = frozenset(busy), frozenset(expiring)

    def exclude(self, node: str) -> None:
        """Submit no more jobs to a node, and cancel the jobs on it.

        Parameters
        ----------
        node : str
        """
        self.excluded |= {node}
        self.log(f"node {node} fails everything: excluded from now on")

    def pool_of(self, worker: str) -> PoolJobs | None:
        """Return the pool of a worker.

        Parameters
        ----------
        worker : str
            Name of the worker.

        Returns
        -------
        PoolJobs or None
        """
        record = self.job_of(worker)
        return None if record is None else self.pools[record.pool]

    def job_of(self, worker: str) -> JobRecord | None:
        """Return the current job of a worker.

        Parameters
        ----------
        worker : str
            Name of the worker.

        Returns
        -------
        JobRecord or None
            None when the job has ended.
        """
        return next((record for jobs in self.pools.values() if (record := job_of(worker, jobs.jobs))), None)

    def fate(self, worker: str, lost_at: float) -> JobFate | None:
        """Return the fate of the job of a worker that disappeared.

        Parameters
        ----------
        worker : str
            Name of the worker.
        lost_at : float
            Monotonic time of its loss.

        Returns
        -------
        str or None
            None while it is unknown.
        """
        record = self.job_of(worker)
        if record is None:
            # the last known state of a job that the pool manager cancelled is that of a living one
            ended = [job_of(worker, jobs.ended_jobs) for jobs in self.pools.values()]
            return next((job.state.fate for job in ended if job is not None and job.state.fate in ENDED), "taken")
        if record.state.fate in ENDED:
            return record.state.fate
        return self.system.fate_after_loss(record.state, bool(record.workers), lost_at)

    def job_table(self) -> list[dict[str, Any]]:
        """Return one row per job, for `hbcoop status`.

        Returns
        -------
        list of dict
            pool, name, job (id), state, node, workers (number) and ends (end of the walltime, seconds since the epoch).
        """
        return [
            {
                "pool": jobs.name,
                "name": name,
                "job": record.job_id,
                "state": record.state.state,
                "node": record.state.node,
                "workers": len(record.workers),
                "ends": record.state.ends,
            }
            for jobs in self.pools.values()
            for name, record in list(jobs.jobs.items())
        ]

    # runs in the event loop

    async def _manage(self) -> None:
        failures = 0
        while self.problem is None and not self._stop.is_set():
            try:
                await self._tick()
                failures = 0
            except OSError as error:
                # the controller restarts now and then; jobs continue meanwhile
                failures += 1
                if failures in REPORTED_FAILURES:
                    self.log(str(error))
            except ClusterError as error:
                self.problem = error
            except Exception as error:  # noqa: BLE001  nobody awaits this task, so the error goes to the driver
                self.problem = ClusterLostError(f"the pool manager stopped: {type(error).__name__}: {error}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)

    async def _tick(self) -> None:
        await self.system.refresh(any(jobs.jobs for jobs in self.pools.values()))
        connected = _by_job(str(info["name"]) for info in list(self.scheduler_info["workers"].values()))
        for jobs in self.pools.values():
            self._update(jobs, connected)
            if names := self._to_cancel(jobs):
                for name in names:
                    self._remove(jobs, name)
                await self._cancel(names)
                await self._correct_state()
            await self._grow(jobs)

    def _update(self, jobs: PoolJobs, connected: Mapping[str, set[str]]) -> None:
        """Update the states of a pool's jobs, and remove those that ended."""
        for name, record in list(jobs.jobs.items()):
            job = self.workers.get(name)
            if job is None:
                continue
            record.update(self.system.state_of(job, record.submitted), connected.get(name, set()))
            if record.joined:
                jobs.failed_starts = 0
            if record.state.fate not in ENDED:
                continue
            self._remove(jobs, name)
            del self.workers[name]
            # SpecCluster requires this status when it closes
            job.status = Status.closed
            if record.joined or record.state.state in self.system.blameless:
                self.log(f"job {record.job_id or name} ({name}) is gone: {record.state.state.lower()}")
                continue
            jobs.failed_starts += 1
            if jobs.failed_starts >= MAX_FAILED_STARTS:
                # without any worker so far the profile is wrong; afterwards the cluster is lost
                was_usable = any(job.joined for job in jobs.ended_jobs.values())
                raise (ClusterLostError if was_usable else ClusterError)(
                    f"pool {jobs.name}: {jobs.failed_starts} jobs in a row ended before a worker came"
                    f"{_log_tail(self.logs, name, record)}"
                )

    def _remove(self, jobs: PoolJobs, name: str) -> None:
        jobs.ended_jobs[name] = jobs.jobs.pop(name)
        self.worker_spec.pop(name, None)

    def _to_cancel(self, jobs: PoolJobs) -> list[str]:
        """Jobs that are idle beyond the demand, whose walltime is too short, or that run on an excluded node."""
        busy = jobs.jobs.keys() & _by_job(self._busy)
        expiring = [
            name
            for name, record in jobs.jobs.items()
            if name not in busy and record.joined and record.workers and record.workers <= self._expiring
        ]
        excluded = [name for name, record in jobs.jobs.items() if record.state.node in self.excluded]
        expiring = expiring if self.system.renews_walltime else []
        return list(dict.fromkeys([*expiring, *excluded, *jobs.surplus(busy)]))

    async def _grow(self, jobs: PoolJobs) -> None:
        missing = min(jobs.target - len(jobs.jobs), SUBMITTED_AT_ONCE)
        if missing <= 0 or time.monotonic() < jobs.not_before:
            return
        for _ in range(missing):
            name = jobs.next_name()
            running = [name for other in self.pools.values() for name in other.jobs]
            self.worker_spec[name] = self.system.job_spec(name, jobs.pool, running, self.excluded)
            jobs.jobs[name] = JobRecord(jobs.name)
        refusal = ""
        try:
            await self._correct_state()
        except Exception as error:  # noqa: BLE001  a refusal of sbatch, or a Python that does not exist
            refusal = str(error)
        for name, record in list(jobs.jobs.items()):
            job = self.workers.get(name)
            if job is not None and job.started:
                record.job_id = str(job.job_id or "")
                continue
            if job is not None:
                del self.workers[name]
                job.status = Status.failed
            self.worker_spec.pop(name, None)
            del jobs.jobs[name]
        if refusal:
            self._count_refusal(jobs, refusal)
        else:
            jobs.refusals = 0

    def _count_refusal(self, jobs: PoolJobs, refusal: str) -> None:
        reason = " ".join(refusal.rsplit("stderr:", maxsplit=1)[-1].split())
        if jobs.refusals >= len(RETRY_SECONDS) and not jobs.jobs and not jobs.ended_jobs:
            raise ClusterError(f"pool {jobs.name}: no job could be started: {reason}")
        wait = RETRY_SECONDS[min(jobs.refusals, len(RETRY_SECONDS) - 1)]
        jobs.refusals += 1
        jobs.not_before = time.monotonic() + wait
        self.log(f"pool {jobs.name}: a job was refused, next try in {wait:.0f} s: {reason}")


def _by_job(workers: Iterable[str]) -> dict[str, set[str]]:
    """Group workers by the name of their job, which is the worker's name with or without its rank."""
    groups: dict[str, set[str]] = {}
    for worker in workers:
        for name in (worker, worker.rpartition("-")[0]):
            groups.setdefault(name, set()).add(worker)
    return groups


def _log_tail(logs: Path, name: str, record: JobRecord) -> str:
    """The last lines that a job wrote."""
    for path in [logs / f"{name}.err", *logs.glob(f"hbcoop-{name}-{record.job_id}*.err")]:
        with contextlib.suppress(OSError):
            if lines := path.read_text(errors="replace").strip().splitlines():
                return f"; {path} ends with: " + " / ".join(lines[-3:])
    return f"; see {logs}"
