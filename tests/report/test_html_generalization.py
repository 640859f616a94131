"""The page of a store of trained networks in a real browser, from the published store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from chromium import choose, column, complaints, find, narrowed, requests, shown, sort_by, until

from hbcoop_dist.campaigns.generalization.report_pages import build_report
from hbcoop_dist.report import write_report
from hbcoop_dist.store import open_store

STORE = Path(__file__).resolve().parents[2] / "store" / "generalization-quick.zarr.zip"
# what a named figure draws, and what stands along its axes
_DRAWN = """
const plot = Bokeh.documents.flatMap(one => one.roots()).flatMap(root => [...root.references()])
  .find(one => one.type === "Figure" && one.name === arguments[0]);
const [glyphs] = plot.renderers.filter(one => one.type === "GlyphRenderer");
const data = Object.fromEntries(Object.entries(glyphs.data_source.data).map(([name, one]) => [name, Array.from(one)]));
const range = one => one.factors ?? [one.start, one.end];
return JSON.stringify({data, x: range(plot.x_range), y: range(plot.y_range), label: plot.left[0].axis_label});
"""
# how many pixels of a named figure have one of these colours
_PAINTED = """
const wanted = arguments[1].map(text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16)));
const view = Object.values(Bokeh.index.roots ?? Bokeh.index).flatMap(function all(one) {
  return [one, ...(one.child_views ?? []).flatMap(all)];
}).find(one => one.model.type === "Figure" && one.model.name === arguments[0]);
const canvas = view.canvas_view?.primary?.canvas ?? view.canvas.primary.canvas;
// a canvas that is read twice makes the browser warn
const copy = document.createElement("canvas"), counts = wanted.map(_ => 0);
[copy.width, copy.height] = [canvas.width, canvas.height];
const pen = copy.getContext("2d");
pen.drawImage(canvas, 0, 0);
const data = pen.getImageData(0, 0, copy.width, copy.height).data;
for (let at = 0; at < data.length; at += 4) wanted.forEach((one, number) => {
  if (one.every((value, i) => Math.abs(value - data[at + i]) < 60)) counts[number] += 1;
});
return counts;
"""


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return open_store(STORE, kind="generalization").load()


@pytest.fixture(scope="module")
def page(ds: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build_report(ds), tmp_path_factory.mktemp("page") / "quick.html")


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pictures = ("summary", "leaderboard", "explore", "degradation", "figures")
    profile = tmp_path_factory.mktemp("browser")
    with shown(page, profile, lambda driver: find(driver, ".slick-row"), pictures) as driver:
        yield driver


def _drawn(browser: Any, name: str) -> dict[str, Any]:
    found = json.loads(browser.execute_script(_DRAWN, name))
    assert isinstance(found, dict)
    return found


def _select(browser: Any, label: str) -> Any:
    (found,) = [one for one in find(browser, "select") if label in one.text.splitlines()]
    return found


def test_it_loads_without_an_error_and_without_a_request(browser: Any, page: Path) -> None:
    assert complaints(browser) == []
    assert requests(browser, page) == []


def test_bars_are_the_errors_of_the_store_in_their_unit(browser: Any, ds: xr.Dataset) -> None:
    seen = _drawn(browser, "errors")
    assert seen["label"] == "RMSE, kcal/mol"
    assert len(seen["data"]["value"]) == ds.sizes["split"] * ds.sizes["scheme"]
    for split, scheme, value in zip(*(seen["data"][name] for name in ("split", "scheme", "value")), strict=True):
        assert value == ds["interaction_beyond_rmse"].sel(split=split, scheme=scheme).item()


def test_an_unticked_scheme_leaves_the_figure(browser: Any, ds: xr.Dataset) -> None:
    boxes = find(browser, "input[type=checkbox]")
    assert len(boxes) == ds.sizes["scheme"]
    everything = _drawn(browser, "errors")["x"]
    browser.execute_script("arguments[0].click()", boxes[1])
    left = [factor for factor in everything if factor[1] != ds["scheme"].values[1]]
    until(lambda: _drawn(browser, "errors")["x"] == left)
    browser.execute_script("arguments[0].click()", boxes[1])
    until(lambda: _drawn(browser, "errors")["x"] == everything)


def test_another_error_has_its_values_its_unit_and_its_range(browser: Any, ds: xr.Dataset) -> None:
    select = _select(browser, "correlation of charges")
    choose(select, "correlation of charges")
    until(lambda: _drawn(browser, "errors")["label"] == "correlation")
    seen = _drawn(browser, "errors")
    # only two schemes have charges; in two splits those of one came out with the other sign
    assert set(seen["data"]["scheme"]) == {"les", "celli"}
    assert seen["y"][0] < min(seen["data"]["value"]) < 0 < max(seen["data"]["value"]) < seen["y"][1]
    choose(select, "energy")
    until(lambda: _drawn(browser, "errors")["label"] == "RMSE, meV per atom")
    assert max(_drawn(browser, "errors")["data"]["value"]) == float(ds["energy_rmse"].max())


def test_the_map_shows_every_structure_of_the_chosen_split(browser: Any, ds: xr.Dataset) -> None:
    names, colours = ["training", "validation", "test"], ["#0072B2", "#56B4E9", "#D55E00"]
    for split in ("cluster", "random"):
        choose(_select(browser, f"ionic, {split}"), f"ionic, {split}")
        part = ds["part"].sel(split=split).values.ravel()
        wanted = [names[number] for number in part if number >= 0]
        until(lambda wanted=wanted: _drawn(browser, "map")["data"]["part"] == wanted)
        at = _drawn(browser, "map")["data"]
        np.testing.assert_array_equal(at["x"], ds["umap_1"].values.ravel()[part >= 0])
        until(lambda: min(browser.execute_script(_PAINTED, "map", colours)) > 50)


def test_the_table_sorts_by_a_heading(browser: Any, ds: xr.Dataset) -> None:
    places = [one.text.strip() for one in find(browser, ".slick-header-column")]
    # nothing of it has to be scrolled for on a wide page
    assert [name for name in places if name] == [
        "dataset", "split", "network", "scheme", "seeds", "energy, meV/atom", "forces, meV/A", "near, kcal/mol",
        "beyond, kcal/mol", "charges, e", "charges, r", "dipole, e A",
    ]  # fmt: skip
    assert column(browser, 3)[: ds.sizes["scheme"]] == ds["scheme"].values.tolist()
    sort_by(browser, "beyond, kcal/mol")
    least = f"{float(ds['interaction_beyond_rmse'].min()):.2f}"
    until(lambda: column(browser, 8)[0] == least)
    seen = [float(text) for text in column(browser, 8)]
    assert seen == sorted(seen)


def test_a_narrow_page_needs_no_scrolling_sideways(browser: Any) -> None:
    with narrowed(browser, 500):
        until(lambda: browser.execute_script("return document.documentElement.scrollWidth") <= 500)
        widths = [one["width"] for one in browser.execute_script(
            "return arguments[0].map(one => one.getBoundingClientRect())", find(browser, ".bk-Figure")
        )]  # fmt: skip
        assert len(widths) == 2
        assert all(250 < width < 500 for width in widths)


def test_nothing_that_was_chosen_made_an_error(browser: Any) -> None:
    # the console has not been read since the page was opened
    assert complaints(browser) == []
