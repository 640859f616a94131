"""Queue of batches: those that wait for inputs, and those that are ready, by model.

Missing inputs are counted down as results arrive, so an update costs what it changes and not what is still waiting.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hbcoop_dist.core.tasks import Batch

Order = tuple[int, ...]
"""Place in the plan; the parts of a batch that was split follow the place of the whole."""


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
