"""`hbcoop bridge`: the networks of a generalization store as a campaign of hydrogen bonds.

Does the middle bond keep growing after its first neighbour, with a long-range scheme and without?
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from hbcoop_dist.campaigns.generalization.model_files import model_path
from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.campaigns.generalization.spec import CELL_DIMS, TrainingCell
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.cli.output_files import check_output
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.store import open_store


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
    """Write a campaign of hydrogen bonds for the trained networks of a store and the models that labelled their sets.

    Then:  hbcoop run bridge.yaml bridge.zarr
    """
    check_output(output, store)
    ds = open_store(store, kind=KIND)
    wanted = {"dataset": dataset, "split": split, "architecture": architecture, "seed": seed}
    for dim, label in wanted.items():
        if label is not None and label not in ds[dim].values:
            known = ", ".join(map(str, ds[dim].values))
            raise typer.BadParameter(f"--{dim}: expected one of {known}, found {label}")
    statuses: Any = ds["status"].to_series().items()
    cells = [
        TrainingCell(*labels)
        for labels, status in statuses
        if status == "done" and all(wanted.get(dim) in (None, one) for dim, one in zip(CELL_DIMS, labels, strict=True))
    ]
    if not cells:
        raise typer.BadParameter(f"{store}: expected trained networks among those asked for, found none")
    if absent := [path for cell in cells if not (path := model_path(store, cell)).is_file()]:
        raise typer.BadParameter(f"{store}: expected its trained networks beside it, found no {absent[0]}")
    models: list[Any] = [
        {"name": cell.name, "family": "trained", "checkpoint": str(model_path(store, cell))} for cell in cells
    ]
    campaign = {
        "campaign": f"bridge of {store.stem}",
        "kind": "hbond",
        "models": [*_teachers(ds, {cell.dataset for cell in cells}), *models],
        "patterns": patterns or ["arc"],
        "lengths": [int(one) if one.isdigit() else one for one in lengths.replace(" ", "").split(",")],
        "capping": "none",
    }
    try:
        CampaignSpec.model_validate(campaign)
    except ValidationError as error:
        # the rest of the campaign is ours
        wrong = error.errors()[0]
        option = {"lengths": "--lengths", "patterns": "--pattern"}[str(wrong["loc"][0])]
        raise typer.BadParameter(f"{option}: {_plain(str(wrong['msg']))}") from None
    output.write_text(dump_yaml(campaign), encoding="utf-8")
    typer.echo(f"{output}: {len(models)} networks; next: hbcoop run {output} {output.with_suffix('.zarr')}")


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "expected")


def _teachers(ds: Any, datasets: set[str]) -> list[str]:
    """Models that labelled these sets; a set from files has none."""
    found = []
    for name in ds["dataset"].values.tolist():
        definition = json.loads(str(ds["dataset_definition"].sel(dataset=name).item()))
        if name in datasets and definition["generate"] is not None:
            found.append(definition["teacher"])
    return list(dict.fromkeys(found))
