"""The same bond in every rotamer: literature and prototype values, and what is not done is no spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.analysis import plots
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.models import available, cards

TRANS, CIS = "cis-N, trans-C", "cis-N, cis-C"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rotamers") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy"], "lengths": "2..4", "rotamer": ["default", CIS]}
    hb.run(hb.plan(CampaignSpec.model_validate(spec)), path, serial=True)
    return path


@pytest.fixture
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


def test_a_row_is_one_bond_and_its_spread_the_difference(ds: xr.Dataset) -> None:
    table = analysis.by_rotamer(ds)
    assert len(table) == 1 + 2 + 3
    assert list(table.columns) == [TRANS, CIS, "spread", "saddles"]
    row = table.loc[("toy", "arc", 4, "none", "own", 2)]
    energy = ds["hbond_cooperative_energy"].sel(model="toy", pattern="arc", length=4, hbond=2).squeeze()
    assert row[TRANS] == float(energy.sel(rotamer=TRANS))
    assert row["spread"] == abs(float(energy.sel(rotamer=TRANS) - energy.sel(rotamer=CIS)))
    assert row["spread"] > 0


def test_the_figure_has_a_point_for_every_rotamer_and_saddles_hollow(ds: xr.Dataset) -> None:
    at = {"model": "toy", "length": 4, "rotamer": CIS}
    ds["saddle"].loc[at] = 1
    figure = plots.rotamers(ds)
    drawn = {str(line.get_label()): line for line in figure.get_axes()[0].get_lines()}
    for label in (TRANS, CIS):
        energy = ds["cooperative_energy"].sel(model="toy", length=4, position="middle", rotamer=label).item()
        assert drawn[f"toy {label}"].get_xdata() == [energy]
    assert drawn[f"toy {CIS}"].get_markerfacecolor() == "white"
    assert drawn[f"toy {TRANS}"].get_markerfacecolor() != "white"
    table = analysis.by_rotamer(ds).loc[("toy", "arc", 4, "none", "own", 2)]
    assert np.ptp(np.asarray(drawn["_range toy"].get_xdata())) == pytest.approx(table["spread"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [TRANS, CIS, "hollow: saddle"]
    with pytest.raises(ValueError, match="rotamer: expected two or more to compare, found cis-N, trans-C"):
        plots.rotamers(ds.sel(rotamer=[TRANS]))
    with pytest.raises(ValueError, match="length: expected one of 2, 3, 4, found 7"):
        plots.rotamers(ds, length=7)


def test_models_stand_in_the_store_s_order_and_any_quantity_may_be_asked_for(ds: xr.Dataset) -> None:
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


def test_ani_2x_moves_by_the_prototype_s_factor(tmp_path: Path) -> None:
    """Design, section 2: terminal bonds of n = 4 at 0.54 (trans-C) and 0.21 to 0.22 (cis-C), middle 1.09 and 0.43."""
    if not (there := available(cards()["ani-2x"])):
        pytest.skip(there.reason)
    spec = {"campaign": "x", "models": ["ani-2x"], "lengths": [4], "rotamer": ["default", CIS]}
    hb.run(hb.plan(CampaignSpec.model_validate(spec)), tmp_path / "x.zarr", serial=True)
    table = analysis.by_rotamer(hb.open_store(tmp_path / "x.zarr"))
    np.testing.assert_allclose(table[TRANS], [0.54, 1.09, 0.54], atol=0.01)
    np.testing.assert_allclose(table[CIS], [0.21, 0.43, 0.22], atol=0.01)
    np.testing.assert_allclose(table["spread"], [0.33, 0.66, 0.32], atol=0.02)
