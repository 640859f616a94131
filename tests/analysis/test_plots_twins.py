"""Figure of pairs of models: colours, dashes, gaps, and gains over the chain with two neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hbcoop_dist.analysis import plots

PAIRS = {"ani-2x": "my-model", "nobody": "nobody-les"}


def lines(figure: Figure, panel: int) -> dict[str, Line2D]:
    found = {str(line.get_label()): line for line in figure.get_axes()[panel].get_lines()}
    return {name: line for name, line in found.items() if not name.startswith("_")}


@pytest.fixture
def both(ds: xr.Dataset) -> xr.Dataset:
    ds["status"].loc[{"model": ["ani-2x", "my-model"], "pattern": "arc", "capping": "none"}] = "done"
    return ds


def test_a_pair_has_one_colour_and_its_charges_are_dashes(both: xr.Dataset) -> None:
    drawn = lines(plots.cooperative_energy_of_twins(both, PAIRS), 0)
    assert list(drawn) == ["ani-2x", "my-model", "so3lr"]
    assert drawn["ani-2x"].get_color() == drawn["my-model"].get_color() != drawn["so3lr"].get_color() == "black"
    assert [line.get_linestyle() for line in drawn.values()] == ["-", "--", "-"]


def test_lines_are_the_middle_bond_s_energies_and_their_gain(both: xr.Dataset) -> None:
    figure = plots.cooperative_energy_of_twins(both, PAIRS)
    place = {"model": "my-model", "pattern": "arc", "capping": "none", "position": "middle"}
    expected = both["cooperative_energy"].sel(place).squeeze().values
    energy, gain = (lines(figure, panel)["my-model"].get_xydata() for panel in (0, 1))
    np.testing.assert_array_equal(energy, np.stack([[3, 4, 5], expected[1:]], axis=1))
    np.testing.assert_allclose(gain, [[4, 0.0], [5, expected[3] - expected[2]]], atol=1e-15)


def test_what_is_not_done_is_a_gap_and_gains_nothing(both: xr.Dataset) -> None:
    # so3lr's arc of four is unconverged
    figure = plots.cooperative_energy_of_twins(both, PAIRS)
    energy, gain = (np.asarray(lines(figure, panel)["so3lr"].get_ydata(), float) for panel in (0, 1))
    assert np.isfinite(energy).tolist() == [True, False, True]
    assert np.isnan(gain).all()
    short = plots.cooperative_energy_of_twins(both.sel(length=[2, 3]), PAIRS)
    assert np.isnan(np.asarray(lines(short, 1)["my-model"].get_ydata(), float)).all()


def test_into_axes_of_one_s_own_and_what_is_not_there(both: xr.Dataset) -> None:
    mine = Figure()
    assert plots.cooperative_energy_of_twins(both, PAIRS, mine.subplots(1, 2)) is mine
    assert not mine.legends
    with pytest.raises(ValueError, match="axes: expected 2, found 3"):
        plots.cooperative_energy_of_twins(both, PAIRS, Figure().subplots(1, 3))
    with pytest.raises(ValueError, match="pattern: expected one of arc, linear, found helix"):
        plots.cooperative_energy_of_twins(both, PAIRS, pattern="helix")
