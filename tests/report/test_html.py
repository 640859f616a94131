"""Pages in a real browser (headless Chromium), from disk and without a network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from chromium import FIND, choose, column, complaints, find, narrowed, requests, shown, sort_by, until

from hbcoop_dist.analysis.report_content import Report
from hbcoop_dist.campaigns.hbond.report_pages import build_report
from hbcoop_dist.report import write_report

_LINES = """
const roots = Bokeh.documents.flatMap(document => document.roots());
return roots.flatMap(root => [...root.references()])
  .filter(model => model.type === "GlyphRenderer" && model.name).map(model => [model.name, model.visible]);
"""


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    def ready(driver: Any) -> bool:
        seen = driver.execute_script("return document.getElementById('viewer').dataset.shown")
        return bool(seen and find(driver, ".slick-row"))

    pictures = ("summary", "leaderboard", "explore", "viewer", "growth")
    with shown(page, tmp_path_factory.mktemp("browser"), ready, pictures) as driver:
        yield driver


def test_it_loads_without_an_error_and_without_a_request(browser: Any, page: Path) -> None:
    assert complaints(browser) == []
    assert requests(browser, page) == []


def test_the_model_filter_changes_the_figure(browser: Any) -> None:
    def visible() -> set[str]:
        return {name for name, shown in browser.execute_script(_LINES) if shown}

    assert {"toy", "toy-additive"} <= visible()
    boxes = find(browser, "input[type=checkbox]")
    browser.execute_script("arguments[0].click()", boxes[1])
    until(lambda: "toy-additive" not in visible())
    assert "toy" in visible()
    browser.execute_script("arguments[0].click()", boxes[1])
    until(lambda: "toy-additive" in visible())


def test_a_chosen_quantity_changes_the_numbers(browser: Any) -> None:
    script = """
    const panel = Bokeh.documents.flatMap(document => document.roots()).flatMap(root => [...root.references()])
      .find(one => one.type === "GlyphRenderer" && one.name === "toy");
    return Array.from(panel.data_source.data.y);
    """
    before = browser.execute_script(script)
    select = next(one for one in find(browser, "select") if "per added unit" in one.text)
    choose(select, "O..N distance, A")
    until(lambda: browser.execute_script(script) != before)
    assert all(2.5 < value < 3.5 for value in browser.execute_script(script) if value is not None)
    choose(select, "cooperative energy, kcal/mol")
    until(lambda: browser.execute_script(script) == before)


def test_bars_are_there_for_energies_of_an_ensemble_alone(browser: Any) -> None:
    script = """
    const glyphs = Bokeh.documents.flatMap(document => document.roots()).flatMap(root => [...root.references()])
      .filter(one => one.type === "GlyphRenderer" && one.glyph.type === "Segment");
    return glyphs.filter(one => Array.from(one.data_source.data.high).some(Number.isFinite)).map(one => one.name);
    """
    select = next(one for one in find(browser, "select") if "per added unit" in one.text)
    assert browser.execute_script(script) == ["toy"] * 4, "head, middle, tail, and along a chain"
    choose(select, "O..N distance, A")
    until(lambda: browser.execute_script(script) == ["toy"])
    choose(select, "cooperative energy, kcal/mol")
    until(lambda: browser.execute_script(script) == ["toy"] * 4)


def test_the_leaderboard_sorts_by_a_heading(browser: Any) -> None:
    assert column(browser, 0) == ["toy", "toy-additive"]
    sort_by(browser, "middle, longest")
    # ascending first, as in every table
    until(lambda: column(browser, 0) == ["toy-additive", "toy"])


def test_the_viewer_shows_the_atoms_of_the_chosen_cell(browser: Any) -> None:
    def pixels() -> int:
        """How many of the canvas are not background."""
        return int(
            browser.execute_script(
                """
                const canvases = arguments[0], drawn = canvases.map(canvas => {
                  const copy = document.createElement("canvas");
                  [copy.width, copy.height] = [canvas.width, canvas.height];
                  const pen = copy.getContext("2d");
                  pen.drawImage(canvas, 0, 0);
                  const data = pen.getImageData(0, 0, copy.width, copy.height).data;
                  let count = 0;
                  for (let at = 0; at < data.length; at += 4)
                    if (data[at + 3] > 0 && Math.min(data[at], data[at + 1], data[at + 2]) < 200) count += 1;
                  return count;
                });
                return Math.max(0, ...drawn);
                """,
                browser.execute_script(
                    FIND.replace("search(document)", "search(document.getElementById('viewer-structure'))"), "canvas"
                ),
            )
        )

    def cell() -> str:
        return str(browser.execute_script("return document.getElementById('viewer').dataset.shown"))

    until(lambda: pixels() > 500)
    assert cell().startswith("toy|arc|6|none|own")
    length = browser.find_element("css selector", "#cell select[data-dim=length]")
    change = "arguments[0].value = '2'; arguments[0].dispatchEvent(new Event('change'))"
    browser.execute_script(change, length)
    until(lambda: cell().startswith("toy|arc|2|none|own"))
    assert pixels() > 500
    energies = browser.find_element("id", "cell-values").text
    assert energies == "0.00"


def test_a_narrow_page_needs_no_scrolling_sideways(browser: Any) -> None:
    with narrowed(browser, 500):
        until(lambda: browser.execute_script("return document.documentElement.scrollWidth") <= 500)
        browser.execute_script("document.getElementById('explore').scrollIntoView()")
        nav, heading = (
            browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect()", name)
            for name in ("nav", "#explore h2")
        )
        assert nav["bottom"] <= heading["top"]


HOSTILE = "</script><script>window.injected = 1</script><img src=x onerror='window.injected = 1'><!--<script>"


class _Elements(HTMLParser):
    """Counts elements, and errors where an attribute runs a script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] += 1
        assert not any(name.startswith("on") for name, _ in attrs)


def test_text_with_markup_adds_no_elements(report_of: Callable[[str], Report], tmp_path: Path) -> None:
    harmless, hostile = (
        _Elements(write_report(report_of(text), tmp_path / "x.html").read_text(encoding="utf-8"))
        for text in ("text", HOSTILE)
    )
    assert hostile.counts == harmless.counts
    assert hostile.counts["script"] > 3


def test_names_with_markup_are_shown_and_not_run(ds: xr.Dataset, tmp_path: Path) -> None:
    names = ["toy", HOSTILE]
    small = ds.sel(length=[2, 4], pattern=["arc"])
    report = build_report(small.assign_coords(model=names, rotamer=[HOSTILE]))
    # the static figures have no room for a legend with such a name
    path = write_report(replace(report, charts=()), tmp_path / "x.html")

    def ready(driver: Any) -> bool:
        seen = driver.execute_script("return document.getElementById('viewer').dataset.shown")
        return bool(seen and find(driver, ".slick-row"))

    with shown(path, tmp_path / "profile", ready, ()) as driver:
        assert column(driver, 0) == names
        model = driver.find_element("css selector", "#cell select[data-dim=model]")
        choose(model, HOSTILE)
        until(lambda: HOSTILE in driver.execute_script("return document.getElementById('viewer').dataset.shown"))
        assert driver.execute_script("return window.injected") is None
        assert complaints(driver) == []


def test_the_page_refers_to_nothing_on_the_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//", text)
    assert len(text) < 10e6
