"""What a generalization campaign would cost, from the times that another one took."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from hbcoop_dist.generalization_run.plan import GeneralizationPlan
from hbcoop_dist.generalization_run.schema import KIND
from hbcoop_dist.store import open_store


def estimate(drawn: GeneralizationPlan, store: Path) -> str:
    """Core-hours of the trainings with their tests that the store does not have yet.

    Every network takes as long for a structure that it is shown as those of its architecture and scheme in the store
    did on average. What is larger there, networks or structures, is not taken account of, and said.
    """
    measured = _seconds_per_structure(store)
    spec = drawn.spec
    families = {entry.name: entry.architecture for entry in spec.architectures}
    schemes = {entry.name: entry.scheme for entry in spec.schemes}
    shown = spec.training.steps * spec.training.batch_size
    there = _done(store)
    left = [cell for cell, tasks in drawn.cell_tasks.items() if tasks.evaluated not in there]
    if not left:
        return f"nothing left to do: {store} has all {len(drawn.cell_tasks)} networks"
    seconds, unknown = 0.0, set()
    for cell in left:
        kind = families[cell.architecture], schemes[cell.scheme]
        if kind in measured:
            seconds += shown * measured[kind]
        else:
            unknown.add(" with ".join(kind))
    lines = [
        f"expected core time: about {seconds / 3600:.3g} core-hours for {len(left)} networks, each shown structures "
        f"{shown} times, at the speed of those in {store}; larger networks and structures take longer"
    ]
    if unknown:
        lines.append(f"  without those of no measured time: {', '.join(sorted(unknown))}")
    return "\n".join(lines)


def _done(store: Path) -> set[str]:
    """Keys of the tasks that tested the networks of a store."""
    ds = open_store(store, kind=KIND)
    return set(ds["task_key"].values[ds["status"].values == "done"].tolist())


def _seconds_per_structure(store: Path) -> dict[tuple[str, str], float]:
    """By architecture and scheme: mean wall-clock seconds of a training and its test by structures shown."""
    ds = open_store(store, kind=KIND)
    training = json.loads(str(ds.attrs["protocol"]))["training"]
    shown = training["steps"] * training["batch_size"]
    times = ds["seconds"].where(ds["status"] == "done")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for architecture, text in zip(ds["architecture"].values, ds["architecture_definition"].values, strict=True):
        for scheme, said in zip(ds["scheme"].values, ds["scheme_definition"].values, strict=True):
            own = times.sel(architecture=architecture, scheme=scheme).values.ravel()
            kind = str(json.loads(str(text))["architecture"]), str(json.loads(str(said))["scheme"])
            found[kind] += (own[np.isfinite(own)] / shown).tolist()
    return {kind: float(np.mean(values)) for kind, values in found.items() if values}
