"""Several pools of workers under one scheduler: what dask-jobqueue and distributed lack, and nothing else.

A `SpecCluster` starts and stops jobs; here is decided which.  Every second or two each pool is compared with what its
queue says: jobs that are gone are replaced under new names, never the old; a pool grows with what waits for it and
gives back what idles; a refused job is reported at once.  Two SLURMClusters on one scheduler adapt the wrong pool, and
adaptive scaling does not bring a dead job back (both measured), which is why neither is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import dask
from distributed import Scheduler, SpecCluster
from distributed.core import Status
from distributed.deploy.cluster import Cluster

from hbcoop_dist.clusters.dask_worker import CALM
from hbcoop_dist.clusters.devices import raise_open_files, usable_cores, visible_gpus
from hbcoop_dist.clusters.errors import ClusterError, ClusterLostError
from hbcoop_dist.clusters.local_job import LocalJob
from hbcoop_dist.clusters.pool_jobs import JobRecord, PoolJobs
from hbcoop_dist.clusters.profile import ClusterProfile, JobRange, Pool
from hbcoop_dist.clusters.slurm_queue import ENDED, Fate, SlurmState, cancel_at_once, read_queue
from hbcoop_dist.clusters.step_job import StepJob, require_allocation

TICK_SECONDS = 1.0
BACK_OFF = (1.0, 5.0, 15.0)
"""Seconds before a refused job is tried again; after the last, a pool that never had a job is given up."""
STILLBORN = 3
"""Jobs in a row that end before a worker of theirs has come, after which a pool is given up."""
NOT_ITS_FAULT = ("CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL")
"""Ends of a job without workers that say nothing against its script."""
FORGOTTEN_SECONDS = 60.0
"""Time after which a job should be in squeue's answer."""
SILENT_SECONDS = 420.0
"""Time within which Slurm says that a silent node is dead: SlurmdTimeout, 300 s by default, and its next round."""
CLOSE_SECONDS = 120.0
AT_ONCE = 50
"""Jobs submitted in one go at most: controllers dislike floods."""


class PoolCluster(SpecCluster):  # type: ignore[misc]  # distributed has no types
    """A scheduler in this process, and the jobs of a profile's pools.

    Parameters
    ----------
    profile : ClusterProfile
    logs : Path
        Folder of worker logs, seen from the workers too.
    protocol : int
        `PROTOCOL_VERSION`; workers with another refuse to work.
    say : callable
        Gets a line for the user now and then, from another thread.
    """

    def __init__(self, profile: ClusterProfile, logs: Path, protocol: int, say: Callable[[str], None]) -> None:
        self.profile, self.logs, self.protocol, self.say = profile, logs, protocol, say
        self.pools = {name: PoolJobs(name, _sized(profile, name)) for name in profile.pools}
        self.problem: ClusterError | None = None
        self.excluded: set[str] = set()
        self._queue: Mapping[str, SlurmState] = {}
        self._queue_read = 0.0
        self._busy: Collection[str] = ()
        self._spent: set[str] = set()
        self._manager: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._gpus = visible_gpus() if profile.kind == "local" else []
        self._allocation = require_allocation(profile) if profile.kind == "allocation" else None
        raise_open_files()
        # Dask keeps the last thousand messages to every worker for debugging, ours with Hessians of 0.2 MB a batch.
        dask.config.set({"distributed.admin.low-level-log-length": 0})
        dask.config.update_defaults(CALM)
        logs.mkdir(parents=True, exist_ok=True)
        host = {"interface": profile.interface} if profile.interface else {}
        if profile.kind == "local":
            host = {"host": "127.0.0.1"}
        dashboard = "127.0.0.1:0" if profile.kind == "local" else ":0"
        super().__init__(
            workers={},
            scheduler={
                "cls": Scheduler,
                "options": {"protocol": "tcp://", "dashboard_address": dashboard, **host},
            },
            name="hbcoop",
            silence_logs=logging.ERROR,
        )

    async def _start(self) -> None:
        await super()._start()
        self._manager = asyncio.ensure_future(self._manage())

    async def _close(self) -> None:
        # not cancelled: jobs that are being submitted at this moment would never be heard of again
        self._stop.set()
        if self._manager is not None:
            await asyncio.wait({self._manager}, timeout=CLOSE_SECONDS)
        await self._cancel(self.workers)
        self.worker_spec.clear()
        await super()._close()

    async def _cancel(self, names: Iterable[str]) -> None:
        """Cancel Slurm jobs together; what closes them afterwards one by one leaves them alone."""
        there = [job for name in names if getattr(job := self.workers.get(name), "job_id", None)]
        await cancel_at_once([str(job.job_id) for job in there])
        for job in there:
            job.cancelled = True

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # SpecCluster would close a job some seconds after its worker went, though its nanny may be starting another
        Cluster._update_worker_status(self, op, msg)

    # what the driver's thread says and asks; every value is replaced as a whole, never changed in place

    def want(self, batches: Mapping[str, int], busy: Collection[str], spent: Collection[str]) -> None:
        """Say how many batches each pool could do now, which workers have one, and which have too little time left."""
        for name, jobs in self.pools.items():
            jobs.wanted = batches.get(name, 0)
        self._busy, self._spent = frozenset(busy), set(spent)

    def exclude(self, node: str) -> None:
        """Ask for no more jobs on a node, and give back the jobs on it."""
        self.excluded.add(node)
        self.say(f"node {node} fails everything: excluded from now on")

    def pool_of(self, worker: str) -> PoolJobs | None:
        """The pool of a worker, by its name."""
        record = self.record_of(worker)
        return None if record is None else self.pools[record.pool]

    def record_of(self, worker: str) -> JobRecord | None:
        """The job of a worker, by its name: the job's own, or the job's with a rank."""
        for jobs in self.pools.values():
            if record := jobs.records.get(worker) or jobs.records.get(worker.rpartition("-")[0]):
                return record
        return None

    def fate(self, worker: str, since: float) -> Fate | None:
        """What became of the job of a worker that went at monotonic time `since`; None while it is not known."""
        record = self.record_of(worker)
        if record is None:
            # jobs that were given back are there as they last were, which was not dead
            gone = [jobs.gone.get(worker) or jobs.gone.get(worker.rpartition("-")[0]) for jobs in self.pools.values()]
            return next((one.fate for one in gone if one is not None and one.fate in ENDED), "taken")
        if record.fate in ENDED:
            return record.fate
        waited = time.monotonic() - since
        if self.profile.kind == "local":
            return "lives" if waited > TICK_SECONDS else None
        # squeue must have been asked after the loss; a job that is ending has not said yet how
        asked = self.profile.kind == "allocation" or self._queue_read >= since + TICK_SECONDS
        if record.fate == "ending" or not asked:
            return None if waited < 30 else "taken"
        # Slurm notices a node that went silent much later than we do; one that has workers of the job is alive
        return record.fate if record.workers or waited > SILENT_SECONDS else None

    def jobs(self) -> list[dict[str, Any]]:
        """Every job, for `hbcoop status`: pool, name, job id, state, node, workers, end of its walltime."""
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
            for name, record in list(jobs.records.items())
        ]

    # in the event loop

    async def _manage(self) -> None:
        failed = 0
        while self.problem is None and not self._stop.is_set():
            try:
                await self._tick()
                failed = 0
            except OSError as error:
                # the controller restarts now and then; jobs go on meanwhile
                failed += 1
                if failed in (1, 30):
                    self.say(str(error))
            except ClusterError as error:
                self.problem = error
            except Exception as error:  # noqa: BLE001  nobody awaits this task: the driver must hear of it
                self.problem = ClusterLostError(f"the pool manager stopped: {type(error).__name__}: {error}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)

    async def _tick(self) -> None:
        if self._queue_is_due():
            self._queue = await read_queue()
            self._queue_read = time.monotonic()
        present = _by_job(str(info["name"]) for info in list(self.scheduler_info["workers"].values()))
        for jobs in self.pools.values():
            self._look(jobs, present)
            give_back = self._to_give_back(jobs)
            for name in give_back:
                self._forget(jobs, name)
            if give_back:
                await self._cancel(give_back)
                await self._correct_state()
            await self._grow(jobs)

    def _queue_is_due(self) -> bool:
        if self.profile.kind == "allocation":
            # only for when it ends
            return self._queue_read == 0.0
        return self.profile.kind == "slurm" and any(jobs.records for jobs in self.pools.values())

    def _look(self, jobs: PoolJobs, present: Mapping[str, set[str]]) -> None:
        """Compare a pool's jobs with the queue and the workers present; those that ended are forgotten."""
        for name, record in list(jobs.records.items()):
            job = self.workers.get(name)
            if job is None:
                continue
            record.see(self._state_of(job, record), present.get(name, set()))
            if record.joined:
                jobs.stillborn = 0
            if record.fate not in ENDED:
                continue
            self._forget(jobs, name)
            del self.workers[name]
            # SpecCluster insists on it when it closes
            job.status = Status.closed
            if record.joined or (self.profile.kind == "slurm" and record.state.state in NOT_ITS_FAULT):
                self.say(f"job {record.job_id or name} ({name}) is gone: {record.state.state.lower()}")
                continue
            jobs.stillborn += 1
            if jobs.stillborn >= STILLBORN:
                raise _no_more(jobs)(
                    f"pool {jobs.name}: {jobs.stillborn} jobs in a row ended before a worker came"
                    f"{_last_words(self.logs, name, record)}"
                )

    def _state_of(self, job: Any, record: JobRecord) -> SlurmState:
        if isinstance(job, LocalJob):
            own = self._queue.get(self._allocation) if self._allocation else None
            return SlurmState("CANCELLED" if job.ended else "RUNNING", ends=own.ends if own else None)
        # one that was submitted since squeue was asked is not in its answer; one that Slurm has forgotten is over
        forgotten = self._queue_read > record.submitted + FORGOTTEN_SECONDS
        return self._queue.get(str(job.job_id), SlurmState("FORGOTTEN" if forgotten else "PENDING"))

    def _forget(self, jobs: PoolJobs, name: str) -> None:
        jobs.gone[name] = jobs.records.pop(name)
        self.worker_spec.pop(name, None)

    def _to_give_back(self, jobs: PoolJobs) -> list[str]:
        """Jobs that idle beyond what is needed, that have no time left, or that sit on an excluded node."""
        busy = jobs.records.keys() & _by_job(self._busy)
        spent = [
            name
            for name, record in jobs.records.items()
            # an allocation has no more time for a new step than for this one
            if self._allocation is None
            and name not in busy
            and record.joined
            and record.workers
            and record.workers <= self._spent
        ]
        excluded = [name for name, record in jobs.records.items() if record.state.node in self.excluded]
        return list(dict.fromkeys([*spent, *excluded, *jobs.idle(busy)]))

    async def _grow(self, jobs: PoolJobs) -> None:
        missing = min(jobs.target - len(jobs.records), AT_ONCE)
        if missing <= 0 or time.monotonic() < jobs.not_before:
            return
        for _ in range(missing):
            name = jobs.next_name()
            self.worker_spec[name] = self._spec(jobs, name)
            jobs.records[name] = JobRecord(jobs.name)
        refused = ""
        try:
            await self._correct_state()
        except Exception as error:  # noqa: BLE001  sbatch's refusal, or a Python that is not there
            refused = str(error)
        for name in [name for name in jobs.records if _never_started(self.workers.get(name))]:
            if (job := self.workers.pop(name, None)) is not None:
                job.status = Status.failed
            self.worker_spec.pop(name, None)
            del jobs.records[name]
        for name, record in jobs.records.items():
            record.job_id = str(getattr(self.workers.get(name), "job_id", "") or "")
        self._count_refusal(jobs, refused)

    def _count_refusal(self, jobs: PoolJobs, refused: str) -> None:
        if not refused:
            jobs.refusals = 0
            return
        said = " ".join(refused.rsplit("stderr:", maxsplit=1)[-1].split())
        if jobs.refusals >= len(BACK_OFF) and not jobs.records and not jobs.gone:
            raise ClusterError(f"pool {jobs.name}: no job could be started: {said}")
        wait = BACK_OFF[min(jobs.refusals, len(BACK_OFF) - 1)]
        jobs.refusals += 1
        jobs.not_before = time.monotonic() + wait
        self.say(f"pool {jobs.name}: a job was refused, next try in {wait:.0f} s: {said}")

    def _spec(self, jobs: PoolJobs, name: str) -> dict[str, Any]:
        if self.profile.kind == "local":
            gpu = self._least_used_gpu() if jobs.pool.device == "cuda" else None
            jobs.gpus[name] = gpu
            options: dict[str, Any] = {"name": name, "pool": jobs.pool, "gpu": gpu}
            return {"cls": LocalJob, "options": {**options, "logs": self.logs, "protocol": self.protocol}}
        if self.profile.kind == "allocation":
            options = {"name": name, "pool": jobs.pool, "interface": self.profile.interface}
            return {"cls": StepJob, "options": {**options, "logs": self.logs, "protocol": self.protocol}}
        from hbcoop_dist.clusters.slurm_job import SlurmJob, slurm_options

        options = slurm_options(name, jobs.pool, self.profile, self.logs, self.protocol)
        if self.excluded:
            options["job_extra_directives"].append(f"--exclude={','.join(sorted(self.excluded))}")
        return {"cls": SlurmJob, "options": options}

    def _least_used_gpu(self) -> str | None:
        taken = Counter(jobs.gpus.get(name) for jobs in self.pools.values() for name in jobs.records)
        return min(self._gpus, key=taken.__getitem__, default=None)


def _sized(profile: ClusterProfile, name: str) -> Pool:
    """A pool with the number of jobs that ``auto`` stands for."""
    pool = profile.pools[name]
    if not pool.jobs.auto:
        return pool
    count = usable_cores() // pool.threads
    if pool.gpus:
        # a certain GPU, as in cuda:1, is one
        count = len(visible_gpus()) if pool.device == "cuda" else 1
    count = max(1, count)
    return pool.model_copy(update={"jobs": JobRange(least=count, most=count)})


def _by_job(workers: Iterable[str]) -> dict[str, set[str]]:
    """Workers by the name of their job, which is a worker's own, or its own without the rank."""
    found: dict[str, set[str]] = {}
    for worker in workers:
        for name in (worker, worker.rpartition("-")[0]):
            found.setdefault(name, set()).add(worker)
    return found


def _no_more(jobs: PoolJobs) -> type[ClusterError]:
    """What it is when a pool gives up: a profile that is wrong, or a cluster that is lost after it has done work."""
    return ClusterLostError if any(record.joined for record in jobs.gone.values()) else ClusterError


def _never_started(job: Any) -> bool:
    return (
        job is None
        or (not isinstance(job, LocalJob) and job.job_id is None)
        or (isinstance(job, LocalJob) and job.process is None)
    )


def _last_words(logs: Path, name: str, record: JobRecord) -> str:
    """The last lines a job wrote before it died."""
    files = [logs / f"{name}.err", *logs.glob(f"hbcoop-{name}-{record.job_id}*.err")]
    for file in files:
        with contextlib.suppress(OSError):
            if lines := file.read_text(errors="replace").strip().splitlines():
                return f"; {file} ends with: " + " / ".join(lines[-3:])
    return f"; see {logs}"
