"""The report in a real browser: headless Chromium, a page from disk, and no network to help it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser is driven by selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs a browser: apt-get install chromium chromium-driver"
)
# some keep the browser itself silent, the last three let it draw without a GPU
_OPTIONS = (
    "--headless=new",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-sandbox",
    "--window-size=1400,1000",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
_PATIENCE = 60.0
# everything a page of Bokeh's hides in shadow roots, too
_FIND = """
const found = [], look = root => {
  found.push(...root.querySelectorAll(arguments[0]));
  for (const one of root.querySelectorAll("*")) if (one.shadowRoot) look(one.shadowRoot);
};
look(document);
return found;
"""
_LINES = """
const roots = Bokeh.documents.flatMap(one => one.roots());
return roots.flatMap(root => [...root.references()])
  .filter(one => one.type === "GlyphRenderer" && one.name).map(one => [one.name, one.visible]);
"""


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (*_OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    from selenium.webdriver.chrome.service import Service

    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        driver.get(page.as_uri())
        _until(lambda: driver.execute_script("return document.getElementById('viewer').dataset.shown"))
        _until(lambda: driver.execute_script(_FIND, ".slick-row"))
        yield driver
    finally:
        if folder := os.environ.get("HBCOOP_SCREENSHOTS"):
            _screenshots(driver, Path(folder))
        driver.quit()


def test_it_loads_without_an_error_and_without_a_request(browser: Any, page: Path) -> None:
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert severe == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in asked
    # the browser's own first tab is a page too
    inside = ("data:", "blob:", "chrome:")
    assert [url for url in asked if url != page.as_uri() and not url.startswith(inside)] == []


def test_the_model_filter_changes_the_figure(browser: Any) -> None:
    def visible() -> set[str]:
        return {name for name, shown in browser.execute_script(_LINES) if shown}

    assert {"toy", "toy-additive"} <= visible()
    boxes = _all(browser, "input[type=checkbox]")
    browser.execute_script("arguments[0].click()", boxes[1])
    _until(lambda: "toy-additive" not in visible())
    assert "toy" in visible()
    browser.execute_script("arguments[0].click()", boxes[1])
    _until(lambda: "toy-additive" in visible())


def test_a_chosen_quantity_changes_the_numbers(browser: Any) -> None:
    script = """
    const panel = Bokeh.documents.flatMap(one => one.roots()).flatMap(root => [...root.references()])
      .find(one => one.type === "GlyphRenderer" && one.name === "toy");
    return Array.from(panel.data_source.data.y);
    """
    before = browser.execute_script(script)
    select = next(one for one in _all(browser, "select") if "that a unit adds" in one.text)
    _choose(select, "O..N distance, A")
    _until(lambda: browser.execute_script(script) != before)
    assert all(2.5 < value < 3.5 for value in browser.execute_script(script) if value is not None)
    _choose(select, "cooperative energy, kcal/mol")
    _until(lambda: browser.execute_script(script) == before)


def test_bars_are_there_for_energies_of_an_ensemble_alone(browser: Any) -> None:
    script = """
    const glyphs = Bokeh.documents.flatMap(one => one.roots()).flatMap(root => [...root.references()])
      .filter(one => one.type === "GlyphRenderer" && one.glyph.type === "Segment");
    return glyphs.filter(one => Array.from(one.data_source.data.high).some(Number.isFinite)).map(one => one.name);
    """
    select = next(one for one in _all(browser, "select") if "that a unit adds" in one.text)
    assert browser.execute_script(script) == ["toy"] * 4, "head, middle, tail, and along a chain"
    _choose(select, "O..N distance, A")
    _until(lambda: browser.execute_script(script) == ["toy"])
    _choose(select, "cooperative energy, kcal/mol")
    _until(lambda: browser.execute_script(script) == ["toy"] * 4)


def test_the_leaderboard_sorts_by_a_heading(browser: Any) -> None:
    def models() -> list[str]:
        rows = sorted(_all(browser, ".slick-row"), key=lambda row: row.location["y"])
        return [row.find_elements("css selector", ".slick-cell")[0].text for row in rows]

    assert models() == ["toy", "toy-additive"]
    (heading,) = [one for one in _all(browser, ".slick-header-column") if one.text.strip() == "middle, longest"]
    browser.execute_script(
        "document.documentElement.style.scrollBehavior='auto'; arguments[0].scrollIntoView({block: 'center'})", heading
    )
    heading.click()
    # ascending first, as in every table
    _until(lambda: models() == ["toy-additive", "toy"])


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
                    _FIND.replace("look(document)", "look(document.getElementById('viewer-structure'))"), "canvas"
                ),
            )
        )

    def shown() -> str:
        return str(browser.execute_script("return document.getElementById('viewer').dataset.shown"))

    _until(lambda: pixels() > 500)
    assert shown().startswith("toy|arc|6|none|own")
    length = browser.find_element("css selector", "#cell select[data-dim=length]")
    change = "arguments[0].value = '2'; arguments[0].dispatchEvent(new Event('change'))"
    browser.execute_script(change, length)
    _until(lambda: shown().startswith("toy|arc|2|none|own"))
    assert pixels() > 500
    energies = browser.find_element("id", "cell-energies").text
    assert energies == "0.00"


def test_a_narrow_page_needs_no_scrolling_sideways(browser: Any) -> None:
    size = browser.get_window_size()
    browser.set_window_size(500, 900)
    try:
        width = "return document.documentElement.scrollWidth"
        _until(lambda: browser.execute_script(width) <= 500)
        browser.execute_script(
            "document.documentElement.style.scrollBehavior='auto'; document.getElementById('explore').scrollIntoView()"
        )
        nav, heading = (
            browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect()", name)
            for name in ("nav", "#explore h2")
        )
        assert nav["bottom"] <= heading["top"]
    finally:
        browser.set_window_size(size["width"], size["height"])


def _all(browser: Any, selector: str) -> list[Any]:
    return list(browser.execute_script(_FIND, selector))


def _choose(select: Any, words: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(select).select_by_visible_text(words)


def _until(reached: Callable[[], Any]) -> None:
    end = time.monotonic() + _PATIENCE
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _screenshots(driver: Any, folder: Path) -> None:
    """For a person to look at: HBCOOP_SCREENSHOTS=FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    driver.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
    for anchor in ("summary", "leaderboard", "explore", "viewer", "growth"):
        driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", anchor)
        time.sleep(1)
        driver.save_screenshot(str(folder / f"{anchor}.png"))
