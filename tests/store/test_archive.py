"""A zipped store says what the store says, and nothing of the machine it was made on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.spec import load_campaign
from hbcoop_dist.references import bundled_geometry
from hbcoop_dist.store import StoreError, has_systems, open_store, open_systems, verify, write_archive
from hbcoop_dist.store.archive import open_archive

SPEC = """
campaign: packed
models: [toy]
lengths: [2, 3]
geometry: [own, minima]
systems: [{name: pair, file: pair.xyz, A: [0-11], B: [12-23]}]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose campaign names a folder and a file of this machine."""
    folder = tmp_path_factory.mktemp("packed")
    geometries = bundled_geometry("nma-so3lr")
    assert geometries is not None
    shutil.copytree(geometries, folder / "minima")
    shutil.copy(geometries / "arc-2.xyz", folder / "pair.xyz")
    (folder / "campaign.yaml").write_text(SPEC, encoding="utf-8")
    hb.run(hb.plan(load_campaign(folder / "campaign.yaml")), folder / "x.zarr", serial=True)
    return folder / "x.zarr"


@pytest.fixture(scope="module")
def packed(store: Path) -> Path:
    target = store.with_name("x.zarr.zip")
    write_archive(open_store(store), open_systems(store), target)
    return target


def test_every_value_and_label_is_the_same(store: Path, packed: Path) -> None:
    for one, other in ((open_store(store), open_store(packed)), (open_systems(store), open_systems(packed))):
        for name in set(one.variables) - {"host"}:
            assert one[name].identical(other[name]), name
        assert set(one.variables) == set(other.variables)
        assert set(one.attrs) == set(other.attrs)


def test_xarray_reads_it_without_us(store: Path, packed: Path) -> None:
    ds = xr.open_zarr(zarr.storage.ZipStore(packed, mode="r"))
    values = ds.cooperative_energy.sel(model="toy", position="middle", geometry="own").squeeze().values
    assert np.array_equal(
        values,
        open_store(store).cooperative_energy.sel(model="toy", position="middle", geometry="own").squeeze().values,
    )


def test_nothing_of_this_machine_is_in_it(store: Path, packed: Path) -> None:
    hosts = {str(host) for host in open_store(store)["host"].values.ravel()} - {""}
    assert hosts
    assert set(open_store(packed)["host"].values.ravel()) == {""}
    history = str(open_store(packed).attrs["history"])
    assert str(store.parent) in str(open_store(store).attrs["history"])
    assert str(store.parent) not in history
    spec = json.loads(json.loads(history)[0]["spec"])
    assert spec["geometry"] == ["own", "minima"]
    assert spec["systems"][0]["file"] == "pair.xyz"


def test_a_part_may_be_packed_and_one_that_is_there_is_replaced(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.zip"
    write_archive(open_store(store).sel(length=[2]), None, target)
    assert open_store(target)["length"].values.tolist() == [2]
    assert not has_systems(target)
    write_archive(open_store(store).sel(length=[3]), None, target)
    assert open_store(target)["length"].values.tolist() == [3]
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_no_archive_is_refused(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(StoreError, match="expected a store, found nothing there"):
        open_store(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("no zip at all", encoding="utf-8")
    with pytest.raises(StoreError, match=r"text\.zip: expected a zipped hbcoop_dist store"):
        open_store(tmp_path / "text.zip")
    other = tmp_path / "other.zip"
    with zarr.storage.ZipStore(other, mode="w") as made:
        zarr.create_group(made, zarr_format=3)
    with pytest.raises(StoreError, match=r"other\.zip: expected a zipped hbcoop_dist store"):
        open_archive(other)
    assert verify(packed) == []


def test_a_run_into_an_archive_is_refused(packed: Path, store: Path) -> None:
    before = packed.read_bytes()
    with pytest.raises(StoreError, match="expected a folder, found an archive"):
        hb.run(hb.plan(load_campaign(store.with_name("campaign.yaml"))), packed, serial=True)
    assert packed.read_bytes() == before
