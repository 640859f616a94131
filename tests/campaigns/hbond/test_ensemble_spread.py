"""What the networks of an ensemble say of a bond, from the worker to the store, beside models that are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hbcoop_dist.store.create import consolidate
from toy_ensemble import SPREAD, ToyEnsemble

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.campaigns.hbond import worker as work
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.store import merge_stores, open_systems, prepare_store, verify
from hbcoop_dist.store.group import open_group
from hbcoop_dist.store.schema import LATER
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.construction import build

load_once = work.load_once


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy as an ensemble, and the additive toy as it is; a marked trimer."""
    folder = tmp_path_factory.mktemp("ensemble")
    from ase.io import write

    write(folder / "trimer.xyz", build(make_chain("arc", 3)).to_ase(), format="extxyz")
    system = {"name": "trimer", "file": str(folder / "trimer.xyz"), "A": ["0-11"], "B": ["12-23"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "load_once", _ensemble)
        _run(folder / "s.zarr", models=["toy", "toy-additive"], lengths=[2, 3, 4], systems=[system])
    return folder / "s.zarr"


def _ensemble(card: Any, path: str | None, device: str) -> Any:
    return ToyEnsemble() if card.name == "toy" else load_once(card, path, device)


def _run(path: Path, **fields: Any) -> Any:
    spec = CampaignSpec.model_validate({"campaign": "ensemble", **fields})
    return hb.run(hb.plan(spec), path, serial=True)


def _older(store: Path, path: Path) -> Path:
    """As an earlier version made it: without the variables that came later, and without a journal of members."""
    shutil.copytree(store, path)
    for group in (path, path / "systems"):
        for name in LATER:
            shutil.rmtree(group / name, ignore_errors=True)
        consolidate(group)
    consolidate(path)
    assert not set(LATER) & set(zarr.open_group(path, mode="r").array_keys())
    return path


def test_the_spread_of_every_bond_is_that_of_what_members_say(store: Path) -> None:
    """Members differ in a factor of the electronic part, to which its spread is in proportion."""
    ds = hb.open_store(store).sel(model="toy").squeeze()
    assert (ds["status"] == "done").all()
    for prefix in ("", "hbond_"):
        electronic = ds[f"{prefix}cooperative_energy_electronic"]
        np.testing.assert_allclose(
            ds[f"{prefix}cooperative_energy_electronic_spread"], SPREAD * np.abs(electronic), rtol=0, atol=1e-8
        )
    assert float(ds["cooperative_energy_spread"].max()) > 0.1
    for length in (2, 3, 4):
        bonds = ds["hbond_cooperative_energy_spread"].sel(length=length)
        assert np.isfinite(bonds.values).tolist() == [bond < length for bond in (1, 2, 3)]
    assert open_systems(store)["cooperative_energy_spread"].sel(model="toy").item() == pytest.approx(
        SPREAD * open_systems(store)["cooperative_energy"].sel(model="toy").item(), abs=1e-8
    )


def test_a_model_that_is_no_ensemble_has_none_and_no_chunk(store: Path) -> None:
    ds = hb.open_store(store).sel(model="toy-additive")
    assert (ds["status"] == "done").all()
    opened = open_group(store, "r")
    for name in LATER:
        assert ds[name].isnull().all()
        assert not opened.chunk(opened.array(name), opened.layout.models.index("toy-additive")).exists()


def test_tables_and_leaderboards_for_others_have_it(store: Path, tmp_path: Path) -> None:
    ds = hb.open_store(store).load()
    table = analysis.tidy(ds).query("model == 'toy' and length == 4")
    expected = ds["hbond_cooperative_energy_spread"].sel(model="toy", length=4).values.ravel()
    np.testing.assert_array_equal(table["cooperative_energy_spread"], expected)
    models: Any = analysis.leaderboard(ds)["models"]
    found = models["toy"]["cooperative_energy_spread"]["arc"]["none"]["own"]["cis-N, trans-C"]["4"]["middle"]
    assert found == ds["cooperative_energy_spread"].sel(model="toy", length=4, position="middle").item()
    assert "cooperative_energy_spread" not in models["toy-additive"]
    older = hb.open_store(_older(store, tmp_path / "old.zarr")).load()
    assert "cooperative_energy_spread" not in analysis.tidy(older)
    assert "cooperative_energy_spread" not in analysis.leaderboard(older)["models"]["toy"]  # type: ignore[index]


def test_an_older_store_is_whole_and_goes_on(store: Path, tmp_path: Path) -> None:
    older = _older(store, tmp_path / "old.zarr")
    assert verify(older) == []
    system = {"name": "trimer", "file": str(store.parent / "trimer.xyz"), "A": ["0-11"], "B": ["12-23"]}
    again = _run(older, models=["toy", "toy-additive"], lengths=[2, 3, 4], systems=[system])
    assert again.computed == 0
    ds = hb.open_store(older)
    assert all(ds[name].isnull().all() for name in LATER)
    np.testing.assert_array_equal(ds["cooperative_energy"], hb.open_store(store)["cooperative_energy"])
    assert open_systems(older)["cooperative_energy_spread"].isnull().all()
    _run(older, models=["toy", "toy-additive"], lengths=[5], systems=[system])
    assert (hb.open_store(older)["status"].sel(length=5) == "done").all()


def test_a_driver_killed_before_new_variables_are_visible_leaves_nothing_in_the_way(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = _older(store, tmp_path / "old.zarr")
    layout, protocol = open_group(older, "r").layout, json.loads(hb.open_store(older).attrs["protocol"])
    with monkeypatch.context() as patch:
        patch.setattr("hbcoop_dist.store.create.consolidate", _killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_store(older, layout, protocol=protocol)
    assert LATER[0] not in hb.open_store(older)
    prepare_store(older, layout, protocol=protocol)
    assert hb.open_store(older)[LATER[0]].isnull().all()
    assert verify(older) == []


def _killed(path: Path) -> None:
    raise KeyboardInterrupt


def test_an_older_store_is_merged_with_a_newer_one(store: Path, tmp_path: Path) -> None:
    older = _older(store, tmp_path / "old.zarr")
    for first, second, known in ((older, store, False), (store, older, True)):
        output = tmp_path / f"{known}.zarr"
        merge_stores([first, second], output)
        spread = hb.open_store(output)["cooperative_energy_spread"].sel(model="toy")
        assert bool(spread.notnull().any()) is known, "of several done ones the first"
