"""An archive holds every value of its store, and nothing of the machine that it was made on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from small_store import FLUIDS, LABELS, density, make_fluids

from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.core.results import Record
from hbcoop_dist.store import (
    StoreError,
    StoreSchemaError,
    StoreWriter,
    kind_of_store,
    open_store,
    prepare_store,
    verify,
    write_archive,
)

SPEC = {
    "models": [{"name": "mine", "checkpoint": "/home/anna/x.model"}],
    "geometry": ["own", "C:\\sets\\qm"],
    "file": "pair.xyz",
    "unit": "kcal/mol",
}


@pytest.fixture
def filled(tmp_path: Path, protocol: dict[str, object], cell: Callable[..., Record]) -> Path:
    path = tmp_path / "x.zarr"
    prepare_store(path, HBOND_SCHEMA, LABELS, protocol=protocol, spec=json.dumps(SPEC))
    with StoreWriter(path, HBOND_SCHEMA) as writer:
        writer.write([cell(host="node7"), cell(length=4, host="node8")])
    return path


@pytest.fixture
def packed(filled: Path) -> Path:
    target = filled.with_name("x.zarr.zip")
    write_archive(open_store(filled), target)
    return target


def test_every_value_and_label_is_the_same(filled: Path, packed: Path) -> None:
    one, other = open_store(filled), open_store(packed)
    for name in set(one.variables) - {"host"}:
        assert one[name].identical(other[name]), name
    assert set(one.variables) == set(other.variables)
    assert set(one.attrs) == set(other.attrs)
    assert verify(packed, HBOND_SCHEMA) == []
    assert kind_of_store(packed) == kind_of_store(filled) == "hbond"


def test_axes_without_labels_are_packed_too(tmp_path: Path) -> None:
    path = make_fluids(tmp_path / "f.zarr")
    write_archive(open_store(path), tmp_path / "f.zip")
    assert open_store(tmp_path / "f.zip").identical(open_store(path))
    assert verify(tmp_path / "f.zip", FLUIDS) == []


def test_verification_finds_missing_values_in_a_reordered_part(tmp_path: Path) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300, 280)
    with StoreWriter(path, FLUIDS) as writer:
        writer.write([density(300, float("nan"), 1), density(280, 1.0, 1)])
    write_archive(open_store(path).sel(temperature=[300, 280]), tmp_path / "f.zip")
    assert verify(tmp_path / "f.zip", FLUIDS) == [
        "cell (fluid=water, temperature=300), density: expected values in a row that is done, found missing ones"
    ]


def test_xarray_reads_it_without_this_package(filled: Path, packed: Path) -> None:
    ds = xr.open_zarr(zarr.storage.ZipStore(packed, mode="r"))
    values = ds.cooperative_energy.sel(model="toy", length=3, capping="none", pattern="arc").squeeze().values
    assert np.array_equal(values, [1.5, 3.0, 1.5])


def test_hosts_and_folders_are_left_out(filled: Path, packed: Path) -> None:
    assert set(open_store(filled)["host"].values.ravel()) == {"", "node7", "node8"}
    assert set(open_store(packed)["host"].values.ravel()) == {""}
    spec = json.loads(json.loads(open_store(packed).attrs["history"])[0]["spec"])
    assert spec == {
        "models": [{"name": "mine", "checkpoint": "x.model"}],
        "geometry": ["own", "qm"],
        "file": "pair.xyz",
        "unit": "kcal/mol",
    }


def test_a_part_may_be_packed_and_an_older_archive_is_replaced(filled: Path) -> None:
    target = filled.with_name("part.zip")
    for length in (2, 3):
        write_archive(open_store(filled).sel(length=[length]), target)
        assert open_store(target)["length"].values.tolist() == [length]
    assert {path.name for path in filled.parent.iterdir()} == {"part.zip", "x.zarr", "x.zarr.lock"}


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a store, found nothing there"):
        open_store(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("no zip at all", encoding="utf-8")
    with pytest.raises(StoreError, match=r"text\.zip: expected a zipped hbcoop_dist store"):
        open_store(tmp_path / "text.zip")
    other = tmp_path / "other.zip"
    with zarr.storage.ZipStore(other, mode="w") as made:
        zarr.create_group(made, zarr_format=3)
    with pytest.raises(StoreError, match=r"other\.zip: expected a zipped hbcoop_dist store"):
        open_store(other)


def test_an_archive_is_never_written_to(packed: Path, protocol: dict[str, object]) -> None:
    before = packed.read_bytes()
    with pytest.raises(StoreSchemaError, match="expected a folder, found an archive"):
        prepare_store(packed, HBOND_SCHEMA, LABELS, protocol=protocol)
    assert packed.read_bytes() == before
