"""Several stores as one: nothing lost, nothing changed, conflicts named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from stores import differences
from typer.testing import CliRunner

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.cli.main import app
from hbcoop_dist.store import (
    Journal,
    ProtocolMismatchError,
    StoreError,
    StoreLock,
    StoreLockedError,
    journal_path,
    merge_stores,
    open_systems,
    verify,
)
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.construction import build

WHOLE: dict[str, Any] = {"models": ["toy", "toy-additive"], "lengths": [2, 3], "capping": "none"}


def run(path: Path, **fields: Any) -> Path:
    spec = CampaignSpec.model_validate({"campaign": "test", **fields})
    assert hb.run(hb.plan(spec), path, serial=True).ok
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One campaign whole, and in three parts that overlap."""
    path = tmp_path_factory.mktemp("merge")
    run(path / "whole.zarr", **WHOLE)
    run(path / "a.zarr", models=["toy"], lengths=[3])
    run(path / "b.zarr", models=["toy", "toy-additive"], lengths=[2])
    run(path / "c.zarr", models=["toy-additive"], lengths=[3])
    return path


def test_parts_put_together_are_the_whole(folder: Path, tmp_path: Path) -> None:
    said = merge_stores([folder / f"{name}.zarr" for name in "abc"], tmp_path / "m.zarr")
    assert said == "4 cells of 2 models, 4 done"
    assert differences(folder / "whole.zarr", tmp_path / "m.zarr") == []
    assert verify(tmp_path / "m.zarr") == []
    assert xr.open_zarr(tmp_path / "m.zarr").sizes["model"] == 2


def test_a_campaign_goes_on_in_the_merged_store_without_computing_anything_again(folder: Path, tmp_path: Path) -> None:
    merge_stores([folder / f"{name}.zarr" for name in "abc"], tmp_path / "m.zarr")
    spec = CampaignSpec.model_validate({"campaign": "test", **WHOLE})
    assert hb.run(hb.plan(spec), tmp_path / "m.zarr", serial=True).computed == 0
    keys = set(Journal(journal_path(folder / "whole.zarr")).keys())
    assert keys == set(Journal(journal_path(tmp_path / "m.zarr")).keys())
    events = [event["event"] for event in json.loads(hb.open_store(tmp_path / "m.zarr").attrs["history"])]
    assert "merged from a.zarr, b.zarr, c.zarr" in events


def test_what_is_missing_stays_missing_and_done_comes_before_failed(folder: Path, tmp_path: Path) -> None:
    from hbcoop_dist.store import StoreWriter

    run(tmp_path / "d.zarr", models=["toy"], lengths=[3])
    with StoreWriter(tmp_path / "d.zarr") as writer:
        writer.mark(writer.layout.cells(), "failed", "spoilt")  # type: ignore[arg-type]
    run(tmp_path / "e.zarr", models=["toy"], lengths=[2])
    merge_stores(
        [tmp_path / f"{name}.zarr" for name in "de"] + [folder / f"{name}.zarr" for name in "ca"], tmp_path / "m.zarr"
    )
    status = hb.open_store(tmp_path / "m.zarr")["status"].squeeze()
    assert status.sel(model="toy", length=3).item() == "done"
    assert status.sel(model="toy-additive", length=2).item() == "pending"
    energy = hb.open_store(tmp_path / "m.zarr")["energy"].squeeze()
    assert np.isnan(energy.sel(model="toy-additive", length=2))


def test_another_protocol_is_refused_by_field_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    run(tmp_path / "t.zarr", models=["toy"], lengths=[2], minimize={"max_force": 1e-4})
    with pytest.raises(ProtocolMismatchError, match=r"minimize.max_force: a.zarr has 1e-05, t.zarr has 0.0001"):
        merge_stores([folder / "a.zarr", tmp_path / "t.zarr"], tmp_path / "m.zarr")
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("m.zarr")} <= {"m.zarr.lock"}


def test_cells_done_by_different_tasks_are_named(folder: Path, tmp_path: Path) -> None:
    """The same labels, another geometry under the same name."""
    from ase.io import write

    for name, shift in (("one", 0.0), ("two", 0.05)):
        (tmp_path / name / "qm").mkdir(parents=True)
        chain = build(make_chain("arc", 2))
        positions = chain.positions + np.where(chain.molecules[:, None] == 1, [0.0, shift, 0.0], 0.0)
        write(tmp_path / name / "qm" / "arc.xyz", chain.with_positions(positions).to_ase(), format="extxyz")
        run(tmp_path / f"{name}.zarr", models=["toy"], lengths=[2], geometry=[str(tmp_path / name / "qm")])
    with pytest.raises(StoreError, match=r"cells that are done in two stores .* toy; arc; 2; none; qm; cis-N, trans-C"):
        merge_stores([tmp_path / "one.zarr", tmp_path / "two.zarr"], tmp_path / "m.zarr")
    assert not (tmp_path / "m.zarr").exists()


def test_a_store_that_is_being_written_and_an_output_that_exists_are_refused(folder: Path, tmp_path: Path) -> None:
    with StoreLock(folder / "a.zarr"), pytest.raises(StoreLockedError):
        merge_stores([folder / "a.zarr", folder / "b.zarr"], tmp_path / "m.zarr")
    with pytest.raises(StoreError, match="expected nothing there, and no journal beside it, found one"):
        merge_stores([folder / "a.zarr", folder / "b.zarr"], folder / "c.zarr")


def test_marked_systems_come_along(folder: Path, tmp_path: Path) -> None:
    from ase.io import write

    systems = []
    for length in (3, 4):
        write(tmp_path / f"{length}.xyz", build(make_chain("arc", length)).to_ase(), format="extxyz")
        systems.append({"name": f"n{length}", "file": str(tmp_path / f"{length}.xyz"), "A": ["0-11"], "B": ["12-23"]})
    run(tmp_path / "one.zarr", models=["toy"], systems=systems[:1])
    run(tmp_path / "two.zarr", models=["toy", "toy-additive"], systems=systems[1:])
    two = zipped(tmp_path / "two.zarr", tmp_path / "two.zarr.zip")
    run(tmp_path / "both.zarr", models=["toy", "toy-additive"], systems=systems)
    merge_stores([folder / "a.zarr", tmp_path / "one.zarr", two], tmp_path / "m.zarr")
    merged, both = open_systems(tmp_path / "m.zarr"), open_systems(tmp_path / "both.zarr")
    assert merged["status"].sel(model="toy-additive", system="n3").item() == "pending"
    here = merged.sel(model="toy", system=["n3", "n4"])
    for name in ("cooperative_energy", "positions", "atomic_number", "part", "digest"):
        np.testing.assert_array_equal(here[name], both.sel(model="toy", system=["n3", "n4"])[name])
    assert xr.open_zarr(tmp_path / "m.zarr", group="systems").sizes["system"] == 2


def zipped(store: Path, output: Path, *options: str) -> Path:
    exported = CliRunner().invoke(app, ["export", str(store), "-o", str(output), *options])
    assert exported.exit_code == 0, exported.output
    return output


def test_archives_are_merged_as_folders_are(folder: Path, tmp_path: Path) -> None:
    packed = [zipped(folder / f"{name}.zarr", tmp_path / f"{name}.zarr.zip") for name in "ac"]
    before = [path.read_bytes() for path in packed]
    assert merge_stores([*packed, folder / "b.zarr"], tmp_path / "m.zarr") == "4 cells of 2 models, 4 done"
    assert differences(folder / "whole.zarr", tmp_path / "m.zarr") == []
    assert verify(tmp_path / "m.zarr") == []
    assert [path.read_bytes() for path in packed] == before
    assert not list(tmp_path.glob("*.zip.*")), "nothing is put beside what is only read"


def test_a_part_of_an_archive_finds_its_place(folder: Path, tmp_path: Path) -> None:
    """Its lengths are in the order of who chose it, and its axes longer than they need to be."""
    run(tmp_path / "five.zarr", models=["toy"], lengths=[2, 3, 5], capping=["none", "water"])
    part = zipped(tmp_path / "five.zarr", tmp_path / "p.zarr.zip", "--where", "length=3,2", "--where", "capping=none")
    assert hb.open_store(part)["length"].values.tolist() == [3, 2]
    other = zipped(folder / "whole.zarr", tmp_path / "o.zarr.zip", "--where", "model=toy-additive")
    merge_stores([part, other], tmp_path / "m.zarr")
    assert differences(folder / "whole.zarr", tmp_path / "m.zarr") == []


def test_parts_of_one_store_become_that_store_again(folder: Path, tmp_path: Path) -> None:
    packed = [
        zipped(folder / "b.zarr", tmp_path / f"{model}.zarr.zip", "--where", f"model={model}")
        for model in ("toy", "toy-additive")
    ]
    merge_stores(packed, tmp_path / "m.zarr")
    assert differences(folder / "b.zarr", tmp_path / "m.zarr") == []
    before, after = (
        json.loads(hb.open_store(path).attrs["history"]) for path in (folder / "b.zarr", tmp_path / "m.zarr")
    )
    assert [event["event"] for event in after] == [
        *(event["event"] for event in before),
        "merged from toy.zarr.zip, toy-additive.zarr.zip",
    ]


def test_a_campaign_goes_on_from_archives_with_what_they_lack(folder: Path, tmp_path: Path) -> None:
    packed = [zipped(folder / f"{name}.zarr", tmp_path / f"{name}.zarr.zip") for name in "ab"]
    merge_stores(packed, tmp_path / "m.zarr")
    done = hb.run(hb.plan(CampaignSpec.model_validate({"campaign": "test", **WHOLE})), tmp_path / "m.zarr", serial=True)
    assert done.computed > 0
    assert differences(folder / "whole.zarr", tmp_path / "m.zarr") == []
    keys = set(Journal(journal_path(tmp_path / "m.zarr")).keys())
    assert keys == set(Journal(journal_path(folder / "c.zarr")).keys()), "only the cell that is new"


def test_a_merged_archive_holds_what_a_merged_folder_does(folder: Path, tmp_path: Path) -> None:
    stores = [str(zipped(folder / f"{name}.zarr", tmp_path / f"{name}.zarr.zip")) for name in "abc"]
    output = tmp_path / "m.zarr.zip"
    done = CliRunner().invoke(app, ["merge", *stores, "-o", str(output)])
    assert (done.exit_code, "4 cells of 2 models, 4 done" in done.output) == (0, True), done.output
    assert differences(folder / "whole.zarr", output) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.zarr.zip" for name in "abcm"]
    again = CliRunner().invoke(app, ["merge", *stores, "-o", str(output)], env={"COLUMNS": "200"})
    assert (again.exit_code, "expected nothing there" in again.output) == (2, True)
    compared = CliRunner().invoke(app, ["compare", stores[0], str(output), "--fail-above", "0"])
    assert compared.exit_code == 0, compared.output


def test_what_is_merged_in_place_goes_into_a_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a folder, found an archive, which is only read"):
        merge_stores([folder / "a.zarr", folder / "b.zarr"], tmp_path / "m.zarr.zip")


def test_what_is_no_archive_of_a_store_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("nothing")
    with pytest.raises(StoreError, match=r"text.zip: expected a zipped hbcoop_dist store"):
        merge_stores([folder / "a.zarr", tmp_path / "text.zip"], tmp_path / "m.zarr")
    networks = Path(__file__).resolve().parents[2] / "store" / "generalization-quick.zarr.zip"
    with pytest.raises(StoreError, match="expected a store of a campaign of kind hbond, found one of kind general"):
        merge_stores([folder / "a.zarr", networks], tmp_path / "m.zarr")


def test_the_command_says_what_it_made(folder: Path, tmp_path: Path) -> None:
    stores = [str(folder / f"{name}.zarr") for name in "ab"]
    done = CliRunner().invoke(app, ["merge", *stores, "-o", str(tmp_path / "m.zarr")])
    assert (done.exit_code, "4 cells of 2 models, 3 done" in done.output) == (0, True)
    refused = CliRunner().invoke(app, ["merge", stores[0], "-o", str(tmp_path / "x.zarr")], env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    assert "expected two stores or more, found 1" in refused.output
