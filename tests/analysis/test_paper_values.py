"""Models of a store compared with published ranges."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist.analysis import beside_published

STORE = Path(__file__).resolve().parents[2] / "store" / "nma.zarr.zip"


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return hb.open_store(STORE).load()


def test_the_largest_value_of_open_chains_is_what_counts(ds: xr.Dataset) -> None:
    found = beside_published(ds).set_index(["model", "what"])
    own = (
        ds["cooperative_energy"]
        .sel(model="ani-2x", pattern="arc", capping="none", geometry="own")
        .isel(rotamer=0, constraint=0)
    )
    open_chains = own.where(ds["near_ring"].sel(model="ani-2x", pattern="arc", capping="none", geometry="own") != 1)
    terminal = found.loc[("ani-2x", "bare arc: largest value of terminal bonds")]
    assert terminal["here"] == pytest.approx(float(open_chains.sel(position=["head", "tail"]).max()))
    assert (terminal["low"], terminal["high"]) == (0.3, 0.6)
    assert bool(terminal["inside"])


def test_additive_force_fields_are_held_against_zero(ds: xr.Dataset) -> None:
    found = beside_published(ds)
    additive = found[found["model"].isin(["amber14", "charmm36"])]
    assert len(additive) == 2
    assert (additive["high"] == 0).all()


def test_a_value_outside_is_outside_and_one_that_is_missing_is_no_row(ds: xr.Dataset) -> None:
    other = ds.copy(deep=True)
    other["cooperative_energy"].loc[{"model": "ani-2x", "geometry": "own", "length": 5, "position": "head"}] = 3.0
    found = beside_published(other).set_index(["model", "what"])
    assert not found.loc[("ani-2x", "bare arc: largest value of terminal bonds"), "inside"]
    other["status"].loc[{"model": "ani-2x"}] = "failed"
    assert "ani-2x" not in set(beside_published(other)["model"])
    assert beside_published(ds.sel(geometry=["nma-so3lr"])).empty
    assert not set(beside_published(ds)["model"]) & {"so3lr", "gfn2-xtb"}
