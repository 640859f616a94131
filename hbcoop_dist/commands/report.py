"""`hbcoop status`, `analyse` and the cost estimate of `plan`: what a store says, in a terminal."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console

from hbcoop_dist import analysis
from hbcoop_dist.plan import Plan
from hbcoop_dist.run import task_results
from hbcoop_dist.tasks import Task


def status(ds: xr.Dataset, console: Console) -> bool:
    """Counts by model and status, then reasons; True when every cell is done or skipped with a reason."""
    for renderable in analysis.status_tables(ds):
        console.print(renderable)
    return bool(np.isin(ds.status.values, ("done", "skipped")).all())


def analyse(ds: xr.Dataset, console: Console, figure: Path | None) -> None:
    """Tables of cooperative energies, dimers and missing cells; the figure when a path is given."""
    for renderable in analysis.tables(ds):
        console.print(renderable)
    if figure is not None:
        analysis.save_figure(analysis.cooperative_energy_against_length(ds), figure)
        console.print(f"figure: {figure}", highlight=False, markup=False)


def estimate(plan: Plan, store: Path) -> str:
    """Expected core time of a plan from the times in a store's journal, by model.

    Time per task is taken as a power of the number of atoms, fitted per model and kind of task on what was measured; a
    model without measurements is left out by name.
    """
    measured: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    known: dict[str, float] = {result.key: result.seconds for result in task_results(store)}
    by_model: dict[str, list[Task]] = defaultdict(list)
    for key, task in plan.tasks.items():
        by_model[task.model].append(task)
        if known.get(key, 0.0) > 0:
            measured[task.model, task.kind].append((task.system.n_atoms, known[key]))
    lines = [f"expected core time, from what {store} measured:"]
    for entry in plan.spec.models:
        tasks = by_model[entry.name]
        left = [task for task in tasks if task.key not in known]
        kinds = {task.kind for task in left}
        if not tasks:
            continue
        if any(not measured[entry.name, kind] for kind in kinds):
            lines.append(f"  {entry.name}: not measured yet")
            continue
        seconds = sum(_seconds(task, measured[entry.name, task.kind]) for task in left)
        lines.append(f"  {entry.name}: {len(left)} of {len(tasks)} tasks left, about {seconds:.0f} s")
    return "\n".join(lines)


def _seconds(task: Task, points: list[tuple[float, float]]) -> float:
    atoms, seconds = np.array(points).T
    if len(set(atoms)) < 2:
        # one size only: linear in the number of atoms is the least a model can cost
        return float(seconds.mean() * task.system.n_atoms / atoms.mean())
    power, factor = np.polyfit(np.log(atoms), np.log(seconds), 1)
    return float(np.exp(factor) * task.system.n_atoms**power)
