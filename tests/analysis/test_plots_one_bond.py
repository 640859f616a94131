"""Figures of one bond: energy parts, rotamers and contributions of molecules equal the data of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.analysis import plots
from hbcoop_dist.campaigns.hbond.spec import HBondSpec

STORE = Path(__file__).resolve().parents[2] / "store" / "nma.zarr.zip"
TRANS, CIS = "cis-N, trans-C", "cis-N, cis-C"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rotamers") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy"], "lengths": "2..4", "rotamer": ["default", CIS]}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
    return path


@pytest.fixture
def rotamers(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


@pytest.fixture(scope="module")
def published() -> xr.Dataset:
    return hb.open_store(STORE).load()


def test_bars_are_as_long_as_the_parts(published: xr.Dataset) -> None:
    panel = plots.parts(published).axes[0]
    widths = [bar.get_width() for bar in panel.patches]
    place = {"pattern": "arc", "capping": "none", "geometry": "own", "length": 4, "position": "middle"}
    names = [label.get_text() for label in panel.get_yticklabels()]
    for row, model in enumerate(names):
        cell = published.sel(place | {"model": model}).isel(rotamer=0, constraint=0)
        expected = [float(cell["cooperative_energy_electronic"]), float(cell["cooperative_energy_geometric"])]
        assert np.allclose(widths[2 * row : 2 * row + 2], expected)
    assert "gfn1-xtb" not in names
    with pytest.raises(ValueError, match=r"length: expected one of .*, found 40"):
        plots.parts(published, length=40)


def test_the_figure_has_a_point_for_every_rotamer_and_saddles_hollow(rotamers: xr.Dataset) -> None:
    at = {"model": "toy", "length": 4, "rotamer": CIS}
    rotamers["saddle"].loc[at] = 1
    figure = plots.rotamers(rotamers)
    drawn = {str(line.get_label()): line for line in figure.get_axes()[0].get_lines()}
    for label in (TRANS, CIS):
        energy = rotamers["cooperative_energy"].sel(model="toy", length=4, position="middle", rotamer=label).item()
        assert drawn[f"toy {label}"].get_xdata() == [energy]
    assert drawn[f"toy {CIS}"].get_markerfacecolor() == "white"
    assert drawn[f"toy {TRANS}"].get_markerfacecolor() != "white"
    table = analysis.by_rotamer(rotamers).loc[("toy", "arc", 4, "none", "own", "torsions", 2)]
    assert np.ptp(np.asarray(drawn["_range toy"].get_xdata())) == pytest.approx(table["spread"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [TRANS, CIS, "hollow: saddle"]
    with pytest.raises(ValueError, match="rotamer: expected two or more to compare, found cis-N, trans-C"):
        plots.rotamers(rotamers.sel(rotamer=[TRANS]))
    with pytest.raises(ValueError, match="length: expected one of 2, 3, 4, found 7"):
        plots.rotamers(rotamers, length=7)


def test_the_map_shows_each_molecule_of_each_length(published: xr.Dataset) -> None:
    own = published.sel(geometry=["own"])
    panel = plots.molecule_map(own, "so3lr", position="head").get_axes()[0]
    values = np.ma.filled(panel.get_images()[0].get_array(), np.nan)
    energy = analysis.by_molecule(own)["molecular_cooperative_energy"]
    expected = energy.sel(model="so3lr", pattern="arc", capping="none", hbond=1).squeeze()
    np.testing.assert_allclose(values, expected.transpose("molecule", "length").values[:12])
    assert sorted(text.get_text() for text in panel.texts) == ["A"] * 11 + ["B"] * 11
    # the first model with energies of atoms is drawn by default
    assert plots.molecule_map(own).get_axes()[0].get_title() == "so3lr, arc, middle H-bond"
    with pytest.raises(ValueError, match=r"model amber14: expected done cells with energies of atoms \(arc, none\)"):
        plots.molecule_map(own, "amber14")
