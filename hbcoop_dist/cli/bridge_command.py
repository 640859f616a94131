"""`hbcoop bridge`: write a bridge campaign, which runs the networks of a generalization store in chains of NMA.

A bridge campaign is a hydrogen-bond campaign whose models are trained networks, beside the models that labelled their
training sets. It connects errors on held-out structures with cooperativity in chains.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hbcoop_dist.cli.store_commands import check_output

if TYPE_CHECKING:
    import xarray as xr


def bridge(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store of a generalization campaign.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Campaign file to write.")] = Path("bridge.yaml"),
    dataset: Annotated[str | None, typer.Option(help="Only networks trained on this set.")] = None,
    split: Annotated[str | None, typer.Option(help="Only networks trained on this split.")] = None,
    architecture: Annotated[str | None, typer.Option(help="Only networks of this architecture.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only networks of this seed.")] = None,
    lengths: Annotated[str, typer.Option(help="Chain lengths, e.g. 2..8 or 2,3,4.")] = "2..8",
    patterns: Annotated[list[str] | None, typer.Option("--pattern", help="arc, linear; repeatable.")] = None,
) -> None:
    """Write a hydrogen-bond campaign of the trained networks of a store and the models that labelled their sets.

    Then:  hbcoop run bridge.yaml bridge.zarr
    """
    from hbcoop_dist.core.yaml_source import dump_yaml
    from hbcoop_dist.store import open_store

    check_output(output, store)
    ds = open_store(store, kind="generalization")
    labels = {"dataset": dataset, "split": split, "architecture": architecture, "seed": seed}
    networks, datasets = _networks(ds, store, {dim: label for dim, label in labels.items() if label is not None})
    campaign: dict[str, Any] = {
        "campaign": f"bridge of {store.stem}",
        "kind": "hbond",
        "models": [*_labelling_models(ds, datasets), *networks],
        "patterns": patterns or ["arc"],
        "lengths": [int(part) if part.isdigit() else part for part in lengths.replace(" ", "").split(",")],
        "capping": "none",
    }
    _check_options(campaign)
    output.write_text(dump_yaml(campaign), encoding="utf-8")
    typer.echo(f"{output}: {len(networks)} networks; next: hbcoop run {output} {output.with_suffix('.zarr')}")


def _networks(ds: xr.Dataset, store: Path, labels: Mapping[str, object]) -> tuple[list[dict[str, str]], set[str]]:
    """Model entries of the done networks with these labels, and the sets they were trained on."""
    from hbcoop_dist.campaigns.generalization.array_files import model_path
    from hbcoop_dist.campaigns.generalization.spec import CELL_DIMS, TrainingCell

    for dim, label in labels.items():
        if label not in ds[dim].values:
            axis = ", ".join(map(str, ds[dim].values))
            raise typer.BadParameter(f"--{dim}: expected one of {axis}, found {label}")
    statuses: Any = ds["status"].to_series().items()
    cells = [
        TrainingCell(*index)
        for index, status in statuses
        if status == "done" and labels.items() <= dict(zip(CELL_DIMS, index, strict=True)).items()
    ]
    if not cells:
        raise typer.BadParameter(f"{store}: expected trained networks with these labels, found none")
    if missing := [path for cell in cells if not (path := model_path(store, cell)).is_file()]:
        raise typer.BadParameter(f"{store}: expected its trained networks beside it, found no {missing[0]}")
    entries = [{"name": cell.name, "family": "trained", "checkpoint": str(model_path(store, cell))} for cell in cells]
    return entries, {cell.dataset for cell in cells}


def _labelling_models(ds: xr.Dataset, datasets: set[str]) -> list[str]:
    """Models that labelled these sets, each once; sets read from files have none."""
    models = []
    for name in ds["dataset"].values.tolist():
        definition = json.loads(str(ds["dataset_definition"].sel(dataset=name).item()))
        if name in datasets and definition["generate"] is not None:
            models.append(definition["teacher"])
    return list(dict.fromkeys(models))


def _check_options(campaign: Mapping[str, Any]) -> None:
    """Validate the campaign; only its lengths and patterns come from the user."""
    from pydantic import ValidationError

    from hbcoop_dist.campaigns.hbond.spec import HBondSpec

    try:
        HBondSpec.model_validate(campaign)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"lengths": "--lengths", "patterns": "--pattern"}[str(first["loc"][0])]
        message = str(first["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
        raise typer.BadParameter(f"{option}: {message}") from None
