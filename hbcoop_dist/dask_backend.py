"""Batches on a Dask cluster: small results come back as they are ready, and nothing stays on the workers."""

from __future__ import annotations

import contextlib
import pickle
import queue
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from hbcoop_dist.clusters import replace_lost_workers
from hbcoop_dist.execute import LostWorkerError, Outcome
from hbcoop_dist.results import TaskResult
from hbcoop_dist.work import Work, do_work

if TYPE_CHECKING:
    from distributed import Client, Future

# Enough waiting batches for a worker that becomes free to have one at once.
_PER_WORKER = 3
_COUNT_SECONDS = 1.0


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
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._slots, self._counted = 0, -_COUNT_SECONDS

    @property
    def slots(self) -> int:
        # asking the scheduler takes longer than handing out a batch
        if time.monotonic() - self._counted >= _COUNT_SECONDS:
            self._slots = _PER_WORKER * max(1, sum(int(n) for n in self._client.nthreads().values()))
            self._counted = time.monotonic()
        return self._slots

    @property
    def flying(self) -> int:
        return len(self._flying) + len(self._outcomes)

    def submit(self, number: int, work: Work) -> None:
        name = f"{work.batch.name.replace(' ', '-')}-{number}"
        # One lump of bytes: Dask takes sixty arrays of a batch apart and together again at every hop, which was half of
        # what its event loop did (measured).
        lump = pickle.dumps(work, protocol=pickle.HIGHEST_PROTOCOL)
        future = self._client.submit(_do, do_work, lump, key=name, pure=False, priority=-number)
        self._flying[number] = future
        future.add_done_callback(lambda _: self._over.put(number))

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        if not self._outcomes:
            self._collect(seconds)
        return self._outcomes.popleft() if self._outcomes else None

    def _collect(self, seconds: float) -> None:
        """Wait for a batch, then fetch all that are over: one trip takes as long for many as for one."""
        try:
            numbers = [self._over.get(timeout=seconds)]
        except queue.Empty:
            if seconds and self._client.cluster is not None:
                replace_lost_workers(self._client.cluster)
            return
        with contextlib.suppress(queue.Empty):
            while True:
                numbers.append(self._over.get_nowait())
        futures = {number: self._flying.pop(number) for number in numbers}
        try:
            self._outcomes.extend(self._outcomes_of(futures).items())
        finally:
            for future in futures.values():
                # what is kept on a worker is recomputed when that worker dies
                future.release()

    def _outcomes_of(self, futures: dict[int, Future]) -> dict[int, Outcome]:
        try:
            lumps = self._client.gather(list(futures.values()))
            return {number: pickle.loads(lump) for number, lump in zip(futures, lumps, strict=True)}
        except Exception:  # noqa: BLE001  one that failed hides the others: ask each
            return {number: _outcome(future) for number, future in futures.items()}

    def close(self) -> None:
        self._client.cancel(list(self._flying.values()), force=True)
        self._flying.clear()


def _do(do: Callable[[Work], list[TaskResult]], work: bytes) -> bytes:
    return pickle.dumps(do(pickle.loads(work)), protocol=pickle.HIGHEST_PROTOCOL)


def _outcome(future: Future) -> Outcome:
    try:
        return pickle.loads(future.result()) if future.status == "finished" else _reason(future)
    except Exception as error:  # noqa: BLE001  any failure is a row, not a crash
        return error


def _reason(future: Future) -> BaseException:
    from distributed import KilledWorker

    if future.status == "cancelled":
        return LostWorkerError("the scheduler dropped it")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return LostWorkerError(f"its worker died {error.allowed_failures + 1} times")
    return error if error is not None else LostWorkerError(f"no answer, status {future.status}")
