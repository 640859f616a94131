"""Scores of models: errors against the reference, growth, distances; missing values are not averaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist.analysis import ranks, reference_width, scores
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.references import reference_energies

LEVEL = "rimp2:cc-pvtz:frozen-core"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scores") / "x.zarr"
    spec = {
        "campaign": "x",
        "models": ["toy", "toy-additive"],
        "lengths": [2, 3, 4, 5],
        "geometry": ["own", "nma-so3lr"],
    }
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
    return path


@pytest.fixture
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


def test_an_error_known_by_hand_is_the_root_mean_square(ds: xr.Dataset) -> None:
    at = {"model": LEVEL, "geometry": "nma-so3lr", "rotamer": "cis-N, trans-C", "pattern": "arc", "capping": "none"}
    known = reference_energies()["cooperative_energy"].sel(at)
    changed = ds.copy(deep=True)
    energy = changed["cooperative_energy"]
    for length in (3, 4):
        place = {"model": "toy", "geometry": "nma-so3lr", "length": length, "pattern": "arc", "capping": "none"}
        energy.loc[place] = (known.sel(length=length) + 0.3).values
    row = scores(changed).loc["toy"]
    assert row["rmse_there"] == pytest.approx(0.3)
    assert row["compared_there"] == 2 + 3
    assert row["compared_own"] == 2 + 3
    assert row["rmse_own"] != pytest.approx(0.3)


def test_missing_bonds_neither_count_nor_lower_the_error(ds: xr.Dataset) -> None:
    """Of bonds that are all 0.3 off, those that are not done change the count alone."""
    at = {"model": LEVEL, "geometry": "nma-so3lr", "rotamer": "cis-N, trans-C", "pattern": "arc", "capping": "none"}
    reference = reference_energies()["cooperative_energy"].sel(at)
    changed = ds.copy(deep=True)
    place = {"model": "toy", "geometry": "nma-so3lr", "pattern": "arc", "capping": "none"}
    for length in (3, 4):
        changed["cooperative_energy"].loc[place | {"length": length}] = (reference.sel(length=length) + 0.3).values
    changed["status"].loc[place | {"length": 4}] = "failed"
    row = scores(changed).loc["toy"]
    assert row["rmse_there"] == pytest.approx(0.3)
    assert row["compared_there"] == 2
    changed["status"].loc[place | {"length": 3}] = "unconverged"
    row = scores(changed).loc["toy"]
    assert np.isnan(row["rmse_there"])
    assert row["compared_there"] == 0


def test_growth_and_distances_are_those_of_the_longest_arc(ds: xr.Dataset) -> None:
    row = scores(ds).loc["toy"]
    middle = ds["cooperative_energy"].sel(model="toy", geometry="own", position="middle").squeeze()
    assert row["length"] == 5
    assert row["middle"] == float(middle.sel(length=5))
    assert row["beyond"] == pytest.approx(float(middle.sel(length=5) - middle.sel(length=4)))
    assert scores(ds).loc["toy-additive", "beyond"] == pytest.approx(0, abs=0.05)
    distance = float(ds["distance_on"].sel(model="toy", geometry="own", length=5, position="middle").squeeze())
    conformer = str(ds["position_conformer"].sel(pattern="arc", length=5, position="middle").item())
    alone = float(ds["dimer_distance_on"].sel(model="toy", geometry="own", conformer=conformer).squeeze())
    assert row["shortening"] == pytest.approx(distance - alone)


def test_what_failed_is_counted_and_not_averaged(ds: xr.Dataset) -> None:
    broken = ds.copy()
    broken["status"] = ds["status"].where((ds["model"] != "toy") | (ds["length"] < 5), "broken-geometry")
    row, whole = scores(broken).loc["toy"], scores(ds).loc["toy"]
    assert (row["length"], np.isnan(row["beyond"])) == (4, True)
    assert row["done"] < whole["done"]
    assert row["unbroken"] < whole["unbroken"] == 1.0
    assert row["compared_there"] == whole["compared_there"]


def test_without_the_reference_or_its_geometry_there_are_no_errors(ds: xr.Dataset) -> None:
    row = scores(ds, "nonsense").loc["toy"]
    assert (row["compared_there"], row["compared_own"]) == (0, 0)
    assert np.isnan(row["rmse_there"])
    assert scores(ds.sel(geometry=["own"])).loc["toy", "compared_there"] == 0


def test_a_perfect_reference_ranks_everybody_once() -> None:
    found = ranks(pd.Series({"b": 0.2, "a": 0.1, "c": 0.9}), 0.0)
    assert found.loc[["a", "b", "c"], "best"].tolist() == [1, 2, 3]
    assert (found["best"] == found["worst"]).all()


def test_what_the_reference_cannot_tell_apart_shares_its_ranks() -> None:
    found = ranks(pd.Series({"a": 0.1, "b": 0.2, "c": 0.9}), 0.15)
    assert found.loc["a"].tolist() == found.loc["b"].tolist() == [1, 2]
    assert found.loc["c"].tolist() == [3, 3]
    assert ranks(pd.Series({"a": 0.1, "b": 0.2, "c": 0.9}), 5.0)["worst"].tolist() == [3, 3, 3]


def test_a_model_without_an_error_has_no_rank_and_takes_none() -> None:
    found = ranks(pd.Series({"a": np.nan, "b": 0.2}), 0.1)
    assert found.loc["a"].isna().all()
    assert found.loc["b"].tolist() == [1, 1]


def test_the_width_is_the_largest_difference_among_equals() -> None:
    width = reference_width("rimp2:cc-pvtz:frozen-core")
    energies = reference_energies()["cooperative_energy"]
    bonds = energies.sel(geometry="nma-so3lr", pattern="arc", rotamer="cis-N, trans-C").stack(
        place=("length", "capping", "position")
    )
    bonds = bonds.isel(place=((bonds["length"] > 2) | (bonds["capping"] == "water")).values)
    one, other = (bonds.sel(model=name).values for name in ("rimp2:cc-pvtz:frozen-core", "scs-mp2:cc-pvtz:frozen-core"))
    assert width >= float(np.sqrt(np.nanmean((one - other) ** 2))) - 1e-12
    assert 0 < width < 1
    assert np.isnan(reference_width("nonsense"))
