"""Figure of broken geometries: which cells are drawn, undistorted, with lost bonds marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from scipy.spatial.distance import pdist

import hbcoop_dist as hb
from hbcoop_dist.analysis import plots
from hbcoop_dist.analysis.plots.broken_chains import projected
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.monomers import build

DASHED, LOST = "#303030", "#D55E00"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("broken") / "x.zarr"
    # Amber has no planar anti dimer (README), so every linear chain of three units or more breaks at its second bond
    spec = {
        "campaign": "x",
        "models": ["amber14"],
        "patterns": ["arc", "linear"],
        "lengths": [3, 4],
        "constraint": "mirror",
    }
    capped = {"capping": ["none", {"name": "water", "lengths": [4]}]}
    hb.run(hb.plan(HBondSpec.model_validate({**spec, **capped})), path, serial=True)
    return path


@pytest.fixture
def real(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


def bridges(panel: Axes) -> list[str]:
    return [str(line.get_color()) for line in panel.get_lines()]


def circles(panel: Axes) -> np.ndarray:
    return np.array([circle.center for circle in panel.patches])


def test_a_projection_is_a_rotation() -> None:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(20, 3)) * [5.0, 2.0, 0.5]
    found = projected(x)
    np.testing.assert_allclose(pdist(found), pdist(x))
    # no mirror image: signed volumes stay
    assert np.linalg.det(found[1:4] - found[0]) == pytest.approx(np.linalg.det(x[1:4] - x[0]))
    assert (np.diff(found.var(axis=0)) < 0).all()
    assert found[0, 0] < 0 < found[0, 1]


def test_the_shortest_of_each_kind_is_drawn_where_it_stopped(real: xr.Dataset) -> None:
    figure = plots.broken_geometries(real)
    bare, capped = figure.get_axes()[:2]
    place = {"model": "amber14", "pattern": "linear", "length": 3, "capping": "none"}
    reason = str(real["reason"].sel(place).squeeze().item())
    assert reason.startswith("H-bond 2 turns over")
    assert " ".join(bare.get_title().split()) == f"amber14, linear, n = 3 {reason}"
    assert capped.get_title().startswith("amber14, linear, n = 4, capped\n")
    assert len([panel for panel in figure.get_axes() if panel.get_title()]) == 2
    x = real["positions"].sel(place).squeeze().values[:36]
    flat = np.abs(projected(x)[:, 2]) < 1e-6
    # methyl H above and below the mirror plane fall on one another; all else is drawn at its distances
    np.testing.assert_allclose(pdist(circles(bare)[flat]), pdist(x[flat]), atol=1e-6)
    assert flat.sum() == 24


def test_lost_bonds_are_told_from_those_that_hold(real: xr.Dataset) -> None:
    bare, capped = plots.broken_geometries(real).get_axes()[:2]
    assert bridges(bare) == [DASHED, LOST]
    # three bonds between the units, then five of the caps
    assert len(bridges(capped)) == 3 + 5
    assert bridges(capped)[3:] == [DASHED] * 5
    assert LOST in bridges(capped)[:3]


def test_where_only_the_isolated_dimer_broke_it_is_drawn(real: xr.Dataset) -> None:
    changed = real.copy(deep=True)
    why = "isolated dimer of H-bond 2: H-bond 1 is lost: H..O 4.00 A (limit 2.5)"
    changed["reason"].loc[{"pattern": "linear"}] = why
    anti = build(make_chain("linear", 3).dimer(2)).positions
    changed["dimer_positions"].loc[{"conformer": "anti"}] = np.nan
    changed["dimer_positions"].loc[{"conformer": "anti", "atom": range(24)}] = anti
    bare = plots.broken_geometries(changed).get_axes()[0]
    assert len(circles(bare)) == 24
    assert bridges(bare) == [LOST]
    # one that broke itself is taken before it, however long
    changed["reason"].loc[{"pattern": "linear", "length": 4}] = "H-bond 2 is lost"
    assert "n = 4" in plots.broken_geometries(changed).get_axes()[0].get_title()


def test_a_geometry_that_is_not_stored_is_said_not_to_be(real: xr.Dataset) -> None:
    without = plots.broken_geometries(real.assign(positions=real["positions"] * np.nan))
    assert [panel.texts[0].get_text() for panel in without.get_axes()[:2]] == ["no geometry"] * 2
    dropped = plots.broken_geometries(real.drop_vars("positions"))
    assert dropped.get_axes()[0].texts[0].get_text() == "no geometry"


def test_a_figure_says_when_nothing_broke_and_when_more_did(real: xr.Dataset) -> None:
    whole = plots.broken_geometries(real.sel(pattern=["arc"]))
    assert whole.get_axes()[0].texts[0].get_text() == "no broken geometries"
    many = xr.concat(
        [real.sel(pattern=["linear"]).assign_coords(model=[f"model {k}"]) for k in range(8)],
        "model",
        data_vars="minimal",
    )
    figure = plots.broken_geometries(many)
    titles = [panel.get_title() for panel in figure.get_axes()]
    assert figure.get_suptitle() == "12 of 16 broken geometries"
    assert len(titles) == 12
    assert [title.partition("\n")[0].endswith("capped") for title in titles] == [False] * 8 + [True] * 4
