"""`hbcoop status`, `analyse` and `report` for stores of generalization campaigns.

What a generalization campaign would cost, from the times that another one took.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import typer
import xarray as xr
from rich import box
from rich.console import Console
from rich.table import Table

from hbcoop_dist.analysis.generalization_errors import errors_table
from hbcoop_dist.analysis.tables import errors_in_terminal
from hbcoop_dist.campaigns.generalization.planner import GeneralizationPlan
from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.cli.terminal import progress_lines
from hbcoop_dist.store import StoreError, is_archive, open_store, write_archive

_GOOD = ("done", "skipped")


def specs_of(store: Path) -> list[GeneralizationSpec]:
    """The campaigns that a store was made and grown by, each once.

    Raises
    ------
    StoreError
        When the store does not say, or says what this version cannot read.
    """
    try:
        texts = dict.fromkeys(str(event["spec"]) for event in json.loads(_open(store).attrs["history"]))
        return [GeneralizationSpec.model_validate_json(text) for text in texts]
    except (KeyError, ValueError) as error:
        raise StoreError(f"{store}: expected campaigns in the attribute history, found {error}") from None


def status(store: Path, console: Console) -> bool:
    """The run that goes on, counts by set, split and status, then reasons; True when all is done or skipped."""
    for line in progress_lines(store):
        console.print(line, highlight=False)
    ds = _open(store)
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("set", "split", "networks"):
        table.add_column(heading)
    for dataset in ds["dataset"].values:
        for split in ds["split"].values:
            here = ds["status"].sel(dataset=dataset, split=split).values.ravel().tolist()
            counts = ", ".join(f"{count} {name}" for name, count in sorted(Counter(here).items()))
            table.add_row(str(dataset), str(split), counts)
    console.print(table)
    stacked = ds[["status", "reason"]].to_dataframe()
    left = stacked[~stacked["status"].isin(["done", "pending"])]
    for (name, reason), group in left.groupby(["status", "reason"]):
        console.print(f"  {len(group)} {name}: {reason}", highlight=False, markup=False)
    return bool(stacked["status"].isin(_GOOD).all())


def analyse(store: Path, console: Console, figure: Path | None) -> None:
    """Errors by set, split and scheme; the figure of them when a path is given."""
    ds = _open(store)
    console.print(errors_in_terminal(ds))
    if figure is not None:
        from hbcoop_dist.analysis.plots import errors_by_split, save_figure

        save_figure(errors_by_split(ds), figure)
        others = ds.sizes["dataset"] * ds.sizes["architecture"] - 1
        more = f"; of the first set and network, {others} more in hbcoop report" if others else ""
        console.print(f"figure: {figure}{more}", highlight=False, markup=False)


def export(store: Path, output: Path) -> str:
    """Write the errors of all networks (csv, mean over seeds) or the whole store (zip); says how much that was."""
    ds = _open(store)
    if output.suffix.lower() == ".csv":
        frame = errors_table(ds)
        frame.to_csv(output, index=False)
        return f"{len(frame)} networks"
    if not is_archive(output):
        raise typer.BadParameter(
            f"--output: expected a file ending in .csv or .zip for trained networks, found {output}"
        )
    write_archive(ds, None, output)
    return f"{int((ds['status'] == 'done').sum())} networks"


def _open(store: Path) -> xr.Dataset:
    return open_store(store, kind=KIND)


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
