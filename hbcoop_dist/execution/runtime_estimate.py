"""How long batches of a model take, measured while they run: decides what a worker near its walltime still claims."""

from __future__ import annotations

from collections import defaultdict, deque

KEPT = 200


class Pace:
    """Seconds of the latest batches of every model."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._slow: dict[str, float] = {}

    def add(self, model: str, seconds: float) -> None:
        """Note a batch."""
        self._seconds[model].append(seconds)
        self._slow.pop(model, None)

    def slow(self, model: str | None) -> float | None:
        """The 95th percentile of what a batch takes, s; None before the first."""
        if model is None or model not in self._seconds:
            return None
        if model not in self._slow:
            # by hand: numpy takes 40 times as long for so few, after every batch
            kept = sorted(self._seconds[model])
            below, part = divmod(0.95 * (len(kept) - 1), 1)
            first, second = kept[int(below)], kept[min(int(below) + 1, len(kept) - 1)]
            self._slow[model] = first + part * (second - first)
        return self._slow[model]
