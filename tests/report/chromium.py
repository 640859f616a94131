"""A page from disk in headless Chromium, without a network to help it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser is driven by selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
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
FIND = """
const found = [], look = root => {
  found.push(...root.querySelectorAll(arguments[0]));
  for (const one of root.querySelectorAll("*")) if (one.shadowRoot) look(one.shadowRoot);
};
look(document);
return found;
"""
"""Everything that a selector fits, what Bokeh hides in shadow roots too."""


@contextmanager
def shown(page: Path, profile: Path, ready: Callable[[Any], Any], pictures: Sequence[str]) -> Iterator[Any]:
    """A driver that has the page open, and ready.

    HBCOOP_SCREENSHOTS=FOLDER takes pictures of the sections named, for a person to look at.
    """
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(_PATIENCE)
    try:
        driver.get(page.as_uri())
        until(lambda: ready(driver))
        driver.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
        yield driver
    finally:
        if folder := os.environ.get("HBCOOP_SCREENSHOTS"):
            _screenshots(driver, Path(folder) / page.stem, pictures)
        driver.quit()


def complaints(browser: Any) -> list[str]:
    """Errors and warnings of its console."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def requests(browser: Any, page: Path) -> list[str]:
    """What it asked for beyond the page itself, which it must have asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in asked
    # the browser's own first tab is a page too
    inside = ("data:", "blob:", "chrome:")
    return [url for url in asked if url != page.as_uri() and not url.startswith(inside)]


def find(browser: Any, selector: str) -> list[Any]:
    return list(browser.execute_script(FIND, selector))


def choose(select: Any, words: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(select).select_by_visible_text(words)


def column(browser: Any, number: int) -> list[str]:
    """Cells of a column of the table that sorts, from above."""
    rows = sorted(find(browser, ".slick-row"), key=lambda row: row.location["y"])
    return [row.find_elements("css selector", ".slick-cell")[number].text for row in rows]


def sort_by(browser: Any, heading: str) -> None:
    (found,) = [one for one in find(browser, ".slick-header-column") if one.text.strip() == heading]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    found.click()


@contextmanager
def narrowed(browser: Any, width: int) -> Iterator[None]:
    size = browser.get_window_size()
    browser.set_window_size(width, 900)
    try:
        yield
    finally:
        browser.set_window_size(size["width"], size["height"])


def until(reached: Callable[[], Any]) -> None:
    end = time.monotonic() + _PATIENCE
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _screenshots(driver: Any, folder: Path, pictures: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for anchor in pictures:
        driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", anchor)
        time.sleep(1)
        driver.save_screenshot(str(folder / f"{anchor}.png"))
