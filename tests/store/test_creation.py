"""Stores are created complete, grow without losing a value, and refuse foreign folders."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
from small_store import FLUIDS, LABELS, make_fluids

from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.core.results import Label, Record
from hbcoop_dist.store import (
    Layout,
    ProtocolMismatchError,
    StoreError,
    StoreSchemaError,
    StoreWriter,
    creation,
    open_store,
    prepare_store,
    recover,
    verify,
)

pytestmark = pytest.mark.filterwarnings("error")

PLAIN = """
import sys, warnings
warnings.simplefilter("error")
import xarray as xr
ds = xr.open_zarr(sys.argv[1])
cell = ds.sel(model="toy", pattern="arc", length=3, capping="none").squeeze()
assert str(cell.status.values) == "done" and int(cell.saddle) == 0 and int(cell.steps) == 7
assert cell.cooperative_energy.sel(position="middle").values == 3.0
assert cell.cooperative_energy.attrs["units"] == "kcal/mol" and "Eq. 1" in cell.cooperative_energy.attrs["long_name"]
assert cell.seconds.dtype == "float64" and cell.seconds.isnull()
empty = ds.sel(model="so3lr", pattern="linear", length=4, capping="water").squeeze()
assert str(empty.status.values) == "pending" and str(empty.reason.values) == ""
assert empty.energy.isnull() and int(empty.steps) == -1 and int(empty.saddle) == -1
assert ds.cooperative_energy.where(ds.status == "done").count() == 3
assert (ds.status == "done").sum() == 1
assert ds.attrs["schema_version"] == 1 and "max_force" in ds.attrs["protocol"]
assert all("long_name" in v.attrs for v in ds.variables.values())
assert not any(name.startswith("hbcoop") for name in sys.modules)
print(len(ds.data_vars))
"""

GROWER = """
import json, os, signal, sys
import filelock  # before anything is replaced that it may import
import hbcoop_dist.store.creation as creation
from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
point, path, labels, protocol = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
rename, renames = os.rename, []
def counted(source, target):
    renames.append(target)
    if point == f"before-rename-{len(renames)}":
        die()
    rename(source, target)
    if point == f"after-rename-{len(renames)}":
        die()
creation.os.rename = counted
if point == "copying":
    creation._copy = die
if point == "consolidating":
    creation.consolidate = die
if point == "removing":
    creation.shutil.rmtree = lambda path: die() if len(renames) == 2 else None
creation.prepare_store(path, HBOND_SCHEMA, labels, protocol=protocol)
"""

LONGER: dict[str, list[Label]] = {
    "model": ["new"],
    "pattern": ["arc"],
    "length": [5],
    "capping": ["none"],
    "geometry": ["own"],
    "rotamer": ["default"],
    "constraint": ["mirror"],
}
MORE_MODELS = {**LONGER, "length": [2]}


def filled(store: Path, cell: Callable[..., Record], dimer: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(), cell("so3lr", 4, "water", value=2.5), dimer()])


def assert_filled(store: Path) -> None:
    found = open_store(store).sel(pattern="arc", geometry="own", rotamer="default", constraint="mirror").load()
    for model, length, capping, value in (("toy", 3, "none", 1.5), ("so3lr", 4, "water", 2.5)):
        one = found.sel(model=model, length=length, capping=capping)
        atoms = 12 * length + (12 if capping == "water" else 0)
        assert one.status == "done"
        assert one.task_key == f"key-{value}"
        assert one.steps == 7
        assert one.saddle == 0
        for name, extent in (
            ("cooperative_energy", 3),
            ("hbond_cooperative_energy", length - 1),
            ("fragment_energy", 10 * (length - 1)),
            ("atomic_cooperative_energy", atoms * (length - 1)),
            ("positions", 3 * atoms),
        ):
            assert one[name].count() == extent, name
            assert one[name].max() >= value, name
        assert (one.positions[:atoms] == value).all()
    assert (found.status == "done").sum() == 2
    assert found.dimer_energy.count() == 1
    assert verify(store, HBOND_SCHEMA) == []


def test_plain_xarray_in_a_process_without_this_package(
    store: Path, cell: Callable[..., Record], python: Callable[..., Popen[str]]
) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell()])
    out, err = python(PLAIN, store, flags=("-W", "error")).communicate(timeout=60)
    assert not err
    assert out.strip().isdigit()


def test_new_store(store: Path) -> None:
    found = open_store(store)
    assert dict(found.sizes) | {"model": 2, "length": 3, "hbond": 3, "atom": 60} == dict(found.sizes)
    assert found.title
    assert json.loads(found.history)[0]["spec"] == "campaign: quick"
    assert (found.status == "pending").all()
    assert found.position_hbond.sel(length=4).values.tolist() == [1, 2, 3]
    assert verify(store, HBOND_SCHEMA) == []
    assert sorted(p.name for p in store.parent.iterdir()) == ["quick.zarr", "quick.zarr.lock"]


def test_same_layout_changes_nothing_but_the_history(
    store: Path, layout: Layout, protocol: dict[str, object], cell: Callable[..., Record], dimer: Callable[..., Record]
) -> None:
    filled(store, cell, dimer)
    part = {**LONGER, "model": ["toy"], "length": [3]}
    assert prepare_store(store, HBOND_SCHEMA, part, protocol=protocol, spec="campaign: quick") == layout
    assert len(json.loads(open_store(store).history)) == 1
    assert prepare_store(store, HBOND_SCHEMA, part, protocol=protocol, spec="another") == layout
    assert [entry["spec"] for entry in json.loads(open_store(store).history)] == ["campaign: quick", "another"]
    assert_filled(store)


def test_models_are_appended_in_place(
    store: Path, protocol: dict[str, object], cell: Callable[..., Record], dimer: Callable[..., Record]
) -> None:
    filled(store, cell, dimer)
    before = {path: path.stat().st_mtime_ns for path in store.glob("*/c*/**/*") if path.is_file()} | {
        path: path.stat().st_mtime_ns for path in store.glob("*/c.*")
    }
    grown = prepare_store(store, HBOND_SCHEMA, MORE_MODELS, protocol=protocol, spec="more")
    assert grown.labels("model") == ("so3lr", "toy", "new")
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert before
    assert all(store / "model" in path.parents for path in changed), "only the model labels are rewritten"
    found = open_store(store)
    assert found.model.values.tolist() == ["so3lr", "toy", "new"]
    assert (found.sel(model="new").status == "pending").all()
    assert found.sel(model="new").energy.isnull().all()
    assert_filled(store)
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell("new", 2)])
    assert (open_store(store).status == "done").sum() == 3


def test_other_growth_keeps_every_value(
    store: Path, protocol: dict[str, object], cell: Callable[..., Record], dimer: Callable[..., Record]
) -> None:
    filled(store, cell, dimer)
    labels: dict[str, list[Label]] = {
        "model": ["new", "toy"],
        "pattern": ["arc"],
        "length": [6, 5],
        "capping": ["water"],
        "geometry": ["own", "dft"],
        "rotamer": ["lowest"],
        "constraint": ["mirror"],
    }
    grown = prepare_store(store, HBOND_SCHEMA, labels, protocol=protocol, spec="more")
    assert grown.labels("length") == (2, 3, 4, 5, 6)
    assert grown.labels("geometry") == ("own", "dft")
    found = open_store(store)
    assert found.sizes["hbond"] == 5
    assert found.sizes["atom"] == 84
    assert found.sizes["model"] == 3
    assert found.hbond_conformer.sel(pattern="linear").values.tolist() == ["syn", "anti", "syn", "anti", "syn"]
    assert_filled(store)
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell("new", 6, "water")])
    assert sorted(p.name for p in store.parent.iterdir()) == ["quick.zarr", "quick.zarr.lock"]


@pytest.mark.parametrize("point", ["copying", "before-rename-1", "after-rename-1", "after-rename-2", "removing"])
def test_growth_killed_anywhere_is_recovered(
    point: str,
    store: Path,
    protocol: dict[str, object],
    cell: Callable[..., Record],
    dimer: Callable[..., Record],
    python: Callable[..., Popen[str]],
) -> None:
    filled(store, cell, dimer)
    process = python(GROWER, point, store, json.dumps(LONGER), json.dumps(protocol))
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert store.exists() == (point != "after-rename-1")
    # A reader needs no knowledge of the kill.
    assert_filled(store)
    assert prepare_store(store, HBOND_SCHEMA, LONGER, protocol=protocol).labels("length") == (2, 3, 4, 5)
    assert_filled(store)
    assert sorted(p.name for p in store.parent.iterdir() if p.is_dir()) == ["quick.zarr"]


def test_append_killed_before_it_is_visible_leaves_the_old_store(
    store: Path,
    protocol: dict[str, object],
    cell: Callable[..., Record],
    dimer: Callable[..., Record],
    python: Callable[..., Popen[str]],
) -> None:
    filled(store, cell, dimer)
    process = python(GROWER, "consolidating", store, json.dumps(MORE_MODELS), json.dumps(protocol))
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert open_store(store).sizes["model"] == 2
    assert_filled(store)
    other = {**MORE_MODELS, "model": ["other"]}
    assert prepare_store(store, HBOND_SCHEMA, other, protocol=protocol).labels("model") == ("so3lr", "toy", "other")
    assert open_store(store).model.values.tolist() == ["so3lr", "toy", "other"]
    assert_filled(store)


def test_creation_killed_before_the_rename_leaves_nothing_in_the_way(
    tmp_path: Path, protocol: dict[str, object], python: Callable[..., Popen[str]]
) -> None:
    path = tmp_path / "quick.zarr"
    process = python(GROWER, "before-rename-1", path, json.dumps(LONGER), json.dumps(protocol))
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not path.exists()
    prepare_store(path, HBOND_SCHEMA, LONGER, protocol=protocol)
    assert verify(path, HBOND_SCHEMA) == []


def test_recover_is_harmless_without_a_kill(store: Path) -> None:
    recover(store)
    assert verify(store, HBOND_SCHEMA) == []


def test_recover_sweeps_up_what_a_killed_flush_was_writing(store: Path) -> None:
    unfinished = store / "energy" / "c.0.0.0.0.0.0123abc.partial"
    unfinished.write_bytes(b"half")
    recover(store)
    assert not unfinished.exists()
    assert verify(store, HBOND_SCHEMA) == []


@pytest.mark.parametrize("what", ["folder", "empty", "file", "zarr", "xarray"])
def test_what_is_not_ours_is_refused_and_left_alone(what: str, tmp_path: Path, protocol: dict[str, object]) -> None:
    path = tmp_path / "quick.zarr"
    if what == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    if what == "folder":
        (path / "thesis.txt").write_text("precious")
    if what in ("zarr", "xarray"):
        attributes = {} if what == "zarr" else {"schema": "another", "schema_version": 1}
        (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    with pytest.raises(StoreSchemaError, match="expected a hbcoop_dist store, found something else"):
        prepare_store(path, HBOND_SCHEMA, LABELS, protocol=protocol)
    with pytest.raises(StoreSchemaError):
        StoreWriter(path, HBOND_SCHEMA)
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


def test_somebodys_folder_where_a_growth_would_go_is_left_alone(store: Path, protocol: dict[str, object]) -> None:
    other = store.with_name("quick.zarr.growing")
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="found something else"):
        prepare_store(store, HBOND_SCHEMA, LONGER, protocol=protocol)
    assert (other / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(("version", "hint"), [(0, "an older"), (99, "a newer"), ("x", "an older")])
def test_another_schema_version_is_refused(
    version: object, hint: str, store: Path, protocol: dict[str, object]
) -> None:
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"]["schema_version"] = version
    (store / "zarr.json").write_text(json.dumps(root))
    for call in (lambda: prepare_store(store, HBOND_SCHEMA, LABELS, protocol=protocol), lambda: open_store(store)):
        with pytest.raises(StoreSchemaError, match=f"schema_version: expected 1, found {version} .{hint} hbcoop_dist"):
            call()


def test_another_protocol_is_refused_by_field(store: Path, protocol: dict[str, object]) -> None:
    asked = {"minimize": {"max_force": 1.0e-4, "engine": "own"}, "code": 1, "extra": True}
    with pytest.raises(ProtocolMismatchError) as caught:
        prepare_store(store, HBOND_SCHEMA, LABELS, protocol=asked)
    message = str(caught.value)
    assert "protocol.minimize.max_force: the store has 1e-05, this campaign asks for 0.0001" in message
    assert "protocol.extra: the store has 'nothing', this campaign asks for True" in message
    assert "engine" not in message
    assert "code" not in message


def test_protocol_survives_json(tmp_path: Path) -> None:
    protocol = {"lengths": (1, 2), "force": np.pi}
    for _ in range(2):
        prepare_store(tmp_path / "quick.zarr", HBOND_SCHEMA, LABELS, protocol=protocol)


def test_another_kind_is_refused(store: Path, protocol: dict[str, object]) -> None:
    message = "expected a store of a campaign of kind fluids, found one of kind hbond"
    for call in (
        lambda: make_fluids(store),
        lambda: StoreWriter(store, FLUIDS),
        lambda: open_store(store, kind="fluids"),
    ):
        with pytest.raises(StoreSchemaError, match=message):
            call()
    assert verify(store, FLUIDS) == [f"{store}: {message}"]


@pytest.mark.parametrize("attribute", ["kind", "schema_version"])
def test_a_store_without_kind_or_version_is_refused(attribute: str, store: Path) -> None:
    root = json.loads((store / "zarr.json").read_text())
    del root["attributes"][attribute]
    (store / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreSchemaError, match=f"{attribute}: expected .*, found None"):
        open_store(store)


def test_labels_of_the_partition_are_appended_with_their_definitions(tmp_path: Path) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300)
    make_fluids(path, 300, fluid="argon", formula={"argon": "Ar"}, atomic_number={"argon": [18]})
    ds = open_store(path)
    assert ds.formula.values.tolist() == ["H2O", "Ar"]
    assert ds.atomic_number.values.tolist() == [[8, 1, 1], [18, -1, -1]]
    assert [event["event"] for event in json.loads(ds.history)] == ["created", "fluids appended"]


def test_a_definition_left_by_a_killed_append_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300)
    with monkeypatch.context() as patch:
        patch.setattr(creation, "consolidate", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make_fluids(path, 300, fluid="argon", formula={"argon": "Ar"})
    assert open_store(path).fluid.values.tolist() == ["water"]
    make_fluids(path, 300, fluid="neon")
    assert open_store(path).formula.values.tolist() == ["H2O", ""]
    make_fluids(path, 300, fluid="neon", formula={"neon": "Ne"})
    assert open_store(path).formula.values.tolist() == ["H2O", "Ne"]


def test_another_definition_of_a_label_is_refused(tmp_path: Path) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300)
    with pytest.raises(
        ProtocolMismatchError, match="fluid water, formula: the store has 'H2O', this campaign asks for 'D2O'"
    ):
        make_fluids(path, 300, formula={"water": "D2O"})
    make_fluids(path, 310, 290)
    assert open_store(path).celsius.values.round(2).tolist() == [16.85, 26.85, 36.85]
    assert open_store(path).formula.item() == "H2O"


def test_fields_of_a_definition_in_json_are_compared_one_by_one(tmp_path: Path) -> None:
    path = make_fluids(tmp_path / "f.zarr", fluid="ice", formula={"ice": '{"phase": "Ih", "d": 1}'})
    with pytest.raises(ProtocolMismatchError, match=r"fluid ice, formula\.phase: the store has 'Ih', .* asks for 'Ic'"):
        make_fluids(path, fluid="ice", formula={"ice": '{"d": 1, "phase": "Ic"}'})
    make_fluids(path, fluid="ice", formula={"ice": '{"d":1,"phase":"Ih"}'})
