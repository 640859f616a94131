"""How a run stands, in a file beside the store: `hbcoop status` reads it from anywhere, without the driver."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hbcoop_dist.execution.progress import Count, Display

BEAT_SECONDS = 2.0
SILENT_SECONDS = 60.0
"""Time without a beat after which a driver counts as dead."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the file says.

    Attributes
    ----------
    driver : str
        Process and host.
    started, updated : float
        Seconds since the epoch.
    dashboard : str
    cells, done, failed, running, tasks : int
        Cells of the run and how they stand; batches being done; tasks to go.
    seconds_left : float or None
        None before the first cell is over.
    jobs : list of dict
        Every job: pool, name, job id, state, node, workers, end of its walltime.
    over : bool
        Whether the run ended by itself.
    """

    driver: str
    started: float
    updated: float
    dashboard: str = ""
    cells: int = 0
    done: int = 0
    failed: int = 0
    running: int = 0
    tasks: int = 0
    seconds_left: float | None = None
    jobs: list[dict[str, Any]] = field(default_factory=list)
    over: bool = False

    @property
    def alive(self) -> bool:
        """Whether there is a driver that beats; one of this host that is gone does not, however late it did."""
        pid, _, host = self.driver.removeprefix("pid ").partition(" on ")
        gone = host == platform.node() and pid.isdigit() and not psutil.pid_exists(int(pid))
        return not self.over and not gone and time.time() - self.updated < SILENT_SECONDS


def read_progress(path: Path) -> Progress | None:
    """What the file says; None where there is none."""
    try:
        return Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class Heartbeat(Display):
    """A display that also keeps the file up to date.

    Parameters
    ----------
    path : Path
    shown : Display
        Gets everything too.
    """

    def __init__(self, path: Path, shown: Display) -> None:
        self._path, self._shown = path, shown
        self._driver = f"pid {os.getpid()} on {platform.node()}"
        self._started, self._next = time.time(), 0.0
        self._count = Count(0)
        self.cluster: Any = None

    def say(self, text: str) -> None:
        self._shown.say(text)

    def show(self, count: Count, *, last: bool = False) -> None:
        self._count = count
        self._shown.show(count, last=last)
        if last or time.monotonic() >= self._next:
            self._next = time.monotonic() + BEAT_SECONDS
            self._write(over=False)

    def close(self) -> None:
        self.cluster = None
        self._write(over=True)
        self._shown.close()

    def _write(self, *, over: bool) -> None:
        count = self._count
        progress = {
            "driver": self._driver,
            "started": self._started,
            "updated": time.time(),
            "dashboard": str(getattr(self.cluster, "dashboard_link", "") or ""),
            "cells": count.cells,
            "done": count.done,
            "failed": count.failed,
            "running": count.running,
            "tasks": count.tasks,
            "seconds_left": (count.cells - count.finished) / count.rate if count.finished else None,
            "jobs": self.cluster.jobs() if self.cluster is not None else [],
            "over": over,
        }
        new = self._path.with_name(self._path.name + ".new")
        # a disk that is full ends the run at the journal, where it matters; this is only a view
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(progress), encoding="utf-8")
            new.replace(self._path)
