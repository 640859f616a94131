"""Figures along and against chain length: energies of every bond, fits, asymptotes and receptive fields."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

import hbcoop_dist as hb
from hbcoop_dist.analysis import plots
from hbcoop_dist.analysis.plots import chain_growth
from hbcoop_dist.campaigns.hbond.spec import HBondSpec


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chains") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy", "toy-additive"], "lengths": "2..7"}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
    return path


@pytest.fixture
def real(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


def lines(panel: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.array(line.get_data(), dtype=float) for line in panel.get_lines()}


def _ends(panel: Axes, label: str) -> np.ndarray:
    """Lower and upper end of every bar."""
    (bar,) = [bar for bar in panel.containers if bar.get_label() == label]
    return np.array([segment[:, 1] for segment in bar.lines[2][0].get_segments()])


def test_every_bond_of_a_chain_is_where_the_store_has_it(real: xr.Dataset) -> None:
    spread = xr.where(real["model"] == "toy", 0.1 * real["hbond_cooperative_energy"], np.nan)
    real["hbond_cooperative_energy_spread"] = spread.transpose(*real["hbond_cooperative_energy"].dims)
    figure = plots.every_hbond(real)
    assert [panel.get_title() for panel in figure.get_axes()] == ["4 units", "6 units", "7 units"]
    for panel, length in zip(figure.get_axes(), (4, 6, 7), strict=True):
        for model in ("toy", "toy-additive"):
            at = {"model": model, "length": length, "hbond": range(1, length)}
            energy = real["hbond_cooperative_energy"].sel(at).values.ravel()
            np.testing.assert_array_equal(lines(panel)[model], [np.arange(1, length), energy])
        toy = real["hbond_cooperative_energy"].sel(model="toy", length=length).values.ravel()[: length - 1]
        np.testing.assert_allclose(_ends(panel, "_spread toy"), np.array([0.9 * toy, 1.1 * toy]).T)
        assert len(panel.containers) == 1, "what is no ensemble has no bars"
    assert figure.legends[0].get_texts()[-1].get_text().startswith("error bars:")


def test_a_saddle_is_hollow_along_its_chain_and_what_is_not_done_is_not_there(real: xr.Dataset) -> None:
    real["saddle"][:] = xr.where(real["model"] == "toy", 1, 0)
    real["status"] = real["status"].where(real["model"] != "toy-additive", "failed")
    (panel,) = plots.every_hbond(real, lengths=[5]).get_axes()
    drawn = {str(line.get_label()): line for line in panel.get_lines()}
    assert to_hex(drawn["toy"].get_markerfacecolor()) == "#ffffff"
    assert "toy-additive" not in drawn
    with pytest.raises(ValueError, match="length: expected one of 2, 3, 4, 5, 6, 7, found 9"):
        plots.every_hbond(real, lengths=[9])


def _growing(ds: xr.Dataset) -> xr.Dataset:
    n = ds["length"].astype(float)
    values = 4.2 - 4.2 * np.exp(-(n - 2) / 1.2) + 0 * ds["cooperative_energy"]
    return ds.assign(cooperative_energy=values.transpose(*ds["cooperative_energy"].dims), near_ring=ds["near_ring"] * 0)


def test_a_curve_ends_where_its_fit_does_and_goes_on_dashed(real: xr.Dataset) -> None:
    figure = plots.growth_curves(_growing(real))
    panel = figure.get_axes()[0]
    assert panel.get_title() == "toy"
    solid, dashed = (
        [line for line in panel.get_lines() if line.get_linestyle() == style and len(line.get_xdata()) == 60]
        for style in ("-", "--")
    )
    assert (solid[0].get_xdata()[0], solid[0].get_xdata()[-1]) == (2.0, 7.0)
    assert (dashed[0].get_xdata()[0], dashed[0].get_xdata()[-1]) == (7.0, 10.0)
    x = np.asarray(solid[0].get_xdata(), dtype=float)
    np.testing.assert_allclose(solid[0].get_ydata(), 4.2 - 4.2 * np.exp(-(x - 2) / 1.2), atol=1e-4)
    ends = _ends(panel, "_end toy")[0]
    assert ends.mean() == pytest.approx(4.2, abs=1e-3)


def test_flat_from_and_out_of_sight_are_marked(real: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = xr.where(real["length"] >= 4, 3.0, real["length"] - 2.0) + 0 * real["cooperative_energy"]
    found = real.assign(cooperative_energy=flat.transpose(*real["cooperative_energy"].dims))
    monkeypatch.setattr(chain_growth, "units_seen", lambda *_: 1)
    cards = chain_growth.cards()
    near = cards["toy"].with_fields(cutoff=5.0, long_range=False)
    monkeypatch.setattr(chain_growth, "cards", lambda: {**cards, "toy": near})
    toy, additive = plots.growth_curves(found).get_axes()[:2]
    assert lines(toy)["_saturation"][0] == [4.0]
    (shade,) = [patch for patch in toy.patches if patch.get_label() == "_beyond receptive field"]
    assert shade.get_xy()[0] == 4.5, "the middle bond of five units has two units on one side"
    assert not additive.patches, "nothing bounds what a model of long range sees"
    monkeypatch.setattr(chain_growth, "units_seen", lambda *_: 5)
    assert not plots.growth_curves(found).get_axes()[0].patches, "all of its longest chain is in sight"


def test_chains_whose_ends_meet_are_left_out_of_growth(real: xr.Dataset) -> None:
    ring = _growing(real)
    ring["near_ring"][:] = xr.where(ring["length"] == 7, 1, 0)
    drawn = lines(plots.growth_curves(ring).get_axes()[0])["toy"]
    assert np.isnan(drawn[1][-1])
    assert np.isfinite(drawn[1][:-1]).all()
    nothing = real.assign(status=xr.full_like(real["status"], "failed"))
    assert [text.get_text() for text in plots.growth_curves(nothing).texts if "no" in text.get_text()] == ["no results"]
