"""Comparison of rotamers: values of the store, spread of done cells only, saddles by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.analysis.reference_levels import WITHIN
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.models import available, cards

TRANS, CIS = "cis-N, trans-C", "cis-N, cis-C"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rotamers") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy"], "lengths": "2..4", "rotamer": ["default", CIS]}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
    return path


@pytest.fixture
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


def test_a_row_is_one_bond_and_its_spread_the_difference(ds: xr.Dataset) -> None:
    table = analysis.by_rotamer(ds)
    assert len(table) == 1 + 2 + 3
    assert list(table.columns) == [TRANS, CIS, "spread", "saddles"]
    row = table.loc[("toy", "arc", 4, "none", "own", "torsions", 2)]
    energy = ds["hbond_cooperative_energy"].sel(model="toy", pattern="arc", length=4, hbond=2).squeeze()
    assert row[TRANS] == float(energy.sel(rotamer=TRANS))
    assert row["spread"] == abs(float(energy.sel(rotamer=TRANS) - energy.sel(rotamer=CIS)))
    assert row["spread"] > 0


def test_models_keep_the_order_of_the_store_for_any_quantity(ds: xr.Dataset) -> None:
    more = xr.concat([ds.assign_coords(model=[name]) for name in ("z", "a")], "model", data_vars="minimal")
    table = analysis.by_rotamer(more, "distance_on")
    assert list(table.index.unique("model")) == ["z", "a"]
    assert table[[TRANS, CIS]].stack().between(2.0, 4.0).all()


def test_what_is_not_done_has_no_value_and_one_value_no_spread(ds: xr.Dataset) -> None:
    changed = ds.copy(deep=True)
    changed["status"].loc[{"rotamer": CIS, "length": 4}] = "unconverged"
    changed["status"].loc[{"length": 3}] = "failed"
    table = analysis.by_rotamer(changed)
    assert list(table.index.unique("length")) == [2, 4]
    four = table.xs(4, level="length")
    assert four[TRANS].notna().all()
    assert four[[CIS, "spread"]].isna().all(axis=None)


def test_saddles_are_named(ds: xr.Dataset) -> None:
    changed = ds.copy(deep=True)
    changed["saddle"][:] = 0
    changed["saddle"].loc[{"rotamer": CIS, "length": 4}] = 1
    saddles = analysis.by_rotamer(changed)["saddles"]
    assert set(saddles.xs(4, level="length")) == {CIS}
    assert set(saddles.xs(3, level="length")) == {""}
    assert set(analysis.by_rotamer(changed.drop_vars("saddle"))["saddles"]) == {""}


def test_one_rotamer_is_nothing_to_compare(ds: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="rotamer: expected two or more to compare, found cis-N, trans-C"):
        analysis.by_rotamer(ds.sel(rotamer=[TRANS]))
    with pytest.raises(ValueError, match=r"quantity: expected one of angle, cooperative_energy, .*, found colour"):
        analysis.by_rotamer(ds, "colour")


def test_the_default_rotamer_of_ani_2x_is_the_paper_s_and_the_other_moves_it_by_more_than_two(tmp_path: Path) -> None:
    """Feng, Xu and Huang (2025): terminal bonds of ANI models 0.3 to 0.6 kcal/mol, middle bonds 0.4 to 1.0."""
    if not (availability := available(cards()["ani-2x"])):
        pytest.skip(availability.reason)
    spec = {"campaign": "x", "models": ["ani-2x"], "lengths": [4], "rotamer": ["default", CIS]}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), tmp_path / "x.zarr", serial=True)
    table = analysis.by_rotamer(hb.open_store(tmp_path / "x.zarr"))
    head, middle, tail = table[TRANS]
    # one in the last digit that the paper prints
    assert 0.3 - WITHIN <= min(head, tail) <= max(head, tail) <= 0.6 + WITHIN
    assert 0.4 - WITHIN <= middle <= 1.0 + WITHIN
    assert (table[TRANS] > 2 * table[CIS]).all()
