"""Stores are opened and verified, and every problem is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.core.results import Record, TaskResult
from hbcoop_dist.store import Journal, StoreError, StoreSchemaError, StoreWriter, journal_path, open_store, verify

pytestmark = pytest.mark.filterwarnings("error")


def edit_metadata(store: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    root = json.loads((store / "zarr.json").read_text())
    change(root["consolidated_metadata"]["metadata"])
    (store / "zarr.json").write_text(json.dumps(root))


def test_missing_and_foreign_paths(tmp_path: Path) -> None:
    with pytest.raises(StoreSchemaError, match="expected a store, found nothing there"):
        open_store(tmp_path / "none.zarr")
    with pytest.raises(StoreSchemaError, match="expected a hbcoop_dist store, found something else"):
        open_store(tmp_path)
    assert len(verify(tmp_path, HBOND_SCHEMA)) == 1
    assert "found something else" in verify(tmp_path, HBOND_SCHEMA)[0]


def test_text_can_be_masked_and_selected(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell()])
    found = open_store(store)
    assert {array.dtype.kind for array in found.variables.values()} <= {"O", "f", "i"}
    masked = found.where(found.status == "done").load()
    assert masked.cooperative_energy.count() == 3
    assert masked.task_key.count() == 1
    assert found.sel(model=["toy"], capping="none").cooperative_energy.shape == (1, 2, 3, 1, 1, 1, 3)
    frame = found[["cooperative_energy", "status"]].to_dataframe()
    assert (frame.status == "done").sum() == 3
    assert found.model.attrs["long_name"]


def test_readers_need_no_lock(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell()])
        writer.flush()
        assert (open_store(store).status == "done").sum() == 1
        assert verify(store, HBOND_SCHEMA) == []


def test_verify_compares_with_the_schema(store: Path) -> None:
    def damage(metadata: dict[str, dict[str, object]]) -> None:
        del metadata["angle"]
        metadata["energy"]["attributes"]["units"] = "hartree"  # type: ignore[index]
        metadata["units_after"]["dimension_names"] = ["position", "length"]
        del metadata["positions"]["attributes"]["units"]  # type: ignore[attr-defined]

    edit_metadata(store, damage)
    assert verify(store, HBOND_SCHEMA) == [
        "energy, units: expected 'eV', found 'hartree'",
        "angle: expected a variable, found none",
        "positions, units: expected 'angstrom', found ''",
        "units_after, dims: expected ('length', 'position'), found ('position', 'length')",
    ]


def test_verify_finds_done_cells_without_values(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(cooperative_energy=[1.0, 2.0]), cell(length=4, hbond_cooperative_energy=[1.0])])
        writer.write([Record("cell", cell("so3lr").labels, "unconverged", "why")])
    problems = verify(store, HBOND_SCHEMA)
    assert len(problems) == 2
    assert "length=3" in problems[0]
    assert ", cooperative_energy: expected values in a row that is done" in problems[0]
    assert "length=4" in problems[1]
    assert "hbond_cooperative_energy" in problems[1]


def test_verify_finds_unreadable_chunks(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell()])
    (chunk,) = (store / "status").glob("c.*")
    chunk.write_bytes(b"torn")
    problems = verify(store, HBOND_SCHEMA)
    assert len(problems) == 1
    assert problems[0].startswith("status: expected readable chunks")
    with pytest.raises(StoreError, match="status: expected readable chunks"):
        open_store(store)


def test_verify_finds_journal_damage(store: Path) -> None:
    path = journal_path(store)
    with Journal(path, {}) as journal:
        journal.append_many(TaskResult(key, "done") for key in "abc")
    path.write_bytes(path.read_bytes().replace(b'"key":"b"', b'"key":"x"')[:-5])
    problems = verify(store, HBOND_SCHEMA)
    assert len(problems) == 2
    assert "line 2" in problems[0]
    assert "unfinished" in problems[1]


def test_missing_consolidated_metadata_is_an_error_with_a_name(store: Path) -> None:
    root = json.loads((store / "zarr.json").read_text())
    del root["consolidated_metadata"]
    (store / "zarr.json").write_text(json.dumps(root))
    assert len(verify(store, HBOND_SCHEMA)) == 1
    with pytest.raises(StoreSchemaError, match="consolidated"):
        StoreWriter(store, HBOND_SCHEMA)
    shutil.rmtree(store)
