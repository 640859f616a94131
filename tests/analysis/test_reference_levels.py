"""Models at the geometries of a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from typer.testing import CliRunner

import hbcoop_dist as hb
from hbcoop_dist.analysis import same_geometry
from hbcoop_dist.analysis.tables import same_geometry_tables
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.cli.command_line import app


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("same") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy", "toy-additive"], "lengths": [2, 3], "geometry": ["own", "toy"]}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
    return path


@pytest.fixture
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store)


def test_the_reference_differs_from_itself_by_nothing_and_the_additive_model_by_all(ds: xr.Dataset) -> None:
    found = same_geometry(ds, "toy", "toy").sel(length=3).squeeze()
    assert float(np.abs(found.difference.sel(model="toy")).max()) == 0
    np.testing.assert_array_equal(found.same.sel(model="toy"), found.own.sel(model="toy"))
    electronic = ds.cooperative_energy_electronic.sel(geometry="toy", length=3).squeeze()
    np.testing.assert_allclose(electronic.sel(model="toy-additive"), 0, atol=1e-9)
    np.testing.assert_allclose(
        found.difference.sel(model="toy-additive"), found.same.sel(model="toy-additive") - found.reference
    )


def test_what_is_not_done_is_missing_and_not_compared(ds: xr.Dataset) -> None:
    broken = ds.copy()
    broken["status"] = ds.status.where(ds.model != "toy-additive", "failed")
    found = same_geometry(broken, "toy", "toy")
    assert bool(found.same.sel(model="toy-additive").isnull().all())
    with pytest.raises(ValueError, match="expected results of toy-additive at a geometry that models share"):
        same_geometry_tables(broken, "toy-additive")


def test_unknown_names_are_refused_with_those_there_are(ds: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"expected a model of the store \(toy, toy-additive\), found so3lr"):
        same_geometry(ds, "so3lr", "toy")
    with pytest.raises(ValueError, match=r"expected a geometry of the store \(own, toy\), found qm"):
        same_geometry(ds, "toy", "qm")


def test_the_table_says_where_and_what(store: Path, ds: xr.Dataset) -> None:
    console = Console(width=100, record=True)
    for table in same_geometry_tables(ds, "toy"):
        console.print(table)
    words = console.export_text()
    assert "Cooperative energy at the geometries of toy against toy, kcal/mol" in words
    value = float(ds.cooperative_energy.sel(model="toy", geometry="toy", length=3, position="head").squeeze())
    assert f"n = 3, head: {value:.2f}" in words
    refused = CliRunner().invoke(app, ["analyse", str(store), "--against", "nonsense"], env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    words = " ".join(refused.output.replace("│", " ").split())
    assert "--against: expected a model of the store (toy, toy-additive), or a bundled one (hf:" in words
    assert "found nonsense" in words
