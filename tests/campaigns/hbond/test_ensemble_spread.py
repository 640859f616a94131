"""Spread over the networks of an ensemble, from the worker to the store and its exports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from ase.io import write
from toy_ensemble import SPREAD, ToyEnsemble

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.campaigns import model_worker
from hbcoop_dist.campaigns.complexes.spec import ComplexesSpec
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.model_tasks import SPREADS
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.monomers import build


@pytest.fixture(scope="module", autouse=True)
def toy_is_an_ensemble() -> Iterator[None]:
    """The toy as an ensemble, and the additive toy as it is."""
    real = model_worker.load_potential
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            model_worker,
            "load_potential",
            lambda card, *rest: ToyEnsemble() if card.name == "toy" else real(card, *rest),
        )
        yield


def run(path: Path, spec: Any) -> xr.Dataset:
    assert hb.run(hb.plan(spec), path, serial=True, display=QuietDisplay()).ok
    return hb.open_store(path)


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    fields = {"campaign": "ensemble", "models": ["toy", "toy-additive"], "lengths": [2, 3, 4]}
    return run(tmp_path_factory.mktemp("ensemble") / "s.zarr", HBondSpec.model_validate(fields)).load()


def test_the_spread_of_every_bond_is_that_of_the_members(ds: xr.Dataset) -> None:
    """Members differ in a factor of the electronic part, to which its spread is in proportion."""
    toy = ds.sel(model="toy").squeeze()
    for prefix in ("", "hbond_"):
        electronic = toy[f"{prefix}cooperative_energy_electronic"]
        np.testing.assert_allclose(
            toy[f"{prefix}cooperative_energy_electronic_spread"], SPREAD * np.abs(electronic), rtol=0, atol=1e-8
        )
    assert float(toy["cooperative_energy_spread"].max()) > 0.1
    for length in (2, 3, 4):
        bonds = toy["hbond_cooperative_energy_spread"].sel(length=length)
        assert np.isfinite(bonds.values).tolist() == [bond < length for bond in (1, 2, 3)]


def test_a_model_without_members_has_no_spread(ds: xr.Dataset) -> None:
    additive = ds.sel(model="toy-additive")
    assert additive["cooperative_energy"].notnull().any()
    for name in SPREADS:
        assert additive[name].isnull().all()
        assert ds[name].sel(model="toy").notnull().any()


def test_exports_have_the_spread_of_the_store(ds: xr.Dataset) -> None:
    table = analysis.tidy(ds).query("model == 'toy' and length == 4")
    expected = ds["hbond_cooperative_energy_spread"].sel(model="toy", length=4).values.ravel()
    np.testing.assert_array_equal(table["cooperative_energy_spread"], expected)
    models: Any = analysis.leaderboard(ds)["models"]
    by_capping = models["toy"]["cooperative_energy_spread"]["arc"]
    spread = by_capping["none"]["own"]["cis-N, trans-C"]["torsions"]["4"]["middle"]
    assert spread == ds["cooperative_energy_spread"].sel(model="toy", length=4, position="middle").item()
    assert "cooperative_energy_spread" not in models["toy-additive"]


def test_a_complex_has_the_spread_of_the_members(tmp_path: Path) -> None:
    write(tmp_path / "trimer.xyz", build(make_chain("arc", 3)).to_ase(), format="extxyz")
    trimer = {"file": str(tmp_path / "trimer.xyz"), "A": ["0-11"], "B": ["12-23"]}
    fields = {"campaign": "ensemble", "models": ["toy", "toy-additive"], "complexes": trimer}
    ds = run(tmp_path / "s.zarr", ComplexesSpec.model_validate(fields)).squeeze().load()
    toy = ds.sel(model="toy")
    assert toy["cooperative_energy_spread"].item() == pytest.approx(
        SPREAD * abs(toy["cooperative_energy"].item()), abs=1e-8
    )
    assert toy["cooperative_energy_spread"].item() > 0.1
    assert np.isnan(ds["cooperative_energy_spread"].sel(model="toy-additive").item())
