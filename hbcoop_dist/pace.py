"""How long batches of a model take, measured while they run: decides what a worker near its walltime still claims."""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np

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
            self._slow[model] = float(np.quantile(self._seconds[model], 0.95))
        return self._slow[model]
