"""Open pages from disk in headless Chromium and look at what they show."""

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
# most options keep the browser itself silent; the last three allow WebGL without a GPU
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
_TIMEOUT = 60.0
FIND = """
const elements = [], search = root => {
  elements.push(...root.querySelectorAll(arguments[0]));
  for (const element of root.querySelectorAll("*")) if (element.shadowRoot) search(element.shadowRoot);
};
search(document);
return elements;
"""
"""All elements of a selector, those in Bokeh's shadow roots too."""


@contextmanager
def shown(page: Path, profile: Path, ready: Callable[[Any], Any], pictures: Sequence[str]) -> Iterator[Any]:
    """A driver with the page open, once `ready` holds; the test is skipped without a browser.

    With HBCOOP_SCREENSHOTS=FOLDER, pictures of the sections with these anchors are taken at the end.
    """
    from selenium.webdriver.chrome.service import Service

    if not (CHROMIUM and DRIVER):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(_TIMEOUT)
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
    """Errors and warnings in the console of the browser."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def requests(browser: Any, page: Path) -> list[str]:
    """URLs requested beside the page itself."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
    urls = [message["params"]["request"]["url"] for message in sent]
    assert page.as_uri() in urls
    # chrome: is the first tab of the browser
    local = ("data:", "blob:", "chrome:")
    return [url for url in urls if url != page.as_uri() and not url.startswith(local)]


def find(browser: Any, selector: str) -> list[Any]:
    return list(browser.execute_script(FIND, selector))


def choose(select: Any, text: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(select).select_by_visible_text(text)


def column(browser: Any, number: int) -> list[str]:
    """Cells of a column of the sortable table, from top to bottom."""
    rows = sorted(find(browser, ".slick-row"), key=lambda row: row.location["y"])
    return [row.find_elements("css selector", ".slick-cell")[number].text for row in rows]


def sort_by(browser: Any, heading: str) -> None:
    (element,) = [header for header in find(browser, ".slick-header-column") if header.text.strip() == heading]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


@contextmanager
def narrowed(browser: Any, width: int) -> Iterator[None]:
    size = browser.get_window_size()
    browser.set_window_size(width, 900)
    try:
        yield
    finally:
        browser.set_window_size(size["width"], size["height"])


def until(reached: Callable[[], Any]) -> None:
    end = time.monotonic() + _TIMEOUT
    while not reached():
        assert time.monotonic() < end, f"not reached within {_TIMEOUT:g} s"
        time.sleep(0.1)


def _screenshots(driver: Any, folder: Path, pictures: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for anchor in pictures:
        driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", anchor)
        time.sleep(1)
        driver.save_screenshot(str(folder / f"{anchor}.png"))
