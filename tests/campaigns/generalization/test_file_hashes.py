"""Sets from files in campaigns: what tells them apart, which fields are in which keys, and a run from a database."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hbcoop_dist.campaigns.generalization.loading import load_generalization
from hbcoop_dist.campaigns.generalization.planner import plan
from hbcoop_dist.campaigns.generalization.runner import run
from set_files import labelled, omol_row, write_as, write_database, write_qmof

from hbcoop_dist.campaigns.generalization import file_hashes as module
from hbcoop_dist.campaigns.generalization.file_hashes import fingerprints
from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.campaigns.generalization.spec import DatasetEntry, GeneralizationSpec
from hbcoop_dist.campaigns.generalization.tasks import DataSource, TrainingTask, label_task, split_task
from hbcoop_dist.campaigns.hbond.spec import CampaignError
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.store import open_store

STORE = Path(__file__).parents[2] / "store" / "generalization-quick.zarr.zip"


def spec(**changes: object) -> GeneralizationSpec:
    base = {"campaign": "test", "kind": "generalization", "splits": ["random", "size"]}
    return GeneralizationSpec.model_validate(base | changes)


def keys(entry: dict[str, object], kind: str, split: str = "") -> set[str]:
    tasks = plan(spec(datasets=entry)).tasks.values()
    return {task.key for task in tasks if task.kind == kind and (not split or task.split == split)}


def test_the_quick_campaign_has_the_keys_of_its_published_store() -> None:
    """What was computed once is not computed again, whatever fields a set has got since."""
    published = set(open_store(STORE, kind=KIND)["task_key"].values.ravel().tolist())
    drawn = plan(load_generalization("generalization-quick"))
    if drawn.skipped:
        pytest.skip("; ".join(set(drawn.skipped.values())))
    assert {tasks.evaluated for tasks in drawn.cell_tasks.values()} == published


def test_keys_of_sets_without_the_newer_fields_are_as_they_were() -> None:
    entry = DatasetEntry(name="a", generate="nma", size=30, molecules=(2, 3))
    assert label_task(entry, 0, "fixed").key == "f235d4abb7bebc0abd26c53b8bdf0fa1"
    data = DataSource(DatasetEntry(name="a", files=("a.xyz",), size=5), sha256=("0" * 64,))
    assert split_task(data, "size", 0, spec(datasets=entry)).key == "4c049e6421837c21eeea40a0633e890b"
    assert "labels" not in spec(datasets=entry).definitions()["dataset"]["a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"energy": "e"}},
        {"labels": {"energy": ["e", "energy"]}},
        {"skip_incomplete": True},
        {"require": ["forces"]},
        {"neutral_molecules": True},
        {"size": 4},
    ],
)
def test_how_files_are_read_is_in_every_key(tmp_path: Path, changes: dict[str, object]) -> None:
    made = write_database(tmp_path / "a.db", [omol_row(n) for n in range(6)])
    plain: dict[str, object] = {"name": "a", "files": str(made)}
    for kind in ("split", "map", "train"):
        assert not keys(plain, kind) & keys(plain | changes, kind)


def test_the_limit_of_the_split_by_size_is_in_its_key_alone(tmp_path: Path) -> None:
    made = write_database(tmp_path / "a.db", [omol_row(n) for n in range(4)])
    plain: dict[str, object] = {"name": "a", "files": str(made)}
    limited = plain | {"largest_train": 10}
    assert keys(plain, "split", "random") == keys(limited, "split", "random")
    assert keys(plain, "map") == keys(limited, "map")
    assert not keys(plain, "split", "size") & keys(limited, "split", "size")


def test_a_set_is_its_content_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one = write_database(tmp_path / "one" / "a.db", [omol_row(0)])
    other = tmp_path / "other" / "b.db"
    other.parent.mkdir()
    other.write_bytes(one.read_bytes())
    assert fingerprints([one]) == fingerprints([other]) == fingerprints([one.parent])
    other.with_name("c.db").write_bytes(one.read_bytes())
    assert fingerprints([other]) != fingerprints([other.parent])
    made = write_qmof(tmp_path / "qmof")
    before = fingerprints([made])
    (made / "README.txt").write_text("of no account")
    assert fingerprints([made]) == before
    table = made / "qmof.csv"
    table.write_text(table.read_text().replace("-30.5", "-30.6"))
    assert fingerprints([made]) != before


def test_large_sets_are_told_apart_by_parts_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write_database(tmp_path / "a.aselmdb", [omol_row(n) for n in range(40)])
    whole = fingerprints([made])
    monkeypatch.setattr(module, "WHOLE", 1000)
    monkeypatch.setattr(module, "_END", 4096)
    monkeypatch.setattr(module, "_BLOCK", 16)
    sampled = fingerprints([made])
    assert sampled != whole
    assert fingerprints([made]) == sampled
    write_database(made, [omol_row(40)])
    assert fingerprints([made]) != sampled


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"generate": "ionic", "size": 8, "labels": {"energy": "e"}}, "expected labels beside files only"),
        ({"generate": "ionic", "size": 8, "skip_incomplete": True}, "expected skip_incomplete beside files only"),
        ({"files": "a.db", "labels": {"colour": "red"}}, "expected labels among energy"),
        ({"files": "a.db", "require": "smiles"}, "expected labels among energy"),
        ({"files": "a.db", "labels": {"energy": []}}, "labels.energy"),
        ({"files": "a.db", "largest_train": 0}, "greater than or equal to 1"),
        ({"files": "absent"}, "expected files, found no"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, entry: dict[str, object], words: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(dump_yaml({"campaign": "t", "kind": "generalization", "datasets": {"name": "a", **entry}}))
    (tmp_path / "a.db").write_bytes(b"")
    with pytest.raises(CampaignError, match=r"spec\.yaml:\d+: field ") as caught:
        load_generalization(path)
    assert words in str(caught.value)


def test_files_that_are_no_set_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    for entry in ({"name": "a", "files": str(tmp_path / "notes.txt")}, {"name": "a", "files": str(tmp_path / "empty")}):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(CampaignError, match=r"set a: .*expected"):
            plan(spec(datasets=entry))


def test_a_campaign_on_a_folder_of_lmdbs(tmp_path: Path) -> None:
    for package in ("dscribe", "umap", "mace", "ase_db_backends"):
        pytest.importorskip(package)
    structures = [one for one in labelled(24) if one.cell is None and one.forces is not None]
    limit = int(np.median([len(one) for one in structures]))
    (tmp_path / "set").mkdir()
    for part in range(2):
        write_as(tmp_path / "set" / f"part{part}.aselmdb", structures[12 * part : 12 * part + 12])
    write_database(tmp_path / "set" / "part2.aselmdb", [omol_row(0, charge=0.5)])
    text = {
        "campaign": "files",
        "kind": "generalization",
        "datasets": {"name": "set", "files": "set", "skip_incomplete": True, "largest_train": limit},
        "splits": "size",
        "architectures": {"name": "mace", "channels": 4, "max_ell": 1, "hidden_ell": 0},
        "training": {"steps": 2, "batch_size": 4, "validate_every": 2},
    }
    path, store = tmp_path / "files.yaml", tmp_path / "files.zarr"
    path.write_text(dump_yaml(text))
    assert run(plan(load_generalization(path)), store, serial=True, display=QuietDisplay()).statuses == {"done": 1}
    ds = xr.open_zarr(store).load().squeeze()
    assert "1 left out, charge (total_charge, charge): expected whole numbers" in str(ds["dropped"].item())
    assert ds["structure_atoms"].values.tolist() == [len(one) for one in structures]
    part, atoms = ds["part"].values.ravel(), ds["structure_atoms"].values
    assert max(atoms[(part == 0) | (part == 1)]) <= limit
    assert json.loads(str(ds["dataset_definition"].item()))["largest_train"] == limit
    again = run(plan(load_generalization(path)), store, serial=True, display=QuietDisplay())
    assert again.computed == 0


def test_tasks_are_plain_data(tmp_path: Path) -> None:
    import pickle

    made = write_database(tmp_path / "a.db", [omol_row(n) for n in range(4)])
    entry = {"name": "a", "files": str(made), "labels": {"energy": "energy"}}
    for task in plan(spec(datasets=entry)).tasks.values():
        again: TrainingTask = pickle.loads(pickle.dumps(task))
        assert again.key == task.key
        assert again.data.identity == task.data.identity
