"""`hbcoop status`, `analyse` and `report` for stores of generalization campaigns."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import typer
import xarray as xr
from rich import box
from rich.console import Console
from rich.table import Table

from hbcoop_dist.analysis.errors_table import errors_in_terminal
from hbcoop_dist.analysis.generalization import errors_table
from hbcoop_dist.commands.progress_lines import progress_lines
from hbcoop_dist.generalization_run.schema import KIND
from hbcoop_dist.generalization_run.spec import GeneralizationSpec
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
        from hbcoop_dist.analysis import save_figure
        from hbcoop_dist.analysis.figures_generalization import errors_by_split

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
