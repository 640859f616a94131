"""Run the batches of a plan and hand out results as they come, on whatever does the work.

Serial or Dask, the loop is the same: what has its inputs is submitted, what fails is split until the guilty task
stands alone, and that one becomes a result with a reason. Nothing raises because a task failed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hbcoop_dist.campaign import Minimize
from hbcoop_dist.results import Status, TaskResult
from hbcoop_dist.tasks import Batch, ModelSource, Task
from hbcoop_dist.work import Work, do_work

Outcome = list[TaskResult] | BaseException

LOST_WORKER_TRIES = 2
"""How often a task that stands alone may lose its worker before it is quarantined."""


class LostWorkerError(Exception):
    """The process that did a batch died, or was killed, before it answered."""


class Backend(Protocol):
    """Something that does batches: at most `slots` at a time are handed to it, `flying` of them are with it now."""

    @property
    def slots(self) -> int: ...

    @property
    def flying(self) -> int: ...

    def submit(self, number: int, work: Work) -> None:
        """Take one batch; `number` is its ticket."""
        ...

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        """The ticket and outcome of a batch that is over, or None when nothing was within `seconds`."""
        ...

    def close(self) -> None: ...


class SerialBackend:
    """Everything in this process, one batch at a time: for debugging."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Work]] = deque()

    @property
    def slots(self) -> int:
        return 1

    @property
    def flying(self) -> int:
        return len(self._waiting)

    def submit(self, number: int, work: Work) -> None:
        self._waiting.append((number, work))

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        del seconds
        number, work = self._waiting.popleft()
        try:
            return number, do_work(work)
        except Exception as error:  # noqa: BLE001  any failure is a row, not a crash
            return number, error

    def close(self) -> None:
        self._waiting.clear()


@dataclass(slots=True)
class _State:
    """What is still to be done; the only thing here that changes."""

    waiting: list[Batch]
    known: dict[str, TaskResult]
    flying: dict[int, Batch] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    ticket: int = 0


def execute(
    batches: Iterable[Batch],
    sources: Mapping[str, ModelSource],
    minimize: Minimize,
    known: Mapping[str, TaskResult],
    backend: Backend,
    *,
    device: str = "cpu",
    scratch: str | None = None,
    idle: Callable[[], None] = lambda: None,
) -> Iterator[TaskResult]:
    """Do all tasks of the batches that have no result yet.

    Parameters
    ----------
    batches : iterable of Batch
        In an order in which inputs come before what needs them.
    sources : mapping of str to ModelSource
    minimize : Minimize
    known : mapping of str to TaskResult
        Results from earlier; their tasks are left out.
    backend : Backend
    device : str
    scratch : str, optional
        Folder where workers leave restart files of long minimisations.
    idle : callable
        Called about once a second while nothing arrives.

    Yields
    ------
    TaskResult
        As soon as its batch is over; failed tasks too.
    """
    state = _State([rest for batch in batches if (rest := _without(batch, known)).tasks], dict(known))
    while state.waiting or state.flying:
        _submit_ready(state, sources, minimize, backend, device, scratch)
        if not state.flying:
            yield from _fail_orphans(state)
            continue
        arrived = backend.wait(1.0)
        if arrived is None:
            idle()
            continue
        number, outcome = arrived
        batch = state.flying.pop(number)
        results = _failures(state, batch, outcome) if isinstance(outcome, BaseException) else outcome
        for result in results:
            state.known[result.key] = result
            yield result


def _without(batch: Batch, known: Mapping[str, TaskResult]) -> Batch:
    return Batch(batch.name, batch.model, tuple(task for task in batch.tasks if task.key not in known))


def _submit_ready(
    state: _State,
    sources: Mapping[str, ModelSource],
    minimize: Minimize,
    backend: Backend,
    device: str,
    scratch: str | None,
) -> None:
    later: list[Batch] = []
    slots = backend.slots
    for place, batch in enumerate(state.waiting):
        if len(state.flying) >= slots:
            later += state.waiting[place:]
            break
        if any(key not in state.known for key in batch.inputs):
            later.append(batch)
            continue
        inputs = {key: state.known[key] for key in batch.inputs}
        state.flying[state.ticket] = batch
        backend.submit(state.ticket, Work(batch, sources[batch.model], minimize, inputs, device, scratch))
        state.ticket += 1
    state.waiting = later


def _fail_orphans(state: _State) -> Iterator[TaskResult]:
    """Nothing runs and nothing can: the inputs of what waits are part of no batch, so waiting would be for ever."""
    orphans, state.waiting = state.waiting, []
    for batch in orphans:
        for result in _failed(batch, "failed", "a task it needs is not part of this plan"):
            state.known[result.key] = result
            yield result


def _failures(state: _State, batch: Batch, error: BaseException) -> list[TaskResult]:
    """Split a batch that failed as a whole; a task alone is tried again where that can help, else it is a row."""
    parts = _split(batch)
    if len(parts) > 1:
        state.waiting = [*parts, *state.waiting]
        return []
    lost = isinstance(error, LostWorkerError)
    state.tries[batch.tasks[0].key] += 1
    if lost and state.tries[batch.tasks[0].key] < LOST_WORKER_TRIES:
        state.waiting = [batch, *state.waiting]
        return []
    reason = f"{type(error).__name__}: {error}"
    return _failed(batch, "quarantined" if lost else "failed", reason.strip())


def _split(batch: Batch) -> list[Batch]:
    """One batch per geometry: a minimisation stays with the fragment energies that need it."""
    groups: dict[str, list[Task]] = {}
    own = {task.key for task in batch.tasks}
    for task in batch.tasks:
        leader = task.geometry if task.geometry in own and task.geometry is not None else task.key
        groups.setdefault(leader, []).append(task)
    return [
        Batch(f"{batch.name}.{number}" if len(groups) > 1 else batch.name, batch.model, tuple(tasks))
        for number, tasks in enumerate(groups.values(), 1)
    ]


def _failed(batch: Batch, status: Status, reason: str) -> list[TaskResult]:
    return [TaskResult(task.key, status, reason) for task in batch.tasks]
