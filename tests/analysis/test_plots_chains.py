"""Lines, gaps, markers and colours of figures equal the data of the store."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hbcoop_dist import analysis
from hbcoop_dist.analysis import plots, tables

POSITIONS = ("head", "middle", "tail")


def lines(panel: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in panel.get_lines()}


def panels(figure: Figure) -> list[list[Axes]]:
    found = figure.get_axes()
    return [found[i : i + 3] for i in range(0, len(found), 3)]


def test_lines_carry_the_data_and_gaps_stay_gaps(ds: xr.Dataset) -> None:
    figure = plots.cooperative_energy_against_length(ds)
    masked = analysis.done(ds).cooperative_energy.squeeze()
    systems = list(product(("arc", "linear"), ("none", "water")))
    assert len(panels(figure)) == len(systems)
    for row, (pattern, capping) in zip(panels(figure), systems, strict=True):
        for panel, position in zip(row, POSITIONS, strict=True):
            here = masked.sel(pattern=pattern, capping=capping, position=position)
            drawn = {name: line for name, line in lines(panel).items() if not name.startswith("_")}
            assert set(drawn) == {str(m) for m in here.model.values if here.sel(model=m).notnull().any()}
            for model, line in drawn.items():
                np.testing.assert_array_equal(line.get_xdata(), ds.length.values)
                np.testing.assert_array_equal(line.get_ydata(), here.sel(model=model).values)


def test_the_unconverged_cell_is_a_gap(ds: xr.Dataset) -> None:
    figure = plots.cooperative_energy_against_length(ds, pattern="arc", capping="none")
    assert len(panels(figure)) == 1
    y = np.asarray(lines(panels(figure)[0][1])["so3lr"].get_ydata())
    assert np.isnan(y).tolist() == [False, False, True, False]


def test_a_single_length_is_a_visible_point(ds: xr.Dataset) -> None:
    figure = plots.cooperative_energy_against_length(ds, pattern=["arc"], capping="water")
    line = lines(panels(figure)[0][0])["so3lr"]
    assert np.isfinite(np.asarray(line.get_ydata())).sum() == 1
    assert line.get_marker() not in ("", "None", None)


def test_one_length_alone_can_be_drawn(ds: xr.Dataset, tmp_path: Path) -> None:
    figure = plots.cooperative_energy_against_length(ds.sel(length=[2]))
    assert plots.save_figure(figure, tmp_path / "one.png").stat().st_size > 5000


def test_saddles_and_near_rings_are_hollow_and_explained(ds: xr.Dataset) -> None:
    figure = plots.cooperative_energy_against_length(ds, pattern="arc", capping="none")
    found = lines(panels(figure)[0][2])
    hollow = np.asarray(found["_hollow so3lr"].get_ydata())
    expected = np.asarray(found["so3lr"].get_ydata())
    assert np.isnan(hollow[:3]).all()
    assert hollow[3] == expected[3]
    assert to_hex(found["_hollow so3lr"].get_markerfacecolor()) == "#ffffff"
    assert found["_hollow so3lr"].get_zorder() > found["so3lr"].get_zorder()
    assert "_hollow ani-2x" not in found
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["so3lr", "ani-2x", "hollow:\nsaddle, near-ring"], "a model without a point is not explained"


def test_not_done_but_asked_for_is_hollow(ds: xr.Dataset) -> None:
    figure = plots.cooperative_energy_against_length(
        ds, pattern="arc", capping="none", statuses=("done", "unconverged")
    )
    hollow = np.asarray(lines(panels(figure)[0][0])["_hollow so3lr"].get_ydata())
    assert np.isfinite(hollow).tolist() == [False, False, True, True]
    assert "not done" in figure.legends[0].get_texts()[-1].get_text()


def test_a_system_without_results_says_so(ds: xr.Dataset) -> None:
    figure = plots.cooperative_energy_against_length(ds.sel(model=["my-model"], pattern=["arc"], capping=["none"]))
    for panel in panels(figure)[0]:
        assert [text.get_text() for text in panel.texts] == ["no results"]


def test_into_axes_of_ones_own(ds: xr.Dataset) -> None:
    own = Figure()
    axes = own.subplots(1, 3)
    assert plots.cooperative_energy_against_length(ds, axes, pattern="arc", capping="none") is own
    assert "so3lr" in lines(axes[0])
    assert not own.legends
    with pytest.raises(ValueError, match="axes: expected 12 "):
        plots.cooperative_energy_against_length(ds, axes)


def test_a_models_look_does_not_depend_on_the_others(ds: xr.Dataset) -> None:
    every = plots.cooperative_energy_against_length(ds)
    alone = plots.cooperative_energy_against_length(ds.sel(model=["ani-2x"]))
    looks = {
        (to_hex(lines(row[0])["ani-2x"].get_color()), lines(row[0])["ani-2x"].get_marker())
        for figure in (every, alone)
        for row in panels(figure)
        if "ani-2x" in lines(row[0])
    }
    assert looks == {(plots.model_style("ani-2x").colour.lower(), plots.model_style("ani-2x").marker)}


def test_known_models_differ_and_unknown_ones_never_look_like_them() -> None:
    known = [plots.model_style(name) for name in ("so3lr", "ani-2x", "ani-1ccx", "gfn2-xtb", "amber14")]
    assert len({style.colour for style in known}) == len(known)
    unknown = {plots.model_style(f"model-{i}") for i in range(200)}
    assert not unknown & set(known)
    assert len(unknown) > 30


def test_a_look_is_the_same_in_another_process_and_pyplot_is_not_touched() -> None:
    code = (
        "import sys; from hbcoop_dist.analysis import plots; print(plots.model_style('my-model'));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(plots.model_style("my-model"))


def test_bars_are_the_spread_of_those_that_have_one(ds: xr.Dataset) -> None:
    """A bar from value - spread to value + spread at every result, none at what is not done or no ensemble."""
    spread = xr.where(ds.model == "ani-2x", 0.1 + np.abs(ds.cooperative_energy) / 50, np.nan)
    found = ds.assign(cooperative_energy_spread=spread.transpose(*ds.cooperative_energy.dims))
    figure = plots.cooperative_energy_against_length(found)
    masked = analysis.done(found).squeeze()
    for row, (pattern, capping) in zip(panels(figure), product(("arc", "linear"), ("none", "water")), strict=True):
        for panel, position in zip(row, POSITIONS, strict=True):
            here = masked.sel(pattern=pattern, capping=capping, position=position, model="ani-2x")
            bars = {bar.get_label(): bar for bar in panel.containers}
            assert set(bars) == ({"_spread ani-2x"} if here.cooperative_energy.notnull().any() else set())
            for bar in bars.values():
                ends = np.array([segment[:, 1] for segment in bar.lines[2][0].get_segments()])
                energy, width = here.cooperative_energy.values, here.cooperative_energy_spread.values
                np.testing.assert_allclose(ends, np.array([energy - width, energy + width]).T)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[-1] == "error bars:\nensemble spread"
    plain = plots.cooperative_energy_against_length(ds)
    assert not any("error bars" in text.get_text() for text in plain.legends[0].get_texts())
    assert not any(panel.containers for row in panels(plain) for panel in row)


def test_words_name_the_ensembles(ds: xr.Dataset) -> None:
    assert analysis.with_spread(ds) == []
    assert analysis.spread_words(ds).startswith("No error bars")
    spread = xr.where(ds.model == "ani-2x", 0.1, np.nan) + 0 * ds.cooperative_energy
    found = ds.assign(cooperative_energy_spread=spread.transpose(*ds.cooperative_energy.dims))
    assert analysis.with_spread(found) == ["ani-2x"]
    assert "`ani-2x`, all at the minimum of their mean. The other models are no" in analysis.spread_words(found)
    assert "The other models" not in analysis.spread_words(found.sel(model=["ani-2x"]))


def test_a_figure_is_written_where_asked(ds: xr.Dataset, tmp_path: Path) -> None:
    figure = plots.cooperative_energy_against_length(ds)
    path = plots.save_figure(figure, tmp_path / "new" / "figure.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_dataset_given_is_left_as_it_is(ds: xr.Dataset) -> None:
    before = ds.copy(deep=True)
    plots.cooperative_energy_against_length(ds)
    tables.render(ds)
    xr.testing.assert_identical(ds, before)
