"""`hbcoop status`, `analyse` and the cost estimate of `plan`: what a store says, in a terminal."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console
from rich.live import Live

from hbcoop_dist import analysis
from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.campaigns.runner import task_results
from hbcoop_dist.cli.terminal import progress_lines
from hbcoop_dist.core.tasks import Task
from hbcoop_dist.execution.run_status import read_run_state
from hbcoop_dist.store import StoreError, has_systems, open_systems, progress_path

WATCH_SECONDS = 2.0
_GOOD = ("done", "skipped")


def status(ds: xr.Dataset, console: Console, store: Path) -> bool:
    """The run that goes on, counts by model and status, then reasons; True when every cell is done or skipped."""
    for line in progress_lines(store):
        console.print(line, highlight=False)
    ds = analysis.as_asked(ds)
    systems = _systems(store)
    good = bool(np.isin(ds.status.values, _GOOD).all())
    if systems is not None:
        counts = Counter(systems.status.values.ravel().tolist())
        console.print("marked systems: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
        for name, reason in _reasons(systems):
            console.print(f"  {name}: {reason}", highlight=False, markup=False)
        good = good and set(counts) <= set(_GOOD)
    # of a campaign of systems alone there is nothing to say of chains
    if systems is None or not (ds.status == "skipped").all():
        for renderable in analysis.status_tables(ds):
            console.print(renderable)
    return good


def _reasons(systems: xr.Dataset) -> list[tuple[str, str]]:
    """Status and reason of the marked systems that are not done, each once."""
    pairs = zip(systems.status.values.ravel().tolist(), systems.reason.values.ravel().tolist(), strict=True)
    return list(
        dict.fromkeys((str(status), str(reason)) for status, reason in pairs if status not in ("done", "pending"))
    )


def _systems(store: Path) -> xr.Dataset | None:
    return open_systems(store) if has_systems(store) else None


def watch(store: Path, console: Console) -> None:
    """Show the run of a store again and again until it is over."""
    with Live(console=console, refresh_per_second=1) as live:
        while (progress := read_run_state(progress_path(store))) is not None and progress.alive:
            live.update("\n".join(progress_lines(store)))
            time.sleep(WATCH_SECONDS)


def specs_of(ds: xr.Dataset, store: Path) -> list[CampaignSpec]:
    """The campaigns that a store was made and grown by, each once.

    Raises
    ------
    StoreError
        When the store does not say, or says what this version cannot read.
    """
    try:
        texts = dict.fromkeys(str(event["spec"]) for event in json.loads(ds.attrs["history"]))
        return [CampaignSpec.model_validate_json(text) for text in texts]
    except (KeyError, ValueError) as error:
        raise StoreError(f"{store}: expected campaigns in the attribute history, found {error}") from None


def analyse(ds: xr.Dataset, console: Console, store: Path, figure: Path | None, against: str | None) -> None:
    """Tables of cooperative energies, dimers, missing cells and marked systems; the figure when a path is given.

    Or, against a model, those of all models at the geometries that it shares with them.
    """
    if against is not None:
        for renderable in analysis.same_geometry_tables(ds, against):
            console.print(renderable)
        return
    ds, systems = analysis.as_asked(ds), _systems(store)
    if systems is None or not (ds.status == "skipped").all():
        for renderable in analysis.tables(ds):
            console.print(renderable)
    if systems is not None:
        for renderable in analysis.complex_tables(systems):
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
