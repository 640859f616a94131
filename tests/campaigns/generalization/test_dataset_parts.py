"""Large sets: read and described in parts, whose files lie beside the store; the same numbers, nothing done twice."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hbcoop_dist.campaigns.generalization.loading import load_generalization
from hbcoop_dist.campaigns.generalization.planner import GeneralizationPlan, plan
from hbcoop_dist.campaigns.generalization.runner import run
from set_files import labelled, omol_row, write_as, write_database

from hbcoop_dist.campaigns.generalization.array_files import keep, opened
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.store import Journal, journal_path, kept_path

pytest.importorskip("ase_db_backends", reason="LMDBs need ase-db-backends")

SPEC = {
    "campaign": "parts",
    "kind": "generalization",
    "splits": ["random", "cluster"],
    "architectures": {"name": "mace", "channels": 4, "max_ell": 1, "hidden_ell": 0},
    "training": {"steps": 2, "batch_size": 4, "validate_every": 2},
}


def limits(monkeypatch: pytest.MonkeyPatch, large: int, part: int) -> None:
    """Let small sets be large ones."""
    for name in ("planner", "tasks"):
        # the package's own name `plan` is the function
        module = sys.modules[f"hbcoop_dist.campaigns.generalization.{name}"]
        for what, value in (("LARGE", large), ("PART", part)):
            if hasattr(module, what):
                monkeypatch.setattr(module, what, value)


def drawn_up(folder: Path, entry: dict[str, object], **changes: object) -> GeneralizationPlan:
    path = folder / "parts.yaml"
    path.write_text(dump_yaml({**SPEC, "datasets": {"name": "set", **entry}, **changes}))
    return plan(load_generalization(path))


def count(drawn: GeneralizationPlan) -> dict[str, int]:
    kinds = [task.kind for task in drawn.tasks.values()]
    return {kind: kinds.count(kind) for kind in set(kinds)}


def shards(folder: Path, *, spoilt: bool = False) -> Path:
    """26 structures in three LMDBs."""
    (folder / "set").mkdir()
    structures = labelled(24)
    for number, first in enumerate(range(0, 26, 9)):
        write_as(folder / "set" / f"part{number}.aselmdb", structures[first : first + 9])
    if spoilt:
        write_database(folder / "set" / "part0b.aselmdb", [omol_row(n, charge=0.5) for n in range(2)])
        write_database(folder / "set" / "part9.aselmdb", [omol_row(n, charge=0.5) for n in range(3)])
    return folder / "set"


def test_a_set_is_read_in_parts_by_its_number_of_structures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path)
    small = drawn_up(tmp_path, {"files": "set"})
    assert count(small) == {"map": 1, "split": 2, "train": 2, "evaluate": 2}
    limits(monkeypatch, 20, 8)
    large = drawn_up(tmp_path, {"files": "set"})
    assert count(large) == {"read": 4, "describe": 4, "map": 1, "split": 2, "train": 2, "evaluate": 2}
    assert not set(large.tasks) & set(small.tasks)
    assert "4 parts to describe" in str(large)
    some = drawn_up(tmp_path, {"files": "set", "size": 21})
    assert count(some)["read"] == 3
    assert not set(some.tasks) & set(large.tasks)
    assert set(drawn_up(tmp_path, {"files": "set", "size": 20}).tasks).isdisjoint(large.tasks)
    assert "read" not in count(drawn_up(tmp_path, {"files": "set", "size": 20}))
    for one in (large, some):
        seen: set[str] = set()
        for batch in one.batches:
            for task in batch.tasks:
                assert set(task.inputs) <= seen
                seen.add(task.key)
        assert seen == set(one.tasks)


def test_generated_sets_are_described_in_parts_of_whole_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry: dict[str, object] = {"generate": "ionic", "size": 450}
    before = drawn_up(tmp_path, entry)
    limits(monkeypatch, 300, 200)
    after = drawn_up(tmp_path, entry)
    assert count(after) == {"label": 5, "describe": 3, "map": 1, "split": 2, "train": 2, "evaluate": 2}
    labels = {key for key, task in before.tasks.items() if task.kind == "label"}
    assert labels <= set(after.tasks), "what was labelled stays labelled"
    assert not {key for key, task in before.tasks.items() if task.kind == "split"} & set(after.tasks)


@pytest.fixture
def packages() -> None:
    for package in ("dscribe", "umap", "mace"):
        pytest.importorskip(package)


def go(drawn: GeneralizationPlan, store: Path, **how: object) -> xr.Dataset:
    summary = run(drawn, store, display=QuietDisplay(), **{"serial": True, **how})  # type: ignore[arg-type]
    assert summary.statuses == {"done": len(drawn.cells)}
    return xr.open_zarr(store).load()


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("how", [{}, pytest.param({"serial": False, "workers": 2}, marks=pytest.mark.slow)])
def test_parts_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, object]
) -> None:
    shards(tmp_path, spoilt=True)
    entry: dict[str, object] = {"files": "set", "skip_incomplete": True, "size": 29, "seed": 1}
    whole = go(drawn_up(tmp_path, entry, splits="random"), tmp_path / "whole.zarr")
    limits(monkeypatch, 20, 8)
    parts = go(drawn_up(tmp_path, entry, splits="random"), tmp_path / "parts.zarr", **how)
    for name in ("part", "structure_atoms", "structure_parent", "structure_domain", "n_training", "n_test"):
        np.testing.assert_array_equal(parts[name].values, whole[name].values, err_msg=name)
    np.testing.assert_allclose(parts["similarity"].values, whole["similarity"].values, atol=1e-6)
    np.testing.assert_allclose(parts["energy_rmse"].values, whole["energy_rmse"].values, rtol=1e-4)
    lines = str(parts["dropped"].squeeze().item())
    assert lines == str(whole["dropped"].squeeze().item())
    assert "left out, charge (" in lines
    # what is large lies beside the journal, and not in it
    longest = max(map(len, journal_path(tmp_path / "parts.zarr").read_bytes().splitlines()))
    kept = [file.stat().st_size for file in kept_path(tmp_path / "parts.zarr").glob("*.npz")]
    assert len(kept) == 8
    assert longest < sum(kept)


@pytest.mark.usefixtures("packages")
def test_nothing_is_done_twice_but_what_is_gone_and_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path)
    limits(monkeypatch, 20, 8)
    store = tmp_path / "parts.zarr"
    first = drawn_up(tmp_path, {"files": "set"}, splits="random")
    before = go(first, store)
    lines = journal_path(store).read_bytes().count(b"\n")
    assert lines == len(first.tasks)
    kept = {file.name: file.stat().st_mtime_ns for file in kept_path(store).glob("*.npz")}
    # another scheme needs the structures, and no description
    for file in kept_path(store).glob("*.npz"):
        file.unlink()
    go(drawn_up(tmp_path, {"files": "set"}, splits="random", schemes=["none", "les"]), store)
    assert journal_path(store).read_bytes().count(b"\n") == lines + 4 + 2
    assert {first.tasks[file.stem].kind for file in kept_path(store).glob("*.npz")} == {"read"}
    # another split needs descriptions, whose structures are there
    wider = drawn_up(tmp_path, {"files": "set"}, splits=["random", "size"], schemes=["none"])
    after = go(wider, store)
    assert journal_path(store).read_bytes().count(b"\n") == lines + 6 + 4 + 3
    assert {file.name for file in kept_path(store).glob("*.npz")} == set(kept)
    same = after["energy_rmse"].sel({dim: before[dim] for dim in before["energy_rmse"].dims})
    np.testing.assert_array_equal(same.values, before["energy_rmse"].values)


@pytest.mark.usefixtures("packages")
def test_a_part_that_cannot_be_read_is_a_row_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path, spoilt=True)
    limits(monkeypatch, 20, 8)
    store = tmp_path / "parts.zarr"
    drawn = drawn_up(tmp_path, {"files": "set"}, splits="random")
    summary = run(drawn, store, serial=True, display=QuietDisplay())
    assert summary.statuses == {"failed": 1}
    reason = str(xr.open_zarr(store)["reason"].squeeze().values)
    assert "part0b.aselmdb, row 1, charge (total_charge, charge): expected whole numbers" in reason


def test_kept_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    data = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "text": '["x", "y"]', "n": 3}
    named = keep(tmp_path / "kept", "0" * 32, data)
    result = TaskResult("0" * 32, "done", "", named)
    with Journal(tmp_path / "journal") as journal:
        journal.append(result)
        again = journal.get("0" * 32)
    assert again is not None
    found = opened(again, tmp_path / "kept")
    assert set(found) == set(data)
    np.testing.assert_array_equal(found["a"], data["a"])
    assert found["b"].tolist() == [True, False]
    assert (found["text"], int(found["n"])) == ('["x", "y"]', 3)
    (file,) = (tmp_path / "kept").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match="expected the file that an earlier task has kept, found another"):
        opened(again, tmp_path / "kept")["a"]
    file.unlink()
    with pytest.raises(OSError, match="every worker has to see the store's folder"):
        opened(again, tmp_path / "kept")["a"]


@pytest.mark.usefixtures("packages")
def test_charges_of_two_kinds_in_two_parts_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 4, 3)
    rows = [omol_row(n, **({"lowdin_charges": None} if n > 2 else {})) for n in range(6)]
    write_database(tmp_path / "a.aselmdb", rows)
    store = tmp_path / "parts.zarr"
    drawn = drawn_up(tmp_path, {"files": "a.aselmdb"}, splits="random")
    assert run(drawn, store, serial=True, display=QuietDisplay()).statuses == {"failed": 1}
    reason = str(xr.open_zarr(store)["reason"].squeeze().values)
    assert "under one name, found lowdin_charges and mulliken_charges" in reason
