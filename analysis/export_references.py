"""Write MP2 energies of a store, by fragment and energy part, and its geometries into hbcoop_dist/references.

Rows of the same chain and level are replaced, all others stay.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.records import cell_status, complex_of
from hbcoop_dist.campaigns.hbond.spec import Cell
from hbcoop_dist.campaigns.runner import task_results
from hbcoop_dist.cli.store_commands import specs_of
from hbcoop_dist.cooperativity.equation import FRAGMENTS, hbond_cooperativity
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.references.bundled import PARTS

FOLDER = Path(__file__).resolve().parents[1] / "hbcoop_dist" / "references"
LEVEL = ["basis", "frozen_core", "counterpoise"]
CHAIN = ["pattern", "length", "capping", "geometry", "rotamer"]


def main(
    store: Annotated[Path, typer.Argument(help="Store of a campaign of rimp2:... models.")],
    geometry: Annotated[str, typer.Argument(help="Label of its geometries, e.g. so3lr.")],
    name: Annotated[str, typer.Argument(help="Name of these geometries in the package, e.g. nma-so3lr.")],
    machine: Annotated[str, typer.Argument(help="Hardware of the computation, e.g. 'one NVIDIA H200'.")],
) -> None:
    """Export every done cell at GEOMETRY and print how many there are."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise ValueError(f"NAME: expected small letters, digits, dots and hyphens, found {name!r}")
    results = {result.key: result for result in task_results(store)}
    fragments, runs = [], []
    for spec in specs_of(hb.open_store(store), store):
        plan = hb.plan(spec)
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


def _done(plan: Plan, cell: Cell, results: dict[str, TaskResult]) -> bool:
    tasks = plan.cell_tasks[cell]
    keys = [*tasks.complex.keys, *(key for dimer in tasks.dimers for key in dimer.keys)]
    return all(key in results for key in keys) and cell_status(tasks, results.__getitem__)[0] == "done"


def _labels(plan: Plan, cell: Cell, name: str) -> dict[str, object]:
    options = plan.sources[cell.model].card.options
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


def _fragments(plan: Plan, cell: Cell, name: str, results: dict[str, TaskResult]) -> list[dict[str, object]]:
    points = np.array([_points(plan, cell, np.eye(3)[part], results) for part in range(3)])
    return [
        _labels(plan, cell, name)
        | {"hbond": hbond + 1, "fragment": fragment}
        | dict(zip(PARTS, (round(float(value), 10) for value in points[:, hbond, at]), strict=True))
        for hbond in range(points.shape[1])
        for at, fragment in enumerate(FRAGMENTS)
    ]


def _points(plan: Plan, cell: Cell, weights: np.ndarray, results: dict[str, TaskResult]) -> list[np.ndarray]:
    find = partial(complex_of, plan, results=results.__getitem__, weights=weights)
    tasks = plan.cell_tasks[cell]
    whole = find(tasks.complex)
    return [
        hbond_cooperativity(whole.structure, whole.energies, bond, dimer.structure, dimer.energies).points
        for bond, dimer in enumerate(map(find, tasks.dimers), 1)
    ]


def _run(plan: Plan, cell: Cell, name: str, machine: str, results: dict[str, TaskResult]) -> dict[str, object]:
    """Wall time of the complex's own fragments; its isolated dimers are those of the chain of two."""
    runs = [results[key] for key in plan.cell_tasks[cell].complex.energies]
    versions = json.loads(runs[0].provenance["versions"])
    return _labels(plan, cell, name) | {
        "fragments": sum(len(np.asarray(result.data["members"])) for result in runs),
        "seconds": round(sum(result.seconds for result in runs), 1),
        "machine": machine,
        "device": runs[0].provenance["device"],
        "pyscf": versions.get("pyscf", ""),
        "computed_at": max(result.provenance["computed_at"] for result in runs)[:10],
        "task_key": runs[-1].key,
    }


def _write_geometry(plan: Plan, cell: Cell, name: str, results: dict[str, TaskResult]) -> None:
    from ase.io import write

    structure = complex_of(plan, plan.cell_tasks[cell].complex, results.__getitem__).structure
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
