"""Figures of distances and dimers, and a reference in black."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

import hbcoop_dist as hb
from hbcoop_dist.analysis import plots
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.references import reference_energies

REFERENCE = "rimp2:cc-pvtz:frozen-core"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("figures") / "x.zarr"
    spec = {"campaign": "x", "models": ["so3lr", "toy"], "patterns": ["arc", "linear"], "lengths": [2, 3]}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
    return path


@pytest.fixture
def real(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


def _line(panel: Axes, label: str) -> np.ndarray:
    [line] = [line for line in panel.get_lines() if line.get_label() == label]
    return np.array([line.get_xdata(), line.get_ydata()], dtype=float)


def test_distances_are_those_of_the_store(real: xr.Dataset) -> None:
    figure = plots.distance_against_length(real, pattern="arc")
    head = figure.get_axes()[0]
    expected = real["distance_on"].sel(model="so3lr", pattern="arc", position="head").squeeze().values
    np.testing.assert_array_equal(_line(head, "so3lr")[1], expected)
    assert not [line for line in head.get_lines() if line.get_label() == "_child0"], "no line at zero for a distance"


def test_a_reference_is_drawn_in_black_where_it_has_values(real: xr.Dataset) -> None:
    figure = plots.cooperative_energy_against_length(real, reference=REFERENCE)
    arc, linear = figure.get_axes()[0], figure.get_axes()[3]
    [line] = [line for line in arc.get_lines() if line.get_label() == "_reference nma-so3lr"]
    assert line.get_color() == "black"
    at = {
        "model": REFERENCE,
        "position": "head",
        "capping": "none",
        "geometry": "nma-so3lr",
        "rotamer": "cis-N, trans-C",
    }
    known = reference_energies()["cooperative_energy"].sel(at).squeeze()
    np.testing.assert_array_equal(line.get_xdata(), [3, 4])
    np.testing.assert_array_equal(line.get_ydata(), known.sel(length=[3, 4]))
    assert not [line for line in linear.get_lines() if str(line.get_label()).startswith("_reference")]
    assert REFERENCE in [text.get_text() for text in figure.legends[0].get_texts()]


def test_dimers_are_drawn_filled_and_open(real: xr.Dataset) -> None:
    figure = plots.dimers(real)
    energy, distance = figure.get_axes()
    for conformer in ("syn", "anti"):
        at = {"model": "so3lr", "conformer": conformer}
        for panel, name in ((energy, "dimer_interaction_energy"), (distance, "dimer_distance_on")):
            assert _line(panel, f"so3lr {conformer}")[1] == real[name].sel(at).squeeze().item()
    styles = {str(line.get_label()): line.get_fillstyle() for line in energy.get_lines()}
    assert (styles["so3lr syn"], styles["so3lr anti"]) == ("full", "none")
    with pytest.raises(ValueError, match="geometry: expected one of own, found qm"):
        plots.dimers(real, geometry="qm")
