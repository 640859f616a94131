"""Which results have lost their files, and are to be computed again because something needs them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from hbcoop_dist.generalization_run.kept_arrays import is_there
from hbcoop_dist.generalization_run.tasks import KEPT, TrainingTask
from hbcoop_dist.store import Journal


def lost_arrays(tasks: Mapping[str, TrainingTask], needed: Collection[str], journal: Journal, folder: Path) -> set[str]:
    """Keys of tasks that are done, and whose file is not there although a task that is to be done needs it."""
    found: set[str] = set()
    stack = [key for key in needed if journal.status(key) != "done"]
    while stack:
        for key in tasks[stack.pop()].inputs:
            if key in found or tasks[key].kind not in KEPT or journal.status(key) != "done":
                continue
            result = journal.get(key)
            assert result is not None
            if not is_there(result.data, folder):
                found.add(key)
                stack.append(key)
    return found
