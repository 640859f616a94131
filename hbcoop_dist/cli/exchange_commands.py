"""`hbcoop export`, `compare` and `merge`: what leaves a store, and what two stores have to do with one another."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import pandas as pd
import typer
import xarray as xr
from rich.console import Console

from hbcoop_dist import analysis
from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.cli import generalization_commands as generalization_command
from hbcoop_dist.cli.output_files import check_output, size_of
from hbcoop_dist.store import (
    has_systems,
    is_archive,
    kind_of_store,
    merge_stores,
    open_store,
    open_systems,
    write_archive,
)
from hbcoop_dist.structures.chains import CELL_DIMS

StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="The campaign's Zarr store.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="DIM=LABEL,...", help="Only these, e.g. model=so3lr,ani-2x; may be repeated."),
]
_SHOWN = ("cooperative_energy", "interaction_energy", "distance_on")
_DIFFERENT = 1
_Writer = Callable[[xr.Dataset, Path, Path], str]
"""Takes what to write, where to, and the store it is from; says how much it wrote."""


def export(
    store: StoreArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File ending in .csv, .parquet, .json, .xyz, .extxyz, .zip.")
    ],
    where: WhereOption = None,
) -> None:
    """Write a store, or part of it: H-bonds (csv, parquet), leaderboard (json), geometries (xyz), everything (zip).

    Of trained networks: errors (csv), everything (zip).

    A zipped store is read in place by every command that reads one, and by xarray; hosts and folders stay out of it.
    """
    writer = _WRITERS.get(output.suffix.lower())
    if writer is None:
        raise typer.BadParameter(f"--output: expected a file ending in {', '.join(_WRITERS)}, found {output}")
    check_output(output, store)
    if kind_of_store(store) == KIND:
        if where:
            raise typer.BadParameter(f"--where: expected none beside a store of trained networks, found {where[0]}")
        typer.echo(f"{output}: {generalization_command.export(store, output)}")
        return
    ds = _selected(open_store(store), where)
    written = writer(ds, output, store)
    # a file without numbers is no mistake, but nobody should find that out from the file
    nothing = "" if (ds["status"] == "done").any() else f"; 0 done of {ds['status'].size} cells"
    typer.echo(f"{output}: {written}{nothing}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A store.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    where: WhereOption = None,
    pair: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NAME", help="A model of A and the one of B it is compared with.")
    ] = None,
    fail_above: Annotated[
        float | None, typer.Option(min=0.0, help="Exit with 1 when a cooperative energy differs by more, kcal/mol.")
    ] = None,
) -> None:
    """Compare two stores H-bond by H-bond: by how much B differs from A, where most, and what only one of them has."""
    one, other = open_store(first), open_store(second)
    pairs = dict(_split(text, "--pair", "NAME=NAME") for text in pair or ())
    for dim_of, names in ((one, pairs), (other, pairs.values())):
        if unknown := set(names) - set(map(str, dim_of["model"].values)):
            raise typer.BadParameter(f"--pair: expected a model of the store, found {', '.join(sorted(unknown))}")
    found = analysis.compare(_selected(one, where), other, {second: first for first, second in pairs.items()})
    if where:
        found = found[_asked(found, where)]
    console = Console()
    for line in _differences(found):
        console.print(line, highlight=False, markup=False)
    worst = found["cooperative_energy"].abs().max()
    if fail_above is not None and (np.isnan(worst) or worst > fail_above):
        said = "no H-bond is done in both" if np.isnan(worst) else f"largest difference {worst:.3g} kcal/mol"
        typer.echo(f"{said}, allowed {fail_above:g}", err=True)
        raise typer.Exit(_DIFFERENT)


def merge(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Two stores or more, of one protocol.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The store to make, zipped or not; must not exist.")],
) -> None:
    """Make one store of several: cells, marked systems and journals; what is done in two must agree.

    Zipped stores have no journal: what is done in them stays done, what is asked for beyond that starts from nothing.
    """
    if len(stores) < 2:
        raise typer.BadParameter(f"expected two stores or more, found {len(stores)}")
    if not is_archive(output):
        typer.echo(f"{output}: {merge_stores(stores, output)}")
        return
    check_output(output)
    if output.exists():
        raise typer.BadParameter(f"--output: expected nothing there, found {output}")
    with TemporaryDirectory(dir=output.parent, prefix=f"{output.name}.") as folder:
        merged = Path(folder) / "merged.zarr"
        said = merge_stores(stores, merged)
        typer.echo(f"{output}: {said}, {_archive(open_store(merged), output, merged)}")


def _split(text: str, option: str, form: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name or not value:
        raise typer.BadParameter(f"{option}: expected {form}, found {text!r}")
    return name, value


def _where(where: Sequence[str] | None) -> dict[str, list[str]]:
    """Rotamer labels hold commas, so those are separated by semicolons."""
    parsed: dict[str, list[str]] = {}
    for text in where or ():
        dim, labels = _split(text, "--where", "DIM=LABEL,...")
        parsed[dim] = [label.strip() for label in labels.split(";" if dim == "rotamer" else ",")]
    return parsed


def _selected(ds: xr.Dataset, where: Sequence[str] | None) -> xr.Dataset:
    try:
        return analysis.select(ds, _where(where))
    except ValueError as error:
        raise typer.BadParameter(f"--where: {error}") from None


def _asked(found: pd.DataFrame, where: Sequence[str]) -> pd.Series:
    keep = pd.Series(True, index=found.index)
    for dim, labels in _where(where).items():
        keep &= found[dim].astype(str).isin(labels)
    return keep


def _differences(found: pd.DataFrame) -> list[str]:
    lines = []
    for model, rows in found.groupby("model", sort=False):
        both = rows["cooperative_energy"].notna()
        words = f"{model}: {int(both.sum())} H-bonds done in both"
        for only, here, elsewhere in (("A", "first", "second"), ("B", "second", "first")):
            # what is not done in one store and not there in the other is in neither
            there = (rows[f"status_{here}"] == "done") & rows[f"status_{elsewhere}"].isna()
            words += f", {int(there.sum())} only in {only}" if there.any() else ""
        changed = rows["status_first"].notna() & rows["status_second"].notna()
        changed &= rows["status_first"] != rows["status_second"]
        pairs = zip(rows.loc[changed, "status_first"], rows.loc[changed, "status_second"], strict=True)
        for (before, after), count in Counter(pairs).items():
            words += f", {count} {before} in A and {after} in B"
        lines.append(words)
        for name in _SHOWN if both.any() else ():
            worst = analysis.largest(rows, name).iloc[0]
            at = ", ".join(f"{worst[dim]}" for dim in CELL_DIMS[1:]) + f", H-bond {worst['hbond']}"
            unit = "A" if name == "distance_on" else "kcal/mol"
            lines.append(f"  {name.replace('_', ' ')}: largest difference {worst[name]:+.2g} {unit} ({at})")
    return lines


def _table(write: Callable[[pd.DataFrame, Path], None]) -> _Writer:
    def written(ds: xr.Dataset, path: Path, store: Path) -> str:
        table = analysis.tidy(ds)
        write(table, path)
        return f"{len(table)} H-bonds"

    return written


def _parquet(table: pd.DataFrame, path: Path) -> None:
    try:
        table.to_parquet(path, index=False)
    except ImportError:
        raise typer.BadParameter(f"--output: expected pyarrow to be installed for {path}, found none") from None


def _json(ds: xr.Dataset, path: Path, store: Path) -> str:
    board = analysis.leaderboard(ds)
    path.write_text(json.dumps(board, indent=1, allow_nan=False))
    return f"{ds.sizes['model']} models"


def _archive(ds: xr.Dataset, path: Path, store: Path) -> str:
    write_archive(ds, open_systems(store) if has_systems(store) else None, path)
    return size_of(path)


def _geometries(ds: xr.Dataset, path: Path, store: Path) -> str:
    from ase.io import write

    frames = list(analysis.geometries(ds))
    write(path, frames, format="extxyz")
    return f"{len(frames)} geometries"


_WRITERS: dict[str, _Writer] = {
    ".csv": _table(lambda table, path: table.to_csv(path, index=False)),
    ".parquet": _table(_parquet),
    ".json": _json,
    ".xyz": _geometries,
    ".extxyz": _geometries,
    ".zip": _archive,
}
