"""Results in memory exactly as long as something still needs them: a campaign's Hessians together would not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hbcoop_dist.core.results import TaskResult


class ResultCache:
    """Task results by key, counted by what needs them.

    Parameters
    ----------
    load : callable
        Task key -> TaskResult of a result that is needed and was not put here, e.g. from an earlier run's journal.
    """

    def __init__(self, load: Callable[[str], TaskResult]) -> None:
        self._load = load
        self._needs: dict[str, int] = {}
        self._results: dict[str, TaskResult] = {}

    def need(self, keys: Iterable[str]) -> None:
        """Say that one more thing needs the results of these tasks, now or later."""
        for key in keys:
            self._needs[key] = self._needs.get(key, 0) + 1

    def release(self, keys: Iterable[str]) -> None:
        """Say that one thing less needs them; what nothing needs is let go."""
        for key in keys:
            self._needs[key] -= 1
            if not self._needs[key]:
                del self._needs[key]
                self._results.pop(key, None)

    def put(self, result: TaskResult) -> None:
        """Hold a result if anything needs it."""
        if result.key in self._needs:
            self._results[result.key] = result

    def __getitem__(self, key: str) -> TaskResult:
        if key not in self._results:
            self.put(found := self._load(key))
            return found
        return self._results[key]

    def __len__(self) -> int:
        return len(self._results)
