"""A driver counts as alive while it writes its file and, on this host, while its process exists."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hbcoop_dist.execution import progress
from hbcoop_dist.execution.progress import (
    SILENT_SECONDS,
    QuietDisplay,
    RunCounts,
    RunState,
    StatusWriter,
    read_run_state,
)


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_a_driver_of_this_host_is_alive_while_it_exists() -> None:
    now, here = time.time(), platform.node()
    assert RunState(f"pid {os.getpid()} on {here}", now, now).alive
    assert not RunState(f"pid {dead_pid()} on {here}", now, now).alive
    assert not RunState(f"pid {os.getpid()} on {here}", now, now, over=True).alive


def test_a_driver_elsewhere_is_alive_while_it_beats() -> None:
    now, driver = time.time(), f"pid {dead_pid()} on some-other-node"
    assert RunState(driver, now, now).alive
    assert not RunState(driver, now, now - SILENT_SECONDS - 1).alive


def test_the_state_of_a_run_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.progress.json"
    writer = StatusWriter(path, QuietDisplay())
    jobs = [{"pool": "cpu", "name": "cpu-1", "job": "7", "state": "RUNNING", "node": "n0", "workers": 1, "ends": None}]
    writer.set_cluster("http://dashboard", lambda: jobs)
    writer.update(RunCounts(7, done=2, failed=1, tasks=20, running=3))
    state = read_run_state(path)
    assert state is not None
    assert (state.cells, state.done, state.failed, state.tasks, state.running) == (7, 2, 1, 20, 3)
    assert (state.alive, state.over, state.jobs, state.dashboard) == (True, False, jobs, "http://dashboard")
    assert state.seconds_left is not None
    writer.close()
    state = read_run_state(path)
    assert state is not None
    assert (state.alive, state.over, state.jobs) == (False, True, [])
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "a temporary file was left"


def test_the_file_is_written_every_two_seconds_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    path = tmp_path / "a.progress.json"
    writer, written = StatusWriter(path, QuietDisplay()), []
    for seconds, last in ((0.0, False), (1.9, False), (2.1, False), (2.2, True)):
        now[0] = 100.0 + seconds
        path.unlink(missing_ok=True)
        writer.update(RunCounts(7), last=last)
        written.append(path.exists())
    assert written == [True, False, True, True]


def test_a_file_that_cannot_be_written_or_read_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    writer = StatusWriter(tmp_path / "file" / "a.json", QuietDisplay())
    writer.update(RunCounts(7))
    writer.close()
    assert read_run_state(tmp_path / "absent.json") is None
    for text in ("{", "{}", '{"unknown": 1}', "[]"):
        (tmp_path / "damaged.json").write_text(text)
        assert read_run_state(tmp_path / "damaged.json") is None


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (
            RunCounts(4),
            "0/4 cells (0 with problems), 0 batches running, 0 tasks to go",
        ),
        (RunCounts(4, done=1, failed=1, tasks=5, running=3), "2/4 cells (1 with problems), 3 batches running, 5 tasks"),
    ],
)
def test_counts_as_text(counts: RunCounts, text: str) -> None:
    assert str(counts).startswith(text)


def test_time_left_follows_from_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 600.0)
    assert RunCounts(3, done=1, started=0.0).time_left == "20.0 min left"
    assert RunCounts(61, done=1, started=0.0).time_left == "10.0 h left"
    assert RunCounts(3, done=1, failed=1, started=0.0).seconds_left == pytest.approx(300.0)
