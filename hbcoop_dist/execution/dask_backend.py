"""Batches on a Dask cluster: each worker is given work by name, and nothing of what it answers stays on it.

Who does what is decided here and not by Dask's scheduler, because only here is known which model a worker has loaded,
how long a batch of it takes, when the worker's job ends, and whose fault it was when one died.
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
import pickle
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from hbcoop_dist.clusters.pool_choice import pools_for
from hbcoop_dist.clusters.pool_cluster import TICK_SECONDS, PoolCluster
from hbcoop_dist.core.failures import Failure, LostWorkerError
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.execution.batch_queue import Offer
from hbcoop_dist.execution.runtime_estimate import Pace
from hbcoop_dist.execution.scheduler import Outcome, Work
from hbcoop_dist.models.sources import ModelSource, PackageSource

if TYPE_CHECKING:
    from distributed import Client, Future

AHEAD = ((1.0, 3), (10.0, 2))
"""How many batches a worker has at a time when they take at most so many seconds: it then never waits for the next.
Longer ones are handed out singly, since what waits behind another cannot go to a worker that is free."""
SAY_SECONDS = TICK_SECONDS / 2
"""How often the pool manager is told what is wanted; it looks once a tick, and to count takes a look at every model."""
FETCH_AT_ONCE = 64
"""Answers fetched in one trip, some 0.2 MB each: more would not come within FETCH_SECONDS on a slow network."""
FETCH_SECONDS = 10.0
"""How long answers may take to come from their workers before it is looked which of those are still there."""
SICK = 5
"""Failures in a row of different tasks, with no success between, after which a node is excluded if others do better."""


@dataclass(slots=True)
class _Worker:
    """A worker as the driver knows it."""

    address: str
    name: str
    host: str
    loaded: str | None = None
    tickets: list[int] = field(default_factory=list)
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class _Flight:
    future: Future
    worker: _Worker
    model: str
    name: str


class DaskBackend:
    """Does batches through a Dask client on the workers of a cluster's pools.

    Parameters
    ----------
    client : distributed.Client
    cluster : PoolCluster
    sources : mapping of str to ModelSource
        Models that may come, for what their cards need of a worker.
    clock : callable
        Monotonic seconds, the same as the cluster's.
    over : SimpleQueue, optional
        Takes the tickets of batches that are over, from any thread.
    """

    def __init__(
        self,
        client: Client,
        cluster: PoolCluster,
        sources: Mapping[str, ModelSource | PackageSource],
        *,
        clock: Callable[[], float] = time.monotonic,
        over: queue.SimpleQueue[int] | None = None,
    ) -> None:
        self._client, self._cluster, self._clock = client, cluster, clock
        self._pools = {name: pools_for(source, cluster) for name, source in sources.items()}
        self._workers: dict[str, _Worker] = {}
        self._flying: dict[int, _Flight] = {}
        self._lost: dict[int, tuple[_Worker, float, bool]] = {}
        self._over: queue.SimpleQueue[int] = queue.SimpleQueue() if over is None else over
        self._arrived: dict[int, None] = {}
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._pace = Pace()
        self._idle: dict[str, _Worker] = {}
        self._having: dict[str, dict[str, _Worker]] = {}
        self._quick: dict[str, int] = {}
        self._hosts: dict[str, Counter[str]] = {}
        self._said = -SAY_SECONDS
        self._failures: dict[str, set[str]] = {}
        self._healthy: dict[str, set[str]] = {}
        self._spent: set[str] = set()

    @property
    def flying(self) -> int:
        return len(self._flying) + len(self._outcomes) + len(self._lost)

    def offers(self, ready: Mapping[str, int]) -> Iterator[Offer]:
        """Every worker that could take a batch: idle ones first, then those that will be idle soon."""
        self._look()
        self._say_wants(ready)
        for worker in list(self._idle.values()):
            if not ready:
                return
            if worker.host not in self._cluster.excluded:
                yield self._offer(worker, ready)
        for depth in range(1, AHEAD[0][1]):
            quick = [model for model, ahead in self._quick.items() if model in ready and depth < ahead]
            for worker in [worker for model in quick for worker in self._having[model].values()]:
                if len(worker.tickets) == depth and worker.host not in self._cluster.excluded:
                    yield self._offer(worker, ready)

    def _offer(self, worker: _Worker, ready: Mapping[str, int]) -> Offer:
        pool = self._cluster.pool_of(worker.name)
        left = self._seconds_left(worker)

        def takes(model: str) -> bool:
            return pool is not None and pool.name in self._pools[model] and self._in_time(worker, model, left)

        if not worker.tickets and ready and not any(self._in_time(worker, model, left) for model in ready):
            self._spent.add(worker.name)
        return Offer(
            worker=worker.address,
            host=worker.host,
            device=pool.pool.device if pool is not None else "cpu",
            loaded=worker.loaded,
            only_loaded=bool(worker.tickets),
            elsewhere=self._elsewhere,
            takes=takes,
            crowd=lambda model: len(self._having.get(model, ())),
        )

    def _elsewhere(self, model: str, hosts: frozenset[str]) -> bool:
        """Whether a worker on another host than these could do a model."""
        there = {host for pool in self._pools[model] for host in self._hosts.get(pool, ())}
        return bool(there - hosts - self._cluster.excluded)

    def _seconds_left(self, worker: _Worker) -> float:
        record = self._cluster.record_of(worker.name)
        return float("inf") if record is None or record.state.ends is None else record.state.ends - time.time()

    def _in_time(self, worker: _Worker, model: str, left: float) -> bool:
        """Whether a batch of the model would end before the worker's job does; a fresh worker tries in any case."""
        expected = self._pace.slow(model)
        return worker.fresh or expected is None or (len(worker.tickets) + 1) * expected < left

    def _say_wants(self, ready: Mapping[str, int]) -> None:
        now = self._clock()
        if now - self._said < SAY_SECONDS:
            return
        self._said = now
        self._name_hosts()
        wants: Counter[str] = Counter()
        for model, count in ready.items():
            # a model that several pools can do is wanted in the first
            wants[self._pools[model][0]] += count
        for flight in self._flying.values():
            if (pool := self._cluster.pool_of(flight.worker.name)) is not None:
                wants[pool.name] += 1
        busy = {worker.name for worker in self._workers.values() if worker.tickets}
        self._cluster.want(wants, busy, self._spent)

    def _name_hosts(self) -> None:
        """Call hosts what Slurm calls their nodes, which it may not have said yet when their workers came."""
        self._hosts = {}
        for worker in self._workers.values():
            if (record := self._cluster.record_of(worker.name)) is not None:
                worker.host = record.state.node or worker.host
                self._hosts.setdefault(record.pool, Counter())[worker.host] += 1

    def submit(self, number: int, work: Work, offer: Offer) -> None:
        worker = self._workers[offer.worker]
        name = f"{work.batch.name.replace(' ', '-')}-{number}"
        # One lump of bytes: Dask takes sixty arrays of a batch apart and together again at every hop, which was half of
        # what its event loop did (measured).
        lump = pickle.dumps(work, protocol=pickle.HIGHEST_PROTOCOL)
        future = self._client.submit(
            _do, do_work, lump, key=name, pure=False, priority=-number, workers=[worker.address]
        )
        self._flying[number] = _Flight(future, worker, work.batch.model, work.batch.name)
        worker.tickets.append(number)
        self._idle.pop(worker.address, None)
        if worker.loaded != work.batch.model:
            self._unload(worker)
            worker.loaded = work.batch.model
            self._having.setdefault(worker.loaded, {})[worker.address] = worker
            self._rate(worker.loaded)
        future.add_done_callback(lambda _: self._over.put(number))

    def _unload(self, worker: _Worker) -> None:
        """The worker has no model any more, or another one soon."""
        if (model := worker.loaded) is not None:
            del self._having[model][worker.address]
            if not self._having[model]:
                del self._having[model]
            self._rate(model)

    def _rate(self, model: str) -> None:
        """Note how many batches of the model may be with a worker that has it, if there is one and they are quick."""
        expected = self._pace.slow(model)
        ahead = next((ahead for most, ahead in AHEAD if expected is not None and expected <= most), None)
        if model in self._having and ahead is not None:
            self._quick[model] = ahead
        else:
            self._quick.pop(model, None)

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        if not self._outcomes:
            self._collect(seconds)
        # what has arrived is handed out first: it must not be lost
        if self._cluster.problem is not None and seconds and not self._outcomes:
            raise self._cluster.problem
        return self._outcomes.popleft() if self._outcomes else None

    def _collect(self, seconds: float) -> None:
        """Wait for a batch, then fetch all that are over: one trip takes as long for many as for one."""
        self._look()
        if not self._arrived and seconds:
            with contextlib.suppress(queue.Empty):
                self._arrived[self._over.get(timeout=seconds)] = None
        self._hear()
        numbers = list(islice(self._arrived, FETCH_AT_ONCE))
        for number in numbers:
            del self._arrived[number]
        flights = {number: self._flying.pop(number) for number in numbers if number in self._flying}
        try:
            for number, outcome in self._outcomes_of(flights).items():
                self._note(number, flights[number], outcome)
        finally:
            for number, flight in flights.items():
                if number not in self._flying:
                    # what is kept on a worker is recomputed when that worker dies
                    flight.future.release()

    def _hear(self) -> None:
        """Take note of the batches that are over by now."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._arrived[self._over.get_nowait()] = None

    def _note(self, number: int, flight: _Flight, outcome: Outcome) -> None:
        """Take an outcome; learn from it about the model's pace and the node's health."""
        worker = flight.worker
        if number in worker.tickets:
            worker.tickets.remove(number)
        if not worker.tickets and worker.address in self._workers:
            self._idle[worker.address] = worker
        worker.fresh = False
        if isinstance(outcome, list):
            self._pace.add(flight.model, sum(result.seconds for result in outcome))
            self._rate(flight.model)
            self._healthy.setdefault(flight.model, set()).add(worker.host)
            self._failures.pop(worker.host, None)
        elif isinstance(outcome, Failure) and outcome.blamed:
            self._blame(worker.host, flight.model, flight.name)
        self._outcomes.append((number, outcome))

    def _blame(self, host: str, model: str, batch: str) -> None:
        """Note a failure; a node is sick where others do well with the same model."""
        failed = self._failures.setdefault(host, set())
        failed.add(batch)
        others = self._healthy.get(model, set()) - {host} - self._cluster.excluded
        if len(failed) >= SICK and others and host not in self._cluster.excluded:
            self._cluster.exclude(host)

    def _outcomes_of(self, flights: Mapping[int, _Flight]) -> dict[int, Outcome]:
        ready = {number: flight for number, flight in flights.items() if flight.future.status == "finished"}
        outcomes: dict[int, Outcome] = {
            number: _failure(flight.future) for number, flight in flights.items() if number not in ready
        }
        try:
            lumps = self._fetch([flight.future for flight in ready.values()])
        except Exception:  # noqa: BLE001  whoever kept one of them died: Dask would wait for it for ever
            return outcomes | self._one_by_one(ready)
        return outcomes | {number: pickle.loads(lump) for number, lump in zip(ready, lumps, strict=True)}

    def _one_by_one(self, flights: Mapping[int, _Flight]) -> dict[int, Outcome]:
        """After a fetch that failed: each on its own, so that one that is gone does not hold up the others."""

        async def each() -> list[Any]:
            found = [self._client.gather([flight.future], asynchronous=True) for flight in flights.values()]
            bounded = [asyncio.wait_for(one, FETCH_SECONDS) for one in found]
            return list(await asyncio.gather(*bounded, return_exceptions=True))

        answers = dict(zip(flights, self._client.sync(each), strict=True))
        here = {number: pickle.loads(one[0]) for number, one in answers.items() if not isinstance(one, BaseException)}
        return here | self._still_there({number: flight for number, flight in flights.items() if number not in here})

    def _fetch(self, futures: Sequence[Future]) -> list[bytes]:
        async def bounded() -> list[bytes]:
            found = self._client.gather(list(futures), asynchronous=True)
            return list(await asyncio.wait_for(found, FETCH_SECONDS))

        return list(self._client.sync(bounded)) if futures else []

    def _still_there(self, flights: Mapping[int, _Flight]) -> dict[int, Outcome]:
        """After a fetch that failed: what lies on living workers is asked for again, the rest has to be done again."""
        present = dict(self._cluster.scheduler_info["workers"])
        outcomes: dict[int, Outcome] = {}
        for number, flight in flights.items():
            if flight.worker.address in present:
                self._flying[number] = flight
                self._over.put(number)
            else:
                reason = f"worker {flight.worker.name} died with the answer"
                outcomes[number] = Failure.of(LostWorkerError(reason, blamed=False))
        return outcomes

    def _look(self) -> None:
        """Compare the workers with those of a moment ago: what a lost one had is done again, or its batch blamed."""
        # a copy at once: the event loop changes it
        present: dict[str, Any] = dict(self._cluster.scheduler_info["workers"])
        if present.keys() != self._workers.keys():
            # what a worker had finished did not kill it
            self._hear()
            for address in [address for address in self._workers if address not in present]:
                self._lose(self._workers.pop(address))
            for address, info in present.items():
                if address not in self._workers:
                    self._join(address, str(info["name"]), str(info["host"]))
        for number, (worker, since, first) in list(self._lost.items()):
            fate = self._cluster.fate(worker.name, since)
            if fate in (None, "ending"):
                continue
            del self._lost[number]
            # only what it was doing can have killed it; what waited behind is innocent, as is all that was taken away
            blamed = first and fate not in ("taken", "expired")
            if blamed and worker.loaded is not None:
                self._blame(worker.host, worker.loaded, str(number))
            expired = first and fate == "expired"
            what = "the walltime ended of" if expired else "lost"
            lost = LostWorkerError(f"{what} worker {worker.name} on {worker.host}", blamed, expired)
            self._outcomes.append((number, Failure.of(lost)))

    def _join(self, address: str, name: str, host: str) -> None:
        record = self._cluster.record_of(name)
        worker = _Worker(address, name, (record.state.node if record is not None else "") or host)
        self._workers[address] = self._idle[address] = worker
        self._name_hosts()

    def _lose(self, worker: _Worker) -> None:
        now = self._clock()
        self._idle.pop(worker.address, None)
        self._unload(worker)
        self._name_hosts()
        doing = next((number for number in worker.tickets if number not in self._arrived), None)
        for number in worker.tickets:
            if (flight := self._flying.pop(number, None)) is not None:
                flight.future.release()
                self._lost[number] = worker, now, number == doing

    def close(self) -> None:
        self._client.cancel([flight.future for flight in self._flying.values()], force=True)
        self._flying.clear()


do_work: Callable[[Work], list[TaskResult]] = operator.methodcaller("do")
"""Does a batch; benchmarks put something that costs nothing in its place."""


def _do(do: Callable[[Work], list[TaskResult]], work: bytes) -> bytes:
    """Do a batch in a worker; what goes wrong is said in plain words, since its type may be unknown to the driver."""
    from hbcoop_dist.clusters.dask_worker import BatchLog

    loaded: Work = pickle.loads(work)
    with BatchLog(loaded.batch.name, len(loaded.batch.tasks)) as log:
        try:
            answer: list[TaskResult] | Failure = do(loaded)
        except Exception as error:  # noqa: BLE001  any failure is a row, not a crash
            answer = Failure.of(error)
            log.failed(answer.reason)
    return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)


def _failure(future: Future) -> Failure:
    """Why a batch has no answer."""
    error = future.exception() if future.status == "error" else None
    return Failure.of(error or LostWorkerError(f"no answer, status {future.status}", blamed=False))
