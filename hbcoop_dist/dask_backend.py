"""Batches on a Dask cluster: small results come back as they are ready, and nothing stays on the workers."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from hbcoop_dist.clusters import replace_lost_workers
from hbcoop_dist.execute import LostWorkerError, Outcome
from hbcoop_dist.work import Work, do_work

if TYPE_CHECKING:
    from distributed import Client, Future

# Enough waiting batches for a worker that becomes free to have one at once.
_PER_WORKER = 3


class DaskBackend:
    """Does batches through a Dask client.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._flying: dict[int, Future] = {}
        self._over: queue.SimpleQueue[int] = queue.SimpleQueue()

    @property
    def slots(self) -> int:
        return _PER_WORKER * max(1, sum(int(n) for n in self._client.nthreads().values()))

    @property
    def flying(self) -> int:
        return len(self._flying)

    def submit(self, number: int, work: Work) -> None:
        name = f"{work.batch.name.replace(' ', '-')}-{number}"
        future = self._client.submit(do_work, work, key=name, pure=False, priority=-number)
        self._flying[number] = future
        future.add_done_callback(lambda _: self._over.put(number))

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        try:
            number = self._over.get(timeout=seconds)
        except queue.Empty:
            if self._client.cluster is not None:
                replace_lost_workers(self._client.cluster)
            return None
        future = self._flying.pop(number)
        try:
            if future.status == "finished":
                return number, future.result()
            return number, _reason(future)
        finally:
            # what is kept on a worker is recomputed when that worker dies
            future.release()

    def close(self) -> None:
        self._client.cancel(list(self._flying.values()), force=True)
        self._flying.clear()


def _reason(future: Future) -> BaseException:
    from distributed import KilledWorker

    if future.status == "cancelled":
        return LostWorkerError("the scheduler dropped it")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return LostWorkerError(f"its worker died {error.allowed_failures + 1} times")
    return error if error is not None else LostWorkerError(f"no answer, status {future.status}")
