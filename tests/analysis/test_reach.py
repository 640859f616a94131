"""How many units a short-range model can see from a bond: geometry alone decides, and the energies agree."""

from __future__ import annotations

import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist.analysis import units_seen
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    path = tmp_path_factory.mktemp("reach") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy"], "lengths": [2, 3, 4, 5, 6]}
    hb.run(hb.plan(CampaignSpec.model_validate(spec)), path, serial=True)
    return hb.open_store(path).load()


def test_nobody_sees_without_sight_and_everything_with_enough(ds: xr.Dataset) -> None:
    assert units_seen(ds, "toy", 0.5) == 0
    assert units_seen(ds, "toy", 1000.0) == 4
    seen = [units_seen(ds, "toy", field) for field in (2.0, 4.0, 6.0, 10.0, 20.0)]
    assert seen == sorted(seen)


def test_a_model_without_a_bare_arc_has_no_answer(ds: xr.Dataset) -> None:
    nothing = ds.assign(status=xr.full_like(ds["status"], "pending"))
    assert units_seen(nothing, "toy", 5.0) == -1


def test_units_out_of_sight_have_no_electronic_share(checkpointed_ani: xr.Dataset) -> None:
    """ANI-2x, 5.1 A: from the length on at which the head bond sees all it can, its electronic part stays."""
    seen = units_seen(checkpointed_ani, "ani-2x", 5.1)
    place = {"model": "ani-2x", "pattern": "arc", "capping": "none", "geometry": "own", "position": "head"}
    part = checkpointed_ani["cooperative_energy_electronic"].sel(place).isel(rotamer=0)
    # fixed geometry would give exact equality; relaxed chains of different lengths differ a little in their first units
    longest = int(part["length"].max())
    assert seen < longest - 2
    assert float(part.sel(length=longest)) == pytest.approx(float(part.sel(length=2 + seen)), abs=0.05)
    assert abs(float(part.sel(length=2 + seen))) > 0.1


@pytest.fixture(scope="module")
def checkpointed_ani(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    from hbcoop_dist.models import available, card

    if not (found := available(card("ani-2x"))):
        pytest.skip(found.reason)
    path = tmp_path_factory.mktemp("reach-ani") / "x.zarr"
    spec = {"campaign": "x", "models": ["ani-2x"], "lengths": [2, 3, 4, 5, 6, 7]}
    hb.run(hb.plan(CampaignSpec.model_validate(spec)), path, serial=True)
    return hb.open_store(path).load()
