"""What a user sees while a campaign runs: a live bar on a terminal, plain lines elsewhere."""

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
class Count:
    """Cells of a run and how they stand; tasks still to be done, and batches that are being done."""

    cells: int
    done: int = 0
    failed: int = 0
    tasks: int = 0
    running: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> int:
        return self.done + self.failed

    @property
    def rate(self) -> float:
        """Cells per second so far."""
        return self.finished / max(time.monotonic() - self.started, 1e-9)

    @property
    def left(self) -> str:
        """Estimated time left."""
        if not self.finished:
            return "time left unknown"
        seconds = (self.cells - self.finished) / self.rate
        return f"{seconds / 3600:.1f} h left" if seconds > 5400 else f"{seconds / 60:.1f} min left"

    @property
    def words(self) -> str:
        """Everything but the number of cells."""
        return f"{self.running} batches running, {self.tasks} tasks to go, {self.rate:.2f} cells/s, {self.left}"

    def __str__(self) -> str:
        return f"{self.finished}/{self.cells} cells ({self.failed} with problems), {self.words}"


class Display(Protocol):
    """Shows a `Count` as it changes, and a few words now and then."""

    def say(self, text: str) -> None: ...

    def show(self, count: Count, *, last: bool = False) -> None: ...

    def close(self) -> None: ...


class PlainDisplay:
    """One line every ten seconds and one at the end, for logs and pipes."""

    def __init__(self) -> None:
        self._next = 0.0

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show(self, count: Count, *, last: bool = False) -> None:
        if last or time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            self.say(str(count))

    def close(self) -> None:
        pass


class RichDisplay:
    """A live bar with cells done, tasks left, failures, rate and time left."""

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

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def show(self, count: Count, *, last: bool = False) -> None:
        words = f"{count.left}, {count.failed} not done, {count.running} batches running, {count.rate:.2f} cells/s"
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("cells", total=count.cells, words=words)
        self._progress.update(self._task, completed=count.finished, words=words, refresh=last)

    def close(self) -> None:
        self._progress.stop()


class QuietDisplay:
    """Shows nothing."""

    def say(self, text: str) -> None:
        pass

    def show(self, count: Count, *, last: bool = False) -> None:
        pass

    def close(self) -> None:
        pass


def default_display() -> Display:
    """A live bar when standard error is a terminal, plain lines otherwise."""
    console = Console(stderr=True)
    return RichDisplay(console) if console.is_terminal else PlainDisplay()
