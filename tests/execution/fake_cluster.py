"""A Dask client and a cluster without processes: a test decides when batches end and workers disappear."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from hbcoop_dist.clusters import ClusterError, Pool
from hbcoop_dist.clusters.pool_jobs import JobRecord, PoolJobs, job_of


class FakeCluster:
    """What `DaskBackend` uses of a `PoolCluster`: one job per worker, named POOL-NUMBER like its address."""

    def __init__(self, *workers: str, pools: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.pools = {
            name: PoolJobs(name, Pool.model_validate({"jobs": "0:9", **fields}))
            for name, fields in (pools or {"cpu": {}}).items()
        }
        self.scheduler_info: dict[str, dict[str, dict[str, str]]] = {"workers": {}}
        self.excluded: frozenset[str] = frozenset()
        self.problem: ClusterError | None = None
        self.fates: dict[str, str] = {}
        self.demand: tuple[Mapping[str, int], Collection[str], Collection[str]] = ({}, set(), set())
        self.reports = 0
        for worker in workers:
            self.connect(worker)

    def connect(self, worker: str) -> None:
        self.scheduler_info["workers"][worker] = {"name": worker, "host": f"host-{worker}"}
        pool = worker.rpartition("-")[0]
        self.pools[pool].jobs[worker] = JobRecord(pool)

    def disconnect(self, worker: str, fate: str | None = None) -> None:
        """Let a worker disappear; its fate is unknown until it is set."""
        del self.scheduler_info["workers"][worker]
        if fate is not None:
            self.fates[worker] = fate

    def job_of(self, worker: str) -> JobRecord | None:
        return next((job for jobs in self.pools.values() if (job := job_of(worker, jobs.jobs))), None)

    def pool_of(self, worker: str) -> PoolJobs | None:
        job = self.job_of(worker)
        return None if job is None else self.pools[job.pool]

    def fate(self, worker: str, lost_at: float) -> str | None:
        return self.fates.get(worker)

    def exclude(self, node: str) -> None:
        self.excluded |= {node}

    def set_demand(self, batches: Mapping[str, int], busy: Collection[str], expiring: Collection[str]) -> None:
        self.demand, self.reports = (dict(batches), set(busy), set(expiring)), self.reports + 1


class FakeFuture:
    """A batch on a worker."""

    def __init__(self, client: FakeClient, key: str, run: Callable[[], bytes], worker: str) -> None:
        self.key, self.worker, self.status, self.released = key, worker, "pending", False
        self._client, self._run, self._callbacks = client, run, []
        self.answer: bytes | BaseException = b""

    def add_done_callback(self, call: Callable[[FakeFuture], None]) -> None:
        self._callbacks.append(call)

    def run(self) -> None:
        """Run the batch in this process."""
        self.answer = self._run()
        self.end("finished")

    def end(self, status: str, error: BaseException | None = None) -> None:
        self.status = status
        if error is not None:
            self.answer = error
        for call in self._callbacks:
            call(self)

    def exception(self) -> BaseException:
        assert isinstance(self.answer, BaseException)
        return self.answer

    def release(self) -> None:
        self.released = True


class FakeClient:
    """What `DaskBackend` uses of a Dask client. Workers in `unreachable` do not return their answers."""

    def __init__(self) -> None:
        self.futures: list[FakeFuture] = []
        self.unreachable: set[str] = set()
        self.gathers: list[int] = []
        self.cancelled: list[str] = []

    def submit(self, run: Any, do: Any, data: bytes, *, key: str, workers: Sequence[str], **options: Any) -> FakeFuture:
        (worker,) = workers
        assert options["pure"] is False
        self.futures.append(FakeFuture(self, key, lambda: run(do, data), worker))
        return self.futures[-1]

    async def gather(self, futures: Sequence[FakeFuture], asynchronous: bool) -> list[bytes]:
        assert asynchronous
        self.gathers.append(len(futures))
        for future in futures:
            if future.worker in self.unreachable:
                raise OSError(f"{future.worker} does not answer")
            assert future.status == "finished"
            pickle.loads(future.answer)
        return [future.answer for future in futures]

    def sync(self, call: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
        import asyncio

        return asyncio.run(call())

    def cancel(self, futures: Sequence[FakeFuture], force: bool) -> None:
        assert force
        self.cancelled += [future.key for future in futures]
