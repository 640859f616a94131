"""Batches that wait, and those of them that are ready, by model: a worker is given what it has loaded.

Open inputs are counted down as results come, so a turn costs what it changes and not what still waits.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hbcoop_dist.core.tasks import Batch

Order = tuple[int, ...]
"""Place in the plan; parts of a batch that was split follow their whole's place."""


@dataclass(order=True, slots=True)
class Waiting:
    """A batch that waits for `missing` of its inputs, and is not done again on the hosts that it failed on."""

    order: Order
    batch: Batch[Any]
    inputs: tuple[str, ...]
    missing: int = 0
    avoid: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """A worker that would take a batch now.

    Attributes
    ----------
    worker : str
    host : str
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    loaded : str or None
        The model it has loaded, or will have by then.
    only_loaded : bool
        Whether it takes no other: it is still busy with that one.
    elsewhere : callable
        (Model name, hosts) -> whether a worker on another host than those could do that model.
    takes : callable
        Model name -> whether it could do that model at all.
    crowd : callable
        Model name -> how many workers have that model loaded.
    """

    worker: str
    host: str = ""
    device: str = "cpu"
    loaded: str | None = None
    only_loaded: bool = False
    elsewhere: Callable[[str, frozenset[str]], bool] = lambda model, hosts: False
    takes: Callable[[str], bool] = lambda _: True
    crowd: Callable[[str], int] = lambda _: 0


class ReadyQueue:
    """Batches that wait, and those of them that are ready.

    Parameters
    ----------
    known : container of str
        Keys of the tasks that have a result from earlier.

    Attributes
    ----------
    ready : mapping of str to int
        Number of ready batches by model, at any time; models that have none are not in it.
    """

    def __init__(self, known: Container[str]) -> None:
        self._known = known
        self._over: set[str] = set()
        self._ready: dict[str, list[Waiting]] = {}
        self._counts: dict[str, int] = {}
        self._by_input: dict[str, list[Waiting]] = {}
        self._left = 0
        self.ready: Mapping[str, int] = MappingProxyType(self._counts)

    def add(self, order: Order, batch: Batch[Any], avoid: frozenset[str] = frozenset()) -> Waiting:
        """Take a batch; orders are different from one another."""
        waiting = Waiting(order, batch, batch.inputs, avoid=avoid)
        for key in waiting.inputs:
            if key not in self._over and key not in self._known:
                waiting.missing += 1
                self._by_input.setdefault(key, []).append(waiting)
        self._left += 1
        if not waiting.missing:
            self._push(waiting)
        return waiting

    def _push(self, waiting: Waiting) -> None:
        model = waiting.batch.model
        heapq.heappush(self._ready.setdefault(model, []), waiting)
        self._counts[model] = len(self._ready[model])

    def settle(self, keys: Iterable[str]) -> None:
        """Say that these tasks have results now."""
        for key in keys:
            self._over.add(key)
            for waiting in self._by_input.pop(key, ()):
                waiting.missing -= 1
                if not waiting.missing:
                    self._push(waiting)

    def pop(self, offer: Offer) -> Waiting | None:
        """The batch this worker should do next, or None: of the model that it has, else of one that few have."""
        if offer.loaded in self._ready and offer.takes(offer.loaded) and (found := self._take(offer.loaded, offer)):
            return found
        return None if offer.only_loaded else self._of_another(offer)

    def _of_another(self, offer: Offer) -> Waiting | None:
        """A batch of the first model of the plan that no worker has, else of the one with most to do per worker."""
        crowded: list[tuple[float, str]] = []
        for model in self._ready:
            if model == offer.loaded or not offer.takes(model):
                continue
            if workers := offer.crowd(model):
                crowded.append((-len(self._ready[model]) / workers, model))
            elif found := self._take(model, offer):
                return found
        for _, model in sorted(crowded):
            if found := self._take(model, offer):
                return found
        return None

    def _take(self, model: str, offer: Offer) -> Waiting | None:
        heap, aside, found = self._ready[model], [], None
        while heap and found is None:
            first = heapq.heappop(heap)
            if offer.host in first.avoid and offer.elsewhere(model, first.avoid):
                aside.append(first)
            else:
                found = first
        for waiting in aside:
            heapq.heappush(heap, waiting)
        self._counts[model] = len(heap)
        if not heap:
            del self._ready[model], self._counts[model]
        self._left -= found is not None
        return found

    def pop_blocked(self) -> list[Waiting]:
        """Every batch that waits for an input, in order; they wait no more."""
        blocked = {waiting.order: waiting for group in self._by_input.values() for waiting in group}
        self._by_input.clear()
        self._left -= len(blocked)
        return [blocked[order] for order in sorted(blocked)]

    def __len__(self) -> int:
        return self._left
