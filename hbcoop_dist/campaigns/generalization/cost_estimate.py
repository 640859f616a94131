"""Cost of a generalization campaign, from the times of the networks in a store."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from hbcoop_dist.campaigns.generalization.plan import GeneralizationPlan
from hbcoop_dist.campaigns.generalization.schema import GENERALIZATION_SCHEMA
from hbcoop_dist.store import open_store


def estimate_core_time(plan: GeneralizationPlan, store: Path) -> str:
    """Describe the expected core-hours of the networks that a store does not have.

    A network takes as long for each training structure as those of its architecture and scheme in the store did on
    average; larger networks and structures are not accounted for.
    """
    measured = _seconds_per_structure(store)
    spec = plan.spec
    architectures = {entry.name: entry.architecture for entry in spec.architectures}
    schemes = {entry.name: entry.scheme for entry in spec.schemes}
    shown = spec.training.steps * spec.training.batch_size
    stored = _evaluated_keys(store)
    pending = [cell for cell, tasks in plan.cell_tasks.items() if tasks.evaluated not in stored]
    if not pending:
        return f"nothing left to do: {store} has all {len(plan.cell_tasks)} networks"
    seconds, unmeasured = 0.0, set()
    for cell in pending:
        kind = architectures[cell.architecture], schemes[cell.scheme]
        if kind in measured:
            seconds += shown * measured[kind]
        else:
            unmeasured.add(" with ".join(kind))
    lines = [
        f"expected core time: about {seconds / 3600:.3g} core-hours for {len(pending)} networks, each shown "
        f"{shown} structures, at the speed of those in {store}; larger networks and structures take longer"
    ]
    if unmeasured:
        lines.append(f"  without those that were not measured: {', '.join(sorted(unmeasured))}")
    return "\n".join(lines)


def _evaluated_keys(store: Path) -> set[str]:
    ds = open_store(store, kind=GENERALIZATION_SCHEMA.kind)
    return set(ds["task_key"].values[ds["status"].values == "done"].tolist())


def _seconds_per_structure(store: Path) -> dict[tuple[str, str], float]:
    """Return seconds of training and evaluation per structure shown, by architecture and scheme."""
    ds = open_store(store, kind=GENERALIZATION_SCHEMA.kind)
    training = json.loads(str(ds.attrs["protocol"]))["training"]
    shown = training["steps"] * training["batch_size"]
    times = ds["seconds"].where(ds["status"] == "done")
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for architecture, network in zip(ds["architecture"].values, ds["architecture_definition"].values, strict=True):
        for scheme, correction in zip(ds["scheme"].values, ds["scheme_definition"].values, strict=True):
            seconds = times.sel(architecture=architecture, scheme=scheme).values.ravel()
            kind = str(json.loads(str(network))["architecture"]), str(json.loads(str(correction))["scheme"])
            rates[kind] += (seconds[np.isfinite(seconds)] / shown).tolist()
    return {kind: float(np.mean(values)) for kind, values in rates.items() if values}
