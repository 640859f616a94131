"""Display of a running campaign: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

PLAIN_SECONDS = 10.0


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
