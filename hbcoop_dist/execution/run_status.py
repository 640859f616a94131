"""State of a run in a file beside the store, which `hbcoop status` reads without contacting the driver."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hbcoop_dist.core.files import atomic_write
from hbcoop_dist.execution.progress import Display, RunCounts

WRITE_SECONDS = 2.0
SILENT_SECONDS = 60.0
"""Age of the file at which its driver counts as dead."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Content of the file.

    Attributes
    ----------
    driver : str
        ``pid PID on HOST``.
    started, updated : float
        Start of the run and time of the last write, seconds since the epoch.
    dashboard : str
        Address of the Dask dashboard; empty without one.
    cells, done, failed, running, tasks : int
        As in `RunCounts`.
    seconds_left : float or None
        Estimated seconds to the end; None before the first cell is finished.
    jobs : list of dict
        Rows of `PoolCluster.job_table`.
    over : bool
        Whether the driver has ended the run.
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
        """Whether the driver still runs: its last write is recent and, on this host, its process exists."""
        pid, _, host = self.driver.removeprefix("pid ").partition(" on ")
        gone = host == platform.node() and pid.isdigit() and not psutil.pid_exists(int(pid))
        return not self.over and not gone and time.time() - self.updated < SILENT_SECONDS


def read_run_state(path: Path) -> RunState | None:
    """Read the state of a run.

    Parameters
    ----------
    path : Path

    Returns
    -------
    RunState or None
        None when there is no readable file.
    """
    try:
        return RunState(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class StatusWriter(Display):
    """A display that also writes the state of the run into a file.

    Parameters
    ----------
    path : Path
        The file.
    display : Display
        Receives everything too.
    """

    def __init__(self, path: Path, display: Display) -> None:
        self._path, self._display = path, display
        self._driver = f"pid {os.getpid()} on {platform.node()}"
        self._started, self._next = time.time(), 0.0
        self._counts = RunCounts(0)
        self._dashboard = ""
        self._job_table: Callable[[], list[dict[str, Any]]] = list

    def set_cluster(self, dashboard: str, job_table: Callable[[], list[dict[str, Any]]]) -> None:
        """Include a cluster in the state.

        Parameters
        ----------
        dashboard : str
            Address of the Dask dashboard.
        job_table : callable
            Returns one row per job.
        """
        self._dashboard, self._job_table = dashboard, job_table

    def message(self, text: str) -> None:
        self._display.message(text)

    def update(self, counts: RunCounts, *, last: bool = False) -> None:
        self._counts = counts
        self._display.update(counts, last=last)
        if last or time.monotonic() >= self._next:
            self._next = time.monotonic() + WRITE_SECONDS
            self._write(over=False)

    def close(self) -> None:
        self.set_cluster("", list)
        self._write(over=True)
        self._display.close()

    def _write(self, *, over: bool) -> None:
        counts = self._counts
        state = RunState(
            driver=self._driver,
            started=self._started,
            updated=time.time(),
            dashboard=self._dashboard,
            cells=counts.cells,
            done=counts.done,
            failed=counts.failed,
            running=counts.running,
            tasks=counts.tasks,
            seconds_left=counts.seconds_left,
            jobs=self._job_table(),
            over=over,
        )
        # a full disk ends the run when the journal is written, not for the sake of this file
        with contextlib.suppress(OSError), atomic_write(self._path) as file:
            file.write(json.dumps(asdict(state)).encode())
