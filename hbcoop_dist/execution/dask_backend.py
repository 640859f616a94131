"""Backend on a Dask cluster: sends batches to chosen workers, and fetches every answer as soon as it exists.

The choice of the worker is made here and not by Dask's scheduler, which does not know the model that a worker has
loaded, the runtime of its batches, the end of its job's walltime, or the cause of its death.
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
import pickle
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from hbcoop_dist.clusters.batch_system import TICK_SECONDS
from hbcoop_dist.clusters.pool_cluster import PoolCluster
from hbcoop_dist.core.failures import Failure, LostWorkerError
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Source
from hbcoop_dist.execution.scheduler import Outcome, Work, WorkerSlot
from hbcoop_dist.execution.worker_table import Worker, WorkerTable

if TYPE_CHECKING:
    from distributed import Client, Future

DEMAND_SECONDS = TICK_SECONDS / 2
"""Interval of demand reports; the pool manager reads them once a tick, and each loops over all models."""
FETCHED_AT_ONCE = 64
"""Answers fetched in one trip, about 0.2 MB each: more would exceed FETCH_SECONDS on a slow network."""
FETCH_SECONDS = 10.0
"""Time after which a fetch is abandoned, and the workers that hold the answers are checked."""


@dataclass(frozen=True, slots=True)
class _Submission:
    future: Future
    worker: Worker
    model: str
    batch: str


@dataclass(frozen=True, slots=True)
class _Lost:
    """A batch whose worker disappeared; `running` unless it waited behind another batch."""

    worker: Worker
    lost_at: float
    running: bool


class DaskBackend:
    """Runs batches through a Dask client on the workers of a cluster's pools.

    Parameters
    ----------
    client : distributed.Client
    cluster : PoolCluster
    sources : mapping of str to Source
        Sources of the batches.
    clock : callable
        Returns monotonic seconds, as the cluster does.
    ended : SimpleQueue, optional
        Receives the tickets of batches that end, from any thread.
    """

    def __init__(
        self,
        client: Client,
        cluster: PoolCluster,
        sources: Mapping[str, Source],
        *,
        clock: Callable[[], float] = time.monotonic,
        ended: queue.SimpleQueue[int] | None = None,
    ) -> None:
        self._client, self._cluster, self._clock = client, cluster, clock
        self._workers = WorkerTable(cluster, sources)
        self._submissions: dict[int, _Submission] = {}
        self._lost: dict[int, _Lost] = {}
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue() if ended is None else ended
        self._unfetched: dict[int, None] = {}
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._demand_reported = -DEMAND_SECONDS

    @property
    def running(self) -> int:
        """Number of batches that were submitted and not returned by `wait`."""
        return len(self._submissions) + len(self._outcomes) + len(self._lost)

    def free_slots(self, ready: Mapping[str, int]) -> Iterator[WorkerSlot]:
        self._update_workers()
        now = self._clock()
        if now - self._demand_reported >= DEMAND_SECONDS:
            self._demand_reported = now
            self._workers.report_demand(ready)
        yield from self._workers.free_slots(ready)

    def submit(self, ticket: int, work: Work, slot: WorkerSlot) -> None:
        worker, batch = self._workers[slot.worker], work.batch
        # One bytes object: Dask takes the sixty arrays of a batch apart and together again at every hop, which was half
        # of the work of its event loop (measured).
        data = pickle.dumps(work, protocol=pickle.HIGHEST_PROTOCOL)
        future = self._client.submit(
            _run_pickled,
            do_work,
            data,
            key=f"{batch.name.replace(' ', '-')}-{ticket}",
            pure=False,
            priority=-ticket,
            workers=[worker.address],
        )
        self._submissions[ticket] = _Submission(future, worker, batch.model, batch.name)
        self._workers.assign(worker, ticket, batch.model)
        future.add_done_callback(lambda _: self._ended.put(ticket))

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        """Wait for a batch to end; see `Backend.wait`.

        Parameters
        ----------
        seconds : float

        Returns
        -------
        (int, Outcome) or None

        Raises
        ------
        ClusterError
            When the cluster is lost and all outcomes that arrived were returned.
        """
        if not self._outcomes:
            self._collect(seconds)
        if self._cluster.problem is not None and seconds and not self._outcomes:
            raise self._cluster.problem
        return self._outcomes.popleft() if self._outcomes else None

    def close(self) -> None:
        self._client.cancel([submission.future for submission in self._submissions.values()], force=True)
        self._submissions.clear()

    def _collect(self, seconds: float) -> None:
        """Wait for a batch to end, then fetch all that have: one trip takes as long for many as for one."""
        self._update_workers()
        if not self._unfetched and seconds:
            with contextlib.suppress(queue.Empty):
                self._unfetched[self._ended.get(timeout=seconds)] = None
        self._read_ended()
        tickets = list(islice(self._unfetched, FETCHED_AT_ONCE))
        for ticket in tickets:
            del self._unfetched[ticket]
        fetched = {ticket: self._submissions.pop(ticket) for ticket in tickets if ticket in self._submissions}
        try:
            for ticket, outcome in self._outcomes_of(fetched).items():
                self._finish(ticket, fetched[ticket], outcome)
        finally:
            for ticket, submission in fetched.items():
                if ticket not in self._submissions:
                    # an answer that stays on a worker is computed again when that worker dies
                    submission.future.release()

    def _read_ended(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._unfetched[self._ended.get_nowait()] = None

    def _finish(self, ticket: int, submission: _Submission, outcome: Outcome) -> None:
        worker, model = submission.worker, submission.model
        self._workers.finish(worker, ticket)
        if isinstance(outcome, list):
            self._workers.record_success(worker, model, sum(result.seconds for result in outcome))
        elif isinstance(outcome, Failure) and outcome.blamed:
            self._workers.record_failure(worker, model, submission.batch)
        self._outcomes.append((ticket, outcome))

    def _outcomes_of(self, submissions: Mapping[int, _Submission]) -> dict[int, Outcome]:
        finished = {ticket: one for ticket, one in submissions.items() if one.future.status == "finished"}
        outcomes: dict[int, Outcome] = {
            ticket: _failure(one.future) for ticket, one in submissions.items() if ticket not in finished
        }
        if not finished:
            return outcomes

        async def fetch() -> list[bytes]:
            answers = self._client.gather([one.future for one in finished.values()], asynchronous=True)
            return list(await asyncio.wait_for(answers, FETCH_SECONDS))

        try:
            answers = self._client.sync(fetch)
        except Exception:  # noqa: BLE001  a worker that held an answer died; without the limit Dask would wait for ever
            return outcomes | self._fetch_singly(finished)
        return outcomes | {ticket: pickle.loads(answer) for ticket, answer in zip(finished, answers, strict=True)}

    def _fetch_singly(self, submissions: Mapping[int, _Submission]) -> dict[int, Outcome]:
        """After a failed fetch: fetch each answer on its own; decide about those that do not come by their workers."""

        async def fetch() -> list[Any]:
            answers = [self._client.gather([one.future], asynchronous=True) for one in submissions.values()]
            limited = [asyncio.wait_for(answer, FETCH_SECONDS) for answer in answers]
            return list(await asyncio.gather(*limited, return_exceptions=True))

        connected = None
        outcomes: dict[int, Outcome] = {}
        for (ticket, submission), answer in zip(submissions.items(), self._client.sync(fetch), strict=True):
            if not isinstance(answer, BaseException):
                outcomes[ticket] = pickle.loads(answer[0])
                continue
            connected = dict(self._cluster.scheduler_info["workers"]) if connected is None else connected
            if submission.worker.address in connected:
                # the worker lives, so the answer is fetched again
                self._submissions[ticket] = submission
                self._ended.put(ticket)
            else:
                reason = f"worker {submission.worker.name} died with the answer"
                outcomes[ticket] = Failure.of(LostWorkerError(reason, blamed=False))
        return outcomes

    def _update_workers(self) -> None:
        """Update the table of workers, and decide about the batches of lost workers whose fate is known."""
        # copied at once, since the event loop changes it
        connected: dict[str, Any] = dict(self._cluster.scheduler_info["workers"])
        known = self._workers.addresses
        if connected.keys() != known:
            # a batch that a worker had finished did not kill it
            self._read_ended()
            for address in [address for address in known if address not in connected]:
                self._lose(self._workers.remove(address))
            for address, info in connected.items():
                if address not in known:
                    self._workers.join(address, str(info["name"]), str(info["host"]))
        for ticket, lost in list(self._lost.items()):
            worker, fate = lost.worker, self._cluster.fate(lost.worker.name, lost.lost_at)
            if fate in (None, "ending"):
                continue
            del self._lost[ticket]
            # only the running batch can have killed its worker, and only if nothing outside ended the job
            blamed = lost.running and fate not in ("taken", "expired")
            if blamed and worker.loaded is not None:
                self._workers.record_failure(worker, worker.loaded, str(ticket))
            expired = lost.running and fate == "expired"
            cause = "the walltime ended of" if expired else "lost"
            error = LostWorkerError(f"{cause} worker {worker.name} on {worker.host}", blamed, expired)
            self._outcomes.append((ticket, Failure.of(error)))

    def _lose(self, worker: Worker) -> None:
        now = self._clock()
        running = next((ticket for ticket in worker.tickets if ticket not in self._unfetched), None)
        for ticket in worker.tickets:
            if (submission := self._submissions.pop(ticket, None)) is not None:
                submission.future.release()
                self._lost[ticket] = _Lost(worker, now, ticket == running)


do_work: Callable[[Work], list[TaskResult]] = operator.methodcaller("do")
"""Runs the work of a batch; benchmarks replace it."""


def _run_pickled(run: Callable[[Work], list[TaskResult]], data: bytes) -> bytes:
    """Run a batch in a worker; an exception is returned as a `Failure`, since its type may be unknown to the driver."""
    from hbcoop_dist.clusters.dask_worker import BatchLog

    work: Work = pickle.loads(data)
    with BatchLog(work.batch.name, len(work.batch.tasks)) as log:
        try:
            answer: list[TaskResult] | Failure = run(work)
        except Exception as error:  # noqa: BLE001  every failure becomes a result
            answer = Failure.of(error)
            log.failed(answer.reason)
    return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)


def _failure(future: Future) -> Failure:
    """The failure of a batch without an answer."""
    error = future.exception() if future.status == "error" else None
    return Failure.of(error or LostWorkerError(f"no answer, status {future.status}", blamed=False))
