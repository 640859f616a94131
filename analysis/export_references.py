"""Write MP2 energies of a store, by fragment and energy part, and its geometries into hbcoop_dist/references.

Rows of the same chain and level are replaced, all others stay.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.kind import KIND
from hbcoop_dist.campaigns.hbond.plan import HBondPlan
from hbcoop_dist.campaigns.hbond.records import cell_status, computed_structure
from hbcoop_dist.campaigns.hbond.spec import Cell
from hbcoop_dist.campaigns.kind import load_from_history, specs_in_history
from hbcoop_dist.campaigns.model_tasks import FragmentResult
from hbcoop_dist.campaigns.runner import stored_results
from hbcoop_dist.cooperativity.equation import FRAGMENTS, hbond_cooperativity
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.references.bundled import PARTS
from hbcoop_dist.store import history_of

FOLDER = Path(__file__).resolve().parents[1] / "hbcoop_dist" / "references"
LEVEL = ["basis", "frozen_core", "counterpoise"]
CHAIN = ["pattern", "length", "capping", "geometry", "rotamer"]

Results = dict[str, TaskResult[Any]]


def main(
    store: Annotated[Path, typer.Argument(help="Store of a campaign of rimp2:... models.")],
    geometry: Annotated[str, typer.Argument(help="Label of its geometries, e.g. so3lr.")],
    name: Annotated[str, typer.Argument(help="Name of these geometries in the package, e.g. nma-so3lr.")],
    machine: Annotated[str, typer.Argument(help="Hardware of the computation, e.g. 'one NVIDIA H200'.")],
) -> None:
    """Export every done cell at GEOMETRY and print how many there are."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise ValueError(f"NAME: expected small letters, digits, dots and hyphens, found {name!r}")
    results = {result.key: result for result in stored_results(store, KIND.payloads)}
    fragments, runs = [], []
    for spec in specs_in_history(history_of(store)):
        plan = hb.plan(load_from_history(spec))
        for cell in plan.cell_tasks:
            if cell.geometry != geometry or not cell.model.startswith("rimp2:") or not _done(plan, cell, results):
                continue
            fragments += _fragments(plan, cell, name, results)
            runs.append(_run(plan, cell, name, machine, results))
            _write_geometry(plan, cell, name, results)
    if not runs:
        raise ValueError(f"expected done cells of rimp2:... at geometry {geometry}, found none; nothing was written")
    _merge("fragments.csv", pd.DataFrame(fragments), [*CHAIN, "hbond", *LEVEL, "fragment"])
    _merge("runs.csv", pd.DataFrame(runs), [*CHAIN, *LEVEL])
    print(f"{len(runs)} chains and levels, {len(fragments)} fragment energies")


def _done(plan: HBondPlan, cell: Cell, results: Results) -> bool:
    tasks = plan.cell_tasks[cell]
    keys = [*tasks.chain.keys, *(key for dimer in tasks.dimers for key in dimer.keys)]
    return all(key in results for key in keys) and cell_status(tasks, results.__getitem__)[0] == "done"


def _labels(plan: HBondPlan, cell: Cell, name: str) -> dict[str, object]:
    source = plan.sources[cell.model]
    assert isinstance(source, ModelSource)
    options = source.card.options
    return {
        "pattern": cell.pattern,
        "length": cell.length,
        "capping": cell.capping,
        "geometry": name,
        "rotamer": cell.rotamer,
        "basis": cell.model.split(":")[1],
        "frozen_core": bool(options["frozen_core"]),
        "counterpoise": bool(options.get("counterpoise", False)),
    }


def _fragments(plan: HBondPlan, cell: Cell, name: str, results: Results) -> list[dict[str, object]]:
    points = np.array([_points(plan, cell, np.eye(3)[part].tolist(), results) for part in range(3)])
    return [
        _labels(plan, cell, name)
        | {"hbond": hbond + 1, "fragment": fragment}
        | dict(zip(PARTS, (round(float(value), 10) for value in points[:, hbond, at]), strict=True))
        for hbond in range(points.shape[1])
        for at, fragment in enumerate(FRAGMENTS)
    ]


def _points(plan: HBondPlan, cell: Cell, weights: list[float], results: Results) -> list[np.ndarray]:
    find = partial(computed_structure, plan, results=results.__getitem__, weights=weights)
    tasks = plan.cell_tasks[cell]
    whole = find(tasks.chain)
    return [
        hbond_cooperativity(whole.structure, whole.energies, bond, dimer.structure, dimer.energies).points
        for bond, dimer in enumerate(map(find, tasks.dimers), 1)
    ]


def _run(plan: HBondPlan, cell: Cell, name: str, machine: str, results: Results) -> dict[str, object]:
    """Wall time of the chain's own fragments; its isolated dimers are those of the chain of two."""
    runs = [results[key] for key in plan.cell_tasks[cell].chain.energies]
    versions = json.loads(runs[0].provenance.versions)
    return _labels(plan, cell, name) | {
        "fragments": sum(len(result.payload_as(FragmentResult).members) for result in runs),
        "seconds": round(sum(result.seconds for result in runs), 1),
        "machine": machine,
        "device": runs[0].provenance.device,
        "pyscf": versions.get("pyscf", ""),
        "computed_at": max(result.provenance.computed_at for result in runs)[:10],
        "task_key": runs[-1].key,
    }


def _write_geometry(plan: HBondPlan, cell: Cell, name: str, results: Results) -> None:
    from ase.io import write

    structure = computed_structure(plan, plan.cell_tasks[cell].chain, results.__getitem__).structure
    folder = FOLDER / "geometries" / name
    folder.mkdir(parents=True, exist_ok=True)
    capped = "" if cell.capping == "none" else f"-{cell.capping}"
    path = folder / f"{cell.pattern}-{cell.length}{capped}.xyz"
    write(path, structure.to_ase(), format="extxyz", columns=["symbols", "positions"], write_info=False)


def _merge(name: str, rows: pd.DataFrame, keys: list[str]) -> None:
    path = FOLDER / name
    before = pd.read_csv(path) if path.exists() else rows.iloc[:0]
    first = [*keys, *(column for column in rows.columns if column not in keys)]
    merged = pd.concat([before, rows])[first].drop_duplicates(keys, keep="last")
    merged.sort_values(keys, kind="stable", key=_order).to_csv(path, index=False)


def _order(column: pd.Series) -> pd.Series:
    return column.map(FRAGMENTS.index) if column.name == "fragment" else column


if __name__ == "__main__":
    typer.run(main)
