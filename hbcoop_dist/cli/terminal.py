"""How the run of a store stands, in lines for a terminal.

A console in which names and addresses stay whole.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live

from hbcoop_dist.execution.run_status import read_run_state
from hbcoop_dist.store import progress_path

WATCH_SECONDS = 2.0


def watch_progress(store: Path, console: Console) -> None:
    """Show the progress of a run until it is over."""
    with Live(console=console, refresh_per_second=1) as live:
        while (progress := read_run_state(progress_path(store))) is not None and progress.alive:
            live.update("\n".join(progress_lines(store)))
            time.sleep(WATCH_SECONDS)


def progress_lines(store: Path) -> list[str]:
    """What the driver of a store last said of itself."""
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


PIPED_WIDTH = 200


def wide_console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; where there is none, wide enough."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(width=PIPED_WIDTH, stderr=stderr)
