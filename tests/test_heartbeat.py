"""When a driver counts as alive: it beats, and where one can look, it exists."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from hbcoop_dist.execution.progress import Count, QuietDisplay
from hbcoop_dist.execution.run_status import SILENT_SECONDS, Heartbeat, Progress, read_progress


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_a_driver_of_this_host_is_alive_while_it_exists() -> None:
    now, here = time.time(), platform.node()
    assert Progress(f"pid {os.getpid()} on {here}", now, now).alive
    assert not Progress(f"pid {dead_pid()} on {here}", now, now).alive
    assert not Progress(f"pid {os.getpid()} on {here}", now, now, over=True).alive


def test_a_driver_elsewhere_is_alive_while_it_beats() -> None:
    now, driver = time.time(), f"pid {dead_pid()} on some-other-node"
    assert Progress(driver, now, now).alive
    assert not Progress(driver, now, now - SILENT_SECONDS - 1).alive


def test_what_a_driver_says_is_read_back(tmp_path: Path) -> None:
    beat = Heartbeat(tmp_path / "a.progress.json", QuietDisplay())
    beat.show(Count(7, tasks=20))
    found = read_progress(tmp_path / "a.progress.json")
    assert found is not None
    assert (found.cells, found.tasks, found.alive) == (7, 20, True)
    beat.close()
    after = read_progress(tmp_path / "a.progress.json")
    assert after is not None
    assert not after.alive
