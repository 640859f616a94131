"""The scheduler: run the batches of a plan on a backend, split and retry those that fail, and yield results.

The loop is the same for every backend. A batch is submitted when it has its inputs; one that fails is split until the
failing task is alone, and that task becomes a result with a reason. No exception is raised because a task failed.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Any, Protocol

from hbcoop_dist.core.failures import Failure
from hbcoop_dist.core.results import Status, TaskResult
from hbcoop_dist.core.tasks import Batch

Order = tuple[int, ...]
"""Place in the plan; the parts of a batch that was split follow the place of the whole."""
Outcome = list[TaskResult] | Failure | BaseException
LOST_WORKER_TRIES = 3
"""Number of workers that a single task may kill before it is quarantined."""
EXPIRED_TRIES, EXPIRED_TRIES_ALONE = 3, 10
"""Number of walltimes that may end during a batch before it is split, and during a single task before it is
quarantined. A long minimisation continues where it was interrupted, so it may need several jobs."""
FAILURE_TRIES = 2
"""Number of tries of a single task that fails, each on another host."""


class ResultCache:
    """Reference-counted task results.

    Parameters
    ----------
    load : callable
        Task key -> TaskResult, for results that are needed and were never put here, e.g. from the journal of an earlier
        run.
    """

    def __init__(self, load: Callable[[str], TaskResult]) -> None:
        self._load = load
        self._references: dict[str, int] = {}
        self._results: dict[str, TaskResult] = {}

    def need(self, keys: Iterable[str]) -> None:
        """Add a reference to the results of tasks, which may not exist yet.

        Parameters
        ----------
        keys : iterable of str
        """
        for key in keys:
            self._references[key] = self._references.get(key, 0) + 1

    def release(self, keys: Iterable[str]) -> None:
        """Remove a reference to the results of tasks; results without references are dropped.

        Parameters
        ----------
        keys : iterable of str
        """
        for key in keys:
            self._references[key] -= 1
            if not self._references[key]:
                del self._references[key]
                self._results.pop(key, None)

    def put(self, result: TaskResult) -> None:
        """Store a result if there is a reference to it.

        Parameters
        ----------
        result : TaskResult
        """
        if result.key in self._references:
            self._results[result.key] = result

    def __getitem__(self, key: str) -> TaskResult:
        if key not in self._results:
            self.put(loaded := self._load(key))
            return loaded
        return self._results[key]

    def __len__(self) -> int:
        """Number of results in memory."""
        return len(self._results)


@dataclass(order=True, slots=True)
class QueuedBatch:
    """A batch in the queue.

    Attributes
    ----------
    order : tuple of int
        Unique place in the plan.
    batch : Batch
    inputs : tuple of str
        Keys of the results that it needs.
    missing : int
        Number of inputs that have no result yet.
    avoid : frozenset of str
        Hosts on which it failed.
    """

    order: Order
    batch: Batch[Any]
    inputs: tuple[str, ...]
    missing: int = 0
    avoid: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """A worker that can take a batch now.

    Attributes
    ----------
    worker : str
        Address of the worker.
    host : str
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    loaded : str or None
        Model that it has loaded, or will have loaded when it begins the batch.
    only_loaded : bool
        Whether it takes batches of that model only, because it is still busy with one.
    elsewhere : callable
        (Model, hosts) -> whether a worker on another host can run the model.
    accepts : callable
        Model -> whether the worker can run the model.
    loaded_workers : callable
        Model -> number of workers that have it loaded.
    """

    worker: str
    host: str = ""
    device: str = "cpu"
    loaded: str | None = None
    only_loaded: bool = False
    elsewhere: Callable[[str, frozenset[str]], bool] = lambda model, hosts: False
    accepts: Callable[[str], bool] = lambda model: True
    loaded_workers: Callable[[str], int] = lambda model: 0


class BatchQueue:
    """Waiting and ready batches.

    Parameters
    ----------
    known : container of str
        Keys of the tasks that have a result from an earlier run.

    Attributes
    ----------
    ready : mapping of str to int
        Live view of the number of ready batches by model; models without any are absent.
    """

    def __init__(self, known: Container[str]) -> None:
        self._known = known
        self._settled: set[str] = set()
        self._ready: dict[str, list[QueuedBatch]] = {}
        self._counts: dict[str, int] = {}
        self._by_input: dict[str, list[QueuedBatch]] = {}
        self._length = 0
        self.ready: Mapping[str, int] = MappingProxyType(self._counts)

    def add(self, order: Order, batch: Batch[Any], avoid: frozenset[str] = frozenset()) -> QueuedBatch:
        """Add a batch.

        Parameters
        ----------
        order : tuple of int
            Place in the plan, different from those of all other batches.
        batch : Batch
        avoid : frozenset of str
            Hosts on which it failed.

        Returns
        -------
        QueuedBatch
        """
        queued = QueuedBatch(order, batch, batch.inputs, avoid=avoid)
        for key in queued.inputs:
            if key not in self._settled and key not in self._known:
                queued.missing += 1
                self._by_input.setdefault(key, []).append(queued)
        self._length += 1
        if not queued.missing:
            self._push(queued)
        return queued

    def _push(self, queued: QueuedBatch) -> None:
        model = queued.batch.model
        heapq.heappush(self._ready.setdefault(model, []), queued)
        self._counts[model] = len(self._ready[model])

    def settle(self, keys: Iterable[str]) -> None:
        """Mark tasks as having a result; batches whose last missing input this is become ready.

        Parameters
        ----------
        keys : iterable of str
        """
        for key in keys:
            self._settled.add(key)
            for queued in self._by_input.pop(key, ()):
                queued.missing -= 1
                if not queued.missing:
                    self._push(queued)

    def pop(self, slot: WorkerSlot) -> QueuedBatch | None:
        """Remove and return the batch that a worker should run next.

        A worker gets a batch of the model that it has loaded, else of the first model of the plan that no worker has
        loaded, else of the model with the most ready batches per worker.

        Parameters
        ----------
        slot : WorkerSlot

        Returns
        -------
        QueuedBatch or None
            None when no ready batch suits the worker.
        """
        loaded = slot.loaded
        if loaded in self._ready and slot.accepts(loaded) and (queued := self._take(loaded, slot)):
            return queued
        return None if slot.only_loaded else self._pop_other_model(slot)

    def _pop_other_model(self, slot: WorkerSlot) -> QueuedBatch | None:
        shared: list[tuple[float, str]] = []
        for model in self._ready:
            if model == slot.loaded or not slot.accepts(model):
                continue
            if workers := slot.loaded_workers(model):
                shared.append((-len(self._ready[model]) / workers, model))
            elif queued := self._take(model, slot):
                return queued
        for _, model in sorted(shared):
            if queued := self._take(model, slot):
                return queued
        return None

    def _take(self, model: str, slot: WorkerSlot) -> QueuedBatch | None:
        """The first ready batch of a model, without those that failed on this host and can run on another."""
        heap, aside, taken = self._ready[model], [], None
        while heap and taken is None:
            first = heapq.heappop(heap)
            if slot.host in first.avoid and slot.elsewhere(model, first.avoid):
                aside.append(first)
            else:
                taken = first
        for queued in aside:
            heapq.heappush(heap, queued)
        self._counts[model] = len(heap)
        if not heap:
            del self._ready[model], self._counts[model]
        self._length -= taken is not None
        return taken

    def pop_blocked(self) -> list[QueuedBatch]:
        """Remove and return all batches that wait for an input.

        Returns
        -------
        list of QueuedBatch
            In the order of the plan.
        """
        blocked = {queued.order: queued for group in self._by_input.values() for queued in group}
        self._by_input.clear()
        self._length -= len(blocked)
        return [blocked[order] for order in sorted(blocked)]

    def __len__(self) -> int:
        return self._length


class Work(Protocol):
    """One batch with all data that a worker needs; it is pickled and sent to the worker."""

    @property
    def batch(self) -> Batch[Any]: ...

    def do(self) -> list[TaskResult]:
        """Run the batch.

        Returns
        -------
        list of TaskResult
            In the order of the batch's tasks.

        Raises
        ------
        Exception
            When the batch fails as a whole.
        """
        ...


MakeWork = Callable[[Batch[Any], Mapping[str, TaskResult], str, str | None], Work]
"""(Batch, results of the tasks outside it that it needs, device, folder of restart files) -> Work."""


class Backend(Protocol):
    """Runs batches on workers; `running` is the number of batches that it has and has not returned."""

    @property
    def running(self) -> int: ...

    def free_slots(self, ready: Mapping[str, int]) -> Iterable[WorkerSlot]:
        """Iterate over the workers that can take a batch now.

        Parameters
        ----------
        ready : mapping of str to int
            Live view of the number of ready batches by model.
        """
        ...

    def submit(self, ticket: int, work: Work, slot: WorkerSlot) -> None:
        """Send a batch to a worker.

        Parameters
        ----------
        ticket : int
            Number of the submission.
        work : Work
        slot : WorkerSlot
            From `free_slots`.
        """
        ...

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        """Wait for a batch to end.

        Parameters
        ----------
        seconds : float
            Longest waiting time.

        Returns
        -------
        (int, Outcome) or None
            Ticket, and results or failure of the batch; None when no batch ended.
        """
        ...

    def close(self) -> None: ...


class SerialBackend:
    """Runs one batch at a time in this process, for debugging.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._submitted: deque[tuple[int, Work]] = deque()
        self._loaded: str | None = None

    @property
    def running(self) -> int:
        """Number of submitted batches."""
        return len(self._submitted)

    def free_slots(self, ready: Mapping[str, int]) -> Iterable[WorkerSlot]:
        del ready
        return () if self._submitted else (WorkerSlot("here", device=self._device, loaded=self._loaded),)

    def submit(self, ticket: int, work: Work, slot: WorkerSlot) -> None:
        del slot
        self._loaded = work.batch.model
        self._submitted.append((ticket, work))

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        del seconds
        ticket, work = self._submitted.popleft()
        try:
            return ticket, work.do()
        except Exception as error:  # noqa: BLE001  every failure becomes a result
            return ticket, error

    def close(self) -> None:
        self._submitted.clear()


def iter_results(
    batches: Iterable[Batch[Any]],
    make: MakeWork,
    known: Mapping[str, TaskResult],
    backend: Backend,
    *,
    scratch: str | None = None,
    idle: Callable[[], None] = lambda: None,
) -> Iterator[TaskResult]:
    """Run batches and iterate over single results; parameters as in `run_batches`.

    Returns
    -------
    iterator of TaskResult
    """
    return chain.from_iterable(run_batches(batches, make, known, backend, scratch=scratch, idle=idle))


def run_batches(
    batches: Iterable[Batch[Any]],
    make: MakeWork,
    known: Mapping[str, TaskResult],
    backend: Backend,
    *,
    scratch: str | None = None,
    idle: Callable[[], None] = lambda: None,
) -> Generator[list[TaskResult]]:
    """Run all tasks of batches that have no result yet.

    Parameters
    ----------
    batches : iterable of Batch
        Inputs come before the batches that need them. Ready batches are submitted in this order.
    make : callable
        Makes the work of a batch.
    known : mapping of str to TaskResult
        Results of earlier runs, whose tasks are left out. A result is looked up only when a batch needs it.
    backend : Backend
    scratch : str, optional
        Folder in which workers keep the restart files of long minimisations.
    idle : callable
        Called about once a second while no batch ends.

    Yields
    ------
    list of TaskResult
        Results, including those of failed tasks, of all batches that have ended by then, so that one fsync suffices.
    """
    state = _SchedulerState(batches, make, known, scratch)
    while state.queue or state.running:
        state.submit_ready(backend)
        if not state.running and not state.queue.ready:
            yield state.fail_blocked()
            continue
        ended = backend.wait(1.0)
        if ended is None:
            idle()
            continue
        results: list[TaskResult] = []
        while ended is not None:
            results += state.finish(*ended)
            ended = backend.wait(0.0) if state.running else None
        # before the yield, so that workers do not wait for the journal and the store
        state.submit_ready(backend)
        yield results


class _SchedulerState:
    """Queued and running batches, and the results that they need."""

    def __init__(
        self,
        batches: Iterable[Batch[Any]],
        make: MakeWork,
        known: Mapping[str, TaskResult],
        scratch: str | None,
    ) -> None:
        self._make, self._scratch = make, scratch
        self._cache = ResultCache(known.__getitem__)
        self._tries: Counter[str] = Counter()
        self._expired: Counter[str] = Counter()
        self._ticket = 0
        self.queue = BatchQueue(known)
        self.running: dict[int, tuple[QueuedBatch, WorkerSlot]] = {}
        for number, batch in enumerate(batches):
            tasks = tuple(task for task in batch.tasks if task.key not in known)
            if tasks:
                self._add((number,), batch.part(batch.name, tasks))

    def _add(self, order: Order, batch: Batch[Any], avoid: frozenset[str] = frozenset()) -> None:
        self._cache.need(self.queue.add(order, batch, avoid).inputs)

    def submit_ready(self, backend: Backend) -> None:
        """Submit a batch to every free worker that can run one."""
        for slot in backend.free_slots(self.queue.ready):
            if (queued := self.queue.pop(slot)) is None:
                continue
            inputs = {key: self._cache[key] for key in queued.inputs}
            self.running[self._ticket] = queued, slot
            backend.submit(self._ticket, self._make(queued.batch, inputs, slot.device, self._scratch), slot)
            self._ticket += 1

    def finish(self, ticket: int, outcome: Outcome) -> list[TaskResult]:
        """Return the results of a batch that ended; none when it is queued again, whole or in parts."""
        queued, slot = self.running.pop(ticket)
        if isinstance(outcome, BaseException):
            outcome = Failure.of(outcome)
        results = self._retry(queued, outcome, slot) if isinstance(outcome, Failure) else outcome
        for result in results:
            self._cache.put(result)
        self.queue.settle(result.key for result in results)
        self._cache.release(queued.inputs)
        return results

    def fail_blocked(self) -> list[TaskResult]:
        """Fail the batches whose inputs belong to no batch, which would otherwise wait for ever."""
        results: list[TaskResult] = []
        for queued in self.queue.pop_blocked():
            results += _failed(queued.batch, "failed", "a task it needs is not part of this plan")
            self._cache.release(queued.inputs)
        return results

    def _retry(self, queued: QueuedBatch, failure: Failure, slot: WorkerSlot) -> list[TaskResult]:
        """Split a batch that failed; queue a single task again where that can help, else return its failed results."""
        parts, first = _split(queued.batch), queued.batch.tasks[0].key
        if failure.expired:
            self._expired[first] += 1
        expired = self._expired[first] >= (EXPIRED_TRIES if len(parts) > 1 else EXPIRED_TRIES_ALONE)
        if not failure.blamed and not expired:
            self._add(queued.order, queued.batch, queued.avoid)
            return []
        if len(parts) > 1:
            # the first part has the same first task as the whole
            del self._expired[first]
            for number, part in enumerate(parts):
                self._add((*queued.order, number), part)
            return []
        if expired:
            return _failed(queued.batch, "quarantined", f"{failure.reason}, {self._expired[first]} times")
        lost = failure.kind == "lost worker"
        self._tries[first] += 1
        # the host may be at fault; where there is no other, a second try would give no information
        avoid = queued.avoid | {slot.host}
        tries = LOST_WORKER_TRIES if lost else FAILURE_TRIES if slot.elsewhere(queued.batch.model, avoid) else 1
        if self._tries[first] < tries:
            self._add(queued.order, queued.batch, avoid)
            return []
        return _failed(queued.batch, "quarantined" if lost else "failed", failure.reason)


def _split(batch: Batch[Any]) -> list[Batch[Any]]:
    """Split a batch by leaders: fragment energies stay with the minimisation that they need."""
    groups: dict[str, list[Any]] = {}
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
