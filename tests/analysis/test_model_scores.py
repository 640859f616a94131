"""One row per model: errors against the reference, growth, distances; what is missing stays missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist.analysis import scores
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
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
    hb.run(hb.plan(CampaignSpec.model_validate(spec)), path, serial=True)
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
