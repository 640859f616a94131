"""Batches handed out in the order of the plan, each as soon as its inputs are there.

Open inputs are counted down as results come, so a turn costs what it changes and not what still waits.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable
from dataclasses import dataclass

from hbcoop_dist.tasks import Batch

Order = tuple[int, ...]
"""Place in the plan; parts of a batch that was split follow their whole's place."""


@dataclass(order=True, slots=True)
class Waiting:
    """A batch that waits for `missing` of its inputs."""

    order: Order
    batch: Batch
    inputs: tuple[str, ...]
    missing: int = 0


class ReadyQueue:
    """Batches that wait, and those of them that are ready.

    Parameters
    ----------
    known : container of str
        Keys of the tasks that have a result from earlier.
    """

    def __init__(self, known: Container[str]) -> None:
        self._known = known
        self._over: set[str] = set()
        self._ready: list[Waiting] = []
        self._by_input: dict[str, list[Waiting]] = {}
        self._blocked = 0

    def add(self, order: Order, batch: Batch) -> Waiting:
        """Take a batch; orders are different from one another."""
        waiting = Waiting(order, batch, batch.inputs)
        for key in waiting.inputs:
            if key not in self._over and key not in self._known:
                waiting.missing += 1
                self._by_input.setdefault(key, []).append(waiting)
        if waiting.missing:
            self._blocked += 1
        else:
            heapq.heappush(self._ready, waiting)
        return waiting

    def settle(self, keys: Iterable[str]) -> None:
        """Say that these tasks have results now."""
        for key in keys:
            self._over.add(key)
            for waiting in self._by_input.pop(key, ()):
                waiting.missing -= 1
                if not waiting.missing:
                    self._blocked -= 1
                    heapq.heappush(self._ready, waiting)

    def pop(self) -> Waiting | None:
        """The first batch that is ready, or None."""
        return heapq.heappop(self._ready) if self._ready else None

    def pop_blocked(self) -> list[Waiting]:
        """Every batch that waits for an input, in order; they wait no more."""
        blocked = {waiting.order: waiting for group in self._by_input.values() for waiting in group}
        self._by_input.clear()
        self._blocked = 0
        return [blocked[order] for order in sorted(blocked)]

    def __len__(self) -> int:
        return len(self._ready) + self._blocked
