"""Progress of a running campaign: a display on the terminal, and a file beside the store.

The display is a live bar on a terminal and plain lines elsewhere; `hbcoop status` reads the file without contacting the
driver.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from hbcoop_dist.core.files import atomic_write

PLAIN_SECONDS = 10.0
WRITE_SECONDS = 2.0
SILENT_SECONDS = 60.0
"""Age of the file at which its driver counts as dead."""


@dataclass(slots=True)
class RunCounts:
    """Counts of a run.

    Attributes
    ----------
    cells : int
        Cells to compute.
    done, failed : int
        Cells that are done, and cells that ended otherwise.
    tasks : int
        Tasks without a result.
    running : int
        Batches that workers run.
    started : float
        Monotonic time of the start.
    """

    cells: int
    done: int = 0
    failed: int = 0
    tasks: int = 0
    running: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> int:
        """Cells that are done or failed."""
        return self.done + self.failed

    @property
    def rate(self) -> float:
        """Cells per second since the start."""
        return self.finished / max(time.monotonic() - self.started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None before the first cell is finished."""
        return (self.cells - self.finished) / self.rate if self.finished else None

    @property
    def time_left(self) -> str:
        """Estimated time to the end, as text."""
        if (seconds := self.seconds_left) is None:
            return "time left unknown"
        return f"{seconds / 3600:.1f} h left" if seconds > 5400 else f"{seconds / 60:.1f} min left"

    def __str__(self) -> str:
        return (
            f"{self.finished}/{self.cells} cells ({self.failed} with problems), {self.running} batches running, "
            f"{self.tasks} tasks to go, {self.rate:.2f} cells/s, {self.time_left}"
        )


class Display(Protocol):
    """Shows the counts of a run as they change, and messages."""

    def message(self, text: str) -> None: ...

    def update(self, counts: RunCounts, *, last: bool = False) -> None: ...

    def close(self) -> None: ...


class PlainDisplay:
    """Prints one line every ten seconds and one at the end, for logs and pipes."""

    def __init__(self) -> None:
        self._next = 0.0

    def message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def update(self, counts: RunCounts, *, last: bool = False) -> None:
        if last or time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            self.message(str(counts))

    def close(self) -> None:
        pass


class RichDisplay:
    """Draws a live bar with finished and failed cells, running batches, rate and time left.

    Parameters
    ----------
    console : rich.console.Console
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("cells"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            expand=True,
            console=console,
        )
        self._task: TaskID | None = None

    def message(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def update(self, counts: RunCounts, *, last: bool = False) -> None:
        rate = f"{counts.running} batches running, {counts.rate:.2f} cells/s"
        words = f"{counts.time_left}, {counts.failed} not done, {rate}"
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("cells", total=counts.cells, words=words)
        self._progress.update(self._task, completed=counts.finished, words=words, refresh=last)

    def close(self) -> None:
        self._progress.stop()


class QuietDisplay:
    """Shows nothing."""

    def message(self, text: str) -> None:
        pass

    def update(self, counts: RunCounts, *, last: bool = False) -> None:
        pass

    def close(self) -> None:
        pass


def default_display() -> Display:
    """Return a live bar when standard error is a terminal, else plain lines.

    Returns
    -------
    Display
    """
    console = Console(stderr=True)
    return RichDisplay(console) if console.is_terminal else PlainDisplay()


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
