"""Sets from files: small ones read at once, large ones in parts that give the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from set_files import labelled, omol_row, write_as, write_database
from small_networks import count_kinds, count_results, needs_packages, plan_campaign, run_here

from hbcoop_dist.campaigns.generalization import plan as plan_module
from hbcoop_dist.campaigns.generalization import tasks as tasks_module
from hbcoop_dist.campaigns.generalization.plan import GeneralizationPlan
from hbcoop_dist.core.results import installed_version
from hbcoop_dist.store import arrays_path, journal_path, open_store

pytest.importorskip("ase_db_backends", reason="LMDBs need ase-db-backends")

COUNT = 16
"""Structures of the set in files, of which 14 are in shards of six."""


def set_limits(monkeypatch: pytest.MonkeyPatch, large: int, part: int) -> None:
    """Treat sets of more than `large` structures as large ones, read in parts of `part`."""
    for module in (plan_module, tasks_module):
        monkeypatch.setattr(module, "LARGE", large)
        monkeypatch.setattr(module, "PART", part)


def write_shards(folder: Path, *, spoilt: bool = False) -> None:
    """Write 16 structures as three LMDBs in the folder ``set``; spoilt, with five more that have half a charge."""
    (folder / "set").mkdir()
    structures = labelled(COUNT - 2)
    for number, first in enumerate(range(0, COUNT, 6)):
        write_as(folder / "set" / f"part{number}.aselmdb", structures[first : first + 6])
    if spoilt:
        write_database(folder / "set" / "part0b.aselmdb", [omol_row(n, charge=0.5) for n in range(2)])
        write_database(folder / "set" / "part9.aselmdb", [omol_row(n, charge=0.5) for n in range(3)])


def plan_set(folder: Path, entry: dict[str, Any], **changes: Any) -> GeneralizationPlan:
    return plan_campaign(folder, **{"datasets": {"name": "set", **entry}, "splits": "random", **changes})


def train(plan: GeneralizationPlan, store: Path, **options: Any) -> xr.Dataset:
    summary = run_here(plan, store, **options)
    assert summary.statuses == {"done": len(plan.cells)}
    return open_store(store).load()


def test_a_set_is_read_in_parts_by_its_number_of_structures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(tmp_path)
    small = plan_set(tmp_path, {"files": "set"})
    assert count_kinds(small) == {"split": 1, "map": 1, "train": 1, "evaluate": 1}
    set_limits(monkeypatch, 12, 5)
    large = plan_set(tmp_path, {"files": "set"})
    assert count_kinds(large) == {"read": 4, "describe": 4, "split": 1, "map": 1, "train": 1, "evaluate": 1}
    assert not set(large.tasks) & set(small.tasks)
    assert "4 parts to describe" in str(large)
    drawn = plan_set(tmp_path, {"files": "set", "size": 13})
    assert count_kinds(drawn)["read"] == 3
    assert not set(drawn.tasks) & set(large.tasks)
    assert "read" not in count_kinds(plan_set(tmp_path, {"files": "set", "size": 12}))
    for plan in (large, drawn):
        batched = [task.key for batch in plan.batches for task in batch.tasks]
        assert sorted(batched) == sorted(plan.tasks)
        for position, key in enumerate(batched):
            assert set(plan.tasks[key].inputs) <= set(batched[:position])


def test_generated_sets_are_described_in_parts_of_whole_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"generate": "ionic", "size": 450}
    before = plan_set(tmp_path, entry)
    set_limits(monkeypatch, 300, 200)
    after = plan_set(tmp_path, entry)
    assert count_kinds(after) == {"label": 5, "describe": 3, "split": 1, "map": 1, "train": 1, "evaluate": 1}
    for kind, shared in (("label", True), ("split", False), ("train", False)):
        keys = {key for key, task in before.tasks.items() if task.kind == kind}
        assert (keys <= set(after.tasks)) == shared


@needs_packages
@pytest.mark.parametrize("options", [{}, pytest.param({"serial": False, "workers": 2}, marks=pytest.mark.slow)])
def test_parts_give_the_numbers_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    write_shards(tmp_path, spoilt=True)
    entry = {"files": "set", "skip_incomplete": True, "size": 19, "seed": 1}
    whole = train(plan_set(tmp_path, entry), tmp_path / "whole.zarr")
    set_limits(monkeypatch, 12, 5)
    parts = train(plan_set(tmp_path, entry), tmp_path / "parts.zarr", **options)
    for name in ("part", "structure_atoms", "structure_parent", "structure_domain", "n_training", "n_test"):
        np.testing.assert_array_equal(parts[name].values, whole[name].values, err_msg=name)
    # descriptors of parts are float32
    np.testing.assert_allclose(parts["similarity"].values, whole["similarity"].values, atol=1e-6)
    np.testing.assert_allclose(parts["energy_rmse"].values, whole["energy_rmse"].values, rtol=1e-4)
    dropped = str(parts["dropped"].squeeze().item())
    assert dropped == str(whole["dropped"].squeeze().item())
    assert "left out, charge (" in dropped
    # structures and descriptors are in files, not in the journal
    longest = max(map(len, journal_path(tmp_path / "parts.zarr").read_bytes().splitlines()))
    sizes = [file.stat().st_size for file in arrays_path(tmp_path / "parts.zarr").glob("*.npz")]
    assert len(sizes) == 8
    assert longest < sum(sizes)


@needs_packages
def test_only_lost_files_that_are_needed_are_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(tmp_path)
    set_limits(monkeypatch, 12, 8)
    store = tmp_path / "parts.zarr"
    first = plan_set(tmp_path, {"files": "set"})
    before = train(first, store)
    results = count_results(store)
    assert results == len(first.tasks)

    def remove_files() -> None:
        for file in arrays_path(store).glob("*.npz"):
            file.unlink()

    def files() -> list[str]:
        return sorted(first.tasks[file.stem].kind for file in arrays_path(store).glob("*.npz"))

    assert files() == ["describe", "describe", "read", "read"]
    # another scheme needs the structures, and no descriptors
    remove_files()
    train(plan_set(tmp_path, {"files": "set"}, schemes=["none", "les"]), store)
    assert count_results(store) == results + 2 + 2
    assert files() == ["read", "read"]
    # another split needs the descriptors of the structures that are there
    both = plan_set(tmp_path, {"files": "set"}, splits=["random", "size"])
    after = train(both, store)
    assert count_results(store) == results + 4 + 2 + 3
    assert files() == ["describe", "describe", "read", "read"]
    same = after["energy_rmse"].sel({dim: before[dim] for dim in before["energy_rmse"].dims})
    np.testing.assert_array_equal(same.values, before["energy_rmse"].values)


@needs_packages
def test_lost_files_of_results_that_are_repeated_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path)
    set_limits(monkeypatch, 12, 8)
    store = tmp_path / "parts.zarr"
    plan = plan_set(tmp_path, {"files": "set"})
    train(plan, store)
    for file in arrays_path(store).glob("*.npz"):
        file.unlink()
    monkeypatch.setattr(
        "hbcoop_dist.campaigns.pending_cells.installed_version",
        lambda name: "99.0" if name == "torch" else installed_version(name),
    )
    # another torch repeats split, map, training and evaluation although the journal has them as done
    results = count_results(store)
    train(plan, store)
    assert count_results(store) == results + 4 + 4


@needs_packages
def test_a_part_that_cannot_be_read_gives_a_row_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path, spoilt=True)
    set_limits(monkeypatch, 12, 8)
    store = tmp_path / "parts.zarr"
    assert run_here(plan_set(tmp_path, {"files": "set"}), store).statuses == {"failed": 1}
    reason = str(open_store(store)["reason"].squeeze().item())
    assert "part0b.aselmdb, row 1, charge (total_charge, charge): expected whole numbers" in reason


@needs_packages
def test_charges_of_two_kinds_in_two_parts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, 4, 3)
    rows = [omol_row(n, **({"lowdin_charges": None} if n > 2 else {})) for n in range(6)]
    write_database(tmp_path / "a.aselmdb", rows)
    store = tmp_path / "parts.zarr"
    assert run_here(plan_set(tmp_path, {"files": "a.aselmdb"}), store).statuses == {"failed": 1}
    reason = str(open_store(store)["reason"].squeeze().item())
    assert "under one key, found lowdin_charges and mulliken_charges" in reason


@needs_packages
def test_a_network_is_trained_on_a_folder_of_lmdbs(tmp_path: Path) -> None:
    structures = [one for one in labelled(COUNT) if one.cell is None and one.forces is not None]
    limit = int(np.median([len(one) for one in structures]))
    (tmp_path / "set").mkdir()
    for number in range(2):
        write_as(tmp_path / "set" / f"part{number}.aselmdb", structures[8 * number : 8 * number + 8])
    write_database(tmp_path / "set" / "part2.aselmdb", [omol_row(0, charge=0.5)])
    plan = plan_set(
        tmp_path, {"files": "set", "skip_incomplete": True, "largest_train": limit}, splits="size", schemes="les"
    )
    ds = train(plan, tmp_path / "files.zarr").squeeze()
    assert "1 left out, charge (total_charge, charge): expected whole numbers" in str(ds["dropped"].item())
    assert ds["structure_atoms"].values.tolist() == [len(one) for one in structures]
    part, atoms = ds["part"].values, ds["structure_atoms"].values
    assert max(atoms[part <= 1]) <= limit < min(atoms[part == 2])
    assert json.loads(str(ds["dataset_definition"].item()))["largest_train"] == limit
