"""The report in a real browser: headless Chromium, a page from disk, and no network to help it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import FIND, choose, column, complaints, find, narrowed, needs_browser, requests, shown, sort_by, until

pytestmark = needs_browser
_LINES = """
const roots = Bokeh.documents.flatMap(one => one.roots());
return roots.flatMap(root => [...root.references()])
  .filter(one => one.type === "GlyphRenderer" && one.name).map(one => [one.name, one.visible]);
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
    const panel = Bokeh.documents.flatMap(one => one.roots()).flatMap(root => [...root.references()])
      .find(one => one.type === "GlyphRenderer" && one.name === "toy");
    return Array.from(panel.data_source.data.y);
    """
    before = browser.execute_script(script)
    select = next(one for one in find(browser, "select") if "that a unit adds" in one.text)
    choose(select, "O..N distance, A")
    until(lambda: browser.execute_script(script) != before)
    assert all(2.5 < value < 3.5 for value in browser.execute_script(script) if value is not None)
    choose(select, "cooperative energy, kcal/mol")
    until(lambda: browser.execute_script(script) == before)


def test_bars_are_there_for_energies_of_an_ensemble_alone(browser: Any) -> None:
    script = """
    const glyphs = Bokeh.documents.flatMap(one => one.roots()).flatMap(root => [...root.references()])
      .filter(one => one.type === "GlyphRenderer" && one.glyph.type === "Segment");
    return glyphs.filter(one => Array.from(one.data_source.data.high).some(Number.isFinite)).map(one => one.name);
    """
    select = next(one for one in find(browser, "select") if "that a unit adds" in one.text)
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
                    FIND.replace("look(document)", "look(document.getElementById('viewer-structure'))"), "canvas"
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
    energies = browser.find_element("id", "cell-energies").text
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
