"""Stores are merged without losing or changing a value, and conflicts are named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from small_store import FLUIDS, LABELS, density, differences, make_fluids

from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.core.results import Label, Record, TaskResult
from hbcoop_dist.store import (
    Journal,
    ProtocolMismatchError,
    StoreError,
    StoreLock,
    StoreLockedError,
    StoreSchemaError,
    StoreWriter,
    arrays_path,
    journal_path,
    merge_stores,
    models_path,
    open_store,
    prepare_store,
    verify,
    write_archive,
)

pytestmark = pytest.mark.filterwarnings("error")

Make = Callable[..., Record]
Part = Callable[..., Path]


@pytest.fixture
def part(tmp_path: Path, protocol: dict[str, object], cell: Make, dimer: Make) -> Part:
    """Return a function that makes a store with done cells, given as (model, length), and a journal of their keys."""

    def make(name: str, *cells: tuple[str, int], dims: Mapping[str, tuple[Label, ...]] | None = None) -> Path:
        path = tmp_path / name
        labels = {
            **LABELS,
            "model": tuple(dict.fromkeys(model for model, _ in cells)),
            "length": tuple(sorted({length for _, length in cells})),
            **(dims or {}),
        }
        prepare_store(path, HBOND_SCHEMA, labels, protocol=protocol, spec=json.dumps({"campaign": name}))
        with StoreWriter(path, HBOND_SCHEMA) as writer, Journal(journal_path(path), {}) as journal:
            for model, length in cells:
                record = cell(model, length, value=float(length))
                writer.write([record, dimer(model, dimer_task_key=f"pair-{model}")])
                journal.append(TaskResult(f"{model}-{length}", "done"))
        return path

    return make


def zipped(store: Path, **selection: list[Label]) -> Path:
    output = store.with_name(f"{store.name}.zip")
    write_archive(open_store(store).sel(selection), output)
    return output


def test_parts_put_together_are_the_whole(part: Part, tmp_path: Path) -> None:
    whole = part("whole.zarr", ("toy", 2), ("toy", 3), ("so3lr", 2), ("so3lr", 3))
    parts = [part("a.zarr", ("toy", 3)), part("b.zarr", ("toy", 2), ("so3lr", 2)), part("c.zarr", ("so3lr", 3))]
    merged = tmp_path / "m.zarr"
    assert merge_stores(parts, merged, HBOND_SCHEMA) == "16 cells of 2 models, 4 done"
    assert differences(whole, merged) == []
    assert verify(merged, HBOND_SCHEMA) == []
    assert xr.open_zarr(merged).sizes["model"] == 2
    assert set(Journal(journal_path(merged), {}).keys()) == set(Journal(journal_path(whole), {}).keys())
    events = [event["event"] for event in json.loads(open_store(merged).attrs["history"])]
    assert events == ["created", "created", "created", "merged from a.zarr, b.zarr, c.zarr"]


def test_done_comes_before_failed_and_what_is_missing_stays_missing(part: Part, tmp_path: Path) -> None:
    failed, done = part("f.zarr", ("toy", 3)), part("d.zarr", ("toy", 3))
    other = part("o.zarr", ("so3lr", 2))
    with StoreWriter(failed, HBOND_SCHEMA) as writer:
        writer.mark("cell", writer.layout.rows(HBOND_SCHEMA.cells), "failed", "spoilt")
    with Journal(journal_path(failed), {}) as journal:
        journal.append(TaskResult("toy-3", "failed"))
    merged = tmp_path / "m.zarr"
    merge_stores([failed, done, other], merged, HBOND_SCHEMA)
    cells = open_store(merged).sel(
        pattern="arc", capping="none", geometry="own", rotamer="default", constraint="mirror"
    )
    assert cells.status.sel(model="toy", length=3) == "done"
    assert cells.reason.sel(model="toy", length=3) == ""
    assert cells.status.sel(model="so3lr", length=3) == "pending"
    assert np.isnan(cells.energy.sel(model="so3lr", length=3))
    assert Journal(journal_path(merged), {}).status("toy-3") == "done"


def test_of_several_failures_the_first_is_taken(part: Part, tmp_path: Path) -> None:
    stores = [part(f"{name}.zarr", ("toy", 3)) for name in "ab"]
    for store in stores:
        with StoreWriter(store, HBOND_SCHEMA) as writer:
            writer.mark("cell", writer.layout.rows(HBOND_SCHEMA.cells), "failed", f"spoilt in {store.name}")
    merge_stores(stores, tmp_path / "m.zarr", HBOND_SCHEMA)
    assert set(open_store(tmp_path / "m.zarr").reason.values.ravel()) == {"spoilt in a.zarr"}


def test_another_protocol_is_refused_by_field_and_leaves_nothing(part: Part, tmp_path: Path) -> None:
    first, other = part("a.zarr", ("toy", 2)), tmp_path / "t.zarr"
    protocol = {"minimize": {"max_force": 1e-4, "engine": "own"}, "code": 1}
    prepare_store(other, HBOND_SCHEMA, LABELS, protocol=protocol)
    with pytest.raises(ProtocolMismatchError, match=r"minimize.max_force: a.zarr has 1e-05, t.zarr has 0.0001"):
        merge_stores([first, other], tmp_path / "m.zarr", HBOND_SCHEMA)
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("m.zarr")} <= {"m.zarr.lock"}


def test_rows_done_by_different_tasks_are_named(part: Part, tmp_path: Path, cell: Make, dimer: Make) -> None:
    one, two = part("one.zarr", ("toy", 2)), part("two.zarr", ("toy", 2))
    with StoreWriter(two, HBOND_SCHEMA) as writer:
        writer.write([cell("toy", 2, value=9.0)])
    message = r"cells: expected those that are done in two stores .* toy; arc; 2; none; own; default; mirror$"
    with pytest.raises(StoreError, match=message):
        merge_stores([one, two], tmp_path / "m.zarr", HBOND_SCHEMA)
    with StoreWriter(two, HBOND_SCHEMA) as writer:
        writer.write([cell("toy", 2, value=2.0), dimer("toy", dimer_task_key="another")])
    with pytest.raises(StoreError, match=r"isolated dimers: expected .* toy; own; default; mirror; syn$"):
        merge_stores([one, two], tmp_path / "m.zarr", HBOND_SCHEMA)
    assert not (tmp_path / "m.zarr").exists()


def test_an_open_store_an_existing_output_and_another_kind_are_refused(part: Part, tmp_path: Path) -> None:
    one, two = part("a.zarr", ("toy", 2)), part("b.zarr", ("toy", 3))
    with StoreLock(one), pytest.raises(StoreLockedError):
        merge_stores([one, two], tmp_path / "m.zarr", HBOND_SCHEMA)
    with pytest.raises(StoreError, match="expected nothing there, and no journal beside it, found one"):
        merge_stores([one, two], one, HBOND_SCHEMA)
    with pytest.raises(StoreError, match="expected a folder, found an archive, which is only read"):
        merge_stores([one, two], tmp_path / "m.zarr.zip", HBOND_SCHEMA)
    fluids = make_fluids(tmp_path / "f.zarr")
    for other in (fluids, zipped(fluids)):
        with pytest.raises(
            StoreSchemaError, match="expected a store of a campaign of kind hbond, found one of kind fl"
        ):
            merge_stores([one, other], tmp_path / "m.zarr", HBOND_SCHEMA)


def test_archives_are_merged_as_folders_are(part: Part, tmp_path: Path) -> None:
    whole = part("whole.zarr", ("toy", 2), ("toy", 3), ("so3lr", 2), ("so3lr", 3))
    packed = [zipped(part("a.zarr", ("toy", 3))), zipped(part("c.zarr", ("so3lr", 3)))]
    before = [path.read_bytes() for path in packed]
    merge_stores([*packed, part("b.zarr", ("toy", 2), ("so3lr", 2))], tmp_path / "m.zarr", HBOND_SCHEMA)
    assert differences(whole, tmp_path / "m.zarr") == []
    assert [path.read_bytes() for path in packed] == before
    assert not list(tmp_path.glob("*.zip.*")), "nothing is written beside an archive"
    assert set(Journal(journal_path(tmp_path / "m.zarr"), {}).keys()) == {"toy-2", "so3lr-2"}


def test_a_part_of_an_archive_with_reordered_and_longer_axes_finds_its_place(part: Part, tmp_path: Path) -> None:
    labels = {"pattern": ("arc",), "capping": ("none",)}
    whole = part("whole.zarr", ("toy", 2), ("toy", 3), dims=labels)
    five = part("five.zarr", ("toy", 2), ("toy", 3), ("toy", 5), dims={"capping": ("none", "water")})
    packed = zipped(five, length=[3, 2], capping=["none"], pattern=["arc"])
    assert open_store(packed)["length"].values.tolist() == [3, 2]
    assert open_store(packed).sizes["hbond"] == 4
    merge_stores([packed], tmp_path / "m.zarr", HBOND_SCHEMA)
    assert differences(whole, tmp_path / "m.zarr") == []


def test_parts_of_one_store_become_that_store_again(part: Part, tmp_path: Path) -> None:
    whole = part("whole.zarr", ("toy", 2), ("so3lr", 2))
    packed = []
    for model in ("toy", "so3lr"):
        packed.append(zipped(whole, model=[model]).rename(tmp_path / f"{model}.zarr.zip"))
    merge_stores(packed, tmp_path / "m.zarr", HBOND_SCHEMA)
    assert differences(whole, tmp_path / "m.zarr") == []
    events = [event["event"] for event in json.loads(open_store(tmp_path / "m.zarr").attrs["history"])]
    assert events == ["created", "merged from toy.zarr.zip, so3lr.zarr.zip"]


def test_what_is_no_archive_of_a_store_is_named(part: Part, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("nothing")
    with pytest.raises(StoreError, match=r"text.zip: expected a zipped hbcoop_dist store"):
        merge_stores([part("a.zarr", ("toy", 2)), tmp_path / "text.zip"], tmp_path / "m.zarr", HBOND_SCHEMA)


def test_rows_without_status_come_from_the_first_store_that_has_values(tmp_path: Path) -> None:
    notes = ({}, {"note": "first", "pressure": [1, 2]}, {"note": "second", "is_polar": True})
    stores = []
    for number, (values, times) in enumerate(zip(notes, ([], [10, 30], []), strict=True)):
        stores.append(make_fluids(tmp_path / f"{number}.zarr", 300 + number))
        with StoreWriter(stores[-1], FLUIDS) as writer:
            writer.write([density(300 + number, float(number), 20 + number)])
            if values:
                writer.write([Record("fluid", {"fluid": "water"}, values=values, along={"time": times})])
    merge_stores(stores, tmp_path / "m.zarr", FLUIDS)
    ds = open_store(tmp_path / "m.zarr").squeeze("fluid").load()
    assert ds["time"].values.tolist() == [10, 20, 21, 22, 30]
    assert ds.note == "first"
    assert ds.is_polar == -1
    assert ds.pressure.values.tolist() == [1, -1, -1, -1, 2]
    assert ds.density.values.tolist() == [0.0, 1.0, 2.0]
    assert np.array_equal(ds.volume.sel(temperature=301), [np.nan, np.nan, 21.0, np.nan, np.nan], equal_nan=True)
    assert verify(tmp_path / "m.zarr", FLUIDS) == []


def test_definitions_are_joined_and_must_agree(tmp_path: Path) -> None:
    water = make_fluids(tmp_path / "w.zarr")
    argon = make_fluids(tmp_path / "a.zarr", fluid="argon", formula={"argon": "Ar"}, atomic_number={"argon": [18]})
    unnamed = make_fluids(tmp_path / "u.zarr", fluid="argon")
    merge_stores([unnamed, zipped(argon), water], tmp_path / "m.zarr", FLUIDS)
    ds = open_store(tmp_path / "m.zarr")
    assert dict(zip(ds.fluid.values, ds.formula.values, strict=True)) == {"argon": "Ar", "water": "H2O"}
    assert ds.atomic_number.values.tolist() == [[18, -1, -1], [8, 1, 1]]
    neon = make_fluids(tmp_path / "n.zarr", fluid="argon", formula={"argon": "Ne"})
    with pytest.raises(
        StoreError, match=r"n\.zarr, fluid argon: expected the same formula in all stores, found another"
    ):
        merge_stores([argon, neon], tmp_path / "x.zarr", FLUIDS)


def test_files_beside_the_stores_come_along(tmp_path: Path) -> None:
    stores = [make_fluids(tmp_path / f"{name}.zarr") for name in "ab"]
    for store in stores:
        for folder in (arrays_path(store), models_path(store)):
            folder.mkdir()
            (folder / f"{store.stem}.npz").write_text(store.stem)
    merge_stores(stores, tmp_path / "m.zarr", FLUIDS)
    for folder in (arrays_path(tmp_path / "m.zarr"), models_path(tmp_path / "m.zarr")):
        assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.npz": "a", "b.npz": "b"}


def test_a_kind_without_task_keys_takes_the_first_done_row(tmp_path: Path) -> None:
    schema = replace(FLUIDS, tables=(replace(FLUIDS.cells, key=""), FLUIDS.tables[1]))
    stores = [make_fluids(tmp_path / f"{name}.zarr") for name in "ab"]
    for store, value in zip(stores, (1.0, 2.0), strict=True):
        with StoreWriter(store, schema) as writer:
            writer.write([density(300, value, 10)])
    merge_stores(stores, tmp_path / "m.zarr", schema)
    assert open_store(tmp_path / "m.zarr").density.item() == 1.0
