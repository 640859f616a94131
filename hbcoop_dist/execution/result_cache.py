"""Task results in memory for as long as something needs them: all Hessians of a campaign together would not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hbcoop_dist.core.results import TaskResult


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
