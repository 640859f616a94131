"""Cost of a plan that runs models, from the times in the journal of a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from hbcoop_dist.store import Journal, journal_path


class SizedTask(Protocol):
    """A task on one structure."""

    @property
    def key(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def n_atoms(self) -> int: ...


def estimate_core_time(
    models: Sequence[str], tasks: Mapping[str, SizedTask], store: Path, payloads: Mapping[str, type]
) -> str:
    """Describe the expected core time of the tasks that a store does not have, by model.

    The time of a task is a power of the number of atoms, fitted for each model and kind of task to what was measured.

    Parameters
    ----------
    models : sequence of str
    tasks : mapping of str to task
    store : Path
    payloads : mapping of str to type
    """
    with Journal(journal_path(store), payloads) as journal:
        seconds = {result.key: result.seconds for result in journal.results()}
    measured: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    by_model: dict[str, list[SizedTask]] = defaultdict(list)
    for key, task in tasks.items():
        by_model[task.model].append(task)
        if seconds.get(key, 0.0) > 0:
            measured[task.model, task.kind].append((task.n_atoms, seconds[key]))
    lines = [f"expected core time, from what {store} measured:"]
    for model in models:
        pending = [task for task in by_model[model] if task.key not in seconds]
        if not by_model[model]:
            continue
        if any(not measured[model, kind] for kind in {task.kind for task in pending}):
            lines.append(f"  {model}: not measured yet")
            continue
        total = sum(_expected_seconds(measured[model, task.kind], task.n_atoms) for task in pending)
        lines.append(f"  {model}: {len(pending)} of {len(by_model[model])} tasks left, about {total:.0f} s")
    return "\n".join(lines)


def _expected_seconds(points: list[tuple[float, float]], n_atoms: int) -> float:
    atoms, seconds = np.array(points).T
    if len(set(atoms)) < 2:
        # with one size only, linear in the number of atoms is the least a model can cost
        return float(seconds.mean() * n_atoms / atoms.mean())
    power, factor = np.polyfit(np.log(atoms), np.log(seconds), 1)
    return float(np.exp(factor) * n_atoms**power)
