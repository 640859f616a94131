"""Run the batches of a plan and hand out results as they come, on whatever does the work.

Serial or Dask, the loop is the same: what has its inputs is submitted, what fails is split until the guilty task
stands alone, and that one becomes a result with a reason. Nothing raises because a task failed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

from hbcoop_dist.core.failures import Failure
from hbcoop_dist.core.results import Status, TaskResult
from hbcoop_dist.core.tasks import Batch, Task
from hbcoop_dist.execution.batch_queue import Offer, Order, ReadyQueue, Waiting
from hbcoop_dist.execution.result_cache import ResultCache

Outcome = list[TaskResult] | Failure | BaseException

LOST_WORKER_TRIES = 3
"""How often a task that stands alone may kill its worker before it is quarantined."""
EXPIRED_TRIES, EXPIRED_TRIES_ALONE = 3, 10
"""How often the walltime may end while a batch is being done before it is split, and before a task that stands alone is
quarantined: a long minimisation goes on from where it was, so for that one it may well take several jobs."""
FAILURE_TRIES = 2
"""How often a task that stands alone may fail, each time on another host, before that is its result."""


class Work(Protocol):
    """One batch with all that a worker needs to do it; it goes to workers as it is."""

    @property
    def batch(self) -> Batch[Any]: ...

    def do(self) -> list[TaskResult]:
        """Results in the order of the batch's tasks; raises what stops the batch as a whole."""
        ...


MakeWork = Callable[[Batch[Any], Mapping[str, TaskResult], str, str | None], Work]
"""(Batch, results of the tasks outside it that it needs, device, folder of restart files) -> Work."""


class Backend(Protocol):
    """Something that does batches: it offers workers that would take one now; `flying` batches are with it."""

    @property
    def flying(self) -> int: ...

    def offers(self, ready: Mapping[str, int]) -> Iterable[Offer]:
        """Workers that would take a batch now; `ready` says how many batches of each model could be done."""
        ...

    def submit(self, number: int, work: Work, offer: Offer) -> None:
        """Give an offered worker a batch; `number` is its ticket."""
        ...

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        """The ticket and outcome of a batch that is over, or None when nothing was within `seconds`."""
        ...

    def close(self) -> None: ...


class SerialBackend:
    """Everything in this process, one batch at a time: for debugging."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._waiting: deque[tuple[int, Work]] = deque()
        self._loaded: str | None = None

    @property
    def flying(self) -> int:
        return len(self._waiting)

    def offers(self, ready: Mapping[str, int]) -> Iterable[Offer]:
        del ready
        return () if self._waiting else (Offer("here", device=self._device, loaded=self._loaded),)

    def submit(self, number: int, work: Work, offer: Offer) -> None:
        del offer
        self._loaded = work.batch.model
        self._waiting.append((number, work))

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        del seconds
        number, work = self._waiting.popleft()
        try:
            return number, work.do()
        except Exception as error:  # noqa: BLE001  any failure is a row, not a crash
            return number, error

    def close(self) -> None:
        self._waiting.clear()


def execute(
    batches: Iterable[Batch[Any]],
    make: MakeWork,
    known: Mapping[str, TaskResult],
    backend: Backend,
    *,
    scratch: str | None = None,
    idle: Callable[[], None] = lambda: None,
) -> Iterator[TaskResult]:
    """Do all tasks of the batches that have no result yet, as `turns` does, and hand the results out one by one."""
    found = turns(batches, make, known, backend, scratch=scratch, idle=idle)
    return chain.from_iterable(found)


def turns(
    batches: Iterable[Batch[Any]],
    make: MakeWork,
    known: Mapping[str, TaskResult],
    backend: Backend,
    *,
    scratch: str | None = None,
    idle: Callable[[], None] = lambda: None,
) -> Generator[list[TaskResult]]:
    """Do all tasks of the batches that have no result yet.

    Parameters
    ----------
    batches : iterable of Batch
        In an order in which inputs come before what needs them; it is the order in which ready batches are done.
    make : callable
        Makes the work of a batch.
    known : mapping of str to TaskResult
        Results from earlier; their tasks are left out. One is looked up only when a batch needs it.
    backend : Backend
    scratch : str, optional
        Folder where workers leave restart files of long minimisations.
    idle : callable
        Called about once a second while nothing arrives.

    Yields
    ------
    list of TaskResult
        Results, failed tasks too, of all the batches that were over at this moment: one fsync keeps them all.
    """
    state = _State(batches, make, known, scratch)
    while state.queue or state.flying:
        state.submit_ready(backend)
        if not state.flying and not state.queue.ready:
            yield state.fail_orphans()
            continue
        arrived = backend.wait(1.0)
        if arrived is None:
            idle()
            continue
        results: list[TaskResult] = []
        while arrived is not None:
            results += state.over(*arrived)
            arrived = backend.wait(0.0) if state.flying else None
        # workers do not wait for the journal and the store
        state.submit_ready(backend)
        yield results


class _State:
    """What is still to be done, and the results that it still needs."""

    def __init__(
        self,
        batches: Iterable[Batch[Any]],
        make: MakeWork,
        known: Mapping[str, TaskResult],
        scratch: str | None,
    ) -> None:
        self._make, self._scratch = make, scratch
        self._held = ResultCache(known.__getitem__)
        self._tries: Counter[str] = Counter()
        self._expired: Counter[str] = Counter()
        self._ticket = 0
        self.queue = ReadyQueue(known)
        self.flying: dict[int, tuple[Waiting, Offer]] = {}
        for number, batch in enumerate(batches):
            rest = tuple(task for task in batch.tasks if task.key not in known)
            if rest:
                self._add((number,), batch.part(batch.name, rest))

    def _add(self, order: Order, batch: Batch[Any], avoid: frozenset[str] = frozenset()) -> None:
        self._held.need(self.queue.add(order, batch, avoid).inputs)

    def submit_ready(self, backend: Backend) -> None:
        """Give every worker that is offered a batch it can do."""
        for offer in backend.offers(self.queue.ready):
            if (ready := self.queue.pop(offer)) is None:
                continue
            batch, inputs = ready.batch, {key: self._held[key] for key in ready.inputs}
            self.flying[self._ticket] = ready, offer
            backend.submit(self._ticket, self._make(batch, inputs, offer.device, self._scratch), offer)
            self._ticket += 1

    def over(self, ticket: int, outcome: Outcome) -> list[TaskResult]:
        """The results of a batch that is over; none when it is to be tried again, whole or in parts."""
        done, offer = self.flying.pop(ticket)
        if isinstance(outcome, BaseException):
            outcome = Failure.of(outcome)
        results = self._failures(done, outcome, offer) if isinstance(outcome, Failure) else outcome
        self._keep(results)
        self._held.release(done.inputs)
        return results

    def _keep(self, results: list[TaskResult]) -> None:
        for result in results:
            self._held.put(result)
        self.queue.settle(result.key for result in results)

    def fail_orphans(self) -> list[TaskResult]:
        """Nothing runs and nothing can: the inputs of what waits are part of no batch, so waiting would be for ever."""
        results: list[TaskResult] = []
        for orphan in self.queue.pop_blocked():
            results += _failed(orphan.batch, "failed", "a task it needs is not part of this plan")
            self._held.release(orphan.inputs)
        return results

    def _failures(self, done: Waiting, failure: Failure, offer: Offer) -> list[TaskResult]:
        """Split a batch that failed as a whole; a task alone is tried again where that can help, else it is a row."""
        parts, first = _split(done.batch), done.batch.tasks[0].key
        if failure.expired:
            self._expired[first] += 1
        expired = self._expired[first] >= (EXPIRED_TRIES if len(parts) > 1 else EXPIRED_TRIES_ALONE)
        if not failure.blamed and not expired:
            self._add(done.order, done.batch, done.avoid)
            return []
        if len(parts) > 1:
            # the first part is known by the same task as the whole
            del self._expired[first]
            for number, part in enumerate(parts):
                self._add((*done.order, number), part)
            return []
        if expired:
            return _failed(done.batch, "quarantined", f"{failure.reason}, {self._expired[first]} times")
        lost = failure.kind == "lost worker"
        self._tries[first] += 1
        # what fails here may be this host's fault; where there is no other, a second try would tell nothing
        avoid = done.avoid | {offer.host}
        tries = LOST_WORKER_TRIES if lost else FAILURE_TRIES if offer.elsewhere(done.batch.model, avoid) else 1
        if self._tries[first] < tries:
            self._add(done.order, done.batch, avoid)
            return []
        return _failed(done.batch, "quarantined" if lost else "failed", failure.reason)


def _split(batch: Batch[Any]) -> list[Batch[Any]]:
    """One batch per geometry: a minimisation stays with the fragment energies that need it."""
    groups: dict[str, list[Task]] = {}
    own = {task.key for task in batch.tasks}
    for task in batch.tasks:
        leader = task.leader if task.leader in own and task.leader is not None else task.key
        groups.setdefault(leader, []).append(task)
    return [
        batch.part(f"{batch.name}.{number}" if len(groups) > 1 else batch.name, tasks)
        for number, tasks in enumerate(groups.values(), 1)
    ]


def _failed(batch: Batch[Any], status: Status, reason: str) -> list[TaskResult]:
    return [TaskResult(task.key, status, reason) for task in batch.tasks]
