"""Terminal output: the progress of a run, and a console that does not wrap names and addresses."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live

from hbcoop_dist.execution.progress import read_run_state
from hbcoop_dist.store import progress_path

WATCH_SECONDS = 2.0
"""Interval between updates of `watch_progress`, s."""

PIPED_WIDTH = 200
"""Width of `wide_console` without a terminal, characters."""


def watch_progress(store: Path, console: Console) -> None:
    """Show the progress of a run until it is over.

    Parameters
    ----------
    store : Path
    console : rich.console.Console
    """
    with Live(console=console, refresh_per_second=1) as live:
        while (progress := read_run_state(progress_path(store))) is not None and progress.alive:
            live.update("\n".join(progress_lines(store)))
            time.sleep(WATCH_SECONDS)


def progress_lines(store: Path) -> list[str]:
    """Describe the run in progress, from the state file that its driver updates.

    Parameters
    ----------
    store : Path

    Returns
    -------
    list of str
        Empty when no run is in progress.
    """
    progress = read_run_state(progress_path(store))
    if progress is None or progress.over:
        return []
    if not progress.alive:
        ago = (time.time() - progress.updated) / 60
        return [f"no driver: {progress.driver} is gone, last heard of {ago:.0f} min ago; the same hbcoop run continues"]
    left = "end unknown yet"
    if progress.seconds_left is not None:
        end = datetime.fromtimestamp(time.time() + progress.seconds_left)
        left = f"should end about {end:%Y-%m-%d %H:%M}"
    lines = [
        f"running: {progress.driver}; {progress.done + progress.failed} of {progress.cells} cells of this run, "
        f"{progress.failed} of them with problems, {progress.running} batches at work, {left}"
    ]
    if progress.dashboard:
        lines.append(f"Dask dashboard: {progress.dashboard}")
    for job in progress.jobs:
        if job["job"]:
            ends = f", until {datetime.fromtimestamp(job['ends']):%H:%M}" if job["ends"] else ""
            where = f" on {job['node']}" if job["node"] else ""
            state = f"{job['state'].lower()}{where}, {job['workers']} workers{ends}"
            lines.append(f"  job {job['job']} ({job['name']}): {state}")
    return lines


def wide_console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, or `PIPED_WIDTH` wide without one."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(width=PIPED_WIDTH, stderr=stderr)
